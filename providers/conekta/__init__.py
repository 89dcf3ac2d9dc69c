"""Conekta: cash vouchers, SPEI transfers and card subscriptions in Mexico, through the conekta SDK."""

from providers.conekta.adapter import ConektaProvider

__all__ = ["ConektaProvider"]
