"""Books to check: one customer whose every book agrees, to be spoilt by a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abono.demo.checks import Account, Promise
from abono.demo.views import Invoice, Movement, Payment
from models.money import Money

PRICE = Money(amount_minor=19_900, currency="MXN")


def movement(**changes: Any) -> Movement:
    fields: dict[str, Any] = {
        "provider": "conekta",
        "id": "charge-1",
        "kind": "charge",
        "amount_minor": PRICE.amount_minor,
        "currency": PRICE.currency,
        "status": "paid",
        "reference": "93000262276908",
        "subscription_id": "subscription-1",
        "invoice_id": "invoice-1",
    }
    return Movement(**fields | changes)


def payment(**changes: Any) -> Payment:
    fields: dict[str, Any] = {
        "kind": "capture",
        "amount_minor": PRICE.amount_minor,
        "currency": PRICE.currency,
    }
    return Payment(**fields | changes)


def invoice(**changes: Any) -> Invoice:
    fields: dict[str, Any] = {
        "id": "invoice-1",
        "status": "paid",
        "amount_minor": PRICE.amount_minor,
        "amount_paid_minor": PRICE.amount_minor,
        "amount_refunded_minor": 0,
        "currency": PRICE.currency,
        "payments": [payment()],
    }
    return Invoice(**fields | changes)


def good_account(**changes: Any) -> Account:
    """Carlos: one voucher expired, the next one was paid."""
    expired = movement(id="charge-0", status="expired", reference="93000262270000")
    account = Account(
        promise=Promise("Carlos", "oxxo", "active", PRICE),
        status="active",
        movements=[expired, movement()],
        invoices=[invoice()],
    )
    return replace(account, **changes)
