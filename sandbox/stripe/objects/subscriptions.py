"""Subscriptions, their items, and schedules that change them later."""

from __future__ import annotations

from typing import Any

from sandbox.core import new_id
from sandbox.stripe.world import Object


def subscription(now: int, **fields: Any) -> Object:
    return {
        "id": new_id("sub_1"),
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "itemized"}},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "latest_invoice": None,
        "livemode": False,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_start": None,
        **fields,
    }


def subscription_item(
    now: int, subscription_id: str, price_object: Object, **fields: Any
) -> Object:
    return {
        "id": new_id("si_", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "discounts": [],
        "metadata": {},
        "price": price_object,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
        **fields,
    }


def subscription_schedule(now: int, **fields: Any) -> Object:
    return {
        "id": new_id("sub_sched_1"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {"type": "flexible", "flexible": {"proration_discounts": "itemized"}},
        "canceled_at": None,
        "completed_at": None,
        "created": now,
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "days_until_due": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "test_clock": None,
        **fields,
    }


def schedule_phase(**fields: Any) -> Object:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "invoice_settings": None,
        "metadata": {},
        "on_behalf_of": None,
        "transfer_data": None,
        "trial_end": None,
        **fields,
    }


def schedule_item(price_id: str, quantity: int) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "price": price_id,
        "quantity": quantity,
        "tax_rates": [],
    }
