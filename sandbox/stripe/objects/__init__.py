"""Builds Stripe's objects with every field that Stripe promises to send."""

from sandbox.stripe.objects.catalog import price, product
from sandbox.stripe.objects.customers import (
    billing_details,
    card_payment_method,
    customer,
    payment_method_of_type,
)
from sandbox.stripe.objects.invoices import invoice, invoice_item, invoice_line
from sandbox.stripe.objects.payments import charge, payment_intent, refund
from sandbox.stripe.objects.subscriptions import (
    schedule_item,
    schedule_phase,
    subscription,
    subscription_item,
    subscription_schedule,
)

__all__ = [
    "billing_details",
    "card_payment_method",
    "charge",
    "customer",
    "invoice",
    "invoice_item",
    "invoice_line",
    "payment_intent",
    "payment_method_of_type",
    "price",
    "product",
    "refund",
    "schedule_item",
    "schedule_phase",
    "subscription",
    "subscription_item",
    "subscription_schedule",
]
