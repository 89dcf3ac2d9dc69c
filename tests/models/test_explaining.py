"""Every state and situation in words that somebody who has never seen the code understands."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from models import explaining_payments
from models.calendar import BillingInterval
from models.explaining import Doubt, Situation, explain
from models.moments import next_moment
from models.outcomes import DeclineClass, Instrument, OutcomeClass, ProviderName
from models.purchase import PurchaseStatus, PurchaseTerms
from models.snapshots import Decline
from models.states import SubscriptionStatus
from models.subscription import OpenInvoice, SubscriptionState, SubscriptionTerms

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)
DAY = timedelta(days=1)
ID = UUID(int=7)
S = SubscriptionStatus


def terms(instrument: Instrument) -> SubscriptionTerms:
    return SubscriptionTerms(
        subscription_id=ID,
        application_id=ID,
        organization_id=ID,
        plan_id=ID,
        plan_name="Pro",
        billing_interval=BillingInterval.MONTHLY,
        amount_minor=19900,
        currency="MXN",
        instrument=instrument,
    )


def invoice(**changes: Any) -> OpenInvoice:
    values: dict[str, Any] = {
        "invoice_id": ID,
        "amount_minor": 19900,
        "currency": "MXN",
        "due_at": NOW + 3 * DAY,
        "created_at": NOW,
        "vouchers_issued": 1,
    }
    return OpenInvoice(**values | changes)


def situation(
    status: SubscriptionStatus,
    instrument: Instrument = Instrument.OXXO,
    bill: OpenInvoice | None = None,
    *,
    busy: bool = False,
    doubt: Doubt | None = None,
    **state: Any,
) -> Situation:
    values: dict[str, Any] = {
        "status": status,
        "opened": True,
        "provider": ProviderName.CONEKTA,
        "created_at": NOW - 30 * DAY,
        "invoice": bill,
    }
    made = SubscriptionState(**values | state)
    moment = next_moment(terms(instrument), made)
    return Situation(terms(instrument), made, moment, busy, doubt)


PAID: dict[str, Any] = {"current_period_start": NOW - 27 * DAY, "current_period_end": NOW + 3 * DAY}
LATE: dict[str, Any] = {
    **PAID,
    "current_period_end": NOW,
    "past_due_since": NOW,
    "access_until": NOW + 7 * DAY,
}
TRIAL: dict[str, Any] = {"trial_end": NOW + 3 * DAY, "current_period_end": NOW + 3 * DAY}
SLIP: dict[str, Any] = {"busy": True, "bill": invoice(attempt_id=ID)}
CARD = Instrument.CARD
NO_FUNDS = Decline(decline_class=DeclineClass.SOFT, code="insufficient_funds")
DOUBT = Doubt(ProviderName.CONEKTA, NOW)

SITUATIONS: dict[str, tuple[Situation, list[str]]] = {
    "just being opened": (
        situation(S.INCOMPLETE, opened=False, created_at=None),
        ["It is just being opened", "Nothing happens by itself"],
    ),
    "first voucher out": (
        situation(S.INCOMPLETE, **SLIP),
        [
            "Pro monthly, 199.00 MXN by oxxo: incomplete since 2026-10-23 18:00 UTC",
            "The open invoice lacks 199.00 MXN.",
            "A voucher of conekta is out with the customer (number 1 of 3).",
            "when the voucher expires unpaid, another one is issued (2 left)",
            "reissue the voucher if the customer lost it",
        ],
    ),
    "last voucher out": (
        situation(S.INCOMPLETE, bill=invoice(attempt_id=ID, vouchers_issued=3), busy=True),
        ["number 3 of 3", "when this last voucher expires unpaid, the subscription expires"],
    ),
    "transfer order out": (
        situation(S.INCOMPLETE, Instrument.SPEI, **SLIP),
        ["A transfer order of conekta is out"],
    ),
    "provider away": (
        situation(S.INCOMPLETE, bill=invoice(provider_failures=2, next_try_at=NOW + DAY)),
        [
            "No provider could be reached (2 times so far); nothing was charged.",
            "The invoice is tried again, at 2026-11-23 18:00 UTC.",
            "retry now instead of waiting",
        ],
    ),
    "card being charged": (
        situation(S.INCOMPLETE, CARD, invoice(first=True, attempt_id=ID), busy=True),
        ["The card is being charged at conekta at this moment", "within seconds"],
    ),
    "bank wants the customer": (
        situation(S.INCOMPLETE, CARD, invoice(first=True, attempt_id=ID)),
        ["confirm the payment with the bank", "ask the customer to finish"],
    ),
    "first card declined": (
        situation(S.INCOMPLETE, CARD, invoice(first=True, declines=1)),
        [
            "conekta declined the card (once); a first payment is not repeated by itself",
            "the subscription ends as expired, at 2026-10-24 17:00 UTC",
            "another card, then retry",
        ],
    ),
    "answer lost": (
        situation(S.INCOMPLETE, CARD, invoice(attempt_id=ID), busy=True, doubt=DOUBT),
        [
            "conekta did not answer an attempt to collect it",
            "unknown since 2026-11-22 18:00 UTC",
            "conekta is asked again, ever more patiently",
            "resolve it",
        ],
    ),
    "trial": (
        situation(S.TRIALING, **TRIAL),
        [
            "trialing since",
            "The trial runs until 2026-11-25 18:00 UTC.",
            "its voucher issued, at 2026-11-22",
        ],
    ),
    "trial with a card": (
        situation(S.TRIALING, CARD, provider_subscription_id="sub_1", **TRIAL),
        ["Conekta charges the card at the end of the period", "2026-11-25 20:00 UTC"],
    ),
    "trial being set up": (
        situation(S.INCOMPLETE, CARD, invoice(amount_minor=0, attempt_id=ID), busy=True),
        ["The trial is being set up at conekta."],
    ),
    "active": (
        situation(S.ACTIVE, **PAID),
        ["It is paid until 2026-11-25 18:00 UTC.", "The next invoice is made"],
    ),
    "active, voucher out": (
        situation(S.ACTIVE, **SLIP, **PAID),
        ["A voucher of conekta is out", "it is past due, at 2026-11-25 19:00 UTC"],
    ),
    "active, paid in part": (
        situation(S.ACTIVE, bill=invoice(amount_paid_minor=9900, attempt_id=ID), busy=True, **PAID),
        ["was paid in part and still lacks 100.00 MXN"],
    ),
    "past due, declined and tried again": (
        situation(
            S.PAST_DUE,
            CARD,
            invoice(declines=2, next_try_at=NOW + 5 * DAY, last_decline=NO_FUNDS),
            **LATE,
        ),
        [
            "past due since 2026-11-22 18:00 UTC",
            "The customer keeps access until 2026-11-29 18:00 UTC.",
            "declined the card (2 times, last: insufficient funds); it may work later",
            "The invoice is tried again, at 2026-11-27 18:00 UTC.",
        ],
    ),
    "past due, for the customer to act": (
        situation(S.PAST_DUE, CARD, invoice(declines=1), **LATE),
        ["the customer has to act", "The last chance passes", "ask the customer for another card"],
    ),
    "paused": (situation(S.PAUSED, **PAID), ["It is paused: nothing is billed."]),
    "cancel scheduled": (
        situation(S.ACTIVE, cancel_at_period_end=True, **PAID),
        ["runs on to the end of what is paid", "ends, as requested, at 2026-11-25 18:00 UTC"],
    ),
    "cancel scheduled with a voucher out": (
        situation(S.PAST_DUE, cancel_at_period_end=True, **SLIP, **LATE),
        ["no other voucher follows"],
    ),
    "cancel waits for the provider": (
        situation(S.ACTIVE, CARD, invoice(attempt_id=ID), busy=True, cancel_requested=True, **PAID),
        ["waits for the provider to confirm"],
    ),
    "canceled": (
        situation(S.CANCELED, canceled_at=NOW, access_until=NOW),
        ["canceled since 2026-11-22 18:00 UTC", "It was canceled.", "Nothing is charged any more"],
    ),
    "expired": (situation(S.EXPIRED), ["Nobody paid in time", "kept in sight"]),
}


@pytest.mark.parametrize(("told", "expected"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_the_words(told: Situation, expected: list[str]) -> None:
    text = str(explain(told))
    for part in expected:
        assert part in text
    assert "minor" not in text
    assert not re.search(r"\b\d{5,}\b", text), "amounts are money"
    assert "None" not in text
    assert len(text) < 1200, "it has to fit where the Temporal UI shows it"


def test_every_status_is_explained() -> None:
    assert {told.state.status for told, _ in SITUATIONS.values()} == set(SubscriptionStatus)


def test_what_has_ended_offers_nothing() -> None:
    assert explain(situation(S.CANCELED, canceled_at=NOW)).options is None


def test_a_slip_tells_its_price_its_provider_and_its_end() -> None:
    slip = explaining_payments.Slip(Instrument.SPEI, ProviderName.STRIPE, 19900, "MXN")
    text = explaining_payments.waiting(slip, expires_at=NOW, look_at=NOW + DAY, what="look")
    assert "a transfer order of 199.00 MXN of stripe to pay until 2026-11-22 18:00 UTC" in text
    assert "Next: look, at 2026-11-23 18:00 UTC." in text
    assert (
        explaining_payments.issuing(slip) == "Having a transfer order of 199.00 MXN made by stripe."
    )


@pytest.mark.parametrize("outcome", OutcomeClass)
def test_every_end_of_a_slip_has_words(outcome: OutcomeClass) -> None:
    assert explaining_payments.ended(outcome).endswith(".")


@pytest.mark.parametrize(
    ("waited", "words"),
    [(5 * DAY, "5 days"), (timedelta(hours=3), "3 h"), (timedelta(minutes=2), "2 min")],
)
def test_a_doubt_says_how_long_it_has_lasted(waited: timedelta, words: str) -> None:
    text = explaining_payments.resolving(ProviderName.CONEKTA, look=4, looks_at=NOW, waited=waited)
    assert "question 4, at 2026-11-22 18:00 UTC" in text
    assert f"waiting for {words} so far" in text


@pytest.mark.parametrize("status", PurchaseStatus)
def test_every_purchase_has_words(status: PurchaseStatus) -> None:
    bought = PurchaseTerms(
        purchase_id=ID,
        application_id=ID,
        organization_id=ID,
        product_id=ID,
        product_name="Handbook",
        amount_minor=4900,
        currency="USD",
        success_url="https://shop.example",
    )
    text = explaining_payments.purchase(bought, status, ProviderName.POLAR, page_open=True)
    assert text.startswith(f"**Handbook, 49.00 USD: {status}**\n\n")
