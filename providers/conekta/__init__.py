"""Conekta: cash vouchers and SPEI transfers in Mexico, through the conekta SDK."""

from providers.conekta.adapter import ConektaProvider

__all__ = ["ConektaProvider"]
