"""What Conekta does for us, and why not where it does not: its row of the capability matrix."""

from __future__ import annotations

from providers.protocol import Capabilities, Capability
from providers.refusals import NO_BENEFITS

CURRENCY = "MXN"

NO_CARDS = (
    "Conekta's cards are not connected: collect by OXXO or SPEI here, or use Stripe for cards"
)
NO_SUBSCRIPTIONS = (
    "Conekta's own subscriptions are not connected: let the engine bill by OXXO or SPEI, "
    "or use Stripe for card subscriptions"
)

NO_CHECKOUT = (
    "Conekta's hosted page is not connected: collect by OXXO or SPEI here, "
    "or use Stripe's or Polar's page"
)

# CASH_REFUND is not claimed. Conekta's call accepts a cash order, and `refund` makes that call when
# somebody asks for it, but how the customer gets cash back (a pick-up that can run out, by its events)
# is documented nowhere. So the engine must not promise it: it credits, or a person decides.
CAPABILITIES = Capabilities(
    supports=frozenset({Capability.CASH_VOUCHER, Capability.BANK_TRANSFER, Capability.REFUND}),
    currencies=frozenset({CURRENCY}),
    refusals={
        Capability.CARD_SUBSCRIPTION: NO_SUBSCRIPTIONS,
        Capability.CARD_PAYMENT_METHOD: NO_CARDS,
        Capability.CASH_REFUND: (
            "Conekta does not document how cash goes back to the customer: ask the account manager, "
            "or pay it back by transfer"
        ),
        Capability.CANCEL_AT_PERIOD_END: NO_SUBSCRIPTIONS,
        Capability.TRIAL: NO_SUBSCRIPTIONS,
        Capability.RETRY_INVOICE: NO_SUBSCRIPTIONS,
        Capability.HOSTED_CHECKOUT: NO_CHECKOUT,
        Capability.PRODUCT: NO_CHECKOUT,
        Capability.BENEFIT: NO_BENEFITS,
    },
)
