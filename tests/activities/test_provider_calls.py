"""One try at collecting money, against the real sandbox: what it leaves behind in the three books.

Result, ledger and the provider's book must agree (`check_books`) after declines, outages, lost answers
at every step, and a worker that dies at any moment and is replaced.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest
from temporalio.exceptions import ApplicationError

from activities.signatures.attempts import IssuePayment, PaymentReference
from models.outcomes import FallbackReason, Instrument, OutcomeClass, ProviderName
from models.snapshots import PaymentStatus
from models.storage.tables import ChargeAttempt, new_id
from sandbox.faults import Fault, FaultMode
from tests.activities.running import run
from tests.activities.stage import Killed, Stage

CONEKTA, STRIPE = ProviderName.CONEKTA, ProviderName.STRIPE
OXXO, SPEI = Instrument.OXXO, Instrument.SPEI
PENDING, DECLINED = OutcomeClass.PENDING, OutcomeClass.DECLINED
SUCCEEDED, UNKNOWN = OutcomeClass.SUCCEEDED, OutcomeClass.UNKNOWN
NOT_ATTEMPTED = OutcomeClass.NOT_ATTEMPTED

BY_HAND = [(CONEKTA, OXXO), (CONEKTA, SPEI), (STRIPE, OXXO), (STRIPE, SPEI)]
PREPARE = {
    CONEKTA: ["customers.create", "orders.create"],
    STRIPE: ["customers.create", "payment_intents.create"],
}
COMMIT = {CONEKTA: "charges.create", STRIPE: "payment_intents.confirm"}
PREPARING = [(provider, operation) for provider in PREPARE for operation in PREPARE[provider]]

LOST_COMMITMENTS = [
    *((provider, instrument, FaultMode.APPLIED_THEN_ERROR) for provider, instrument in BY_HAND),
    # An answer that never comes takes a whole timeout.
    (CONEKTA, OXXO, FaultMode.APPLIED_THEN_TIMEOUT),
    (STRIPE, OXXO, FaultMode.APPLIED_THEN_TIMEOUT),
]
AWAY = [FaultMode.DOWN, FaultMode.ERROR, FaultMode.RATE_LIMIT]

Moment = tuple[str, Literal["before", "after"]]
# Where a worker can die: nothing prepared, prepared but not named, named but not committed, committed
# but not written down.
DEATHS: list[Moment] = [
    ("prepare", "before"),
    ("prepare", "after"),
    ("commit", "before"),
    ("commit", "after"),
]

# Vouchers and transfers.


@pytest.mark.parametrize(("provider", "instrument"), BY_HAND)
async def test_something_to_pay_is_issued_and_written_down(
    stage: Stage, provider: ProviderName, instrument: Instrument
) -> None:
    request = stage.voucher(provider, instrument)
    result = await run(stage.calls.issue_payment, request)
    assert (result.outcome, result.reason) == (PENDING, None)
    assert result.next_action is not None
    assert result.payment is not None
    attempt = await stage.attempt(request.attempt_id)
    assert attempt.next_action == result.next_action.model_dump(mode="json")
    assert attempt.provider_object_id == result.payment.provider_payment_id
    assert attempt.finished_at is None
    [live] = stage.live(request.invoice.id)
    assert (live["provider"], live["amount_minor"]) == (provider, request.invoice.amount_minor)
    await stage.check_books(result)


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_only_what_is_still_owed_is_asked_for(stage: Stage, provider: ProviderName) -> None:
    request = stage.voucher(provider, invoice=stage.invoice(amount_paid_minor=5000))
    await run(stage.calls.issue_payment, request)
    [live] = stage.live(request.invoice.id)
    assert live["amount_minor"] == request.invoice.amount_minor - 5000


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_a_refusal_is_a_result(stage: Stage, provider: ProviderName) -> None:
    stage.fault(provider, COMMIT[provider], FaultMode.DECLINE)
    request = stage.voucher(provider)
    result = await run(stage.calls.issue_payment, request)
    assert result.outcome is DECLINED
    assert result.decline is not None
    assert result.fallback_reason is None, "a decline never goes to another provider"
    await stage.check_books(result)


@pytest.mark.parametrize("mode", AWAY)
@pytest.mark.parametrize(("provider", "operation"), PREPARING)
async def test_an_outage_before_anything_was_payable_is_no_attempt(
    stage: Stage, provider: ProviderName, operation: str, mode: FaultMode
) -> None:
    stage.fault(provider, operation, mode)
    result = await run(stage.calls.issue_payment, stage.voucher(provider))
    assert result.outcome is NOT_ATTEMPTED
    assert result.fallback_reason is not None, "another provider may be asked"
    await stage.check_books(result)


@pytest.mark.parametrize(("provider", "operation"), PREPARING)
async def test_one_lost_answer_while_preparing_does_no_harm(
    stage: Stage, provider: ProviderName, operation: str
) -> None:
    stage.fault(provider, operation, FaultMode.APPLIED_THEN_ERROR, count=1)
    result = await run(stage.calls.issue_payment, stage.voucher(provider))
    assert result.outcome is PENDING
    await stage.check_books(result)
    assert made(stage, provider) == (1, 1), "the second call found what the first one had made"


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_answers_that_stay_lost_while_preparing_are_no_attempt(
    stage: Stage, provider: ProviderName
) -> None:
    stage.fault(provider, PREPARE[provider][1], FaultMode.APPLIED_THEN_ERROR)
    # Without it the second call finds what the first one made, and goes on.
    stage.fault(CONEKTA, "orders.list", FaultMode.ERROR)
    result = await run(stage.calls.issue_payment, stage.voucher(provider))
    assert result.outcome is NOT_ATTEMPTED
    assert result.fallback_reason is FallbackReason.API_ERROR
    await stage.check_books(result)


@pytest.mark.parametrize(("provider", "instrument", "mode"), LOST_COMMITMENTS)
async def test_a_lost_commitment_is_unknown_and_then_adopted(
    stage: Stage, provider: ProviderName, instrument: Instrument, mode: FaultMode
) -> None:
    stage.fault(provider, COMMIT[provider], mode, count=1)
    request = stage.voucher(provider, instrument)
    result = await run(stage.calls.issue_payment, request)
    assert result.outcome is UNKNOWN
    assert (await stage.attempt(request.attempt_id)).outcome == "unknown"
    assert len(stage.live(request.invoice.id)) == 1

    settled = await stage.settle(request.attempt_id, provider)
    assert settled.outcome is PENDING
    assert settled.next_action is not None, "the customer can be told after all"
    await stage.check_books(settled)


@pytest.mark.parametrize("mode", [FaultMode.DOWN, FaultMode.ERROR])
@pytest.mark.parametrize(("provider", "instrument"), BY_HAND)
async def test_a_commitment_that_did_not_happen_is_undone(
    stage: Stage, provider: ProviderName, instrument: Instrument, mode: FaultMode
) -> None:
    """A 5xx says nothing; asking says that nothing happened, and cancelling makes that final."""
    stage.fault(provider, COMMIT[provider], mode, count=1)
    request = stage.voucher(provider, instrument)
    assert (await run(stage.calls.issue_payment, request)).outcome is UNKNOWN
    settled = await stage.settle(request.attempt_id, provider)
    assert settled.outcome is NOT_ATTEMPTED
    await stage.check_books(settled)
    await nothing_can_be_added(stage, request)


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_too_many_requests_is_known_not_to_have_happened(
    stage: Stage, provider: ProviderName
) -> None:
    stage.fault(provider, COMMIT[provider], FaultMode.RATE_LIMIT)
    result = await run(stage.calls.issue_payment, stage.voucher(provider))
    assert (result.outcome, result.fallback_reason) == (NOT_ATTEMPTED, FallbackReason.API_ERROR)
    await stage.check_books(result)


@pytest.mark.parametrize("mode", AWAY)
async def test_a_voucher_that_was_not_read_back_is_unknown(stage: Stage, mode: FaultMode) -> None:
    """Conekta's answer to a charge holds one network only, so the order is read afterwards."""
    stage.fault(CONEKTA, "orders.retrieve", mode, count=1)
    result = await run(stage.calls.issue_payment, stage.voucher(CONEKTA))
    assert result.outcome is UNKNOWN
    await stage.check_books(await stage.resolved(result))


