"""What Conekta does for us, and why not where it does not: its row of the capability matrix."""

from __future__ import annotations

from providers.capabilities import Capabilities, Capability
from providers.refusals import NO_BENEFITS, NO_BROWSER_SETUP, NO_DISPUTE_ANSWER

CURRENCY = "MXN"

NO_SINGLE_CARD = (
    "Conekta's cards are connected for subscriptions only: collect a single payment by OXXO or SPEI "
    "here, or use Stripe"
)
NO_PAGE = (
    "Conekta bills stored cards only, and this one is not stored there: store a card, collect by OXXO "
    "or SPEI, or use Stripe"
)
NO_PLAN_CHANGE = (
    "Conekta documents neither when a subscription that is moved to another plan is billed nor what "
    "becomes of its period: change it with `next_period`, or use Stripe"
)
_BY_REPLACEMENT = (
    "stopped at once; when its period is over, another one is opened with the same card"
)
NO_CHECKOUT = (
    "Conekta's hosted page is not connected: collect by OXXO or SPEI here, "
    "or use Stripe's or Polar's page"
)

# CANCEL_AT_PERIOD_END is ours, not Conekta's: a subscription can only be canceled at once there, so it is
# paused at once (a paused one is not billed) and canceled when the period is over. See `subscriptions`.
#
# CASH_REFUND: the call accepts a cash order; how the customer gets the cash (by its events a pick-up that
# can run out) is documented nowhere, which is what the note says.
CAPABILITIES = Capabilities(
    supports=frozenset(
        {
            Capability.CARD_SUBSCRIPTION,
            Capability.CARD_PAYMENT_METHOD,
            Capability.CHANGE_PAYMENT_METHOD,
            Capability.CHANGE_PLAN_LATER,
            Capability.CHANGE_INTERVAL_LATER,
            Capability.CASH_VOUCHER,
            Capability.BANK_TRANSFER,
            Capability.REFUND,
            Capability.CASH_REFUND,
            Capability.CANCEL_AT_PERIOD_END,
            Capability.PAUSE,
            Capability.TRIAL,
            Capability.RETRY_INVOICE,
        }
    ),
    currencies=frozenset({CURRENCY}),
    refusals={
        Capability.ACCEPT_DISPUTE: NO_DISPUTE_ANSWER,
        Capability.CHANGE_PLAN: NO_PLAN_CHANGE,
        Capability.CHANGE_INTERVAL: NO_PLAN_CHANGE,
        Capability.PRORATE: NO_PLAN_CHANGE,
        Capability.BROWSER_SETUP: NO_BROWSER_SETUP,
        Capability.FIRST_PAYMENT_IN_BROWSER: NO_PAGE,
        Capability.HOSTED_CHECKOUT: NO_CHECKOUT,
        Capability.CANCEL_CHECKOUT: NO_CHECKOUT,
        Capability.PRODUCT: NO_CHECKOUT,
        Capability.BENEFIT: NO_BENEFITS,
    },
    notes={
        Capability.CHANGE_PLAN_LATER: _BY_REPLACEMENT,
        Capability.CHANGE_INTERVAL_LATER: _BY_REPLACEMENT,
        Capability.CASH_REFUND: (
            "Conekta accepts it, but documents neither how the cash reaches the customer nor until when: "
            "tell the customer, and look whether it was picked up"
        ),
        Capability.CANCEL_AT_PERIOD_END: (
            "Conekta only cancels at once, so the subscription is paused and canceled at the end"
        ),
        Capability.PAUSE: "one that outlasts its cycle ends with a charge at once, for a cycle from then on",
        Capability.CARD_SUBSCRIPTION: "each attempt makes a plan of its own at Conekta",
    },
)
