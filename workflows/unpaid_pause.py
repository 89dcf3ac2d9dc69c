"""A subscription that its provider bills, paused because nobody paid: the provider is stopped as well.

Stopped first, so that our books never call paused what is still billed. What happens when somebody pays
depends on how the provider was stopped: where the open invoice can still be collected it is, and the
provider then goes on with the period that runs; elsewhere what stands there is ended and another one is
opened. Either way the periods in between are not billed.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import ProviderCalls
    from activities.signatures.subscriptions import SubscriptionCalls
    from models.billing_policy import OnUnpaid
    from models.snapshots import ProviderSubscriptionStatus, SubscriptionSnapshot
    from models.subscription import OpenInvoice, ProviderPause
    from workflows import pausing
    from workflows.desk import Desk
    from workflows.options import call_subscription
    from workflows.provider_following import ProviderFollower
    from workflows.step_changes import ENGINE_ACTOR


class UnpaidPauses:
    def __init__(self, desk: Desk, follower: ProviderFollower) -> None:
        self._desk = desk
        self._follower = follower

    async def stop(self) -> bool:
        """False when the provider refuses: then it must not be called paused, because it is billed on."""
        state, reference = self._desk.state, self._follower.reference()
        if state.provider_pause is ProviderPause.REPLACED:
            return True
        if self._desk.terms.policy.on_unpaid is not OnUnpaid.PAUSE or reference is None:
            return True
        try:
            snapshot = await pausing.ask(
                SubscriptionCalls.pause_subscription,
                reference.model_copy(update={"unpaid": True}),
                "pause at the provider: nobody paid",
            )
        except ApplicationError as refusal:
            self._desk.audit(ENGINE_ACTOR, "pause.refused", {}, {"reason": refusal.message})
            self._desk.emit("subscription.pause_failed", reason=refusal.message)
            return False
        if snapshot.is_paused:
            collectable = snapshot.is_collectable
            state.provider_pause = (
                ProviderPause.COLLECTABLE if collectable else ProviderPause.REPLACED
            )
        self._follower.apply_subscription(snapshot)
        return True

    async def make_way(self, invoice: OpenInvoice) -> bool:
        """Before the open invoice is collected. Where it cannot be any more, what stands there is ended, so
        that two never bill; then the next try opens another one. False when it was paid meanwhile."""
        desk, state = self._desk, self._desk.state
        if state.provider_pause is not ProviderPause.REPLACED:
            return True
        reference = self._follower.reference()
        if reference is not None:
            await self._follower.look()
            if state.invoice is not invoice:
                return False
            await call_subscription(
                ProviderCalls.cancel_subscription,
                reference,
                "end what is paused: another one follows",
            )
        state.provider_subscription_id = None
        invoice.provider_invoice_id = None
        desk.touch()
        return True

    async def go_on(self) -> None:
        """After every step: what was paused for want of money is paid, so the provider bills again."""
        desk, state = self._desk, self._desk.state
        if state.provider_pause is None or state.suspended_at is not None or desk.over:
            return
        if state.provider_pause is ProviderPause.REPLACED and state.invoice is not None:
            return  # Whoever pays it gets another one there.
        reference = self._follower.reference()
        if state.provider_pause is ProviderPause.COLLECTABLE and reference is not None:
            asked = pausing.resume_reference(reference, new_period=False)
            try:
                snapshot = await call_subscription(
                    SubscriptionCalls.resume_subscription, asked, "bill again: it is paid"
                )
            except ActivityError:
                # It is asked again with the next step; until then nobody is billed.
                desk.audit(ENGINE_ACTOR, "resume.refused", {}, {})
                return
            self._serve(snapshot)
        state.provider_pause = None
        desk.touch()

    def _serve(self, snapshot: SubscriptionSnapshot) -> None:
        """Who pays late pays for the period in which he pays; the provider bills the one after it."""
        state = self._desk.state
        end = state.current_period_end
        if snapshot.status is ProviderSubscriptionStatus.CANCELED or end is None:
            return
        if snapshot.current_period_end > end:
            state.period_number += 1
            state.current_period_start = snapshot.current_period_start
            state.current_period_end = snapshot.current_period_end
            state.provider_looked_at = None