async def test_a_provider_without_a_key_is_no_attempt(stage: Stage) -> None:
    request = stage.voucher(CONEKTA)
    result = await run(stage.without_providers().issue_payment, request)
    assert result.outcome is NOT_ATTEMPTED
    assert result.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED
    await stage.check_books(result)


async def test_a_second_attempt_does_not_start_while_the_first_is_open(stage: Stage) -> None:
    first = stage.voucher(CONEKTA)
    await run(stage.calls.issue_payment, first)
    second = stage.voucher(STRIPE, invoice=first.invoice)
    result = await run(stage.calls.issue_payment, second)
    assert (result.outcome, result.reason) == (NOT_ATTEMPTED, "another_attempt_is_open")
    assert [c["provider"] for c in stage.charges(first.invoice.id)] == ["conekta"]


async def test_of_attempts_at_one_invoice_that_start_together_one_is_live(stage: Stage) -> None:
    bill = stage.invoice()
    requests = [stage.voucher(name, invoice=bill) for name in (CONEKTA, STRIPE, CONEKTA, STRIPE)]
    results = await asyncio.gather(*(run(stage.calls.issue_payment, each) for each in requests))
    assert sorted(r.outcome for r in results) == [NOT_ATTEMPTED] * 3 + [PENDING]
    assert len(stage.live(bill.id)) == 1


