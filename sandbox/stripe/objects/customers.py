"""Customers and their payment methods."""

from __future__ import annotations

from typing import Any

from sandbox.core import new_id
from sandbox.stripe.cards import TestCard
from sandbox.stripe.world import Object


def customer(now: int, **fields: Any) -> Object:
    return {
        "id": new_id("cus_", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": new_id("", 8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        # The permanent CLABE is made when somebody first asks for it.
        "_clabe": None,
        "_cash_balance": {},
        **fields,
    }


def billing_details(**fields: Any) -> Object:
    return {"address": None, "email": None, "name": None, "phone": None, "tax_id": None, **fields}


def card_payment_method(now: int, token: str, card: TestCard) -> Object:
    return {
        "id": new_id("pm_1"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(),
        "card": {
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": "sandbox" + card.last4,
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_token": token,
        "_set_up": False,
    }


def payment_method_of_type(now: int, kind: str, customer_id: str | None, billing: Object) -> Object:
    """A voucher's or transfer's payment method: used once, never attached."""
    return {
        "id": new_id("pm_1"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(**billing),
        kind: {},
        "created": now,
        "customer": customer_id if kind == "customer_balance" else None,
        "livemode": False,
        "metadata": {},
        "type": kind,
    }
