"""A sandbox with Stripe alone, over real HTTP, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from models.calendar import BillingInterval
from models.outcomes import Instrument
from providers.drafts import (
    AttachPaymentMethod,
    CustomerDraft,
    PaymentDraft,
    PlanDraft,
    PreparedSubscription,
    SubscriptionDraft,
)
from providers.stripe import StripeProvider
from sandbox.control import Control
from sandbox.core import Core, SandboxConfig
from sandbox.stripe.app import StripeSimulator
from tests.sandbox.stripe import openapi
from tests.sandbox.stripe.recorder import Recorder

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"
GOOD_CARD = "pm_card_visa"


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve on a free port of the loopback interface; the address is yielded."""
    config = uvicorn.Config(app, lifespan="off", http="h11", ws="none", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # asyncio switches Nagle's algorithm off only where the protocol is named: 40 ms per request.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        await server.startup(sockets=[listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            # uvicorn's own shutdown sleeps; here every client is closed already.
            for listening in server.servers:
                listening.close()
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@dataclass
class Stage:
    """What a test plays on: the simulated Stripe, the adapter, and short ways to common drafts."""

    core: Core
    url: str
    recorder: Recorder
    http: httpx.AsyncClient
    closing: AsyncExitStack
    provider: StripeProvider = field(init=False)
    counter: int = 0

    def __post_init__(self) -> None:
        self.provider = self.new_provider()

    def new_provider(self, **changes: Any) -> StripeProvider:
        settings: dict[str, Any] = {
            "api_key": API_KEY,
            "api_base": f"{self.url}/stripe",
            "webhook_secrets": [WEBHOOK_SECRET],
            **changes,
        }
        provider = StripeProvider(**settings)
        self.closing.push_async_callback(provider.aclose)
        return provider

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.core.clock.now(), UTC)

    def next_id(self, kind: str) -> str:
        self.counter += 1
        return f"{kind}-{self.counter}"

    # The control plane.

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self.http.post(f"{self.url}/_control/{path}", json=body or {})
        answer.raise_for_status()
        return answer.json()

    async def fault(self, operation: str, mode: str, **more: Any) -> None:
        fault = {"provider": "stripe", "operation": operation, "mode": mode, "count": 1, **more}
        await self.control("faults", fault)

    async def advance(self, **duration: float) -> None:
        seconds = timedelta(**duration).total_seconds()
        await self.control("clock", {"advance_seconds": seconds})

    async def charges(self) -> list[dict[str, Any]]:
        answer = await self.http.get(f"{self.url}/_control/charges")
        found: list[dict[str, Any]] = answer.json()
        return found

    def events(self, *types: str) -> list[dict[str, Any]]:
        bodies = [record["body"] for record in self.core.webhooks.events]
        return [body for body in bodies if not types or body["type"] in types]

    # Drafts.

    async def customer(self, **changes: Any) -> str:
        draft = {
            "organization_id": self.next_id("organization"),
            "name": "Ana López",
            "email": "ana@example.mx",
            "country": "MX",
        }
        return await self.provider.ensure_customer(CustomerDraft.model_validate(draft | changes))

    async def card(self, customer_id: str, token: str = GOOD_CARD) -> str:
        request = AttachPaymentMethod(
            payment_method_id=self.next_id("method"),
            provider_customer_id=customer_id,
            token=token,
        )
        attached = await self.provider.attach_payment_method(request)
        return attached.provider_payment_method_id

    async def price(self, amount_minor: int = 19_900, currency: str = "MXN") -> str:
        draft = PlanDraft(
            plan_id=self.next_id("plan"),
            name="Pro",
            billing_interval=BillingInterval.MONTHLY,
            amount_minor=amount_minor,
            currency=currency,
        )
        return await self.provider.ensure_plan(draft)

    async def subscription_draft(
        self, token: str | None = GOOD_CARD, **changes: Any
    ) -> SubscriptionDraft:
        customer_id = await self.customer()
        method_id = None if token is None else await self.card(customer_id, token)
        draft = {
            "subscription_id": self.next_id("subscription"),
            "organization_id": "organization-1",
            "invoice_id": self.next_id("invoice"),
            "attempt_id": self.next_id("attempt"),
            "provider_customer_id": customer_id,
            "provider_plan_id": await self.price(),
            "plan_name": "Pro",
            "billing_interval": "monthly",
            "amount_minor": 19900,
            "currency": "MXN",
            "provider_payment_method_id": method_id,
        }
        return SubscriptionDraft.model_validate(draft | changes)

    async def subscribed(
        self, token: str | None = GOOD_CARD, **changes: Any
    ) -> tuple[SubscriptionDraft, PreparedSubscription]:
        """A subscription that is prepared and committed."""
        draft = await self.subscription_draft(token, **changes)
        prepared = await self.provider.prepare_subscription(draft)
        await self.provider.commit_subscription(draft, prepared)
        return draft, prepared

    async def payment_draft(self, instrument: Instrument, **changes: Any) -> PaymentDraft:
        now = self.now()
        draft = {
            "attempt_id": self.next_id("attempt"),
            "subscription_id": self.next_id("subscription"),
            "invoice_id": self.next_id("invoice"),
            "organization_id": "organization-1",
            "provider_customer_id": changes.get("provider_customer_id") or await self.customer(),
            "customer_name": "Ana López",
            "customer_email": "ana@example.mx",
            "instrument": instrument,
            "amount_minor": 19_900,
            "currency": "MXN",
            "description": "Pro",
            "created_at": now,
            "expires_at": now + timedelta(days=3),
        }
        return PaymentDraft.model_validate(draft | changes)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Ends by holding everything that was said against Stripe's document."""
    core = Core(SandboxConfig(stripe_api_key=API_KEY, stripe_webhook_secret=WEBHOOK_SECRET))
    simulator = StripeSimulator(core)
    control = Control(core, {"stripe": simulator})
    app = Starlette(
        routes=[
            Mount("/stripe", routes=simulator.routes()),
            Mount("/_control", routes=control.routes()),
        ]
    )
    recorder = Recorder(app)
    async with (
        serving(recorder) as url,
        httpx.AsyncClient(trust_env=False) as http,
        AsyncExitStack() as closing,
    ):
        yield Stage(core, url, recorder, http, closing)
    await core.webhooks.aclose()
    problems = recorder.problems + [
        problem
        for record in core.webhooks.events
        for problem in openapi.check_event(record["body"])
    ]
    assert problems == []
