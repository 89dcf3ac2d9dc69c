"""The activities with everything real around them: PostgreSQL, adapters, SDKs and the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal, cast
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette

from abono.settings import Settings
from abono.simulate.serving import serving
from abono.wiring import build_providers
from activities.payment_methods import PaymentMethodActivities
from activities.provider_calls import ProviderActivities
from activities.signatures.attempts import (
    AttemptResult,
    IssuePayment,
    OpenProviderSubscription,
    RetryInvoice,
    SettleAttempt,
)
from models.commands import AddPaymentMethodInput
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.projections import InvoiceProjection
from models.storage.tables import ChargeAttempt, PaymentMethod, new_id
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry
from sandbox.app import create_app
from sandbox.core import Core, SandboxConfig
from sandbox.faults import Fault, FaultMode
from tests.activities.running import run
from tests.storage.books import AMOUNT, Books, open_books

# Answers that never come are waited for this long: few tests do it, and a busy machine is no outage.
PROVIDER_TIMEOUT_SECONDS = 2.0
# Money that the customer has paid, or can pay any moment.
LIVE = {"pending", "paid"}
LIVE_BY_OUTCOME = {
    OutcomeClass.PENDING: 1,
    OutcomeClass.SUCCEEDED: 1,
    OutcomeClass.DECLINED: 0,
    OutcomeClass.NOT_ATTEMPTED: 0,
}

Act = Callable[[], Awaitable[None]]


class Killed(Exception):
    """The worker dies here: nothing after this line has happened."""


async def die() -> None:
    raise Killed


class Interrupted:
    """A provider that does everything as the real one, and `act` before or after one method."""

    def __init__(
        self, real: PaymentProvider, method: str, when: Literal["before", "after"], act: Act
    ) -> None:
        self._real = real
        self._method = method
        self._when = when
        self._act = act

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name != self._method:
            return real

        async def call(*arguments: Any, **keywords: Any) -> Any:
            if self._when == "before":
                await self._act()
            answer = await real(*arguments, **keywords)
            if self._when == "after":
                await self._act()
            return answer

        return call


@dataclass
class Stage:
    books: Books
    app: Starlette
    providers: ProviderRegistry

    @property
    def core(self) -> Core:
        core: Core = self.app.state.core
        return core

    @property
    def calls(self) -> ProviderActivities:
        return ProviderActivities(self.books.sessions, self.providers)

    @property
    def methods(self) -> PaymentMethodActivities:
        return PaymentMethodActivities(self.books.sessions, self.providers)

    def without_providers(self) -> ProviderActivities:
        """A worker that was started without any key."""
        return ProviderActivities(self.books.sessions, ProviderRegistry({}))

    def interrupted(
        self,
        provider: ProviderName,
        method: str,
        when: Literal["before", "after"],
        act: Act = die,
    ) -> ProviderActivities:
        """A worker that does `act` (dies, by default) before or after one call to the provider."""
        real = self.providers.get(provider)
        assert real is not None
        standing_in = cast(PaymentProvider, Interrupted(real, method, when, act))
        return ProviderActivities(self.books.sessions, ProviderRegistry({provider: standing_in}))

    def fault(
        self, provider: str, operation: str, mode: FaultMode, count: int | None = None
    ) -> None:
        self.core.faults.add(Fault(provider=provider, operation=operation, mode=mode, count=count))

    # Requests.

    def invoice(self, **changes: Any) -> InvoiceProjection:
        now = datetime.now(UTC)
        usual = {
            "id": new_id(),
            "amount_minor": AMOUNT,
            "currency": "MXN",
            "status": "pending",
            "invoice_date": now,
            "due_date": now,
        }
        return InvoiceProjection.model_validate({**usual, **changes})

    def attempt_fields(self, provider: ProviderName, **changes: Any) -> dict[str, Any]:
        usual = {
            "attempt_id": new_id(),
            "provider": provider,
            "terms": self.books.terms,
            "invoice": self.invoice(),
            "started_at": datetime.now(UTC),
        }
        return {**usual, **changes}

    def voucher(
        self, provider: ProviderName, instrument: Instrument = Instrument.OXXO, **changes: Any
    ) -> IssuePayment:
        self.books.instrument = instrument
        expires_at = datetime.now(UTC) + timedelta(days=3)
        return IssuePayment(
            **self.attempt_fields(provider, **changes),
            expires_at=expires_at,
            expiry_grace_seconds=900,
        )

    async def opening(self, card: str = "pm_card_visa", **changes: Any) -> OpenProviderSubscription:
        """A request to open a subscription that Stripe bills, with a card that is stored there."""
        self.books.instrument = Instrument.CARD
        fields = self.attempt_fields(ProviderName.STRIPE, **changes)
        fields["payment_method_id"] = await self.card(card)
        return OpenProviderSubscription(**fields)

    async def waiting_method(self, token: str, **changes: Any) -> AddPaymentMethodInput:
        """A payment method as the API leaves it: the browser's token waits in the row."""
        id_, now = new_id(), datetime.now(UTC)
        await self.books.add(
            PaymentMethod(
                id=id_,
                application_id=self.books.application_id,
                organization_id=self.books.organization_id,
                provider="stripe",
                account="default",
                type="card",
                status="pending",
                setup_token=token,
                is_default=False,
                created_at=now,
                updated_at=now,
            )
        )
        usual = {
            "payment_method_id": id_,
            "application_id": self.books.application_id,
            "organization_id": self.books.organization_id,
            "provider": ProviderName.STRIPE,
            "type": Instrument.CARD,
        }
        return AddPaymentMethodInput.model_validate({**usual, **changes})

    async def card(self, token: str) -> UUID:
        request = await self.waiting_method(token)
        result = await run(self.methods.add_payment_method, request)
        assert result.status == "active"
        return request.payment_method_id

    async def declined_opening(
        self, card: str = "pm_card_chargeDeclinedInsufficientFunds"
    ) -> tuple[OpenProviderSubscription, AttemptResult]:
        """A subscription whose first payment was refused: Stripe keeps its invoice open."""
        request = await self.opening(card)
        result = await run(self.calls.open_provider_subscription, request)
        assert result.outcome is OutcomeClass.DECLINED
        return request, result

    def retry_of(
        self, opening: OpenProviderSubscription, opened: AttemptResult, **changes: Any
    ) -> RetryInvoice:
        assert opened.provider_object_id is not None
        fields = self.attempt_fields(ProviderName.STRIPE, invoice=opening.invoice)
        fields["provider_invoice_id"] = opened.provider_object_id.split("/")[2]
        return RetryInvoice(**{**fields, **changes})

    # Looking.

    async def attempt(self, attempt_id: UUID) -> ChargeAttempt:
        async with self.books.sessions() as session:
            return await session.get_one(ChargeAttempt, attempt_id)

    async def method(self, method_id: UUID) -> PaymentMethod:
        async with self.books.sessions() as session:
            return await session.get_one(PaymentMethod, method_id)

    def charges(self, invoice_id: UUID) -> list[dict[str, Any]]:
        """What the sandbox's book of money says of one invoice, live or dead."""
        return [c for c in self.core.charges if c["invoice_id"] == str(invoice_id)]

    def live(self, invoice_id: UUID) -> list[dict[str, Any]]:
        return [c for c in self.charges(invoice_id) if c["status"] in LIVE]

    async def pay(self, invoice_id: UUID) -> None:
        """The customer pays what is live."""
        [charge] = self.live(invoice_id)
        simulator = getattr(self.app.state, charge["provider"])
        await simulator.pay(charge["reference"], None)

    async def settle(self, attempt_id: UUID, provider: ProviderName) -> AttemptResult:
        request = SettleAttempt(attempt_id=attempt_id, provider=provider)
        return await run(self.calls.settle_attempt, request)

    async def resolved(self, result: AttemptResult) -> AttemptResult:
        """As a workflow does it: from `unknown` nothing new starts until the provider was asked."""
        if result.outcome is not OutcomeClass.UNKNOWN:
            return result
        return await self.settle(result.attempt_id, result.provider)

    async def check_books(self, result: AttemptResult) -> None:
        """Result, ledger and the provider's own book tell the same story of the invoice."""
        attempt = await self.attempt(result.attempt_id)
        assert attempt.outcome == result.outcome, "the ledger's outcome"
        live = self.live(attempt.invoice_id)
        assert len(live) == LIVE_BY_OUTCOME[result.outcome], f"live charges: {live}"
        paid = result.outcome is OutcomeClass.SUCCEEDED
        assert [c["status"] for c in live] == ["paid" if paid else "pending"] * len(live)


@cache
def _webhook_key() -> str:
    """Nobody reads a webhook here, so one key is enough for all tests: making one takes 0.1 s."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


@asynccontextmanager
async def open_stage(database_url: str) -> AsyncIterator[Stage]:
    app = create_app(SandboxConfig(conekta_private_key_pem=_webhook_key()))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app))
        books = await stack.enter_async_context(open_books(database_url))
        settings = Settings(
            STRIPE_API_KEY="sk_test_sandbox",
            STRIPE_API_BASE=f"{url}/stripe",
            CONEKTA_API_KEY="key_sandbox",
            CONEKTA_API_BASE=f"{url}/conekta",
            POLAR_API_KEY="polar_oat_sandbox",
            POLAR_API_BASE=f"{url}/polar",
            ABONO_PROVIDER_TIMEOUT_SECONDS=PROVIDER_TIMEOUT_SECONDS,
        )
        providers = build_providers(settings)
        stack.push_async_callback(providers.aclose)
        yield Stage(books, app, providers)
