"""What Polar does for us, and why not where it does not: its row of the capability matrix."""

from __future__ import annotations

from providers.capabilities import Capabilities, Capability
from providers.refusals import NO_BROWSER_SETUP, NO_DISPUTE_ANSWER, NO_INSTRUMENT_CHANGE

NO_CARDS = "Polar keeps cards to itself: the customer pays on its hosted page (create_checkout)"
NO_SUBSCRIPTIONS = (
    "Polar starts a paid subscription only through its hosted page: use create_checkout, "
    "or Stripe for card subscriptions"
)
NO_VOUCHERS = "Polar has neither vouchers nor transfers: use Conekta or Stripe"
NO_CLOSING = (
    "Polar cannot close a page that is open: it closes by itself (see expires_at); wait for that, and "
    "refund the order if the customer pays before"
)
NO_PAUSE = (
    "Polar's subscriptions are not billed from here: pause in Polar's dashboard, or use Stripe"
)
NO_PLAN_CHANGE = "Polar's subscriptions are not billed through here: change them at Polar"
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
        Capability.ACCEPT_DISPUTE: NO_DISPUTE_ANSWER,
        Capability.CHANGE_PLAN: NO_PLAN_CHANGE,
        Capability.CHANGE_PLAN_LATER: NO_PLAN_CHANGE,
        Capability.CHANGE_INTERVAL: NO_PLAN_CHANGE,
        Capability.CHANGE_INTERVAL_LATER: NO_PLAN_CHANGE,
        Capability.PRORATE: NO_PLAN_CHANGE,
        Capability.CARD_SUBSCRIPTION: NO_SUBSCRIPTIONS,
        Capability.CARD_PAYMENT_METHOD: NO_CARDS,
        Capability.CHANGE_PAYMENT_METHOD: NO_INSTRUMENT_CHANGE,
        Capability.BROWSER_SETUP: NO_BROWSER_SETUP,
        Capability.FIRST_PAYMENT_IN_BROWSER: NO_SUBSCRIPTIONS,
        Capability.CASH_VOUCHER: NO_VOUCHERS,
        Capability.BANK_TRANSFER: NO_VOUCHERS,
        Capability.CASH_REFUND: NO_VOUCHERS,
        Capability.PAUSE: NO_PAUSE,
        Capability.TRIAL: NO_SUBSCRIPTIONS,
        Capability.RETRY_INVOICE: NO_RETRY,
        Capability.CANCEL_CHECKOUT: NO_CLOSING,
    },
    notes={
        Capability.HOSTED_CHECKOUT: "needs a product (`ensure_product`); the page lives for a day",
        Capability.BENEFIT: "comes with a purchase, or with a free subscription that carries it",
        Capability.REFUND: "a refund in full takes the benefits of the order away, a partial one none",
    },
)
