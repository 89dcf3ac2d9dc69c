"""How activities are called: one place for queues, timeouts and retry policies, by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import (
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import (
        AttemptRequest,
        AttemptResult,
        IssuePayment,
        PaymentReference,
        ProviderCalls,
        SettleAttempt,
    )
    from activities.signatures.operating import CheckDeclaration, DeclarationCheck, OperatorCalls
    from activities.signatures.plan_changes import ChangeProviderSubscription, PlanChangeCalls
    from activities.signatures.records import Records
    from activities.signatures.subscriptions import SubscriptionReference
    from models.commands import PROVIDER_TASK_QUEUES
    from models.disputes import risk_of
    from models.moments import Moment
    from models.outcomes import ProviderName
    from models.projections import ProjectionBatch
    from models.purchase import PurchaseTerms
    from models.snapshots import PaymentSnapshot, SubscriptionSnapshot
    from models.subscription import SubscriptionState, SubscriptionTerms

# A killed worker is noticed after this long without a heartbeat, and its activity runs elsewhere.
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# An attempt makes up to six calls, each bounded by the provider timeout (8 s by default).
ATTEMPT_TIMEOUT = timedelta(seconds=90)
READ_TIMEOUT = timedelta(seconds=30)
RECORD_TIMEOUT = timedelta(seconds=10)

# Only our own database can make an attempt fail as an activity; it comes back.
ATTEMPT_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
# A provider that is away is asked ever more patiently, without end: the answer is needed.
READ_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=5)
)
RECORD_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)

STATUS_KEY = SearchAttributeKey.for_keyword("SubscriptionStatus")
PROVIDER_KEY = SearchAttributeKey.for_keyword("Provider")
COUNTRY_KEY = SearchAttributeKey.for_keyword("Country")
PLAN_KEY = SearchAttributeKey.for_keyword("PlanId")
TENANT_KEY = SearchAttributeKey.for_keyword("TenantId")
ORGANIZATION_KEY = SearchAttributeKey.for_keyword("OrganizationId")
RISK_KEY = SearchAttributeKey.for_keyword("Risk")
NEXT_DUE_KEY = SearchAttributeKey.for_datetime("NextDue")
# All that a server has to know before a workflow of ours starts there.
SEARCH_ATTRIBUTE_KEYS: tuple[SearchAttributeKey[Any], ...] = (
    STATUS_KEY,
    PROVIDER_KEY,
    COUNTRY_KEY,
    PLAN_KEY,
    TENANT_KEY,
    ORGANIZATION_KEY,
    RISK_KEY,
    NEXT_DUE_KEY,
)


def search_attributes(
    terms: SubscriptionTerms, state: SubscriptionState, moment: Moment | None = None
) -> TypedSearchAttributes:
    """What operators filter by in the Temporal UI: ids and states, nothing personal."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(STATUS_KEY, str(state.status)),
        SearchAttributePair(PLAN_KEY, str(terms.plan_id)),
        SearchAttributePair(TENANT_KEY, str(terms.application_id)),
        SearchAttributePair(ORGANIZATION_KEY, str(terms.organization_id)),
    ]
    if state.provider is not None:
        pairs.append(SearchAttributePair(PROVIDER_KEY, str(state.provider)))
    if terms.country is not None:
        pairs.append(SearchAttributePair(COUNTRY_KEY, terms.country))
    risk = risk_of(state)
    if risk is not None:
        pairs.append(SearchAttributePair(RISK_KEY, risk))
    if moment is not None:
        pairs.append(SearchAttributePair(NEXT_DUE_KEY, moment.at))
    return TypedSearchAttributes(pairs)


def moved_attributes(
    terms: SubscriptionTerms, state: SubscriptionState, moment: Moment | None
) -> list[SearchAttributeUpdate[Any]]:
    """What a change of status or plan changes of them: one upsert, however many."""
    due = NEXT_DUE_KEY.value_set(moment.at) if moment else NEXT_DUE_KEY.value_unset()
    updates: list[SearchAttributeUpdate[Any]] = [
        STATUS_KEY.value_set(str(state.status)),
        PLAN_KEY.value_set(str(terms.plan_id)),
        due,
    ]
    if state.provider is not None:
        updates.append(PROVIDER_KEY.value_set(str(state.provider)))
    return updates


def slip_attributes(request: IssuePayment) -> TypedSearchAttributes:
    """Of a voucher's, transfer's or page's own workflow: it is due when it expires."""
    terms = request.terms
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(TENANT_KEY, str(terms.application_id)),
        SearchAttributePair(ORGANIZATION_KEY, str(terms.organization_id)),
        SearchAttributePair(PROVIDER_KEY, str(request.provider)),
        SearchAttributePair(NEXT_DUE_KEY, request.expires_at),
    ]
    if terms.country is not None:
        pairs.append(SearchAttributePair(COUNTRY_KEY, terms.country))
    return TypedSearchAttributes(pairs)


