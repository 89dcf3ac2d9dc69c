"""The attempts ledger: who may begin, who is told to wait, and what an earlier run left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from activities.ledger import Beginning, Ledger
from activities.results import nothing
from activities.signatures.attempts import AttemptRequest, AttemptResult
from models.outcomes import OPEN_OUTCOMES, Instrument, OutcomeClass, PayVoucher, ProviderName
from models.projections import InvoiceProjection
from models.storage.tables import ChargeAttempt, Invoice, new_id
from tests.storage.books import AMOUNT, NOW, Books

UNKNOWN = OutcomeClass.UNKNOWN
BLOCKED = Beginning(fresh=False, blocked=True)


@pytest.fixture
def ledger(books: Books) -> Ledger:
    return Ledger(books.sessions)


def invoice(**changes: Any) -> InvoiceProjection:
    usual = {
        "id": new_id(),
        "amount_minor": AMOUNT,
        "currency": "MXN",
        "status": "pending",
        "invoice_date": NOW,
        "due_date": NOW,
    }
    return InvoiceProjection.model_validate({**usual, **changes})


def request(books: Books, **changes: Any) -> AttemptRequest:
    usual = {
        "attempt_id": new_id(),
        "provider": ProviderName.CONEKTA,
        "terms": books.terms,
        "invoice": invoice(),
        "started_at": NOW,
    }
    return AttemptRequest.model_validate({**usual, **changes})


def result_of(asked: AttemptRequest, outcome: OutcomeClass, **changes: Any) -> AttemptResult:
    return AttemptResult(
        attempt_id=asked.attempt_id, provider=asked.provider, outcome=outcome, **changes
    )


async def test_an_attempt_is_written_as_unknown_before_anything_happens(
    books: Books, ledger: Ledger
) -> None:
    asked = request(books)
    assert await ledger.begin(asked) == Beginning(fresh=True)
    [attempt] = await books.all(ChargeAttempt)
    [bill] = await books.all(Invoice)
    assert (attempt.id, attempt.invoice_id) == (asked.attempt_id, asked.invoice.id)
    assert (attempt.outcome, attempt.provider_object_id) == ("unknown", None)
    assert (attempt.provider, attempt.account, attempt.instrument) == ("conekta", "default", "oxxo")
    assert (attempt.amount_minor, attempt.currency, attempt.started_at) == (AMOUNT, "MXN", NOW)
    assert (bill.id, bill.status, bill.amount_minor) == (asked.invoice.id, "pending", AMOUNT)
    assert bill.subscription_id == books.subscription_id


async def test_the_attempt_is_about_what_is_still_owed(books: Books, ledger: Ledger) -> None:
    """The provider is asked for the rest of a bill that is paid in part: so says the ledger."""
    await ledger.begin(request(books, invoice=invoice(amount_paid_minor=5000)))
    [attempt] = await books.all(ChargeAttempt)
    assert attempt.amount_minor == AMOUNT - 5000


async def test_a_bill_that_exists_is_left_alone(books: Books, ledger: Ledger) -> None:
    bill = invoice()
    await books.invoice(id=bill.id, amount_paid_minor=700, status="paid")
    await ledger.begin(request(books, invoice=bill))
    [kept] = await books.all(Invoice)
    assert (kept.amount_paid_minor, kept.status) == (700, "paid")


@pytest.mark.parametrize("outcome", OutcomeClass)
async def test_an_open_attempt_blocks_the_next_one_whoever_collects(
    books: Books, ledger: Ledger, outcome: OutcomeClass
) -> None:
    bill = invoice()
    await books.invoice(id=bill.id)
    await books.attempt(bill.id, outcome, provider="stripe")
    asked = request(books, invoice=bill)
    beginning = await ledger.begin(asked)
    if outcome in OPEN_OUTCOMES:
        assert beginning == BLOCKED
        assert await ledger.find(asked.attempt_id) is None, "it is as if it had not been asked"
    else:
        assert beginning == Beginning(fresh=True)


async def test_a_blocked_attempt_may_begin_when_the_other_is_over(
    books: Books, ledger: Ledger
) -> None:
    first = request(books)
    second = request(books, invoice=first.invoice, provider=ProviderName.STRIPE)
    await ledger.begin(first)
    assert await ledger.begin(second) == BLOCKED
    await ledger.finish(result_of(first, OutcomeClass.DECLINED), NOW)
    assert await ledger.begin(second) == Beginning(fresh=True)


async def test_a_resumed_attempt_is_told_how_far_it_got(books: Books, ledger: Ledger) -> None:
    asked = request(books)
    await ledger.begin(asked)
    assert await ledger.begin(asked) == Beginning(fresh=False)
    await ledger.name_object(asked.attempt_id, "ord_1")
    assert await ledger.begin(asked) == Beginning(fresh=False, provider_object_id="ord_1")
    await ledger.finish(result_of(asked, OutcomeClass.PENDING, provider_object_id="ord_1"), NOW)
    assert await ledger.begin(asked) == Beginning(
        fresh=False, outcome=OutcomeClass.PENDING, provider_object_id="ord_1"
    )
    assert len(await books.all(ChargeAttempt)) == 1


async def test_a_resumed_attempt_is_not_blocked_by_itself(books: Books, ledger: Ledger) -> None:
    asked = request(books)
    await ledger.begin(asked)
    assert not (await ledger.begin(asked)).blocked


async def test_of_attempts_that_begin_together_exactly_one_wins(
    books: Books, ledger: Ledger
) -> None:
    bill = invoice()
    asked = [request(books, invoice=bill, provider=name) for name in ProviderName] * 2
    fresh_ids = [each.model_copy(update={"attempt_id": new_id()}) for each in asked]
    beginnings = await asyncio.gather(*(ledger.begin(each) for each in fresh_ids))
    assert [each.fresh for each in beginnings].count(True) == 1
    assert [each.blocked for each in beginnings].count(True) == len(asked) - 1
    assert len(await books.all(ChargeAttempt)) == 1


async def test_of_two_runs_of_one_attempt_only_one_is_fresh(books: Books, ledger: Ledger) -> None:
    asked = request(books)
    beginnings = await asyncio.gather(*(ledger.begin(asked) for _ in range(4)))
    assert sorted(each.fresh for each in beginnings) == [False, False, False, True]
    assert not any(each.blocked for each in beginnings)


async def test_the_outcome_is_written_with_what_the_customer_can_do(
    books: Books, ledger: Ledger
) -> None:
    asked = request(books)
    await ledger.begin(asked)
    action = PayVoucher(
        vouchers=[], amount_minor=AMOUNT, currency="MXN", instrument=Instrument.OXXO, expires_at=NOW
    )
    pending = result_of(asked, OutcomeClass.PENDING, provider_object_id="ord_1", next_action=action)
    await ledger.finish(pending, NOW)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.finished_at) == ("pending", None)
    assert attempt.next_action == action.model_dump(mode="json")

    await ledger.finish(result_of(asked, OutcomeClass.DECLINED, reason="expired"), NOW)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.reason, attempt.finished_at) == ("declined", "expired", NOW)
    assert attempt.next_action is None


@pytest.mark.parametrize("late", OutcomeClass)
async def test_a_settled_attempt_keeps_what_it_has(
    books: Books, ledger: Ledger, late: OutcomeClass
) -> None:
    asked = request(books)
    await ledger.begin(asked)
    await ledger.finish(result_of(asked, OutcomeClass.SUCCEEDED, provider_object_id="ord_1"), NOW)
    await ledger.finish(result_of(asked, late, reason="late"), NOW)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.reason) == ("succeeded", None)
    assert attempt.provider_object_id == "ord_1"


@pytest.mark.parametrize("late", [UNKNOWN, OutcomeClass.NOT_ATTEMPTED])
async def test_an_answer_that_knows_less_than_the_ledger_is_no_error(
    books: Books, ledger: Ledger, late: OutcomeClass
) -> None:
    """A voucher is on the counter; a run that had lost its way must not fail for ever on it."""
    asked = request(books)
    await ledger.begin(asked)
    await ledger.finish(result_of(asked, OutcomeClass.PENDING, provider_object_id="ord_1"), NOW)
    await ledger.finish(result_of(asked, late), NOW)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.provider_object_id) == ("pending", "ord_1")


async def test_what_was_prepared_is_never_forgotten(books: Books, ledger: Ledger) -> None:
    """The object's id is the key to every later question, so no outcome may erase it."""
    asked = request(books)
    await ledger.begin(asked)
    await ledger.name_object(asked.attempt_id, "ord_1")
    await ledger.finish(nothing(asked.attempt_id, asked.provider, "never_prepared"), NOW)
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.outcome, attempt.provider_object_id) == ("not_attempted", "ord_1")


async def test_finding_a_stranger_finds_nothing(books: Books, ledger: Ledger) -> None:
    assert await ledger.find(new_id()) is None


async def test_the_ledger_never_loses_money_that_came_late(books: Books, ledger: Ledger) -> None:
    """The trigger lets `succeeded` through from anywhere: the record activity depends on it."""
    asked = request(books)
    await ledger.begin(asked)
    await ledger.finish(result_of(asked, OutcomeClass.DECLINED), NOW)
    async with books.sessions.begin() as session:
        await session.execute(update(ChargeAttempt).values(outcome="succeeded"))
    assert (await ledger.begin(asked)).outcome is OutcomeClass.SUCCEEDED
