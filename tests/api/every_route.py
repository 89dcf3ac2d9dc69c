"""One line for every route of the API: what the tests send that try them all.

A new route fails `test_every_route.py` until it has a line here. `{name}` in a path, a query or a body is an
id from `one_of_everything`, so that a test can put another tenant's in its place, each alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any
from uuid import uuid4

import httpx

from api.outbound.secrets import Sealer, new_secret
from models.storage.tables import (
    AuditEntry,
    Base,
    Benefit,
    BenefitGrant,
    ChargeAttempt,
    Dispute,
    FallbackEvent,
    Invoice,
    Organization,
    OutboundEvent,
    Payment,
    Product,
    Purchase,
    Refund,
    Subscription,
    WebhookEndpoint,
    WebhookEvent,
    new_id,
)
from tests.api.support import (
    PEPPER,
    Api,
    Tenant,
    attempt,
    card,
    invoice,
    organization,
    plan,
    price,
    subscription,
)

Ids = Mapping[str, str]


class Foreign(Enum):
    """What another tenant's id is answered with."""

    NOT_FOUND = auto()
    EMPTY_LIST = auto()  # A filter of a list: nothing of ours is with it.


@dataclass(frozen=True)
class Line:
    """One route. `ours_is` is what our own ids may be answered with, beside the 2xx: most objects of
    `one_of_everything` have no workflow behind them, and then a command is a 409."""

    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    foreign: Foreign = Foreign.NOT_FOUND
    ours_is: frozenset[int] = frozenset()


_NO_WORKFLOW = frozenset({409})
_NO_ACCESS = frozenset({409})  # Its subscription was never paid.
_ORGANIZATION = "/api/v1/billing/organizations/{organization_id}"
_SPENT = frozenset({409, 422})  # The routes before it have paid the money back.
_BENEFIT = "/api/v1/billing/organizations/{organization_id}/benefits"
_SUBSCRIPTION = "/api/v1/billing/subscriptions/{subscription_id}"
_UNAPPLIED = "/api/v1/billing/unapplied-payments"
_OPERATOR = "/api/v1/operator/subscriptions/{subscription_id}"
_ENDPOINTS = "/api/v1/billing/webhook-endpoints"
_ENDPOINT = f"{_ENDPOINTS}/{{endpoint_id}}"
_WHY = {"reason": "the customer called"}
_OF_SUBSCRIPTION = Line(query={"subscription_id": "{subscription_id}"}, foreign=Foreign.EMPTY_LIST)
_ACME = {"name": "Acme", "email": "a@acme.mx"}
_PRO = {
    "name": "Pro",
    "prices": [{"currency": "MXN", "billing_interval": "monthly", "amount_minor": 100}],
}
_HANDBOOK = {"name": "Handbook", "amount_minor": 4900, "currency": "USD"}
_DEPOSIT = {
    **_WHY,
    "amount_minor": 19900,
    "currency": "MXN",
    "reference": "BBVA 42",
    "received_at": "2026-11-22T18:00:00Z",
}
_ORDER = {
    "organization_id": "{organization_id}",
    "plan_id": "{plan_id}",
    "payment_method_id": "{payment_method_id}",
    "billing_interval": "monthly",
}
_BUY = {
    "organization_id": "{organization_id}",
    "product_id": "{product_id}",
    "success_url": "https://app.example/thanks",
}
_STORE = {"organization_id": "{organization_id}", "token": "tok_1"}
_PREVIEW = {"organization_id": "{organization_id}", "payment_method_id": "{payment_method_id}"}
_OTHER_CARD = {"payment_method_id": "{payment_method_id}"}

