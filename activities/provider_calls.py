"""The calls to providers: one remote activity per attempt, on the queue of its provider.

An attempt's life is the same whatever it collects: written down as unknown, prepared (nothing can be
charged yet, so whatever goes wrong here is `not_attempted`), named, committed, and its outcome written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import outcomes, results
from activities.breaker import Breaker
from activities.customers import Customers
from activities.drafts import Drafts
from activities.ledger import Ledger
from activities.plans import ProviderPlans
from activities.shop import Shop
from activities.signatures.attempts import (
    AttemptRequest,
    AttemptResult,
    IssuePayment,
    OpenProviderSubscription,
    PaymentReference,
    ProviderCalls,
    RetryInvoice,
    SettleAttempt,
)
from activities.signatures.subscriptions import SubscriptionReference
from models.outcomes import FallbackReason, OutcomeClass, ProviderName
from models.purchase import PurchaseTerms
from models.redaction import hide_payment, hide_subscription
from models.snapshots import PaymentSnapshot, SubscriptionSnapshot
from models.storage.engine import Sessions
from providers.drafts import PaymentDraft, PreparedSubscription, SubscriptionDraft
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

# A worker that dies is noticed this soon; a healthy call is over long before the first beat costs.
HEARTBEAT_SECONDS = 3.0

Answer = TypeVar("Answer")


class ProviderActivities(ProviderCalls):
    """Translates between workflows and adapters. It decides nothing; it never throws for a decline."""

    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._providers = providers
        self._ledger = Ledger(sessions)
        self._breaker = Breaker(sessions)
        self._customers = Customers(sessions)
        self._drafts = Drafts(self._customers)
        self._plans = ProviderPlans(sessions)
        self._shop = Shop(sessions, self._customers)

    @activity.defn(name="issue_payment")
    async def issue_payment(self, request: IssuePayment) -> AttemptResult:
        if isinstance(request.terms, PurchaseTerms):
            return await self._open_page(request, request.terms)

        drafts: list[PaymentDraft] = []

        async def prepare(provider: PaymentProvider, retry: bool) -> str:
            drafts.append(await self._drafts.payment(provider, request, retry))
            return await provider.prepare_payment(drafts[-1], retry=retry)

        async def commit(provider: PaymentProvider, object_id: str) -> AttemptResult:
            snapshot = await provider.commit_payment(drafts[-1], object_id)
            return results.of_payment(request.attempt_id, snapshot)

        return await self.attempt(request, prepare, commit)

    async def _open_page(self, request: IssuePayment, terms: PurchaseTerms) -> AttemptResult:
        """A page is made in one step. While its address is ours alone nobody can pay on it, so making it
        is the preparation; the result with the address is all that is left to give."""
        made: list[PaymentSnapshot] = []

        async def prepare(provider: PaymentProvider, retry: bool) -> str:
            made.append(await self._shop.open_page(provider, request, terms, retry))
            return made[-1].provider_payment_id

        async def commit(_provider: PaymentProvider, _object_id: str) -> AttemptResult:
            return results.of_payment(request.attempt_id, made[-1])

        return await self.attempt(request, prepare, commit)

    @activity.defn(name="open_provider_subscription")
    async def open_provider_subscription(self, request: OpenProviderSubscription) -> AttemptResult:
        drafts: list[SubscriptionDraft] = []

        async def prepare(provider: PaymentProvider, retry: bool) -> str:
            async def make(plan_id: str) -> str:
                draft = await self._drafts.subscription(provider, request, plan_id, retry)
                drafts.append(draft)
                prepared = await provider.prepare_subscription(draft, retry=retry)
                return results.SubscriptionIds(
                    draft.provider_customer_id,
                    prepared.provider_subscription_id,
                    prepared.provider_invoice_id,
                ).pack()

            return await self._plans.using(provider, request.terms, make)

        async def commit(provider: PaymentProvider, packed: str) -> AttemptResult:
            draft, ids = drafts[-1], results.SubscriptionIds.unpack(packed)
            prepared = PreparedSubscription(
                provider_subscription_id=ids.provider_subscription_id,
                provider_invoice_id=ids.provider_invoice_id,
            )
            snapshot = await provider.commit_subscription(draft, prepared)
            result = results.of_subscription(request.attempt_id, packed, snapshot)
            if request.payment_method_id is not None and draft.provider_payment_method_id is None:
                # The card is kept by another provider: the customer pays on this one's page.
                return results.on_hosted_page(result)
            return result

        return await self.attempt(request, prepare, commit)

    @activity.defn(name="retry_invoice")
    async def retry_invoice(self, request: RetryInvoice) -> AttemptResult:
        async def prepare(_provider: PaymentProvider, _retry: bool) -> str:
            return request.provider_invoice_id

        async def commit(provider: PaymentProvider, invoice_id: str) -> AttemptResult:
            method = await self._customers.payment_method(
                provider, request.terms, request.payment_method_id
            )
            invoice = await provider.retry_invoice(
                invoice_id,
                attempt_id=str(request.attempt_id),
                provider_payment_method_id=method,
            )
            return results.of_invoice(request.attempt_id, invoice)

        return await self.attempt(request, prepare, commit)

    @activity.defn(name="settle_attempt")
    async def settle_attempt(self, request: SettleAttempt) -> AttemptResult:
        """Ask what became of an attempt; adopt what happened, undo what did not quite happen.

        Undoing is what makes the answer final: a lost request that reaches the provider later finds
        its order or subscription canceled.
        """
        attempt = await self._ledger.find(request.attempt_id)
        provider = self._providers.get(request.provider)
        if attempt is None or attempt.provider_object_id is None:
            result = results.nothing(request.attempt_id, request.provider, results.NEVER_PREPARED)
        elif attempt.outcome == OutcomeClass.NOT_ATTEMPTED:
            return results.nothing(
                request.attempt_id, request.provider, attempt.reason or results.UNDONE
            )
        elif provider is None:
            return results.still_unknown(request.attempt_id, request.provider)
        else:
            try:
                async with heartbeat():
                    result = await outcomes.settle(provider, request.attempt_id, attempt)
            except ProviderFailure as failure:
                activity.logger.warning("attempt could not be settled: %s", failure)
                return results.still_unknown(request.attempt_id, request.provider)
        await self._ledger.finish(result, server_time())
        return results.for_history(result)

    @activity.defn(name="read_payment")
    async def read_payment(self, reference: PaymentReference) -> PaymentSnapshot:
        snapshot = await self.ask(
            reference.provider,
            lambda provider: provider.get_payment(reference.provider_payment_id),
        )
        return hide_payment(snapshot) or snapshot

    @activity.defn(name="void_payment")
    async def void_payment(self, reference: PaymentReference) -> PaymentSnapshot:
        snapshot = await self.ask(
            reference.provider,
            lambda provider: provider.cancel_payment(reference.provider_payment_id),
        )
        return hide_payment(snapshot) or snapshot

    @activity.defn(name="read_subscription")
    async def read_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot:
        snapshot = await self.ask(
            reference.provider,
            lambda provider: provider.get_subscription(
                reference.provider_customer_id, reference.provider_subscription_id
            ),
        )
        return hide_subscription(snapshot) or snapshot

    @activity.defn(name="cancel_subscription")
    async def cancel_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot:
        snapshot = await self.ask(
            reference.provider,
            lambda provider: provider.cancel_subscription(
                reference.provider_customer_id,
                reference.provider_subscription_id,
                at_period_end=reference.at_period_end,
            ),
        )
        return hide_subscription(snapshot) or snapshot

    @activity.defn(name="keep_subscription")
    async def keep_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot:
        snapshot = await self.ask(
            reference.provider,
            lambda provider: provider.keep_subscription(
                reference.provider_customer_id, reference.provider_subscription_id
            ),
        )
        return hide_subscription(snapshot) or snapshot

    async def attempt(
        self,
        request: AttemptRequest,
        prepare: Callable[[PaymentProvider, bool], Awaitable[str]],
        commit: Callable[[PaymentProvider, str], Awaitable[AttemptResult]],
    ) -> AttemptResult:
        beginning = await self._ledger.begin(request)
        if beginning.blocked:
            return results.nothing(request.attempt_id, request.provider, "another_attempt_is_open")
        if not beginning.fresh and beginning.outcome is OutcomeClass.NOT_ATTEMPTED:
            # Its result was lost on the way; why it came to nothing is only known in short.
            return results.nothing(
                request.attempt_id,
                request.provider,
                beginning.reason or results.UNDONE,
                FallbackReason.UNAVAILABLE,
            )
        if not beginning.fresh and beginning.provider_object_id is not None:
            # An earlier run of this activity died after it had prepared, and perhaps committed. Only
            # the provider knows; the workflow has it asked before anything else happens.
            return results.still_unknown(request.attempt_id, request.provider)
        result = await self._try(request, prepare, commit, retry=not beginning.fresh)
        await self._ledger.finish(result, server_time())
        return results.for_history(result)

    async def _try(
        self,
        request: AttemptRequest,
        prepare: Callable[[PaymentProvider, bool], Awaitable[str]],
        commit: Callable[[PaymentProvider, str], Awaitable[AttemptResult]],
        *,
        retry: bool,
    ) -> AttemptResult:
        provider = self._providers.get(request.provider)
        if provider is None:
            return results.nothing(
                request.attempt_id,
                request.provider,
                "provider_not_configured",
                FallbackReason.PROVIDER_NOT_CONFIGURED,
            )
        if not await self._breaker.admits(provider, server_time()):
            return results.nothing(
                request.attempt_id, request.provider, "circuit_open", FallbackReason.UNAVAILABLE
            )
        async with heartbeat():
            return await self._collect(request, provider, prepare, commit, retry=retry)

    async def _collect(
        self,
        request: AttemptRequest,
        provider: PaymentProvider,
        prepare: Callable[[PaymentProvider, bool], Awaitable[str]],
        commit: Callable[[PaymentProvider, str], Awaitable[AttemptResult]],
        *,
        retry: bool,
    ) -> AttemptResult:
        try:
            object_id = await _twice_when_lost(lambda again: prepare(provider, retry or again))
        except ProviderFailure as failure:
            await self._breaker.report(provider, failure, server_time())
            return outcomes.of_prepare_failure(request.attempt_id, request.provider, failure)
        if not await self._ledger.name_object(request.attempt_id, object_id):
            # Another run of this attempt was faster, or it was settled while this one was asleep.
            return results.still_unknown(request.attempt_id, request.provider)
        try:
            result = await commit(provider, object_id)
        except ProviderFailure as failure:
            await self._breaker.report(provider, failure, server_time())
            return outcomes.of_failure(request.attempt_id, request.provider, object_id, failure)
        await self._breaker.report(provider, None, server_time())
        return result

    async def ask(
        self, name: ProviderName, call: Callable[[PaymentProvider], Awaitable[Answer]]
    ) -> Answer:
        """A call that is safe to repeat: Temporal does so until the provider answers."""
        provider = self._providers.get(name)
        if provider is None:
            raise ApplicationError(f"{name} has no API key here", type="provider_not_configured")
        try:
            async with heartbeat():
                answer = await call(provider)
        except ProviderFailure as failure:
            await self._breaker.report(provider, failure, server_time())
            raise retryable(failure) from None
        await self._breaker.report(provider, None, server_time())
        return answer


def retryable(failure: ProviderFailure) -> ApplicationError:
    """The failure as Temporal should treat it: refusals end, everything else is asked again."""
    delay = failure.retry_after_seconds
    return ApplicationError(
        failure.message,
        type=str(failure.kind),
        non_retryable=failure.kind
        in {FailureKind.REJECTED, FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED},
        next_retry_delay=None if delay is None else timedelta(seconds=delay),
    )


async def _twice_when_lost(prepare: Callable[[bool], Awaitable[str]]) -> str:
    """Prepare again when the answer was lost: nothing of it can be paid, and the second call looks
    for what the first one made. Twice is what fits into the time a caller waits."""
    try:
        return await prepare(False)
    except ProviderFailure as failure:
        if failure.kind is not FailureKind.UNKNOWN:
            raise
    return await prepare(True)


@asynccontextmanager
async def heartbeat() -> AsyncIterator[None]:
    """Tell the server that this worker lives, so that a killed one is replaced within seconds."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def server_time() -> datetime:
    """The Temporal server's clock, which tests can move; never this machine's."""
    return activity.info().current_attempt_scheduled_time
