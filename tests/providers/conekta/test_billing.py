"""What a subscription and the order of its cycle say together, also in shapes that only Conekta has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from models.snapshots import (
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.conekta import billing, mapping
from providers.conekta.billing import ConektaSubscription
from providers.failures import FailureKind, ProviderFailure

JULY = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
AUGUST = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp())
SEPTEMBER = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
DAY = 86_400

Json = dict[str, Any]
Status = ProviderSubscriptionStatus


def subscription(**change: Any) -> ConektaSubscription:
    usual: Json = {
        "id": "sub_c",
        "status": "active",
        "plan_id": "abono_s_a",
        "card_id": "src_1",
        "customer_id": "cus_1",
        "last_billing_cycle_order_id": "ord_1",
        "billing_cycle_start": JULY - 10,
        "billing_cycle_end": AUGUST - 10,
        "trial_start": JULY,
        "trial_end": JULY,
        "subscription_start": JULY,
        "created_at": JULY,
    }
    return mapping.read(ConektaSubscription, "test", {**usual, **change})


def order(status: str, *charges: str, **change: Any) -> mapping.ConektaOrder:
    made: list[Json] = [
        {
            "id": f"charge_{number}",
            "status": charge if charge in {"paid", "pending_payment"} else "declined",
            "failure_code": None if charge in {"paid", "pending_payment"} else charge,
            "amount": 100,
        }
        for number, charge in enumerate(charges)
    ]
    usual: Json = {
        "id": "ord_1",
        "amount": 100,
        "currency": "MXN",
        "payment_status": status,
        "created_at": JULY,
        "charges": {"data": made},
    }
    return mapping.read_order("test", {**usual, **change})


PAID = order("paid", "paid")
DECLINED = order("declined", "insufficient_funds")
LATER = {"billing_cycle_start": AUGUST, "billing_cycle_end": SEPTEMBER}


def snapshot(found: ConektaSubscription, of: mapping.ConektaOrder | None) -> SubscriptionSnapshot:
    return billing.subscription_snapshot("test", "cus_1", found, of)


@pytest.mark.parametrize(
    ("change", "of", "expected"),
    [
        ({}, PAID, Status.ACTIVE),
        ({"status": "past_due"}, DECLINED, Status.INCOMPLETE),
        ({"status": "past_due", **LATER}, DECLINED, Status.PAST_DUE),
        # Words that lag behind the money, either way.
        ({"status": "past_due"}, PAID, Status.ACTIVE),
        ({"status": "active", **LATER}, DECLINED, Status.PAST_DUE),
        ({"status": "active"}, DECLINED, Status.INCOMPLETE),
        ({"status": "active", **LATER}, order("pending_payment", "pending_payment"), Status.ACTIVE),
        # Born in trial, without one.
        ({"status": "in_trial", "last_billing_cycle_order_id": None}, None, Status.INCOMPLETE),
        ({"status": "in_trial", "trial_start": None, "trial_end": None}, None, Status.INCOMPLETE),
        ({"status": "in_trial", "trial_end": JULY + 14 * DAY}, None, Status.TRIALING),
        ({"status": "past_due", "trial_end": JULY + DAY}, DECLINED, Status.PAST_DUE),
        ({"status": "paused"}, PAID, Status.ACTIVE),
        ({"status": "paused", **LATER}, DECLINED, Status.PAST_DUE),
        ({"status": "paused", "trial_end": JULY + DAY}, None, Status.TRIALING),
        ({"status": "canceled"}, PAID, Status.CANCELED),
        ({"status": "expired"}, PAID, Status.CANCELED),
        ({"status": "invented_yesterday"}, PAID, Status.ACTIVE),
        ({"status": "invented_yesterday"}, DECLINED, Status.INCOMPLETE),
        ({"status": None}, None, Status.INCOMPLETE),
    ],
)
def test_the_status_follows_the_money(
    change: Json, of: mapping.ConektaOrder | None, expected: Status
) -> None:
    found = snapshot(subscription(**change), of)
    assert found.status is expected
    assert found.cancel_at_period_end is (change.get("status") == "paused")


def test_each_try_is_a_charge_and_the_last_one_says_why() -> None:
    tries = order("declined", "card_declined", "insufficient_funds", "expired_card")
    invoice = snapshot(subscription(status="past_due"), tries).latest_invoice
    assert invoice is not None
    assert invoice.status is ProviderInvoiceStatus.OPEN
    assert invoice.attempt_count == 3
    assert invoice.decline is not None
    assert invoice.decline.code == "expired_card"


def test_a_refusal_without_a_code_is_one() -> None:
    invoice = snapshot(
        subscription(status="past_due"),
        order("declined", charges={"data": [{"id": "c", "status": "declined", "amount": 100}]}),
    ).latest_invoice
    assert invoice is not None
    assert invoice.decline is not None
    assert invoice.decline.code == "declined"


def test_an_order_that_was_canceled_is_void() -> None:
    invoice = snapshot(subscription(), order("canceled")).latest_invoice
    assert invoice is not None
    assert invoice.status is ProviderInvoiceStatus.VOID
    assert invoice.decline is None


@pytest.mark.parametrize("moved", [True, False])
def test_a_renewal_is_for_the_period_that_begins_with_it(moved: bool) -> None:
    """Whether Conekta moves its cycle on before or after the payment is documented nowhere."""
    cycle = LATER if moved else {}
    refused = order("declined", "card_declined", created_at=AUGUST)
    found = snapshot(subscription(status="past_due", **cycle), refused)
    invoice = found.latest_invoice
    assert invoice is not None
    assert not invoice.first
    assert found.status is Status.PAST_DUE
    assert abs(invoice.period_start.timestamp() - AUGUST) <= 10
    assert invoice.period_end > invoice.period_start
    assert found.current_period_end == invoice.period_end


def test_an_order_of_another_cycle_has_only_its_own_time() -> None:
    invoice = billing.invoice_snapshot(
        "test", PAID, subscription(last_billing_cycle_order_id="ord_2", **LATER)
    )
    assert invoice.period_start == invoice.period_end == datetime.fromtimestamp(JULY, UTC)
    assert not invoice.first


@pytest.mark.parametrize(
    ("change", "of"),
    [
        ({"billing_cycle_end": None}, PAID),
        ({"billing_cycle_start": None}, None),
        ({"last_billing_cycle_order_id": None}, None),
        ({"billing_cycle_end": 10**18}, PAID),
        ({}, order("paid")),
    ],
)
def test_what_cannot_be_read_is_unknown(change: Json, of: mapping.ConektaOrder | None) -> None:
    with pytest.raises(ProviderFailure) as raised:
        snapshot(subscription(**change), of)
    assert raised.value.kind is FailureKind.UNKNOWN


def test_one_that_is_over_may_have_forgotten_its_cycle() -> None:
    gone = subscription(status="canceled", billing_cycle_end=None, canceled_at=AUGUST)
    found = snapshot(gone, None)
    assert found.status is Status.CANCELED
    assert found.canceled_at == datetime.fromtimestamp(AUGUST, UTC)