LINES: dict[tuple[str, str], Line] = {
    ("POST", "/api/v1/billing/organizations"): Line(_ACME),
    ("GET", "/api/v1/billing/organizations"): Line(),
    ("GET", "/api/v1/billing/organizations/{organization_id}"): Line(),
    ("PATCH", "/api/v1/billing/organizations/{organization_id}"): Line({"name": "Mine now"}),
    ("GET", f"{_ORGANIZATION}/entitlements"): Line(query={"feature": "reports"}),
    ("GET", f"{_ORGANIZATION}/usage"): Line(),
    ("POST", f"{_ORGANIZATION}/usage"): Line({"metric": "api_calls"}, ours_is=_NO_ACCESS),
    ("GET", "/api/v1/billing/figures"): Line(query={"months": "2"}),
    ("POST", "/api/v1/billing/plans"): Line(_PRO),
    ("GET", "/api/v1/billing/plans"): Line(),
    ("GET", "/api/v1/billing/plans/{plan_id}"): Line(),
    ("PATCH", "/api/v1/billing/plans/{plan_id}"): Line({"name": "Mine now"}),
    ("POST", "/api/v1/billing/products"): Line(_HANDBOOK),
    ("GET", "/api/v1/billing/products"): Line(),
    ("GET", "/api/v1/billing/products/{product_id}"): Line(),
    ("POST", f"{_BENEFIT}/{{benefit_id}}/grant"): Line(ours_is=_NO_WORKFLOW),
    ("POST", f"{_BENEFIT}/{{benefit_id}}/revoke"): Line(ours_is=_NO_WORKFLOW),
    ("GET", _BENEFIT): Line(),
    ("GET", f"{_BENEFIT}/{{benefit_id}}"): Line(),
    ("POST", "/api/v1/billing/payment-methods"): Line(_STORE),
    ("GET", "/api/v1/billing/payment-methods"): Line(
        query={"organization_id": "{organization_id}"}, foreign=Foreign.EMPTY_LIST
    ),
    ("GET", "/api/v1/billing/payment-methods/setup"): Line(
        query={"organization_id": "{organization_id}"}, ours_is=_NO_WORKFLOW
    ),
    ("GET", "/api/v1/billing/payment-methods/{payment_method_id}"): Line(),
    ("DELETE", "/api/v1/billing/payment-methods/{payment_method_id}"): Line(ours_is=_NO_WORKFLOW),
    ("POST", "/api/v1/billing/payment-methods/{payment_method_id}/default"): Line(),
    ("POST", "/api/v1/billing/subscriptions"): Line(_ORDER),
    ("GET", "/api/v1/billing/subscriptions"): Line(
        query={"organization_id": "{organization_id}"}, foreign=Foreign.EMPTY_LIST
    ),
    ("GET", _SUBSCRIPTION): Line(),
    ("PATCH", _SUBSCRIPTION): Line({"plan_id": "{plan_id}"}, ours_is=frozenset({409, 422})),
    ("POST", f"{_SUBSCRIPTION}/preview"): Line(
        {"plan_id": "{plan_id}"}, ours_is=frozenset({409, 422})
    ),
    ("POST", f"{_SUBSCRIPTION}/cancel"): Line(ours_is=_NO_WORKFLOW),
    ("POST", f"{_SUBSCRIPTION}/resume"): Line(ours_is=_NO_WORKFLOW),
    ("POST", f"{_SUBSCRIPTION}/pause"): Line(ours_is=_NO_WORKFLOW),
    ("POST", f"{_SUBSCRIPTION}/payment-method"): Line(_OTHER_CARD, ours_is=_NO_WORKFLOW),
    ("POST", f"{_SUBSCRIPTION}/retry"): Line(_OTHER_CARD, ours_is=_NO_WORKFLOW),
    ("GET", f"{_SUBSCRIPTION}/timeline"): Line(),
    ("GET", f"{_SUBSCRIPTION}/explain"): Line(),
    ("GET", "/api/v1/billing/audit"): _OF_SUBSCRIPTION,
    ("POST", "/api/v1/billing/purchases"): Line(_BUY),
    ("GET", "/api/v1/billing/purchases"): Line(
        query={"organization_id": "{organization_id}"}, foreign=Foreign.EMPTY_LIST
    ),
    ("GET", "/api/v1/billing/purchases/{purchase_id}"): Line(),
    ("GET", "/api/v1/billing/invoices"): _OF_SUBSCRIPTION,
    ("GET", "/api/v1/billing/payments"): _OF_SUBSCRIPTION,
    ("GET", "/api/v1/billing/payments/{payment_id}"): Line(),
    ("GET", "/api/v1/billing/invoices/{invoice_id}"): Line(),
    ("POST", "/api/v1/billing/invoices/{invoice_id}/refund"): Line({}, ours_is=_SPENT),
    ("GET", "/api/v1/billing/disputes"): _OF_SUBSCRIPTION,
    ("GET", "/api/v1/billing/disputes/{dispute_id}"): Line(),
    ("POST", "/api/v1/billing/disputes/{dispute_id}/accept"): Line(),
    ("GET", "/api/v1/billing/refunds"): _OF_SUBSCRIPTION,
    ("GET", "/api/v1/billing/refunds/{refund_id}"): Line(),
    ("GET", _UNAPPLIED): Line(),
    ("POST", f"{_UNAPPLIED}/{{payment_id}}/refund"): Line({}, ours_is=_SPENT),
    ("POST", f"{_UNAPPLIED}/{{payment_id}}/credit"): Line({}, ours_is=_SPENT),
    ("GET", "/api/v1/billing/events"): _OF_SUBSCRIPTION,
    ("POST", "/api/v1/routing/preview"): Line(_PREVIEW),
    ("GET", "/api/v1/routing/geolocation"): Line(query={"ip_address": "127.0.0.1"}),
    ("GET", "/api/v1/routing/fallbacks"): Line(),
    ("GET", "/api/v1/providers"): Line(),
    ("POST", "/api/v1/providers/{name}/breaker/reset"): Line(),
    ("POST", f"{_OPERATOR}/retry"): Line(_WHY, ours_is=_NO_WORKFLOW),
    ("POST", f"{_OPERATOR}/reissue-voucher"): Line(_WHY, ours_is=_NO_WORKFLOW),
    ("POST", f"{_OPERATOR}/mark-paid"): Line(_DEPOSIT, ours_is=_NO_WORKFLOW),
    ("POST", f"{_OPERATOR}/resolve"): Line(_WHY, ours_is=_NO_WORKFLOW),
    ("GET", "/api/v1/operator/attempts"): Line(),
    ("GET", "/api/v1/operator/webhooks"): Line(),
    ("GET", "/api/v1/operator/reconciliation/runs"): Line(),
    ("GET", "/api/v1/operator/reconciliation/findings"): Line(),
    ("POST", "/api/v1/operator/webhooks/{webhook_id}/replay"): Line(_WHY),
    ("GET", _ENDPOINTS): Line(),
    ("POST", _ENDPOINTS): Line({"url": "https://8.8.8.8/hooks"}),
    ("GET", _ENDPOINT): Line(),
    ("PATCH", _ENDPOINT): Line({"event_types": ["invoice.*"]}),
    ("POST", f"{_ENDPOINT}/rotate-secret"): Line({}),
    ("POST", f"{_ENDPOINT}/test"): Line(),
    ("POST", f"{_ENDPOINT}/replay"): Line({"since": "2026-01-01T00:00:00Z"}),
    ("GET", f"{_ENDPOINT}/deliveries"): Line(),
    ("POST", f"{_ENDPOINT}/deliveries/{{event_id}}/replay"): Line(),
    ("GET", f"{_ENDPOINT}/deliveries/{{event_id}}"): Line(),
    ("DELETE", _ENDPOINT): Line(ours_is=frozenset({204})),
}

