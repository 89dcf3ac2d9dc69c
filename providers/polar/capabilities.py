"""What Polar does for us, and why not where it does not: its row of the capability matrix."""

from __future__ import annotations

from providers.protocol import Capabilities, Capability

NO_CARDS = "Polar keeps cards to itself: the customer pays on its hosted page (create_checkout)"
NO_SUBSCRIPTIONS = (
    "Polar starts a paid subscription only through its hosted page: use create_checkout, "
    "or Stripe for card subscriptions"
)
NO_VOUCHERS = "Polar has neither vouchers nor transfers: use Conekta or Stripe"
NO_RETRY = "Polar retries a failed renewal by its own schedule (after 2, 5, 7 and 7 days)"

CAPABILITIES = Capabilities(
    supports=frozenset(
        {
            Capability.HOSTED_CHECKOUT,
            Capability.PRODUCT,
            Capability.BENEFIT,
            Capability.REFUND,
            Capability.CANCEL_AT_PERIOD_END,
        }
    ),
    # More than 130; which of them an organization sells in is its own setting at Polar.
    currencies=None,
    refusals={
        Capability.CARD_SUBSCRIPTION: NO_SUBSCRIPTIONS,
        Capability.CARD_PAYMENT_METHOD: NO_CARDS,
        Capability.CASH_VOUCHER: NO_VOUCHERS,
        Capability.BANK_TRANSFER: NO_VOUCHERS,
        Capability.CASH_REFUND: NO_VOUCHERS,
        Capability.TRIAL: NO_SUBSCRIPTIONS,
        Capability.RETRY_INVOICE: NO_RETRY,
    },
)
