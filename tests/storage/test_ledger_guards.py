"""The database itself refuses to lose money: triggers and indexes, tried with plain SQL.

They are the last line of defence, so these tests go around every line of our code above them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from models.outcomes import OPEN_OUTCOMES, OUTCOME_TRANSITIONS, OutcomeClass
from models.storage.tables import AuditEntry, ChargeAttempt, Payment, new_id
from tests.storage.books import AMOUNT, NOW, Books

ONE_OPEN = "uq_charge_attempts_one_open_per_invoice"


async def run(books: Books, statement: str, values: Mapping[str, Any] | None = None) -> None:
    async with books.sessions.begin() as session:
        await session.execute(text(statement), dict(values or {}))


async def refusal(books: Books, statement: str, **values: Any) -> str:
    """What the database says to a statement that it refuses."""
    with pytest.raises(DBAPIError) as refused:
        await run(books, statement, values)
    return str(refused.value.orig)


async def test_the_trigger_and_the_table_of_outcomes_agree(books: Books) -> None:
    """Every pair, in both directions: what the table allows happens, anything else is refused."""
    change = "UPDATE charge_attempts SET outcome = :after WHERE id = :id"
    allowed: dict[OutcomeClass, set[OutcomeClass]] = {outcome: set() for outcome in OutcomeClass}
    refusals: set[str] = set()
    for before in OutcomeClass:
        for after in OutcomeClass:
            attempt_id = await books.attempt(await books.invoice(), before)
            try:
                await run(books, change, {"after": str(after), "id": attempt_id})
            except DBAPIError as error:
                refusals |= set(re.findall("an attempt cannot .*", str(error.orig)))
            else:
                allowed[before].add(after)
    assert allowed == OUTCOME_TRANSITIONS
    assert refusals == {
        f"an attempt cannot go from {before} to {after}"
        for before in OutcomeClass
        for after in set(OutcomeClass) - OUTCOME_TRANSITIONS[before]
    }


@pytest.mark.parametrize(
    ("first", "second"), list(combinations_with_replacement(sorted(OPEN_OUTCOMES), 2))
)
async def test_an_invoice_has_one_open_attempt(
    books: Books, first: OutcomeClass, second: OutcomeClass
) -> None:
    invoice_id = await books.invoice()
    await books.attempt(invoice_id, first)
    with pytest.raises(IntegrityError, match=ONE_OPEN):
        await books.attempt(invoice_id, second, provider="stripe")
    assert len(await books.all(ChargeAttempt)) == 1


async def test_a_closed_attempt_makes_room_for_the_next(books: Books) -> None:
    invoice_id = await books.invoice()
    for closed in set(OutcomeClass) - OPEN_OUTCOMES:
        await books.attempt(invoice_id, closed)
    await books.attempt(invoice_id, OutcomeClass.UNKNOWN)
    await books.attempt(await books.invoice(), OutcomeClass.UNKNOWN)
    assert len(await books.all(ChargeAttempt)) == 5


async def test_of_many_attempts_at_once_one_gets_in(books: Books) -> None:
    invoice_id = await books.invoice()
    tries = [books.attempt(invoice_id, OutcomeClass.UNKNOWN) for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, UUID) for result in results) == 1
    assert sum(isinstance(result, IntegrityError) for result in results) == 4


@pytest.mark.parametrize(
    ("column", "value"),
    [("provider", "stripe"), ("amount_minor", AMOUNT - 1), ("currency", "USD")],
)
async def test_what_an_attempt_was_about_never_changes(
    books: Books, column: str, value: object
) -> None:
    attempt_id = await books.attempt(await books.invoice(), OutcomeClass.UNKNOWN)
    change = f"UPDATE charge_attempts SET {column} = :value WHERE id = :id"  # noqa: S608
    assert "never changes" in await refusal(books, change, value=value, id=attempt_id)


async def test_an_attempt_stays_with_its_invoice(books: Books) -> None:
    attempt_id = await books.attempt(await books.invoice(), OutcomeClass.UNKNOWN)
    other = await books.invoice()
    change = "UPDATE charge_attempts SET invoice_id = :other WHERE id = :id"
    assert "never changes" in await refusal(books, change, other=other, id=attempt_id)
    both = "UPDATE charge_attempts SET invoice_id = :other, outcome = 'succeeded' WHERE id = :id"
    assert "never changes" in await refusal(books, both, other=other, id=attempt_id)


async def test_what_was_learnt_of_an_attempt_may_be_written(books: Books) -> None:
    attempt_id = await books.attempt(await books.invoice(), OutcomeClass.UNKNOWN)
    await run(
        books,
        "UPDATE charge_attempts SET provider_object_id = 'ord_1', outcome = 'pending',"
        " reason = 'voucher', finished_at = now() WHERE id = :id",
        {"id": attempt_id},
    )
    [attempt] = await books.all(ChargeAttempt)
    assert (attempt.provider_object_id, attempt.outcome) == ("ord_1", "pending")


@pytest.mark.parametrize("outcome", OutcomeClass)
async def test_an_attempt_is_never_deleted(books: Books, outcome: OutcomeClass) -> None:
    await books.attempt(await books.invoice(), outcome)
    assert "append-only" in await refusal(books, "DELETE FROM charge_attempts")
    assert len(await books.all(ChargeAttempt)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM payments",
        "UPDATE payments SET amount_minor = amount_minor + 1",
        "UPDATE payments SET applied_minor = 0",
        "UPDATE payments SET recorded_at = recorded_at",
    ],
)
async def test_a_payment_is_written_once_and_for_all(books: Books, statement: str) -> None:
    await books.payment(await books.invoice())
    assert "payments is append-only" in await refusal(books, statement)
    [payment] = await books.all(Payment)
    assert (payment.amount_minor, payment.applied_minor) == (AMOUNT, AMOUNT)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_log", "UPDATE audit_log SET actor = 'nobody'"]
)
async def test_the_audit_log_is_written_once_and_for_all(books: Books, statement: str) -> None:
    entry = AuditEntry(
        id=new_id(),
        application_id=books.application_id,
        subscription_id=books.subscription_id,
        version=1,
        actor="operator:ana",
        action="cancel",
        before={},
        after={},
        at=NOW,
    )
    await books.add(entry)
    assert "audit_log is append-only" in await refusal(books, statement)
    assert [kept.actor for kept in await books.all(AuditEntry)] == ["operator:ana"]


async def test_the_same_money_is_booked_once(books: Books) -> None:
    invoice_id = await books.invoice()
    await books.payment(invoice_id, provider_charge_id="ch_1")
    await books.payment(invoice_id, provider_charge_id="ch_1", kind="refund")
    await books.payment(invoice_id, provider_charge_id="ch_1", provider="stripe")
    with pytest.raises(IntegrityError, match="uq_payments_provider_account_kind"):
        await books.payment(await books.invoice(), provider_charge_id="ch_1")


@pytest.mark.parametrize(
    ("amount_minor", "applied_minor"), [(0, 0), (-1, 0), (100, 101), (100, -1)]
)
async def test_impossible_payments_are_refused(
    books: Books, amount_minor: int, applied_minor: int
) -> None:
    with pytest.raises(IntegrityError, match="ck_payments"):
        await books.payment(
            await books.invoice(), amount_minor=amount_minor, applied_minor=applied_minor
        )


@pytest.mark.parametrize("paid_minor", [-1, AMOUNT + 1])
async def test_an_invoice_is_never_paid_more_than_its_amount(books: Books, paid_minor: int) -> None:
    with pytest.raises(IntegrityError, match="paid_within_the_amount"):
        await books.invoice(amount_paid_minor=paid_minor)