# For everybody, and about no tenant: these take no key, and no id of anyone's.
PUBLIC = {
    ("POST", "/api/v1/webhooks/{provider}"),
    ("GET", "/errors/{code}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/errors/{code}"),
}
# A path parameter that names nothing of a tenant's.
SHARED = {"name": "stripe"}


@dataclass(frozen=True)
class Request:
    """One request that a line describes."""

    method: str
    path: str
    line: Line

    @property
    def id_names(self) -> list[str]:
        """The ids in it that belong to a tenant."""
        said = f"{self.path} {self.line.query} {self.line.body}"
        return [name for name in _ID_NAMES if f"{{{name}}}" in said]

    async def send(self, tenant: Tenant, ids: Ids, **headers: str) -> httpx.Response:
        return await tenant.http.request(
            self.method,
            self.path.format(**SHARED, **ids),
            params=_filled(self.line.query, ids),
            json=_filled(self.line.body, ids),
            headers=headers,
        )

    @property
    def idempotency_key(self) -> str:
        return f"{self.method} {self.path}"

    async def send_with_key(self, tenant: Tenant, ids: Ids) -> httpx.Response:
        return await self.send(tenant, ids, **{"Idempotency-Key": self.idempotency_key})

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# Those that may change something.
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def requests(*methods: str) -> Iterator[Request]:
    for (method, path), line in LINES.items():
        if not methods or method in methods:
            yield Request(method, path, line)


