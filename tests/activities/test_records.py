"""One step of a workflow is one transaction: all of it, once, and never an older one over a newer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from activities.late_money import InboxActivities
from activities.records import RecordActivities
from activities.signatures.records import Acknowledgement, AttemptQuestion, RouteRequest
from models.calendar import BillingInterval
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.projections import (
    AppliedEvent,
    AttemptProjection,
    AuditProjection,
    FallbackProjection,
    InvoiceProjection,
    OutboundProjection,
    PaymentProjection,
    ProjectionBatch,
    SubscriptionProjection,
)
from models.states import SubscriptionStatus
from models.storage.tables import (
    AuditEntry,
    Base,
    ChargeAttempt,
    FallbackEvent,
    Invoice,
    OutboundEvent,
    Payment,
    WebhookEvent,
    new_id,
)
from providers.registry import ProviderRegistry
from tests.activities.inbox import received
from tests.activities.running import run
from tests.storage.books import AMOUNT, NOW, Books

MINUTE = timedelta(minutes=1)
WRITTEN: list[type[Base]] = [
    Invoice,
    ChargeAttempt,
    Payment,
    FallbackEvent,
    AuditEntry,
    OutboundEvent,
]


@pytest.fixture
def records(books: Books) -> RecordActivities:
    return RecordActivities(books.sessions, ProviderRegistry({}))


@pytest.fixture
def inbox(books: Books) -> InboxActivities:
    return InboxActivities(books.sessions)


def row(books: Books, version: int, **changes: Any) -> SubscriptionProjection:
    usual = {
        "id": books.subscription_id,
        "version": version,
        "status": SubscriptionStatus.ACTIVE,
        "provider": ProviderName.CONEKTA,
        "provider_subscription_id": None,
        "provider_customer_id": None,
        "payment_method_id": None,
        "current_period_start": NOW,
        "current_period_end": NOW + timedelta(days=30),
        "paid_ahead_until": None,
        "trial_end": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "access_until": NOW + timedelta(days=30),
        "pending_change": None,
        "plan_id": books.plan_id,
        "billing_interval": BillingInterval.MONTHLY,
        "quantity": 1,
        "amount_minor": AMOUNT,
        "credit_minor": 0,
        "next_step": "open_invoice",
        "next_step_at": NOW + timedelta(days=27),
    }
    return SubscriptionProjection.model_validate({**usual, **changes})


def batch(books: Books, version: int, **changes: Any) -> ProjectionBatch:
    usual = {
        "application_id": books.application_id,
        "organization_id": books.organization_id,
        "subscription": row(books, version),
        "recorded_at": NOW + version * MINUTE,
    }
    return ProjectionBatch.model_validate({**usual, **changes})


def paid_invoice(**changes: Any) -> InvoiceProjection:
    usual = {
        "id": new_id(),
        "provider": ProviderName.CONEKTA,
        "amount_minor": AMOUNT,
        "amount_paid_minor": AMOUNT,
        "currency": "MXN",
        "status": "paid",
        "invoice_date": NOW,
        "due_date": NOW,
        "paid_at": NOW,
    }
    return InvoiceProjection.model_validate({**usual, **changes})


def attempt_of(invoice_id: UUID, outcome: OutcomeClass, **changes: Any) -> AttemptProjection:
    usual = {
        "id": new_id(),
        "invoice_id": invoice_id,
        "provider": ProviderName.CONEKTA,
        "instrument": Instrument.OXXO,
        "amount_minor": AMOUNT,
        "currency": "MXN",
        "outcome": outcome,
        "started_at": NOW,
        "finished_at": NOW,
    }
    return AttemptProjection.model_validate({**usual, **changes})


def capture_of(invoice_id: UUID, **changes: Any) -> PaymentProjection:
    usual = {
        "id": new_id(),
        "invoice_id": invoice_id,
        "provider": ProviderName.CONEKTA,
        "provider_charge_id": "ch_1",
        "kind": "capture",
        "amount_minor": AMOUNT,
        "applied_minor": AMOUNT,
        "currency": "MXN",
        "occurred_at": NOW,
    }
    return PaymentProjection.model_validate({**usual, **changes})


async def full_batch(books: Books, version: int) -> ProjectionBatch:
    """A step that writes one row of everything, and deals with one webhook."""
    invoice = paid_invoice()
    attempt = attempt_of(invoice.id, OutcomeClass.SUCCEEDED)
    return batch(
        books,
        version,
        invoices=[invoice],
        attempts=[attempt],
        payments=[capture_of(invoice.id, attempt_id=attempt.id)],
        fallbacks=[
            FallbackProjection(
                id=new_id(),
                invoice_id=invoice.id,
                attempted_provider=ProviderName.CONEKTA,
                fallback_provider=ProviderName.STRIPE,
                reason="timeout",
                timestamp=NOW,
            )
        ],
        audit=[
            AuditProjection(
                id=new_id(), actor="engine", action="payment_succeeded", before={}, after={}
            )
        ],
        outbound=[OutboundProjection(id=new_id(), type="invoice.paid", data={})],
        applied_events=[AppliedEvent(id=await received(books), disposition="applied")],
    )


async def counts(books: Books) -> dict[str, int]:
    return {table.__tablename__: len(await books.all(table)) for table in WRITTEN}


async def inbox_row(books: Books) -> WebhookEvent:
    [event] = await books.all(WebhookEvent)
    return event


# Recording a step.


async def test_everything_of_a_step_is_written(books: Books, records: RecordActivities) -> None:
    step = await full_batch(books, 1)
    await run(records.record, step)
    subscription = await books.subscription()
    assert await counts(books) == dict.fromkeys((t.__tablename__ for t in WRITTEN), 1)
    written = {name: getattr(subscription, name) for name in step.subscription.model_dump()}
    assert written == step.subscription.model_dump()
    assert subscription.updated_at == step.recorded_at
    event = await inbox_row(books)
    assert (event.applied_at, event.disposition) == (step.recorded_at, "applied")
    assert event.last_error is None
    [entry] = await books.all(AuditEntry)
    assert (entry.version, entry.at) == (1, step.recorded_at)
    owners = [getattr(row, "application_id", None) for t in WRITTEN for row in await books.all(t)]
    assert set(owners) == {books.application_id}


async def test_a_step_is_applied_once(books: Books, records: RecordActivities) -> None:
    """A local activity whose completion was lost runs again with the same batch."""
    step = await full_batch(books, 1)
    for _ in range(3):
        await run(records.record, step)
    assert await counts(books) == dict.fromkeys((t.__tablename__ for t in WRITTEN), 1)


@pytest.mark.parametrize("version", [1, 2])
async def test_an_older_or_equal_version_changes_nothing(
    books: Books, records: RecordActivities, version: int
) -> None:
    await run(records.record, batch(books, 2))
    stale = await full_batch(books, version)
    changed = row(books, version, status=SubscriptionStatus.PAST_DUE, next_step=None)
    await run(records.record, stale.model_copy(update={"subscription": changed}))
    subscription = await books.subscription()
    assert (subscription.version, subscription.status) == (2, "active")
    assert subscription.next_step == "open_invoice"
    assert sum((await counts(books)).values()) == 0
    assert (await inbox_row(books)).applied_at is None, "it is signalled again"


async def test_a_newer_version_may_skip_numbers(books: Books, records: RecordActivities) -> None:
    await run(records.record, batch(books, 7))
    assert (await books.subscription()).version == 7


@pytest.mark.parametrize(
    "broken",
    [
        {"payments": [capture_of(new_id(), provider_charge_id="ch_2")]},
        {"attempts": [attempt_of(new_id(), OutcomeClass.SUCCEEDED)]},
        {
            "fallbacks": [
                FallbackProjection(
                    id=new_id(),
                    invoice_id=new_id(),
                    attempted_provider=ProviderName.CONEKTA,
                    fallback_provider=ProviderName.STRIPE,
                    reason="timeout",
                    timestamp=NOW,
                )
            ]
        },
        {"invoices": [paid_invoice(amount_paid_minor=AMOUNT + 1)]},
    ],
    ids=["payment", "attempt", "fallback", "invoice"],
)
async def test_a_step_that_fails_in_the_middle_leaves_nothing(
    books: Books, records: RecordActivities, broken: dict[str, Any]
) -> None:
    """Each part names an invoice that does not exist, or is impossible: the database refuses it."""
    step = await full_batch(books, 1)
    [[name, rows]] = broken.items()
    half_broken = step.model_copy(update={name: [*getattr(step, name), *rows]})
    with pytest.raises(IntegrityError):
        await run(records.record, half_broken)
    subscription = await books.subscription()
    assert (subscription.version, subscription.status) == (0, "incomplete")
    assert sum((await counts(books)).values()) == 0
    assert (await inbox_row(books)).applied_at is None

    await run(records.record, step)
    assert await counts(books) == dict.fromkeys((t.__tablename__ for t in WRITTEN), 1)


async def test_a_step_whose_acknowledgement_fails_leaves_nothing(
    books: Books, records: RecordActivities
) -> None:
    """The last statement of the transaction fails: here the database refuses the inbox's change."""
    step = await full_batch(books, 1)
    constraint = "CONSTRAINT never_applied"
    await change(books, f"ADD {constraint} CHECK (applied_at IS NULL)")
    try:
        with pytest.raises(IntegrityError, match="never_applied"):
            await run(records.record, step)
    finally:
        await change(books, f"DROP {constraint}")
    assert (await books.subscription()).version == 0
    assert sum((await counts(books)).values()) == 0