# Workers that die.


@pytest.mark.parametrize(("step", "when"), DEATHS)
@pytest.mark.parametrize(("provider", "instrument"), BY_HAND)
async def test_a_worker_that_died_anywhere_leaves_one_live_voucher(
    stage: Stage,
    provider: ProviderName,
    instrument: Instrument,
    step: str,
    when: Literal["before", "after"],
) -> None:
    request = stage.voucher(provider, instrument)
    with pytest.raises(Killed):
        await run(stage.interrupted(provider, f"{step}_payment", when).issue_payment, request)
    again = await run(stage.calls.issue_payment, request, attempt=2)
    settled = await stage.resolved(again)
    await stage.check_books(settled)
    assert made(stage, provider) == (1, 1), "the second run found what the first one had made"
    if (step, when) == ("commit", "before"):
        assert settled.outcome is NOT_ATTEMPTED, "it was never made payable, and now never will be"
        successor = stage.voucher(provider, instrument, invoice=request.invoice)
        settled = await run(stage.calls.issue_payment, successor)
    assert settled.outcome is PENDING
    assert len(stage.live(request.invoice.id)) == 1


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_a_result_that_was_lost_on_its_way_is_found_again(
    stage: Stage, provider: ProviderName
) -> None:
    """Everything was done and written; only Temporal did not hear of it."""
    request = stage.voucher(provider)
    first = await run(stage.calls.issue_payment, request)
    again = await stage.resolved(await run(stage.calls.issue_payment, request, attempt=2))
    assert (again.outcome, again.next_action) == (PENDING, first.next_action)
    await stage.check_books(again)


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_an_attempt_that_ended_in_nothing_does_not_start_over(
    stage: Stage, provider: ProviderName
) -> None:
    """`not_attempted` is written, the result is lost, the provider comes back, the activity runs
    again. The ledger lets other attempts begin by now, so this one must stay what it is."""
    request = stage.voucher(provider)
    stage.fault(provider, "*", FaultMode.DOWN)
    assert (await run(stage.calls.issue_payment, request)).outcome is NOT_ATTEMPTED
    stage.core.faults.clear()
    again = await stage.resolved(await run(stage.calls.issue_payment, request, attempt=2))
    assert again.outcome is NOT_ATTEMPTED
    assert again.fallback_reason is not None
    await stage.check_books(again)


async def test_a_key_that_is_gone_does_not_unmake_a_voucher(stage: Stage) -> None:
    """The worker that takes over was started without the key: a live voucher is there all the same,
    so to say `not_attempted` would let another provider issue a second one."""
    request = stage.voucher(CONEKTA)
    with pytest.raises(Killed):
        await run(stage.interrupted(CONEKTA, "commit_payment", "after").issue_payment, request)
    again = await run(stage.without_providers().issue_payment, request, attempt=2)
    assert again.outcome is UNKNOWN
    assert (await stage.attempt(request.attempt_id)).outcome == "unknown"
    fallback = stage.voucher(STRIPE, invoice=request.invoice)
    await run(stage.calls.issue_payment, fallback)
    assert len(stage.live(request.invoice.id)) == 1