def _filled(value: Any, ids: Ids) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, ids) for item in value]
    return value.format(**ids) if isinstance(value, str) else value


_ID_NAMES = (
    "organization_id",
    "plan_id",
    "product_id",
    "benefit_id",
    "payment_method_id",
    "subscription_id",
    "purchase_id",
    "invoice_id",
    "dispute_id",
    "refund_id",
    "payment_id",
    "webhook_id",
    "endpoint_id",
    "event_id",
)


async def one_of_everything(api: Api, tenant: Tenant) -> dict[str, str]:
    """The ids of a tenant that has one of each, by the names that `LINES` uses."""
    who, what = organization(tenant), plan(tenant)
    method = card(who)
    row = subscription(who, what, payment_method_id=method.id)
    bill = invoice(row, status="paid", amount_paid_minor=19900)
    slip = attempt(bill, instrument="card", outcome="succeeded")
    money = _spare_money(slip)
    product, benefit = _product(tenant)
    bought = _purchase(who, product)
    dispute, refund = _dispute(bill), _refund(money, bill)
    webhook = _webhook(row)
    await api.add(who, what, price(what), method, row, bill, slip, money, product, benefit, bought)
    endpoint, told = _endpoint(tenant), _event(row)
    await api.add(dispute, refund, webhook, *_traces(row, who, benefit), endpoint, told)
    rows: list[Any] = [who, what, product, benefit, method, row, bought]
    rows += [bill, dispute, refund, money, webhook, endpoint, told]
    return {name: str(found.id) for name, found in zip(_ID_NAMES, rows, strict=True)}


def _endpoint(tenant: Tenant) -> WebhookEndpoint:
    """On this machine, where no webhook is sent to."""
    moment = datetime.now(UTC)
    return WebhookEndpoint(
        id=new_id(),
        application_id=tenant.application_id,
        url="https://127.0.0.1:9/hooks",
        event_types=["*"],
        status="enabled",
        status_changed_at=moment,
        secrets=[Sealer(PEPPER).seal(new_secret(), moment)],
        version=0,
        consecutive_failures=0,
        created_at=moment,
        updated_at=moment,
    )


def _event(of: Subscription) -> OutboundEvent:
    return OutboundEvent(
        id=new_id(),
        application_id=of.application_id,
        subscription_id=of.id,
        sequence=2,
        type="invoice.paid",
        data={},
        created_at=datetime.now(UTC),
    )


