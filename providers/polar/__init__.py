"""Polar: hosted checkout for digital products, and the benefits that come with them."""

from providers.polar.adapter import PolarProvider

__all__ = ["PolarProvider"]
