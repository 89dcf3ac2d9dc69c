"""What differs between the providers, as data: keys, test cards, and the simulator's names for acts.

Nothing here says how a provider behaves; that is what the tests are the same for all for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.outcomes import ProviderName
from providers.capabilities import Capabilities
from providers.conekta.capabilities import CAPABILITIES as CONEKTA_CAPABILITIES
from providers.polar.capabilities import CAPABILITIES as POLAR_CAPABILITIES
from providers.stripe.capabilities import CAPABILITIES as STRIPE_CAPABILITIES
from tests.providers.contract import schemes
from tests.providers.contract.schemes import Scheme


@dataclass(frozen=True)
class Operation:
    """The call by which an act has its effect. `makes`: the simulator's collection in which a
    repetition must find the one that is there."""

    name: str
    makes: str | None = None


@dataclass(frozen=True)
class Profile:
    name: ProviderName
    capabilities: Capabilities
    settings: Mapping[str, str]
    currency: str
    good_token: str
    other_token: str
    broke_token: str
    operations: Mapping[str, Operation]
    no_call: Mapping[str, str]  # Acts that are supported and need no call, and why.
    schemes: tuple[Scheme, ...]
    event: Callable[[str, str, dict[str, Any]], dict[str, Any]]  # Id, type, subject.
    page_operation: str | None = None  # The customer's own press of the button, for its decline.
    one_card_per_token: bool = False  # As browsers make them; the simulator takes a suffix for it.

    def __str__(self) -> str:
        return self.name

    @property
    def api_key(self) -> str:
        return self.settings[f"{self.name.upper()}_API_KEY"]


STRIPE = Profile(
    name=ProviderName.STRIPE,
    capabilities=STRIPE_CAPABILITIES,
    settings={"STRIPE_API_KEY": "sk_test_sandbox"},
    currency="MXN",
    good_token="pm_card_visa",
    other_token="pm_card_mastercard",
    broke_token="pm_card_visa_chargeDeclinedInsufficientFunds",
    operations={
        "ensure_customer": Operation("customers.create", "customers"),
        "attach_payment_method": Operation("payment_methods.attach"),
        "detach_payment_method": Operation("payment_methods.detach"),
        "create_setup": Operation("setup_intents.create"),
        "change_payment_method": Operation("subscriptions.update"),
        "ensure_plan": Operation("prices.create", "prices"),
        "prepare_subscription": Operation("subscriptions.create", "subscriptions"),
        "commit_subscription": Operation("invoices.pay"),
        "cancel_subscription": Operation("subscriptions.cancel"),
        "cancel_at_period_end": Operation("subscriptions.update"),
        "keep_subscription": Operation("subscriptions.update"),
        "pause_subscription": Operation("subscriptions.pause"),
        "resume_subscription": Operation("subscriptions.resume"),
        "retry_invoice": Operation("invoices.pay"),
        "prepare_change": Operation("invoices.create", "invoices"),
        "commit_change": Operation("invoices.pay"),
        "cancel_invoice": Operation("invoices.void"),
        "change_plan": Operation("subscriptions.update"),
        "change_plan_later": Operation("subscriptions.update"),
        "change_interval": Operation("subscriptions.update"),
        "change_interval_later": Operation(
            "subscription_schedules.create", "subscription_schedules"
        ),
        "prepare_voucher": Operation("payment_intents.create", "payment_intents"),
        "commit_voucher": Operation("payment_intents.confirm"),
        "cancel_voucher": Operation("payment_intents.cancel"),
        "prepare_transfer": Operation("payment_intents.create", "payment_intents"),
        "commit_transfer": Operation("payment_intents.confirm"),
        "cancel_transfer": Operation("payment_intents.cancel"),
        "refund": Operation("refunds.create"),
        "accept_dispute": Operation("disputes.close"),
        "ensure_product": Operation("products.create", "products"),
        "create_checkout": Operation("checkout.sessions.create", "checkout_sessions"),
        "cancel_checkout": Operation("checkout.sessions.expire"),
    },
    page_operation="checkout.sessions.confirm",
    no_call={},
    schemes=(schemes.STRIPE,),
    event=lambda id_, type_, subject: {
        "id": id_,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_793_000_000,
        "type": type_,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": subject},
    },
)

CONEKTA = Profile(
    name=ProviderName.CONEKTA,
    capabilities=CONEKTA_CAPABILITIES,
    settings={"CONEKTA_API_KEY": "key_sandbox"},
    currency="MXN",
    good_token="tok_test_visa_4242",
    other_token="tok_test_mastercard_4444",
    broke_token="tok_test_insufficient_funds",
    operations={
        "ensure_customer": Operation("customers.create", "customers"),
        "attach_payment_method": Operation("payment_sources.create", "payment_sources"),
        "detach_payment_method": Operation("payment_sources.delete"),
        "prepare_subscription": Operation("plans.create", "plans"),
        "commit_subscription": Operation("subscriptions.create", "subscriptions"),
        "cancel_subscription": Operation("subscriptions.cancel"),
        "cancel_at_period_end": Operation("subscriptions.pause"),
        "keep_subscription": Operation("subscriptions.resume"),
        "pause_subscription": Operation("subscriptions.pause"),
        "resume_subscription": Operation("subscriptions.resume"),
        "change_payment_method": Operation("subscriptions.update"),
        "change_plan_later": Operation("subscriptions.pause"),
        "change_interval_later": Operation("subscriptions.pause"),
        "retry_invoice": Operation("subscriptions.retry"),
        "prepare_voucher": Operation("orders.create", "orders"),
        "commit_voucher": Operation("charges.create"),
        "cancel_voucher": Operation("orders.cancel"),
        "prepare_transfer": Operation("orders.create", "orders"),
        "commit_transfer": Operation("charges.create"),
        "cancel_transfer": Operation("orders.cancel"),
        "refund": Operation("orders.refund"),
    },
    one_card_per_token=True,
    no_call={"ensure_plan": "each attempt makes a plan of its own, when it is prepared"},
    schemes=(schemes.CONEKTA_DIGEST, schemes.CONEKTA_RELAY),
    event=lambda id_, type_, subject: {
        "id": id_,
        "object": "event",
        "type": type_,
        "created_at": 1_757_814_866,
        "livemode": False,
        "data": {"object": subject, "previous_attributes": {}},
    },
)

POLAR = Profile(
    name=ProviderName.POLAR,
    capabilities=POLAR_CAPABILITIES,
    settings={"POLAR_API_KEY": "polar_oat_sandbox"},
    currency="USD",
    good_token="unused",
    other_token="unused",
    broke_token="unused",
    operations={
        "ensure_customer": Operation("customers.create", "customers"),
        "cancel_subscription": Operation("subscriptions.revoke"),
        "cancel_at_period_end": Operation("subscriptions.update"),
        "keep_subscription": Operation("subscriptions.update"),
        "refund": Operation("refunds.create", "refunds"),
        "ensure_product": Operation("products.create", "products"),
        "ensure_benefit": Operation("benefits.create", "benefits"),
        # No collection: a repetition makes another page, and nobody ever saw the first.
        "create_checkout": Operation("checkouts.create"),
        "grant_benefit": Operation("subscriptions.create", "subscriptions"),
        "revoke_benefit": Operation("subscriptions.revoke"),
    },
    page_operation="checkouts.confirm",
    no_call={},
    schemes=(schemes.POLAR_STANDARD, schemes.POLAR_RELAY),
    event=lambda _id, type_, subject: {
        "type": type_,
        "timestamp": "2026-11-01T10:03:00.123456Z",
        "api_version": "2026-10",
        "data": subject,
    },
)

PROFILES = (STRIPE, CONEKTA, POLAR)


def encoded(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