@pytest.mark.parametrize(("provider", "instrument"), BY_HAND)
async def test_two_runs_of_one_attempt_issue_one_voucher(
    stage: Stage, provider: ProviderName, instrument: Instrument
) -> None:
    """A worker that hung is replaced after its heartbeat fails, and then wakes up again."""
    request = stage.voucher(provider, instrument)
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def sleep() -> None:
        asleep.set()
        await wake.wait()

    hung = stage.interrupted(provider, "prepare_payment", "before", sleep)
    first = asyncio.create_task(run(hung.issue_payment, request))
    await asleep.wait()
    second = await run(stage.calls.issue_payment, request, attempt=2)
    assert second.outcome is PENDING
    wake.set()
    await first
    assert len(stage.live(request.invoice.id)) == 1, "the customer has one slip"
    attempt = await stage.attempt(request.attempt_id)
    assert second.payment is not None
    assert attempt.provider_object_id == second.payment.provider_payment_id


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_a_worker_that_wakes_up_after_its_attempt_was_settled_does_nothing(
    stage: Stage, provider: ProviderName
) -> None:
    """Settled as never prepared means that other attempts may begin: nothing of it may follow."""
    request = stage.voucher(provider)
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def sleep() -> None:
        asleep.set()
        await wake.wait()

    hung = stage.interrupted(provider, "prepare_payment", "after", sleep)
    first = asyncio.create_task(run(hung.issue_payment, request))
    await asleep.wait()
    settled = await stage.settle(request.attempt_id, provider)
    assert settled.outcome is NOT_ATTEMPTED
    wake.set()
    await first
    assert stage.live(request.invoice.id) == []
    await stage.check_books(settled)


# Settling.


async def test_settling_what_was_never_prepared_asks_nobody(stage: Stage) -> None:
    request = stage.voucher(CONEKTA)
    with pytest.raises(Killed):
        await run(stage.interrupted(CONEKTA, "prepare_payment", "before").issue_payment, request)
    stage.fault("conekta", "*", FaultMode.DOWN)
    settled = await stage.settle(request.attempt_id, CONEKTA)
    assert (settled.outcome, settled.reason) == (NOT_ATTEMPTED, "never_prepared")
    await stage.check_books(settled)


async def test_settling_a_stranger_says_that_nothing_was_attempted(stage: Stage) -> None:
    assert (await stage.settle(new_id(), STRIPE)).outcome is NOT_ATTEMPTED


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_settling_waits_while_the_provider_is_away(
    stage: Stage, provider: ProviderName
) -> None:
    request = stage.voucher(provider)
    with pytest.raises(Killed):
        await run(stage.interrupted(provider, "commit_payment", "after").issue_payment, request)
    stage.fault(provider, "*", FaultMode.DOWN)
    assert (await stage.settle(request.attempt_id, provider)).outcome is UNKNOWN
    assert (await stage.attempt(request.attempt_id)).outcome == "unknown"
    stage.core.faults.clear()
    await stage.check_books(await stage.settle(request.attempt_id, provider))


@pytest.mark.parametrize(("provider", "instrument"), BY_HAND)
async def test_settling_adopts_what_was_paid_meanwhile(
    stage: Stage, provider: ProviderName, instrument: Instrument
) -> None:
    request = stage.voucher(provider, instrument)
    with pytest.raises(Killed):
        await run(stage.interrupted(provider, "commit_payment", "after").issue_payment, request)
    await stage.pay(request.invoice.id)
    settled = await stage.settle(request.attempt_id, provider)
    assert settled.outcome is SUCCEEDED
    assert settled.payment is not None
    assert [c.amount_minor for c in settled.payment.captures] == [request.invoice.amount_minor]
    await stage.check_books(settled)


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_settling_again_says_the_same(stage: Stage, provider: ProviderName) -> None:
    """The first answer was lost on its way to Temporal. What it undid is undone, not declined."""
    request = stage.voucher(provider)
    with pytest.raises(Killed):
        await run(stage.interrupted(provider, "commit_payment", "before").issue_payment, request)
    first = await stage.settle(request.attempt_id, provider)
    again = await stage.settle(request.attempt_id, provider)
    assert (first.outcome, again.outcome) == (NOT_ATTEMPTED, NOT_ATTEMPTED)
    await stage.check_books(again)


