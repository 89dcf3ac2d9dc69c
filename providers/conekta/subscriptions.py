"""Card subscriptions on Conekta's clock, opened in two steps although Conekta knows only one.

* prepare: a plan of its own (see `plans`). Nobody is charged for a plan.
* commit: the subscription to it. When that answer is lost, the plan's id stands for the subscription:
  listing the customer's subscriptions tells what came of it, and deleting the plan settles that nothing
  more will.

A first charge that is refused leaves a subscription that Conekta would charge again by itself, so it is
canceled at once: the next try, with a better card, is a new plan and a new subscription.
"""

from __future__ import annotations

from datetime import UTC, datetime

from models.outcomes import ProviderName
from models.snapshots import (
    InvoiceSnapshot,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.conekta import billing, failures
from providers.conekta.billing import ConektaSubscription
from providers.conekta.capabilities import CURRENCY, NO_PAGE
from providers.conekta.client import ConektaClient
from providers.conekta.orders import read_after_write, read_order
from providers.conekta.plans import Plans, is_plan_id
from providers.conekta.subscription_calls import SubscriptionCalls
from providers.drafts import PreparedSubscription, SubscriptionDraft
from providers.failures import FailureKind, ProviderFailure

# Answers that depend on the subscription's state: the subscription itself says what is true.
_STATE_KINDS = frozenset({FailureKind.REJECTED, FailureKind.DECLINED})


class Subscriptions:
    def __init__(self, client: ConektaClient) -> None:
        self._client = client
        self._calls = SubscriptionCalls(client)
        self._plans = Plans(client)

    async def prepare(self, draft: SubscriptionDraft, *, retry: bool) -> PreparedSubscription:
        if draft.provider_payment_method_id is None:
            raise failures.unsupported(NO_PAGE)
        if draft.currency != CURRENCY:
            raise failures.unsupported(f"Conekta charges in {CURRENCY} only: use Stripe otherwise")
        plan_id = await self._plans.ensure(draft, retry=retry)
        return PreparedSubscription(provider_subscription_id=plan_id, provider_invoice_id=None)

    async def commit(
        self, draft: SubscriptionDraft, prepared: PreparedSubscription
    ) -> SubscriptionSnapshot:
        """Looks before it asks: posted twice for one attempt it would charge twice."""
        plan_id = prepared.provider_subscription_id
        earlier = await self._with_plan(draft.provider_customer_id, plan_id)
        made = earlier[0] if earlier else await self._start(draft, plan_id)
        snapshot = await self._after_write("subscriptions.create", draft.provider_customer_id, made)
        invoice = snapshot.latest_invoice
        if made.is_over and invoice is not None and invoice.decline is not None:
            raise _declined("subscriptions.create", invoice)
        if snapshot.status is ProviderSubscriptionStatus.INCOMPLETE:
            if invoice is None or invoice.decline is None:
                raise failures.unreadable("subscriptions.create", "it was not charged yet")
            await self._undo(draft.provider_customer_id, plan_id)
            raise _declined("subscriptions.create", invoice)
        return snapshot

    async def _start(self, draft: SubscriptionDraft, plan_id: str) -> ConektaSubscription:
        try:
            return await self._calls.create(draft, plan_id)
        except ProviderFailure as failure:
            if failure.kind is FailureKind.DECLINED:
                # Not documented for this call, but a refused charge may leave its object behind.
                await self._undo(draft.provider_customer_id, plan_id)
            raise

    async def get(self, customer_id: str, id_: str) -> SubscriptionSnapshot:
        found = await self._find(customer_id, id_)
        if found is not None:
            return await self._snapshot("subscriptions.retrieve", customer_id, found)
        # A plan that is gone was deleted by us: nothing can come of it any more.
        status = ProviderSubscriptionStatus.INCOMPLETE
        if await self._plans.find(id_) is None:
            status = ProviderSubscriptionStatus.CANCELED
        return _nothing_yet(customer_id, id_, status)

    async def cancel(self, customer_id: str, id_: str) -> SubscriptionSnapshot:
        if is_plan_id(id_):
            return await self._cancel_by_plan(customer_id, id_)
        return await self._cancel(customer_id, await self._calls.get(customer_id, id_))

    async def cancel_at_period_end(self, customer_id: str, id_: str) -> SubscriptionSnapshot:
        """Conekta can only cancel at once, so the subscription is paused instead: from this moment it
        is not billed, whatever happens to us, and the pause can be taken back. What was paid for is
        granted by the engine, which cancels for good when the period is over. The engine tells this from
        a pause that was asked for, or that somebody made in Conekta's panel."""
        found = await self._find(customer_id, id_)
        if found is None:
            return await self._cancel_by_plan(customer_id, id_)
        return await self._pause(customer_id, found)

    async def pause(self, customer_id: str, id_: str) -> SubscriptionSnapshot:
        found = await self._find(customer_id, id_)
        if found is None:
            message = "nothing has come of it yet that could be paused"
            raise ProviderFailure(FailureKind.REJECTED, message, code="nothing_to_pause")
        return await self._pause(customer_id, found)

    async def _pause(self, customer_id: str, found: ConektaSubscription) -> SubscriptionSnapshot:
        if not found.is_over and not found.is_paused:
            try:
                found = await self._calls.pause(customer_id, found.id)
            except ProviderFailure as failure:
                found = await self._unless(failure, customer_id, found.id, paused=True)
        return await self._after_write("subscriptions.pause", customer_id, found)

    async def stop_before(self, customer_id: str, id_: str, end: datetime) -> SubscriptionSnapshot:
        """As `cancel_at_period_end`, for one that is followed by another. How a pause fares in a trial, or
        with an order that nobody paid, is documented nowhere."""
        found = await self._find(customer_id, id_)
        before = None
        if found is not None:
            before = await self._snapshot("subscriptions.retrieve", customer_id, found)
        paid = before is not None and (
            before.status is ProviderSubscriptionStatus.ACTIVE and before.trial_end is None
        )
        if found is None or before is None or not paid or before.current_period_end != end:
            message = "it has no paid period that ends then"
            raise ProviderFailure(FailureKind.REJECTED, message, code="nothing_to_stop")
        return await self._pause(customer_id, found)

    async def keep(self, customer_id: str, id_: str) -> SubscriptionSnapshot:
        """End the pause. One that outlasted its cycle is followed by a new cycle with an order of its own."""
        found = await self._find(customer_id, id_)
        if found is None or found.is_over:
            raise ProviderFailure(FailureKind.REJECTED, "the subscription is over", code="is_over")
        if found.is_paused:
            try:
                found = await self._calls.resume(customer_id, found.id)
            except ProviderFailure as failure:
                found = await self._unless(failure, customer_id, found.id, paused=False)
        return await self._after_write("subscriptions.resume", customer_id, found)

    async def change_card(self, customer_id: str, id_: str, card_id: str) -> None:
        """Charges nothing now."""
        found = await self._find(customer_id, id_)
        if found is None:
            message = "there is no subscription whose card could be changed"
            raise ProviderFailure(FailureKind.NOT_FOUND, message, code="not_found")
        if found.card_id != card_id:
            await self._calls.set_card(customer_id, found.id, card_id)

    async def get_invoice(self, order_id: str) -> InvoiceSnapshot:
        order = await read_order(self._client, order_id)
        customer_id = order.customer_id
        found = None if customer_id is None else await self._billed_by(customer_id, order_id)
        return billing.invoice_snapshot("orders.retrieve", order, found)

    async def retry_invoice(self, order_id: str, card_id: str | None) -> InvoiceSnapshot:
        """With another card that becomes the card of the subscription, also for later cycles."""
        order = await read_order(self._client, order_id)
        before = billing.invoice_snapshot("orders.retrieve", order, None)
        customer_id = order.customer_id
        found = None if customer_id is None else await self._billed_by(customer_id, order_id)
        if before.status is ProviderInvoiceStatus.PAID:
            return billing.invoice_snapshot("orders.retrieve", order, found)
        if customer_id is None or found is None or found.is_over:
            message = "no running subscription is waiting for this order to be paid"
            raise ProviderFailure(FailureKind.REJECTED, message, code="nothing_to_retry")
        if card_id is not None and card_id != found.card_id:
            await self._calls.set_card(customer_id, found.id, card_id)
        try:
            found = await self._calls.retry(customer_id, found.id)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            after = await self._invoice_after_write(order_id, found)
            if after.status is not ProviderInvoiceStatus.PAID:
                raise
            return after
        after = await self._invoice_after_write(order_id, found)
        if after.status is ProviderInvoiceStatus.PAID:
            return after
        if after.attempt_count > before.attempt_count and after.decline is not None:
            raise _declined("subscriptions.retry", after)
        raise failures.unreadable("subscriptions.retry", "the order shows no new charge")

    # One subscription, by its own id or by its plan's.

    async def _find(self, customer_id: str, id_: str) -> ConektaSubscription | None:
        if not is_plan_id(id_):
            return await self._calls.get(customer_id, id_)
        found = await self._with_plan(customer_id, id_)
        return found[0] if found else None

    async def _with_plan(self, customer_id: str, plan_id: str) -> list[ConektaSubscription]:
        """We post once per plan, so there is one at most; were there more, the running one first."""
        found = [s for s in await self._calls.find_all(customer_id) if s.plan_id == plan_id]
        return sorted(found, key=lambda s: (s.is_over, s.began_at, s.id))

    async def _billed_by(self, customer_id: str, order_id: str) -> ConektaSubscription | None:
        """Orders do not name their subscription; it names the order of its latest cycle."""
        for found in await self._calls.find_all(customer_id):
            if found.last_billing_cycle_order_id == order_id:
                return found
        return None

    # Ending one.

    async def _cancel(self, customer_id: str, found: ConektaSubscription) -> SubscriptionSnapshot:
        if not found.is_over:
            subscription_id = found.id
            try:
                found = await self._calls.cancel(customer_id, subscription_id)
            except ProviderFailure as failure:
                if failure.kind not in _STATE_KINDS:
                    raise
                found = await self._get_after_write(customer_id, subscription_id)
                if not found.is_over:
                    raise
        snapshot = await self._after_write("subscriptions.cancel", customer_id, found)
        if snapshot.status is not ProviderSubscriptionStatus.CANCELED:
            raise failures.unreadable("subscriptions.cancel", f"it is still {found.status}")
        return snapshot

    async def _cancel_by_plan(self, customer_id: str, plan_id: str) -> SubscriptionSnapshot:
        """End what came of the plan. When nothing has come yet, take the plan away, so that a request
        that is still on its way is refused, and look again for what came in between.

        One request is made per plan: when something has come of it, nothing more can.
        """
        ended = await self._cancel_all(customer_id, plan_id)
        if ended is not None:
            return ended
        refusal: ProviderFailure | None = None
        try:
            await self._plans.delete(plan_id)
        except ProviderFailure as failure:
            if failure.kind not in _STATE_KINDS:
                raise
            refusal = failure  # As of a plan that is in use since a moment ago.
        ended = await self._cancel_all(customer_id, plan_id)
        if ended is not None:
            return ended
        if refusal is not None:
            raise refusal
        return _nothing_yet(customer_id, plan_id, ProviderSubscriptionStatus.CANCELED)

    async def _cancel_all(self, customer_id: str, plan_id: str) -> SubscriptionSnapshot | None:
        found = await self._with_plan(customer_id, plan_id)
        ended = [await self._cancel(customer_id, subscription) for subscription in found]
        return ended[0] if ended else None

    async def _undo(self, customer_id: str, plan_id: str) -> None:
        """After a refused first charge. As long as this is not done, Conekta may charge again."""
        try:
            await self._cancel_by_plan(customer_id, plan_id)
        except ProviderFailure as failure:
            raise failures.after_the_write(failure) from failure

    # Reading back.

    async def _snapshot(
        self, operation: str, customer_id: str, found: ConektaSubscription
    ) -> SubscriptionSnapshot:
        order_id = found.last_billing_cycle_order_id
        order = await read_order(self._client, order_id) if order_id else None
        return billing.subscription_snapshot(operation, customer_id, found, order)

    async def _after_write(
        self, operation: str, customer_id: str, found: ConektaSubscription
    ) -> SubscriptionSnapshot:
        try:
            return await self._snapshot(operation, customer_id, found)
        except ProviderFailure as failure:
            raise failures.after_the_write(failure) from failure

    async def _get_after_write(self, customer_id: str, id_: str) -> ConektaSubscription:
        try:
            return await self._calls.get(customer_id, id_)
        except ProviderFailure as failure:
            raise failures.after_the_write(failure) from failure

    async def _invoice_after_write(
        self, order_id: str, found: ConektaSubscription
    ) -> InvoiceSnapshot:
        order = await read_after_write(self._client, order_id)
        return billing.invoice_snapshot("orders.retrieve", order, found)

    async def _unless(
        self, failure: ProviderFailure, customer_id: str, id_: str, *, paused: bool
    ) -> ConektaSubscription:
        """A change that was refused is fine when it is what there is already."""
        if failure.kind not in _STATE_KINDS:
            raise failure
        found = await self._get_after_write(customer_id, id_)
        if found.is_paused is not paused and not found.is_over:
            raise failure
        return found


def _nothing_yet(
    customer_id: str, plan_id: str, status: ProviderSubscriptionStatus
) -> SubscriptionSnapshot:
    """A prepared subscription of which nothing came: its period has no length."""
    now = datetime.now(UTC)
    return SubscriptionSnapshot(
        provider=ProviderName.CONEKTA,
        provider_subscription_id=plan_id,
        provider_customer_id=customer_id,
        status=status,
        current_period_start=now,
        current_period_end=now,
    )


def _declined(operation: str, invoice: InvoiceSnapshot) -> ProviderFailure:
    code = invoice.decline.code if invoice.decline is not None else None
    return ProviderFailure(
        FailureKind.DECLINED,
        f"the card was refused ({operation})",
        code=code,
        decline=invoice.decline,
        provider_object_id=invoice.provider_invoice_id,
    )