async def change(books: Books, what: str) -> None:
    async with books.sessions.begin() as session:
        await session.execute(text(f"ALTER TABLE webhook_events {what}"))


async def test_money_that_is_heard_of_twice_is_booked_once(
    books: Books, records: RecordActivities
) -> None:
    """By two steps: the webhook told it, then reading the order told it again."""
    invoice = paid_invoice()
    first = capture_of(invoice.id)
    again = capture_of(invoice.id, applied_minor=0)
    refund = capture_of(invoice.id, kind="refund")
    await run(records.record, batch(books, 1, invoices=[invoice], payments=[first]))
    await run(records.record, batch(books, 2, payments=[again, refund]))
    booked = [(p.id, p.kind, p.applied_minor) for p in await books.all(Payment)]
    assert sorted(booked) == sorted([(first.id, "capture", AMOUNT), (refund.id, "refund", AMOUNT)])


async def test_an_invoice_is_changed_in_place_and_unknown_fields_stay(
    books: Books, records: RecordActivities
) -> None:
    pending = paid_invoice(
        status="pending",
        amount_paid_minor=0,
        paid_at=None,
        hosted_invoice_url="https://pay.example/1",
        period_start=NOW,
        period_end=NOW + timedelta(days=30),
    )
    paid = paid_invoice(id=pending.id, invoice_date=NOW + MINUTE, due_date=NOW + MINUTE)
    await run(records.record, batch(books, 1, invoices=[pending]))
    await run(records.record, batch(books, 2, invoices=[paid]))
    [invoice] = await books.all(Invoice)
    assert (invoice.status, invoice.amount_paid_minor, invoice.paid_at) == ("paid", AMOUNT, NOW)
    assert invoice.hosted_invoice_url == "https://pay.example/1"
    assert (invoice.period_start, invoice.invoice_date) == (NOW, NOW)
    assert invoice.due_date == NOW + MINUTE