@pytest.mark.parametrize(
    ("provider", "cancel"), [(CONEKTA, "orders.cancel"), (STRIPE, "payment_intents.cancel")]
)
@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
async def test_undoing_whose_answer_is_lost_is_no_decline(
    stage: Stage, provider: ProviderName, cancel: str, mode: FaultMode
) -> None:
    """Asked again, the slip is canceled: by us, and nobody had seen it."""
    stage.fault(provider, COMMIT[provider], FaultMode.DOWN, count=1)
    stage.fault(provider, cancel, mode, count=1)
    request = stage.voucher(provider)
    assert (await run(stage.calls.issue_payment, request)).outcome is UNKNOWN
    assert (await stage.settle(request.attempt_id, provider)).outcome is UNKNOWN
    settled = await stage.settle(request.attempt_id, provider)
    assert settled.outcome is NOT_ATTEMPTED
    await stage.check_books(settled)


# Reading and voiding.


@pytest.mark.parametrize("provider", [CONEKTA, STRIPE])
async def test_a_voided_voucher_is_dead(stage: Stage, provider: ProviderName) -> None:
    request = stage.voucher(provider)
    issued = await run(stage.calls.issue_payment, request)
    assert issued.provider_object_id is not None
    reference = PaymentReference(provider=provider, provider_payment_id=issued.provider_object_id)
    for _ in range(2):
        voided = await run(stage.calls.void_payment, reference)
        assert voided.status is PaymentStatus.CANCELED
    assert stage.live(request.invoice.id) == []


async def test_voiding_too_late_says_that_it_was_paid(stage: Stage) -> None:
    request = stage.voucher(CONEKTA)
    issued = await run(stage.calls.issue_payment, request)
    await stage.pay(request.invoice.id)
    reference = PaymentReference(
        provider=CONEKTA, provider_payment_id=str(issued.provider_object_id)
    )
    assert (await run(stage.calls.void_payment, reference)).status is PaymentStatus.SUCCEEDED
    assert (await run(stage.calls.read_payment, reference)).status is PaymentStatus.SUCCEEDED


async def test_reading_is_repeated_by_temporal_and_a_missing_object_is_not(stage: Stage) -> None:
    stage.fault("conekta", "orders.retrieve", FaultMode.DOWN, count=1)
    reference = PaymentReference(provider=CONEKTA, provider_payment_id="ord_unknown")
    with pytest.raises(ApplicationError) as away:
        await run(stage.calls.read_payment, reference)
    assert (away.value.type, away.value.non_retryable) == ("unknown", False)
    with pytest.raises(ApplicationError) as missing:
        await run(stage.calls.read_payment, reference)
    assert (missing.value.type, missing.value.non_retryable) == ("not_found", True)


async def test_a_rate_limit_says_when_to_come_back(stage: Stage) -> None:
    slow_down = Fault(provider="conekta", mode=FaultMode.RATE_LIMIT, seconds=7)
    stage.core.faults.add(slow_down)
    reference = PaymentReference(provider=CONEKTA, provider_payment_id="ord_1")
    with pytest.raises(ApplicationError) as refused:
        await run(stage.calls.read_payment, reference)
    assert refused.value.next_retry_delay == timedelta(seconds=7)
    assert not refused.value.non_retryable


def made(stage: Stage, provider: ProviderName) -> tuple[int, int]:
    """How many customers, and how many things to pay, there are at the provider."""
    payments = "orders" if provider is CONEKTA else "payment_intents"
    names = ("customers", payments)
    customers, payables = (len(stage.core.collection(provider, name)) for name in names)
    return customers, payables


async def nothing_can_be_added(stage: Stage, request: IssuePayment) -> None:
    """The lost request reaches the provider after all, long after its attempt was settled."""
    provider = stage.providers.get(request.provider)
    assert provider is not None
    attempt = await stage.attempt(request.attempt_id)
    assert attempt.provider_object_id is not None
    snapshot = await provider.get_payment(attempt.provider_object_id)
    assert snapshot.status is PaymentStatus.CANCELED
    attempts = await stage.books.all(ChargeAttempt)
    assert [a.outcome for a in attempts] == ["not_attempted"]
