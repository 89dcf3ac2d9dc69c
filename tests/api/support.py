"""What the API's tests need: two tenants with keys, rows, events, and patience with a limit."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import select
from temporalio.client import Client

from api.context import ApiContext
from models.commands import subscription_workflow_id
from models.events import EventKind, ProviderEvent
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus
from models.storage.tables import (
    Base,
    ChargeAttempt,
    Invoice,
    Organization,
    PaymentMethod,
    PlanPrice,
    Subscription,
    SubscriptionPlan,
    WebhookEvent,
    new_id,
)

BASE = "/api/v1/billing"
PEPPER = "test pepper"
STRIPE_SECRET = "whsec_api_tests"
CONEKTA_SECRET = "relay secret of the api tests"
DEADLINE_SECONDS = 10.0

_Found = TypeVar("_Found")


async def eventually(
    look: Callable[[], Awaitable[_Found]], seconds: float = DEADLINE_SECONDS
) -> _Found:
    """The first true thing that `look` finds; fails when there is none before the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"still {found!r} after {seconds} s")
        await asyncio.sleep(0.01)


@dataclass
class Tenant:
    """One application and its key."""

    application_id: UUID
    key: str
    http: httpx.AsyncClient

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        key = options.pop("key", None)
        headers = {"Idempotency-Key": key} if key else {}
        return await self.http.post(f"{BASE}{path}", json=body, headers=headers, **options)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(f"{BASE}{path}", params=params)


@dataclass
class Api:
    """The application under test with its database, and two tenants that call it."""

    app: FastAPI
    context: ApiContext
    temporal: Client
    anyone: httpx.AsyncClient
    ours: Tenant
    theirs: Tenant

    async def add(self, *rows: Base) -> None:
        async with self.context.sessions.begin() as session:
            for row in rows:
                session.add(row)
                await session.flush()

    async def all(self, statement: Any) -> list[Any]:
        async with self.context.sessions() as session:
            return list((await session.scalars(statement)).all())

    async def run(self, statement: Any) -> None:
        async with self.context.sessions.begin() as session:
            await session.execute(statement)

    async def inbox(self, *ids: UUID) -> list[WebhookEvent]:
        statement = select(WebhookEvent).order_by(WebhookEvent.id)
        return await self.all(statement.where(WebhookEvent.id.in_(ids)) if ids else statement)

    async def take(self, event: ProviderEvent) -> UUID:
        """As the webhook endpoint does, after the signature; the id of the inbox row."""
        await self.context.inbox.receive(event, b"{}")
        found = await self.all(
            select(WebhookEvent.id).where(WebhookEvent.provider_event_id == event.provider_event_id)
        )
        self.context.doorbell.ring()
        row_id: UUID = found[0]
        return row_id


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """With its lifespan: the dispatcher runs when the context says so."""
    async with app.router.lifespan_context(app):
        yield


def organization(tenant: Tenant, **changes: Any) -> Organization:
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": tenant.application_id,
        "name": "Acme",
        "email": "pagos@acme.mx",
        "country": "MX",
        "time_zone": "America/Mexico_City",
        "created_at": moment,
        "updated_at": moment,
    }
    return Organization(**values | changes)


def plan(tenant: Tenant, **changes: Any) -> SubscriptionPlan:
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": tenant.application_id,
        "name": "Pro",
        "features": [],
        "limits": {},
        "trial_days": 0,
        "is_active": True,
        "created_at": moment,
        "updated_at": moment,
    }
    return SubscriptionPlan(**values | changes)


def price(of: SubscriptionPlan, currency: str = "MXN", **changes: Any) -> PlanPrice:
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": of.application_id,
        "plan_id": of.id,
        "currency": currency,
        "billing_interval": "monthly",
        "amount_minor": 19900,
        "provider_plan_ids": {},
    }
    return PlanPrice(**values | changes)


def card(of: Organization, **changes: Any) -> PaymentMethod:
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": of.application_id,
        "organization_id": of.id,
        "provider": "stripe",
        "account": "default",
        "provider_payment_method_id": f"pm_{uuid4().hex}",
        "type": "card",
        "status": "active",
        "last4": "4242",
        "brand": "visa",
        "is_default": False,
        "created_at": moment,
        "updated_at": moment,
    }
    return PaymentMethod(**values | changes)


