"""Products and prices."""

from __future__ import annotations

from typing import Any

from sandbox.core import new_id
from sandbox.stripe.world import Object


def product(now: int, **fields: Any) -> Object:
    return {
        "id": new_id("prod_", 14),
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "unit_label": None,
        "updated": now,
        "url": None,
        **fields,
    }


def price(now: int, **fields: Any) -> Object:
    return {
        "id": new_id("price_1"),
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        **fields,
    }
