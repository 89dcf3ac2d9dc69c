"""A stateful simulator of Conekta's API 2.3.0, as far as vouchers, transfers and card charges go."""