def subscription(of: Organization, to: SubscriptionPlan, **changes: Any) -> Subscription:
    moment = datetime.now(UTC)
    subscription_id = changes.pop("id", None) or new_id()
    values: dict[str, Any] = {
        "id": subscription_id,
        "application_id": of.application_id,
        "organization_id": of.id,
        "plan_id": to.id,
        "version": 1,
        "opening": {},
        "workflow_id": subscription_workflow_id(subscription_id),
        "status": "active",
        "provider": "stripe",
        "account": "default",
        "provider_subscription_id": f"sub_{uuid4().hex}",
        "billing_interval": "monthly",
        "payment_method_type": "card",
        "currency": "MXN",
        "amount_minor": 19900,
        "time_zone": "UTC",
        "cancel_at_period_end": False,
        "metadata_": {},
        "created_at": moment,
        "updated_at": moment,
    }
    return Subscription(**values | changes)


def invoice(of: Subscription, **changes: Any) -> Invoice:
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": of.application_id,
        "organization_id": of.organization_id,
        "subscription_id": of.id,
        "provider": of.provider,
        "account": "default",
        "provider_invoice_id": f"in_{uuid4().hex}",
        "amount_minor": 19900,
        "amount_paid_minor": 0,
        "amount_refunded_minor": 0,
        "currency": "MXN",
        "status": "pending",
        "invoice_date": moment,
        "due_date": moment + timedelta(days=3),
    }
    return Invoice(**values | changes)


def attempt(at: Invoice, **changes: Any) -> ChargeAttempt:
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": at.application_id,
        "subscription_id": at.subscription_id,
        "invoice_id": at.id,
        "provider": "stripe",
        "account": "default",
        "instrument": Instrument.OXXO.value,
        "amount_minor": 19900,
        "currency": "MXN",
        "outcome": OutcomeClass.PENDING.value,
        "provider_object_id": f"pi_{uuid4().hex}",
        "started_at": datetime.now(UTC),
    }
    return ChargeAttempt(**values | changes)


async def open_voucher(api: Api, **changes: Any) -> tuple[Subscription, Invoice, ChargeAttempt]:
    """A subscription that waits for an OXXO payment."""
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what, **changes)
    bill = invoice(row)
    slip = attempt(bill)
    await api.add(who, what, row, bill, slip)
    return row, bill, slip


def event(kind: EventKind, **changes: Any) -> ProviderEvent:
    values: dict[str, Any] = {
        "provider": ProviderName.STRIPE,
        "provider_event_id": f"evt_{uuid4().hex}",
        "event_type": "payment_intent.processing",
        "kind": kind,
        "occurred_at": datetime.now(UTC),
    }
    return ProviderEvent(**values | changes)


def paid(of: ChargeAttempt, charge_id: str | None = None, **changes: Any) -> ProviderEvent:
    """A provider says that this attempt's money came."""
    moment = datetime.now(UTC)
    capture = Capture(
        provider_charge_id=charge_id or f"ch_{uuid4().hex}",
        amount_minor=of.amount_minor,
        currency=of.currency,
        captured_at=moment,
    )
    snapshot = PaymentSnapshot(
        provider=ProviderName.STRIPE,
        provider_payment_id=of.provider_object_id or "pi_none",
        status=PaymentStatus.SUCCEEDED,
        amount_minor=of.amount_minor,
        currency=of.currency,
        captures=[capture],
    )
    values = {"payment": snapshot, "attempt_id": str(of.id), "event_type": "payment.succeeded"}
    return event(EventKind.PAYMENT, **values | changes)


def stripe_webhook(body: dict[str, Any] | bytes, secret: str = STRIPE_SECRET) -> dict[str, Any]:
    """Arguments for a POST: signed as Stripe signs."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    moment = int(time.time())
    signature = hmac.new(secret.encode(), f"{moment}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"content": raw, "headers": {"Stripe-Signature": f"t={moment},v1={signature}"}}


def refund_event(of: ChargeAttempt | None = None, **changes: Any) -> dict[str, Any]:
    """A Stripe event that is small and must be looked into."""
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "charge.refunded",
        "created": int(time.time()),
        "livemode": False,
        "data": {
            "object": {
                "id": "ch_1",
                "object": "charge",
                "payment_intent": of.provider_object_id if of else "pi_unknown",
                "metadata": {"attempt_id": str(of.id)} if of else {},
            }
        },
        **changes,
    }
