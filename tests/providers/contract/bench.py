"""A bench for one provider: its simulator on a socket, the adapter that the wiring builds for it, a customer
who pays, and drafts with the values that do not matter filled in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette

from abono.settings import Settings
from abono.wiring import build_providers
from models.calendar import BillingInterval
from models.outcomes import Instrument, PayTransfer, PayVoucher, ProviderName
from models.snapshots import InvoiceSnapshot, PaymentSnapshot, SubscriptionSnapshot
from providers.capabilities import Capabilities, Capability
from providers.drafts import (
    AttachPaymentMethod,
    BenefitDraft,
    CheckoutDraft,
    CustomerDraft,
    GrantDraft,
    PaymentDraft,
    PlanDraft,
    ProductDraft,
    RefundDraft,
    SetupDraft,
    SubscriptionDraft,
)
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from sandbox.app import create_app
from sandbox.core import Core, SandboxConfig
from tests.providers.contract.profiles import PROFILES, Profile
from tests.providers.contract.serving import serving
from tests.sandbox.conekta.world import private_pem, tls_context

AMOUNT_MINOR = 19_900
NAME = "Ana Contrato"
EMAIL_USER = "ana.contrato"
# Long enough for an answer on a busy machine, short enough to wait for in a test.
HASTY_SECONDS = 0.4
PATIENT_SECONDS = 8.0
WARM_UPS_MAX = 5

Json = dict[str, Any]


def nothing_configured() -> Json:
    """Settings that hold whatever the environment of the test run may hold at bay."""
    keys = {f"{name.upper()}_API_KEY": None for name in ProviderName}
    return {**keys, **{scheme.setting: None for each in PROFILES for scheme in each.schemes}}


def unknown_id(kind: str) -> str:
    """One that no provider has made."""
    return f"{kind}_unknown"


@dataclass
class Bench:
    profile: Profile
    app: Starlette
    url: str
    http: httpx.AsyncClient
    closing: AsyncExitStack
    counter: int = 0

    def __post_init__(self) -> None:
        self.provider = self.adapter()

    @property
    def core(self) -> Core:
        core: Core = self.app.state.core
        return core

    @property
    def name(self) -> ProviderName:
        return self.profile.name

    @property
    def capabilities(self) -> Capabilities:
        return self.profile.capabilities

    def adapter(
        self, changes: Mapping[str, str] | None = None, *, timeout_seconds: float = PATIENT_SECONDS
    ) -> PaymentProvider:
        """As the engine gets it: from settings, through the wiring and the registry."""
        settings = {
            **nothing_configured(),
            "ABONO_PROVIDER_TIMEOUT_SECONDS": timeout_seconds,
            **self.profile.settings,
            f"{self.name.upper()}_API_BASE": f"{self.url}/{self.name}",
            **(changes or {}),
        }
        registry = build_providers(Settings.model_validate(settings))
        self.closing.push_async_callback(registry.aclose)
        assert registry.names() == [self.name]
        found = registry.get(self.name)
        assert found is not None
        return found

    async def hasty_adapter(self) -> PaymentProvider:
        """Gives up soon. Its SDK is loaded and its connection stands, so that only an answer can be late."""
        provider = self.adapter(timeout_seconds=HASTY_SECONDS)
        for _ in range(WARM_UPS_MAX):
            try:
                await provider.get_payment(unknown_id("pi"))
            except ProviderFailure as failure:
                if failure.kind is FailureKind.NOT_FOUND:
                    break
        return provider

    # The simulated world.

    async def control(self, path: str, body: Json | None = None) -> Json:
        answer = await self.http.post(f"{self.url}/_control/{path}", json=body or {})
        assert answer.status_code == 200, answer.text
        parsed: Json = answer.json()
        return parsed

    async def fault(self, operation: str, mode: str, seconds: float | None = None) -> None:
        fault = {"provider": self.name, "operation": operation, "mode": mode, "count": 1}
        await self.control("faults", {**fault, "seconds": seconds})

    async def pay(self, snapshot: PaymentSnapshot) -> Json:
        """The customer pays with what the snapshot shows: a slip, a CLABE, or the page."""
        return await self.control(f"payments/{reference_of(snapshot)}/pay")

    async def expire(self, snapshot: PaymentSnapshot) -> None:
        await self.control(f"payments/{reference_of(snapshot)}/expire")

    async def renew(self, subscription_id: str, outcome: str = "paid") -> None:
        path = f"subscriptions/{self.name}/{subscription_id}/renew"
        await self.control(path, {"outcome": outcome})

    async def advance(self, days: float) -> None:
        await self.control("clock", {"advance_seconds": days * 86_400})

    async def book(self, *statuses: str) -> list[Json]:
        """The provider's movements of money, those with one of the statuses."""
        answer = await self.http.get(f"{self.url}/_control/charges")
        booked: list[Json] = answer.json()
        return [entry for entry in booked if not statuses or entry["status"] in statuses]

    async def refunds(self) -> list[int]:
        return [entry["amount_minor"] for entry in await self.book() if entry["kind"] == "refund"]

    def count(self, collection: str) -> int:
        return len(self.core.collection(self.name, collection))

    def events(self) -> list[Json]:
        """The bodies of all webhooks that the simulator made."""
        return [record["body"] for record in self.core.webhooks.events]

    # Drafts.

    def new_id(self) -> str:
        self.counter += 1
        return f"0199a1b2-0000-7000-8000-{self.counter:012d}"

    def customer_draft(self) -> CustomerDraft:
        id_ = self.new_id()
        email = f"{EMAIL_USER}.{self.counter}@example.mx"
        return CustomerDraft(organization_id=id_, name=NAME, email=email, country="MX")

    def setup_draft(self) -> SetupDraft:
        return SetupDraft(organization_id=self.new_id())

    def card_request(self, customer_id: str, token: str | None = None) -> AttachPaymentMethod:
        id_ = self.new_id()
        token = token or self.profile.good_token
        if self.profile.one_card_per_token:
            token = f"{token}_{self.counter}"
        return AttachPaymentMethod(
            payment_method_id=id_, provider_customer_id=customer_id, token=token
        )

    def plan_draft(self) -> PlanDraft:
        return PlanDraft(
            plan_id=self.new_id(),
            name="Plan Pro",
            billing_interval=BillingInterval.MONTHLY,
            amount_minor=AMOUNT_MINOR,
            currency=self.profile.currency,
        )

    def subscription_draft(self, customer_id: str, **change: Any) -> SubscriptionDraft:
        usual: Json = {
            "subscription_id": self.new_id(),
            "organization_id": self.new_id(),
            "invoice_id": self.new_id(),
            "attempt_id": self.new_id(),
            "provider_customer_id": customer_id,
            "provider_plan_id": unknown_id("price"),
            "plan_name": "Plan Pro",
            "billing_interval": "monthly",
            "amount_minor": AMOUNT_MINOR,
            "currency": self.profile.currency,
            "provider_payment_method_id": unknown_id("pm"),
        }
        return SubscriptionDraft.model_validate({**usual, **change})

    def payment_draft(
        self, customer_id: str, instrument: Instrument, **change: Any
    ) -> PaymentDraft:
        now = datetime.now(UTC).replace(microsecond=0)
        usual: Json = {
            "attempt_id": self.new_id(),
            "subscription_id": self.new_id(),
            "invoice_id": self.new_id(),
            "organization_id": self.new_id(),
            "provider_customer_id": customer_id,
            "customer_name": NAME,
            "customer_email": f"{EMAIL_USER}@example.mx",
            "instrument": instrument,
            "amount_minor": AMOUNT_MINOR,
            "currency": self.profile.currency,
            "description": "Plan Pro, octubre",
            "created_at": now,
            "expires_at": now + timedelta(days=3),
        }
        return PaymentDraft.model_validate({**usual, **change})

    def product_draft(self) -> ProductDraft:
        return ProductDraft(
            product_id=self.new_id(),
            name="E-book",
            amount_minor=AMOUNT_MINOR,
            currency=self.profile.currency,
        )

    def benefit_draft(self) -> BenefitDraft:
        return BenefitDraft(
            benefit_id=self.new_id(),
            type="custom",
            description="Thank you",
            properties={"note": "You are great"},
        )

    def checkout_draft(self, customer_id: str, product_id: str, **change: Any) -> CheckoutDraft:
        usual: Json = {
            "attempt_id": self.new_id(),
            "invoice_id": self.new_id(),
            "organization_id": self.new_id(),
            "purchase_id": self.new_id(),
            "provider_customer_id": customer_id,
            "provider_product_id": product_id,
            "description": "E-book",
            "amount_minor": AMOUNT_MINOR,
            "currency": self.profile.currency,
            "success_url": "https://shop.example/thanks",
            "expires_at": datetime.now(UTC) + timedelta(hours=12),
        }
        return CheckoutDraft.model_validate({**usual, **change})

    def grant_draft(self, customer_id: str, benefit_id: str) -> GrantDraft:
        return GrantDraft(
            grant_id=self.new_id(),
            organization_id=self.new_id(),
            provider_customer_id=customer_id,
            provider_benefit_id=benefit_id,
        )

    def refund_draft(self, payment_id: str, **change: Any) -> RefundDraft:
        usual: Json = {
            "refund_id": self.new_id(),
            "provider_payment_id": payment_id,
            "amount_minor": AMOUNT_MINOR,
            "currency": self.profile.currency,
            "reason": "requested_by_customer",
            "already_refunded_minor": 0,
        }
        return RefundDraft.model_validate({**usual, **change})

    # The shortest ways to a state, through the adapter where the provider can.

    async def customer(self) -> str:
        return await self.provider.ensure_customer(self.customer_draft())

    async def card(self, customer_id: str, token: str | None = None) -> str:
        attached = await self.provider.attach_payment_method(self.card_request(customer_id, token))
        return attached.provider_payment_method_id

    async def ready_to_subscribe(
        self, token: str | None = None, **change: Any
    ) -> SubscriptionDraft:
        """A customer with a card, and a plan."""
        customer_id = await self.customer()
        return self.subscription_draft(
            customer_id,
            provider_plan_id=await self.provider.ensure_plan(self.plan_draft()),
            provider_payment_method_id=await self.card(customer_id, token),
            **change,
        )

    async def subscribed(self) -> SubscriptionSnapshot:
        """A running subscription whose first period is paid."""
        if Capability.CARD_SUBSCRIPTION in self.capabilities.supports:
            draft = await self.ready_to_subscribe()
            prepared = await self.provider.prepare_subscription(draft)
            return await self.provider.commit_subscription(draft, prepared)
        customer_id = await self.customer()
        subscription_id = await self._bought_on_a_page(customer_id)
        return await self.provider.get_subscription(customer_id, subscription_id)

    async def unpaid_renewal(self) -> tuple[SubscriptionSnapshot, InvoiceSnapshot]:
        running = await self.subscribed()
        await self.renew(running.provider_subscription_id, "failed")
        late = await self.provider.get_subscription(
            running.provider_customer_id, running.provider_subscription_id
        )
        assert late.latest_invoice is not None
        return late, late.latest_invoice

    async def disputed(self) -> str:
        """The provider's id of an open dispute of a card payment."""
        await self.subscribed()
        [charge] = await self.book("paid")
        opened = await self.control(f"payments/{charge['id']}/dispute")
        return str(opened["dispute"])

    async def issued(self, instrument: Instrument) -> tuple[PaymentDraft, PaymentSnapshot]:
        draft = self.payment_draft(await self.customer(), instrument)
        payment_id = await self.provider.prepare_payment(draft)
        return draft, await self.provider.commit_payment(draft, payment_id)

    async def page(self) -> tuple[CheckoutDraft, PaymentSnapshot]:
        product_id = await self.provider.ensure_product(self.product_draft())
        draft = self.checkout_draft(await self.customer(), product_id)
        return draft, await self.provider.create_checkout(draft)

    async def refundable(self) -> PaymentSnapshot:
        """A paid payment that every provider can pay back: a transfer, or else a page."""
        opened = await self.unpaid()
        await self.pay(opened)
        return await self.provider.get_payment(opened.provider_payment_id)

    async def unpaid(self) -> PaymentSnapshot:
        if Capability.BANK_TRANSFER in self.capabilities.supports:
            return (await self.issued(Instrument.SPEI))[1]
        return (await self.page())[1]

    async def _bought_on_a_page(self, customer_id: str) -> str:
        """As an organization does that sells subscriptions in the provider's own shop (Polar)."""
        headers = {"Authorization": f"Bearer {self.profile.api_key}", "Polar-Version": "2026-10"}

        async def post(path: str, body: Json) -> str:
            url = f"{self.url}/{self.name}/v1/{path}/"
            answer = await self.http.post(url, json=body, headers=headers)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        price = {"amount_type": "fixed", "price_amount": AMOUNT_MINOR}
        club = await post(
            "products", {"name": "Club", "recurring_interval": "month", "prices": [price]}
        )
        page = await post("checkouts", {"products": [club], "customer_id": customer_id})
        await self.control(f"payments/{page}/pay")
        return next(iter(self.core.collection(self.name, "subscriptions")))


def reference_of(snapshot: PaymentSnapshot) -> str:
    """What the customer pays with."""
    action = snapshot.next_action
    if isinstance(action, PayVoucher):
        return action.vouchers[0].reference
    if isinstance(action, PayTransfer):
        return action.clabe
    return snapshot.provider_payment_id


@asynccontextmanager
async def open_bench(profile: Profile) -> AsyncIterator[Bench]:
    """The sandbox with all its simulators, and one configured provider."""
    app = create_app(SandboxConfig(conekta_private_key_pem=private_pem("conekta")))
    async with (
        serving(app) as url,
        httpx.AsyncClient(trust_env=False, verify=tls_context()) as http,
        AsyncExitStack() as closing,
    ):
        yield Bench(profile, app, url, http, closing)
    await app.state.core.webhooks.aclose()
