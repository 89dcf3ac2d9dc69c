"""Builds Polar's objects as the API shows them, with every field that Polar promises to send.

What is kept is flat (ids); what is shown nests the objects that the ids stand for.
"""

from __future__ import annotations

from sandbox.polar.wire import Json, new_id
from sandbox.polar.world import ORGANIZATION_ID, World

_PRODUCT_BASE_KEYS = (
    "id",
    "created_at",
    "modified_at",
    "trial_interval",
    "trial_interval_count",
    "name",
    "description",
    "visibility",
    "recurring_interval",
    "recurring_interval_count",
    "meter_interval",
    "meter_interval_count",
    "is_recurring",
    "is_archived",
    "organization_id",
)
_BENEFIT_PUBLIC_KEYS = (
    "id",
    "created_at",
    "modified_at",
    "type",
    "description",
    "selectable",
    "deletable",
    "is_deleted",
    "organization_id",
)


def customer(now: str, email: str, **fields: object) -> Json:
    return {
        "id": new_id(),
        "created_at": now,
        "modified_at": None,
        "metadata": {},
        "external_id": None,
        "email": email,
        "email_verified": False,
        "type": "individual",
        "name": None,
        "billing_name": None,
        "billing_address": None,
        "tax_id": None,
        "locale": None,
        "organization_id": ORGANIZATION_ID,
        "default_payment_method_id": None,
        "deleted_at": None,
        "first_user_event_at": None,
        "avatar_url": "https://avatars.example/customer.png",
        **fields,
    }


def price(now: str, product_id: str, source: str, wanted: Json) -> Json:
    return {
        "created_at": now,
        "modified_at": None,
        "id": new_id(),
        "source": source,
        "amount_type": "fixed",
        "price_currency": wanted.get("price_currency", "usd"),
        "tax_behavior": wanted.get("tax_behavior"),
        "is_archived": False,
        "product_id": product_id,
        "price_amount": wanted["price_amount"],
    }


def product(world: World, kept: Json) -> Json:
    benefits = [world.all("benefits")[benefit_id] for benefit_id in kept["_benefit_ids"]]
    return {
        **_product_base(kept),
        "metadata": kept["metadata"],
        "is_deletable": not kept["_sold"],
        "prices": kept["prices"],
        "benefits": benefits,
        "medias": [],
        "attached_custom_fields": [],
    }


def checkout(world: World, kept: Json) -> Json:
    sold = world.all("products")[kept["product_id"]]
    benefits = [world.all("benefits")[benefit_id] for benefit_id in sold["_benefit_ids"]]
    shown_product = {
        **_product_base(sold),
        "prices": sold["prices"],
        "benefits": [{key: benefit[key] for key in _BENEFIT_PUBLIC_KEYS} for benefit in benefits],
        "medias": [],
    }
    return {
        **_public(kept),
        "products": [shown_product],
        "product": shown_product,
        "product_price": kept["_price"],
        "prices": {sold["id"]: [kept["_price"]]},
    }


def order(world: World, kept: Json) -> Json:
    sold = world.all("products")[kept["product_id"]]
    subscription_kept = world.all("subscriptions").get(kept["subscription_id"] or "")
    refundable = kept["net_amount"] - kept["refunded_amount"] if kept["paid"] else 0
    refundable_tax = kept["tax_amount"] - kept["refunded_tax_amount"] if kept["paid"] else 0
    return {
        **_public(kept),
        "refundable_amount": refundable,
        "refundable_tax_amount": refundable_tax,
        "customer": world.all("customers")[kept["customer_id"]],
        "product": {**_product_base(sold), "metadata": sold["metadata"]},
        "subscription": _public(subscription_kept) if subscription_kept else None,
    }


def subscription(world: World, kept: Json) -> Json:
    sold = world.all("products")[kept["product_id"]]
    return {
        **_public(kept),
        "customer": world.all("customers")[kept["customer_id"]],
        "product": product(world, sold),
        "discount": None,
        "prices": [kept["_price"]],
        "meters": [],
        "pending_update": None,
    }


def grant(world: World, kept: Json) -> Json:
    return {
        **_public(kept),
        "customer": world.all("customers")[kept["customer_id"]],
        "member": None,
        "benefit": world.all("benefits")[kept["benefit_id"]],
        "properties": kept["_properties"],
    }


def grant_of_webhook(world: World, kept: Json) -> Json:
    return {**grant(world, kept), "previous_properties": None}


def _product_base(kept: Json) -> Json:
    return {key: kept[key] for key in _PRODUCT_BASE_KEYS}


def _public(kept: Json) -> Json:
    return {key: value for key, value in kept.items() if not key.startswith("_")}
