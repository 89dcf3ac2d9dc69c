"""A stateful simulator of Polar's API 2026-10, as far as pages, orders, benefits and refunds go."""
