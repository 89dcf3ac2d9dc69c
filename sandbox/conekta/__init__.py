"""A stateful simulator of Conekta's API 2.3.0: vouchers, transfers, card charges, subscriptions."""