async def test_what_was_refunded_is_not_forgotten_by_the_next_step(
    books: Books, records: RecordActivities
) -> None:
    """A step that says nothing of refunds leaves them as they are."""
    id_ = await books.invoice(amount_paid_minor=AMOUNT, amount_refunded_minor=500, status="paid")
    await run(records.record, batch(books, 1, invoices=[paid_invoice(id=id_)]))
    [invoice] = await books.all(Invoice)
    assert invoice.amount_refunded_minor == 500


@pytest.mark.parametrize("later", sorted(set(OutcomeClass) - {OutcomeClass.SUCCEEDED}))
async def test_an_attempt_never_goes_back_from_succeeded(
    books: Books, records: RecordActivities, later: OutcomeClass
) -> None:
    invoice_id = await books.invoice()
    attempt_id = await books.attempt(invoice_id, OutcomeClass.SUCCEEDED)
    stale = attempt_of(invoice_id, later, id=attempt_id, reason="stale")
    await run(records.record, batch(books, 1, attempts=[stale]))
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.reason) == ("succeeded", None)
    assert (await books.subscription()).version == 1, "the rest of the step is written"


async def test_an_attempt_of_the_ledger_gets_its_outcome(
    books: Books, records: RecordActivities
) -> None:
    invoice_id = await books.invoice()
    attempt_id = await books.attempt(
        invoice_id,
        OutcomeClass.PENDING,
        provider_object_id="ord_1",
        next_action={"type": "pay_voucher"},
    )
    declined = attempt_of(invoice_id, OutcomeClass.DECLINED, id=attempt_id, reason="expired")
    await run(records.record, batch(books, 1, attempts=[declined]))
    late = attempt_of(invoice_id, OutcomeClass.SUCCEEDED, id=attempt_id, reason="paid_late")
    await run(records.record, batch(books, 2, attempts=[late]))
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.reason) == ("succeeded", "paid_late")
    assert (attempt.provider_object_id, attempt.next_action) == ("ord_1", None)
    assert attempt.finished_at == NOW


