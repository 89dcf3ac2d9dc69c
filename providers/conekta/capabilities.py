"""What Conekta does for us, and why not where it does not: its row of the capability matrix."""

from __future__ import annotations

from providers.protocol import Capabilities, Capability
from providers.refusals import NO_BENEFITS

CURRENCY = "MXN"

NO_SINGLE_CARD = (
    "Conekta's cards are connected for subscriptions only: collect a single payment by OXXO or SPEI "
    "here, or use Stripe"
)
NO_PAGE = (
    "Conekta bills stored cards only, and this one is not stored there: store a card, collect by OXXO "
    "or SPEI, or use Stripe"
)
NO_CHECKOUT = (
    "Conekta's hosted page is not connected: collect by OXXO or SPEI here, "
    "or use Stripe's or Polar's page"
)

# CANCEL_AT_PERIOD_END is ours, not Conekta's: a subscription can only be canceled at once there, so it is
# paused at once (a paused one is not billed) and canceled when the period is over. See `subscriptions`.
#
# CASH_REFUND is not claimed. Conekta's call accepts a cash order, and `refund` makes that call when
# somebody asks for it, but how the customer gets cash back (a pick-up that can run out, by its events)
# is documented nowhere. So the engine must not promise it: it credits, or a person decides.
CAPABILITIES = Capabilities(
    supports=frozenset(
        {
            Capability.CARD_SUBSCRIPTION,
            Capability.CARD_PAYMENT_METHOD,
            Capability.CASH_VOUCHER,
            Capability.BANK_TRANSFER,
            Capability.REFUND,
            Capability.CANCEL_AT_PERIOD_END,
            Capability.TRIAL,
            Capability.RETRY_INVOICE,
        }
    ),
    currencies=frozenset({CURRENCY}),
    refusals={
        Capability.CASH_REFUND: (
            "Conekta does not document how cash goes back to the customer: ask the account manager, "
            "or pay it back by transfer"
        ),
        Capability.HOSTED_CHECKOUT: NO_CHECKOUT,
        Capability.PRODUCT: NO_CHECKOUT,
        Capability.BENEFIT: NO_BENEFITS,
    },
)
