"""Stripe: cards billed by its clock, OXXO vouchers and SPEI transfers."""

from providers.stripe.adapter import StripeProvider

__all__ = ["StripeProvider"]