def provider_attributes(provider: ProviderName) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(PROVIDER_KEY, str(provider))])


def purchase_attributes(terms: PurchaseTerms) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(TENANT_KEY, str(terms.application_id)),
        SearchAttributePair(ORGANIZATION_KEY, str(terms.organization_id)),
    ]
    if terms.country is not None:
        pairs.append(SearchAttributePair(COUNTRY_KEY, terms.country))
    return TypedSearchAttributes(pairs)


def refusal_of(error: ActivityError) -> str:
    """Why a call came to nothing, in its provider's words. A cancelled one is raised again."""
    if is_cancelled_exception(error):
        raise error
    cause = error.cause
    return cause.message if isinstance(cause, ApplicationError) else "no answer"


async def call_attempt(method: Any, request: AttemptRequest, summary: str) -> AttemptResult:
    """One try at collecting money: one remote activity on the provider's queue."""
    result: AttemptResult = await workflow.execute_activity_method(
        method,
        request,
        task_queue=PROVIDER_TASK_QUEUES[request.provider],
        start_to_close_timeout=ATTEMPT_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=ATTEMPT_RETRY,
        summary=summary,
    )
    return result


async def call_settle(request: SettleAttempt) -> AttemptResult:
    result: AttemptResult = await workflow.execute_activity_method(
        ProviderCalls.settle_attempt,
        request,
        task_queue=PROVIDER_TASK_QUEUES[request.provider],
        start_to_close_timeout=ATTEMPT_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=ATTEMPT_RETRY,
        summary=f"ask {request.provider} what became of the attempt",
    )
    return result


async def call_check_declaration(check: CheckDeclaration) -> DeclarationCheck:
    found: DeclarationCheck = await workflow.execute_activity_method(
        OperatorCalls.check_declaration,
        check,
        task_queue=PROVIDER_TASK_QUEUES[check.provider],
        start_to_close_timeout=READ_TIMEOUT,
        retry_policy=ATTEMPT_RETRY,
        summary=f"read at {check.provider} what an operator declared",
    )
    return found


async def call_payment(
    method: Any, provider: ProviderName, provider_payment_id: str, summary: str
) -> PaymentSnapshot:
    snapshot: PaymentSnapshot = await workflow.execute_activity_method(
        method,
        PaymentReference(provider=provider, provider_payment_id=provider_payment_id),
        task_queue=PROVIDER_TASK_QUEUES[provider],
        start_to_close_timeout=READ_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=READ_RETRY,
        summary=summary,
    )
    return snapshot


async def call_subscription(
    method: Any, reference: SubscriptionReference, summary: str
) -> SubscriptionSnapshot:
    snapshot: SubscriptionSnapshot = await call_remote(method, reference, summary)
    return snapshot


async def call_remote(method: Any, reference: SubscriptionReference, summary: str) -> Any:
    """A call about a subscription that is safe to repeat, whatever it answers."""
    return await workflow.execute_activity_method(
        method,
        reference,
        task_queue=PROVIDER_TASK_QUEUES[reference.provider],
        start_to_close_timeout=READ_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=READ_RETRY,
        summary=summary,
    )


async def call_change(request: ChangeProviderSubscription) -> SubscriptionSnapshot:
    snapshot: SubscriptionSnapshot = await workflow.execute_activity_method(
        PlanChangeCalls.change_provider_subscription,
        request,
        task_queue=PROVIDER_TASK_QUEUES[request.provider],
        start_to_close_timeout=ATTEMPT_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=READ_RETRY,
        summary=f"sell {request.terms.offer.title} at {request.provider}",
    )
    return snapshot


async def call_record(batch: ProjectionBatch) -> None:
    row = batch.subscription
    await call_write(Records.record, batch, f"{row.status}, version {row.version}")


async def call_lookup(method: Any, request: Any, summary: str) -> Any:
    """Read our own database, within the workflow's task: a lookup that is done again does no harm."""
    return await workflow.execute_local_activity_method(
        method,
        request,
        start_to_close_timeout=RECORD_TIMEOUT,
        retry_policy=RECORD_RETRY,
        summary=summary,
    )


async def call_write(method: Any, request: Any, summary: str) -> Any:
    """Write to our own database. Never as a local activity: that would run before its decision stands in
    the history. A signal that comes meanwhile makes the server throw the workflow's task away, and the
    next one may decide otherwise about what is written already."""
    return await workflow.execute_activity_method(
        method,
        request,
        start_to_close_timeout=RECORD_TIMEOUT,
        retry_policy=RECORD_RETRY,
        summary=summary,
    )
