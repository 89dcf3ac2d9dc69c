"""The comparison itself: what counts as drift, and what is only another way of saying the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.events import EventKind, ProviderEvent
from models.outcomes import OutcomeClass, ProviderName
from models.reconcile import REPAIRABLE, Drift, Listed, Ours, compare
from models.snapshots import (
    Capture,
    DisputeSnapshot,
    DisputeStatus,
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from models.states import InvoiceStatus, SubscriptionStatus

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
P, N, S, D = PaymentStatus, ProviderInvoiceStatus, ProviderSubscriptionStatus, DisputeStatus
A = OutcomeClass


def _listed(kind: EventKind, **of: Any) -> Listed:
    refunded = of.pop("amount_refunded_minor", None)
    event = ProviderEvent(
        provider=ProviderName.STRIPE,
        provider_event_id="x",
        event_type="reconcile",
        kind=kind,
        occurred_at=NOW,
        **of,
    )
    return Listed(object_id="x", event=event, amount_refunded_minor=refunded)


def _captures(*ids: str) -> list[Capture]:
    return [
        Capture(provider_charge_id=id_, amount_minor=900, currency="MXN", captured_at=NOW)
        for id_ in ids
    ]


def payment(status: PaymentStatus, *paid: str, refunded: int = 0, named: bool = True) -> Listed:
    snapshot = PaymentSnapshot(
        provider=ProviderName.STRIPE,
        provider_payment_id="pi_1",
        status=status,
        amount_minor=900,
        currency="MXN",
        captures=_captures(*paid),
        amount_refunded_minor=refunded,
    )
    return _listed(EventKind.PAYMENT, payment=snapshot, attempt_id="a" if named else None)


def invoice(status: ProviderInvoiceStatus, *paid: str) -> Listed:
    snapshot = InvoiceSnapshot(
        provider=ProviderName.STRIPE,
        provider_invoice_id="in_1",
        status=status,
        amount_minor=900,
        currency="MXN",
        captures=_captures(*paid),
        period_start=NOW,
        period_end=NOW + MONTH,
        created_at=NOW,
    )
    return _listed(EventKind.INVOICE, invoice=snapshot)


def subscription(status: ProviderSubscriptionStatus, **more: Any) -> Listed:
    snapshot = SubscriptionSnapshot(
        provider=ProviderName.STRIPE,
        provider_subscription_id="sub_1",
        provider_customer_id="cus_1",
        status=status,
        **{"current_period_start": NOW, "current_period_end": NOW + MONTH, **more},
    )
    return _listed(EventKind.SUBSCRIPTION, subscription=snapshot, subscription_id="s")


def dispute(status: DisputeStatus, *, withdrawn: bool = True) -> Listed:
    snapshot = DisputeSnapshot(
        provider=ProviderName.STRIPE,
        provider_dispute_id="du_1",
        status=status,
        withdrawn=withdrawn,
        opened_at=NOW,
    )
    return _listed(EventKind.DISPUTE, dispute=snapshot)


def known(status: DisputeStatus | None, *, taken: bool = True, returned: bool = False) -> Ours:
    return Ours(
        has_owner=True,
        dispute_status=status,
        dispute_is_taken=taken,
        dispute_is_returned=returned,
    )


def ours(outcome: OutcomeClass | None = None, *booked: str, **more: Any) -> Ours:
    mine = {"attempt_outcome": outcome, "attempt_amount_minor": 900, "attempt_currency": "MXN"}
    return Ours(has_owner=True, booked_charge_ids=frozenset(booked), **{**mine, **more})


def row(status: SubscriptionStatus, **more: Any) -> Ours:
    end = {"current_period_end": NOW + MONTH}
    return Ours(has_owner=True, subscription_status=status, **{**end, **more})


NOBODY = Ours()
ACTIVE, PAST_DUE = SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE


@pytest.mark.parametrize(
    ("theirs", "mine", "drift"),
    [
        (payment(P.SUCCEEDED, "ch_1"), ours(A.PENDING), Drift.MONEY_NOT_BOOKED),
        (payment(P.SUCCEEDED, "ch_1", "ch_2"), ours(A.SUCCEEDED, "ch_1"), Drift.MONEY_NOT_BOOKED),
        (payment(P.SUCCEEDED, "ch_1", named=False), NOBODY, Drift.UNKNOWN_MONEY),
        (payment(P.PENDING), NOBODY, Drift.ORPHAN),
        (payment(P.PENDING), ours(A.DECLINED), Drift.STILL_PAYABLE),
        (payment(P.EXPIRED), ours(A.PENDING), Drift.ENDED_AT_PROVIDER),
        (payment(P.PENDING), ours(A.PENDING, attempt_amount_minor=800), Drift.AMOUNT_DIFFERS),
        (payment(P.SUCCEEDED, "c", refunded=9), ours(A.SUCCEEDED, "c"), Drift.REFUND_NOT_BOOKED),
        (
            payment(P.SUCCEEDED, "c"),
            ours(A.SUCCEEDED, "c", refunded_minor=9),
            Drift.REFUND_UNKNOWN_THERE,
        ),
        (invoice(N.PAID, "in_1"), ours(invoice_status="pending"), Drift.MONEY_NOT_BOOKED),
        (invoice(N.PAID), ours(invoice_status=InvoiceStatus.PENDING), Drift.INVOICE_DIFFERS),
        (invoice(N.OPEN), ours(invoice_status=InvoiceStatus.PAID), Drift.STILL_PAYABLE),
        (subscription(S.CANCELED), row(ACTIVE), Drift.SUBSCRIPTION_DIFFERS),
        (subscription(S.PAST_DUE), row(ACTIVE), Drift.SUBSCRIPTION_DIFFERS),
        (
            subscription(S.ACTIVE, current_period_start=NOW + MONTH),
            row(ACTIVE),
            Drift.SUBSCRIPTION_DIFFERS,
        ),
        (
            subscription(S.ACTIVE, cancel_at_period_end=True),
            row(ACTIVE),
            Drift.SUBSCRIPTION_DIFFERS,
        ),
        (subscription(S.ACTIVE), row(SubscriptionStatus.CANCELED), Drift.STILL_BILLED),
        (subscription(S.ACTIVE), NOBODY, Drift.ORPHAN),
        (
            payment(P.PENDING).model_copy(update={"is_known": False}),
            ours(A.PENDING),
            Drift.UNKNOWN_THERE,
        ),
        (dispute(D.OPEN), known(None, taken=False), Drift.DISPUTE_DIFFERS),
        (dispute(D.WON), known(None, taken=False), Drift.DISPUTE_DIFFERS),
        (dispute(D.OPEN), known(D.OPEN, taken=False), Drift.DISPUTE_DIFFERS),
        (dispute(D.LOST), known(D.OPEN), Drift.DISPUTE_DIFFERS),
        (dispute(D.WON), known(D.OPEN), Drift.DISPUTE_DIFFERS),
        (dispute(D.WON), known(D.LOST), Drift.DISPUTE_DIFFERS),
        (dispute(D.WON), known(D.WON), Drift.DISPUTE_DIFFERS),
        (
            dispute(D.OPEN).model_copy(update={"is_known": False}),
            known(D.OPEN),
            Drift.UNKNOWN_THERE,
        ),
    ],
)
def test_drift(theirs: Listed, mine: Ours, drift: Drift) -> None:
    found = compare(theirs, mine)
    assert found is not None
    assert found.drift is drift
    assert found.theirs
    assert found.ours


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (payment(P.SUCCEEDED, "ch_1"), ours(A.SUCCEEDED, "ch_1")),
        (payment(P.PENDING), ours(A.PENDING)),
        (payment(P.PENDING, named=False), NOBODY),
        (payment(P.EXPIRED), ours(A.DECLINED)),
        (payment(P.EXPIRED, named=False), NOBODY),
        (
            payment(P.SUCCEEDED, "c", refunded=9),
            ours(A.SUCCEEDED, "c", refund_pending_minor=9),
        ),
        (invoice(N.PAID, "in_1"), ours(None, "in_1", invoice_status=InvoiceStatus.REFUNDED)),
        (invoice(N.OPEN), ours(invoice_status=InvoiceStatus.PENDING)),
        (invoice(N.OPEN), NOBODY),
        (subscription(S.ACTIVE), row(ACTIVE)),
        (subscription(S.TRIALING), row(ACTIVE)),
        (subscription(S.PAST_DUE), row(PAST_DUE)),
        (subscription(S.CANCELED), row(SubscriptionStatus.EXPIRED)),
        (
            subscription(S.ACTIVE, cancel_at_period_end=True),
            row(SubscriptionStatus.CANCELED),
        ),
        (subscription(S.CANCELED), NOBODY),
        (dispute(D.OPEN), NOBODY),
        (dispute(D.OPEN), known(D.OPEN)),
        (dispute(D.OPEN, withdrawn=False), known(D.OPEN, taken=False)),
        (dispute(D.OPEN), known(D.LOST)),
        (dispute(D.OPEN), known(D.WON, returned=True)),
        (dispute(D.WON), known(D.WON, returned=True)),
        (dispute(D.WON), known(D.WON, taken=False)),
    ],
)
def test_no_drift(theirs: Listed, mine: Ours) -> None:
    assert compare(theirs, mine) is None


def test_a_provider_without_an_end_of_the_period_is_not_asked_for_one() -> None:
    mine = row(ACTIVE, cancel_at_period_end=True)
    assert compare(subscription(S.ACTIVE), mine, cancels_at_period_end=False) is None
    assert compare(subscription(S.ACTIVE), mine) is not None


def test_what_a_person_has_to_decide_is_never_repaired() -> None:
    assert {Drift.UNKNOWN_MONEY, Drift.ORPHAN, Drift.STILL_BILLED}.isdisjoint(REPAIRABLE)