def _spare_money(of: ChargeAttempt) -> Payment:
    moment = datetime.now(UTC)
    return Payment(
        id=new_id(),
        application_id=of.application_id,
        subscription_id=of.subscription_id,
        invoice_id=of.invoice_id,
        attempt_id=of.id,
        provider="stripe",
        account="default",
        provider_charge_id=f"ch_{uuid4().hex}",
        kind="capture",
        amount_minor=19900,
        applied_minor=0,
        currency="MXN",
        occurred_at=moment,
        recorded_at=moment,
    )


def _product(tenant: Tenant) -> tuple[Product, Benefit]:
    moment = datetime.now(UTC)
    product = Product(
        id=new_id(),
        application_id=tenant.application_id,
        name="Handbook",
        amount_minor=4900,
        currency="USD",
        is_active=True,
        provider_product_ids={},
        created_at=moment,
    )
    benefit = Benefit(
        id=new_id(),
        application_id=tenant.application_id,
        product_id=product.id,
        type="custom",
        description="Thank you",
        properties={"note": "You are great"},
        provider_benefit_ids={},
        created_at=moment,
    )
    return product, benefit


def _purchase(of: Organization, product: Product) -> Purchase:
    moment, purchase_id = datetime.now(UTC), new_id()
    return Purchase(
        id=purchase_id,
        application_id=of.application_id,
        organization_id=of.id,
        product_id=product.id,
        version=1,
        opening={},
        workflow_id=f"purchase/{purchase_id}",
        status="paid",
        provider="stripe",
        amount_minor=4900,
        currency="USD",
        metadata_={},
        created_at=moment,
        updated_at=moment,
    )


def _dispute(of: Invoice) -> Dispute:
    return Dispute(
        id=new_id(),
        application_id=of.application_id,
        organization_id=of.organization_id,
        subscription_id=of.subscription_id,
        invoice_id=of.id,
        provider="stripe",
        account="default",
        provider_dispute_id=f"du_{uuid4().hex}",
        amount_minor=1900,
        currency="MXN",
        status="lost",
        opened_at=datetime.now(UTC),
    )


def _refund(of: Payment, bill: Invoice) -> Refund:
    moment = datetime.now(UTC)
    return Refund(
        id=new_id(),
        application_id=of.application_id,
        organization_id=bill.organization_id,
        subscription_id=of.subscription_id,
        invoice_id=of.invoice_id,
        payment_id=of.id,
        provider="stripe",
        account="default",
        amount_minor=100,
        currency="MXN",
        status="succeeded",
        actor="key:test",
        created_at=moment,
        updated_at=moment,
    )


def _webhook(of: Subscription) -> WebhookEvent:
    moment = datetime.now(UTC)
    return WebhookEvent(
        id=new_id(),
        provider="stripe",
        account="default",
        provider_event_id=f"evt_{uuid4().hex}",
        event_type="charge.refunded",
        kind="look",
        payload={},
        event={"subscription_id": str(of.id)},
        received_at=moment,
        workflow_id=of.workflow_id,
        attempts=0,
        next_dispatch_at=moment,
    )


def _traces(of: Subscription, who: Organization, benefit: Benefit) -> list[Base]:
    """What only lists show."""
    moment = datetime.now(UTC)
    tenant: dict[str, Any] = {"id": new_id(), "application_id": of.application_id}
    theirs = {**tenant, "subscription_id": of.id}
    return [
        OutboundEvent(
            **theirs, sequence=1, type="subscription.activated", data={}, created_at=moment
        ),
        AuditEntry(
            **theirs, version=1, actor="key:test", action="opened", before={}, after={}, at=moment
        ),
        FallbackEvent(
            **theirs,
            attempted_provider="conekta",
            fallback_provider="stripe",
            reason="timeout",
            timestamp=moment,
        ),
        BenefitGrant(
            **tenant,
            organization_id=who.id,
            benefit_id=benefit.id,
            status="granted",
            updated_at=moment,
        ),
    ]
