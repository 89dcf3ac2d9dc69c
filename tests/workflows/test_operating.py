"""What operators do by hand: never a second charge, whatever happens in the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import (
    InboxEvent,
    ProviderEvents,
    payment_workflow_id,
    resolve_workflow_id,
)
from models.events import EventKind, ProviderEvent
from models.operations import (
    AskNow,
    DecidedBy,
    Declaration,
    Declare,
    MarkPaid,
    ReissueVoucher,
    RetryNow,
)
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.storage.tables import AuditEntry, ChargeAttempt, Payment, new_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.api.support import eventually
from tests.support.books import attempts_of, invoices_of, live_references
from workflows.resolve_attempt import ResolveAttemptWorkflow
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WHO = {"actor": "key:abk_operator", "reason": "the customer called"}


def deposit(amount_minor: int = 19900, **changes: Any) -> MarkPaid:
    values: dict[str, Any] = {
        "amount_minor": amount_minor,
        "currency": "MXN",
        "reference": f"SPEI-{amount_minor}",
        "received_at": datetime.now(UTC) - HOUR,
        **WHO,
    }
    return MarkPaid(**values | changes)


async def refusal(update: Awaitable[object]) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await update
    return str(refused.value.cause)


async def who_and_why(world: World, terms: SubscriptionTerms, action: str) -> list[tuple[str, str]]:
    mine = AuditEntry.subscription_id == terms.subscription_id
    rows = await world.all(select(AuditEntry).where(mine, AuditEntry.action == action))
    return [(row.actor, row.after["reason"]) for row in rows]


async def pay(world: World, provider: str = "conekta") -> None:
    [reference] = live_references(world)
    await getattr(world.sandbox.state, provider).pay(reference, None)


async def outcomes(world: World, terms: SubscriptionTerms) -> list[str]:
    return [attempt.outcome for attempt in await attempts_of(world, terms)]


async def test_a_slip_is_replaced_and_the_old_one_is_dead(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    seen = live_references(world)
    for _ in range(terms.policy.vouchers_max):
        result = await handle.execute_update(
            SubscriptionWorkflow.reissue_voucher, ReissueVoucher(**WHO)
        )
        assert result.status == "incomplete"
        [live] = live_references(world)
        assert live not in seen, "it is another one"
        seen.append(live)
        await check_invariants(world)
    assert await outcomes(world, terms) == ["declined"] * 3 + ["pending"]
    assert await who_and_why(world, terms, "operator.reissue") == [tuple(WHO.values())] * 3

    await pay(world)
    await world.sleep(29 * DAY)
    [renewal] = live_references(world)
    result = await handle.execute_update(
        SubscriptionWorkflow.reissue_voucher, ReissueVoucher(**WHO)
    )
    assert result.status == "active"
    assert live_references(world) != [renewal], "a renewal's slip is replaced just as well"
    await check_invariants(world)


async def test_a_slip_that_is_paid_while_it_is_replaced_counts(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    await pay(world)
    result = await handle.execute_update(
        SubscriptionWorkflow.reissue_voucher, ReissueVoucher(**WHO)
    )
    assert result.status == "active"
    assert await outcomes(world, terms) == ["succeeded"]
    assert live_references(world) == []
    await check_invariants(world)


async def test_a_deposit_pays_the_invoice_and_voids_the_slip(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    mark = SubscriptionWorkflow.mark_paid
    wrong = [
        (deposit(20000), "lacks 199.00 MXN"),
        (deposit(currency="USD"), "lacks 199.00 MXN"),
        (deposit(received_at=datetime.now(UTC) + 400 * DAY), "not been received yet"),
    ]
    for command, words in wrong:
        assert words in await refusal(handle.execute_update(mark, command))
    assert len(live_references(world)) == 1, "what is refused changes nothing"

    part = await handle.execute_update(mark, deposit(9900))
    assert part.status == "incomplete"
    await world.sleep(HOUR)
    assert (await attempts_of(world, terms))[-1].amount_minor == 10000, "a slip for the rest"
    await check_invariants(world)
    assert "booked already" in await refusal(handle.execute_update(mark, deposit(9900)))

    result = await handle.execute_update(mark, deposit(10000))
    assert result.status == "active"
    assert live_references(world) == []
    [invoice] = await invoices_of(world, terms)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", 19900)
    booked = await world.all(select(Payment).order_by(Payment.amount_minor))
    assert [(p.kind, p.provider, p.provider_charge_id) for p in booked] == [
        ("out_of_band", None, "SPEI-9900"),
        ("out_of_band", None, "SPEI-10000"),
    ]
    assert await who_and_why(world, terms, "operator.mark_paid") == [tuple(WHO.values())] * 2
    await check_invariants(world)
    assert "no open invoice" in await refusal(handle.execute_update(mark, deposit()))

    world.payer.after = HOUR
    await world.sleep(35 * DAY)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid", "paid"]
    await check_invariants(world)


async def told(world: World, attempt: ChargeAttempt) -> ProviderEvents:
    """The webhook of the payment, as the dispatcher would bring it."""
    provider = world.providers.get(ProviderName.CONEKTA)
    assert provider is not None
    assert attempt.provider_object_id is not None
    snapshot = await provider.get_payment(attempt.provider_object_id)
    event = ProviderEvent(
        provider=ProviderName.CONEKTA,
        provider_event_id="evt_1",
        event_type="order.paid",
        kind=EventKind.PAYMENT,
        occurred_at=datetime.now(UTC),
        attempt_id=str(attempt.id),
        payment=snapshot,
    )
    return ProviderEvents(events=[InboxEvent(id=new_id(), event=event)])


@pytest.mark.parametrize("webhook_first", [True, False])
async def test_a_slip_that_is_paid_while_a_deposit_is_marked_counts_once(
    world: World, webhook_first: bool
) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    await pay(world)
    [attempt] = await attempts_of(world, terms)
    payment = world.client.get_workflow_handle(payment_workflow_id(attempt.id))
    events = await told(world, attempt)
    both: list[Awaitable[object]] = [
        payment.signal("provider_events", events),
        refusal(handle.execute_update(SubscriptionWorkflow.mark_paid, deposit())),
    ]
    answers = await asyncio.gather(*(both if webhook_first else both[::-1]))
    words = answers[1] if webhook_first else answers[0]
    assert "paid the slip in this very moment" in str(words) or "no open invoice" in str(words)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    [booked] = await world.all(select(Payment))
    assert booked.kind == "capture"
    await check_invariants(world)


async def test_nobody_has_to_wait_for_the_next_try(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    for provider in ("conekta", "stripe"):
        world.core.faults.add(Fault(provider=provider, mode=FaultMode.DOWN))
    handle, _ = await world.open(terms)
    assert live_references(world) == []
    world.core.faults.clear()
    await world.sleep(20 * HOUR)  # The circuits let a probe through again.
    retry = SubscriptionWorkflow.retry_now
    if not live_references(world):
        await handle.execute_update(retry, RetryNow(**WHO))
        assert await who_and_why(world, terms, "operator.retry") == [tuple(WHO.values())]
    assert len(live_references(world)) == 1
    assert "already on its way" in await refusal(handle.execute_update(retry, RetryNow(**WHO)))
    await check_invariants(world)


async def test_a_card_is_left_to_the_clock_of_its_provider(world: World) -> None:
    terms = await world.terms(
        Instrument.CARD,
        country="US",
        currency="USD",
        card="pm_card_visa_chargeDeclinedInsufficientFunds",
    )
    handle, _ = await world.open(terms)
    mark = handle.execute_update(SubscriptionWorkflow.mark_paid, deposit(currency="USD"))
    reissue = handle.execute_update(SubscriptionWorkflow.reissue_voucher, ReissueVoucher(**WHO))
    for update in (mark, reissue):
        assert "stripe bills this card" in await refusal(update)
    result = await handle.execute_update(SubscriptionWorkflow.retry_now, RetryNow(**WHO))
    assert result.status == "incomplete"
    assert await outcomes(world, terms) == ["declined", "declined"]
    await check_invariants(world)


@dataclass
class Lost:
    terms: SubscriptionTerms
    attempt: ChargeAttempt
    resolving: WorkflowHandle[ResolveAttemptWorkflow, Any]


@asynccontextmanager
async def lost(
    world: World, mode: FaultMode = FaultMode.APPLIED_THEN_TIMEOUT
) -> AsyncIterator[Lost]:
    """A voucher whose answer was lost an hour ago, at a provider that cannot be asked. At the end its
    caller has an answer, and the books agree."""
    charge = Fault(provider="conekta", operation="charges.create", mode=mode, count=1)
    world.core.faults.add(charge)
    world.core.faults.add(
        Fault(provider="conekta", operation="orders.retrieve", mode=FaultMode.DOWN)
    )
    terms = await world.terms(Instrument.OXXO)
    opening = asyncio.create_task(world.open(terms))
    await eventually(lambda: attempts_of(world, terms))
    await world.sleep(HOUR)
    [attempt] = await attempts_of(world, terms)
    assert attempt.outcome == OutcomeClass.UNKNOWN
    resolving: WorkflowHandle[ResolveAttemptWorkflow, Any] = world.client.get_workflow_handle(
        resolve_workflow_id(attempt.id)
    )
    yield Lost(terms, attempt, resolving)
    await opening
    await check_invariants(world)


async def test_a_lost_answer_is_asked_for_at_once(world: World) -> None:
    ask = ResolveAttemptWorkflow.ask_now
    async with lost(world) as it:
        first = await it.resolving.execute_update(ask, AskNow(**WHO))
        assert (first.outcome, first.decided_by) == (OutcomeClass.UNKNOWN, DecidedBy.NOBODY)
        assert "still does not answer" in first.detail
        world.core.faults.clear()
        second = await it.resolving.execute_update(ask, AskNow(**WHO))
        assert (second.outcome, second.decided_by) == (OutcomeClass.PENDING, DecidedBy.PROVIDER)
    assert len(live_references(world)) == 1
    assert await who_and_why(world, it.terms, "operator.ask") == [tuple(WHO.values())] * 2


async def test_an_operator_may_declare_that_nothing_was_executed(world: World) -> None:
    declare = ResolveAttemptWorkflow.declare
    async with lost(world, FaultMode.ERROR) as it:
        named = Declare(declared=Declaration.NOT_EXECUTED, provider_object_id="ord_1", **WHO)
        assert "only a success does" in await refusal(it.resolving.execute_update(declare, named))
        answer = await it.resolving.execute_update(
            declare, Declare(declared=Declaration.NOT_EXECUTED, **WHO)
        )
        told = (answer.outcome, answer.decided_by)
        assert told == (OutcomeClass.NOT_ATTEMPTED, DecidedBy.OPERATOR)
    tries = await attempts_of(world, it.terms)
    assert [(a.provider, a.outcome, a.reason) for a in tries] == [
        ("conekta", "not_attempted", "declared_not_executed"),
        ("stripe", "pending", None),
    ]
    assert await who_and_why(world, it.terms, "operator.declare") == [tuple(WHO.values())]


async def test_the_provider_overrules_a_declaration(world: World) -> None:
    async with lost(world) as it:
        world.core.faults.clear()
        answer = await it.resolving.execute_update(
            ResolveAttemptWorkflow.declare, Declare(declared=Declaration.NOT_EXECUTED, **WHO)
        )
        assert (answer.outcome, answer.decided_by) == (OutcomeClass.PENDING, DecidedBy.PROVIDER)
        assert answer.attempt_id == it.attempt.id
    assert len(live_references(world)) == 1


async def test_a_declared_success_is_believed_of_an_object_that_shows_it(world: World) -> None:
    declare = ResolveAttemptWorkflow.declare
    async with lost(world) as it:
        success = Declare(
            declared=Declaration.SUCCEEDED,
            provider_object_id=it.attempt.provider_object_id,
            **WHO,
        )
        unread = await it.resolving.execute_update(declare, success)
        assert (unread.outcome, unread.decided_by) == (OutcomeClass.UNKNOWN, DecidedBy.NOBODY)
        assert "does not show this object" in unread.detail

        await pay(world)
        world.core.faults.clear()
        # The engine's own question fails once more; what the operator names can be read.
        down = Fault(provider="conekta", operation="orders.retrieve", mode=FaultMode.DOWN, count=1)
        world.core.faults.add(down)
        answer = await it.resolving.execute_update(declare, success)
        told = (answer.outcome, answer.decided_by)
        assert told == (OutcomeClass.SUCCEEDED, DecidedBy.PROVIDER)
    assert (await world.subscription(it.terms.subscription_id)).status == "active"