async def test_a_try_of_the_providers_own_clock_is_written_down(
    books: Books, records: RecordActivities
) -> None:
    invoice = paid_invoice()
    theirs = attempt_of(invoice.id, OutcomeClass.DECLINED, provider=ProviderName.STRIPE)
    step = batch(books, 1, invoices=[invoice], attempts=[theirs])
    await run(records.record, step)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.id, attempt.outcome, attempt.provider) == (theirs.id, "declined", "stripe")


async def test_an_event_is_acknowledged_once(books: Books, records: RecordActivities) -> None:
    event_id = await received(books)
    for version, word in [(1, "applied"), (2, "nothing_new")]:
        applied = [AppliedEvent(id=event_id, disposition=word)]
        await run(records.record, batch(books, version, applied_events=applied))
    event = await inbox_row(books)
    assert (event.disposition, event.applied_at) == ("applied", NOW + MINUTE)


# Routing.


@pytest.mark.parametrize("stored", [True, False])
async def test_the_route_is_chosen_from_what_this_worker_has(
    books: Books, records: RecordActivities, stored: bool
) -> None:
    """Without any key everybody is refused, each with a reason, and nothing is raised."""
    terms = books.terms.model_copy(update={"payment_method_id": new_id() if stored else None})
    decision = await run(records.choose_route, RouteRequest(terms=terms))
    assert (decision.rule, decision.candidates) == ("mexico", [])
    assert [(r.provider, r.code) for r in decision.refusals] == [
        ("conekta", "provider_not_configured"),
        ("stripe", "provider_not_configured"),
    ]


async def test_acknowledging_is_done_once(books: Books, inbox: InboxActivities) -> None:
    event_id = await received(books)
    for minutes, word in [(1, "read_back"), (2, "nothing_new")]:
        applied = [AppliedEvent(id=event_id, disposition=word)]
        await run(inbox.acknowledge, Acknowledgement(events=applied, at=NOW + minutes * MINUTE))
    event = await inbox_row(books)
    assert (event.disposition, event.applied_at) == ("read_back", NOW + MINUTE)


async def test_an_attempt_is_found_with_the_money_that_is_known(
    books: Books, inbox: InboxActivities
) -> None:
    invoice_id = await books.invoice()
    attempt_id = await books.attempt(invoice_id, OutcomeClass.DECLINED)
    await books.payment(invoice_id, provider_charge_id="ch_1")
    await books.payment(invoice_id, provider_charge_id="re_1", kind="refund")
    await books.payment(await books.invoice(), provider_charge_id="ch_2")
    facts = await run(inbox.find_attempt, AttemptQuestion(attempt_id=attempt_id))
    assert facts is not None
    assert (facts.invoice_id, facts.known_charge_ids) == (invoice_id, ["ch_1"])
    assert (facts.provider, facts.instrument, facts.amount_minor) == ("conekta", "oxxo", AMOUNT)
    assert await run(inbox.find_attempt, AttemptQuestion(attempt_id=new_id())) is None
