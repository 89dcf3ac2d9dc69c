"""The engine's public API as an application uses it: through `abono_client`, with patience.

The client sends a POST that meets a restart again, with the same Idempotency-Key, until it is answered;
what takes its time is read again until it is so or the deadline has passed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from abono.demo.checks import StepFailed
from abono.demo.views import Invoice, Subscription
from abono.dev.info import StackInfo
from abono_client import ApiError, AsyncAbonoClient, ConnectionFailed
from abono_client.models import (
    AddPaymentMethod,
    BreakerView,
    CreateOrganization,
    CreatePlan,
    CreateSubscription,
    OrganizationView,
    PaymentMethodView,
    PlanView,
    ProviderView,
    RetryPaymentRequest,
)
from models.money import Money

# For one wait. A killed worker is noticed within 10 s and starts within 10 more on a busy laptop.
WAIT_SECONDS_MAX = 45.0
_POLL_SECONDS = 0.1
# With the client's growing waits about as long as WAIT_SECONDS_MAX.
_TRIES_MAX = 8

View = TypeVar("View", bound=BaseModel)


@dataclass(frozen=True)
class Answer(Generic[View]):
    """`seconds` is how long the caller waited for the (last) answer."""

    status: int
    seconds: float
    value: View

    @property
    def is_settled(self) -> bool:
        """202 would mean: accepted, the outcome is not known yet."""
        return self.status != httpx.codes.ACCEPTED


@dataclass(frozen=True)
class _Heard:
    status: int
    seconds: float


_heard: ContextVar[list[_Heard] | None] = ContextVar("_heard", default=None)


class _Listening(httpx.AsyncHTTPTransport):
    """Notes what the demo tells about: with which status, and after how long, the API answered."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        started = time.monotonic()
        response = await super().handle_async_request(request)
        heard = _heard.get()
        if heard is not None:
            heard.append(_Heard(response.status_code, time.monotonic() - started))
        return response


@dataclass(frozen=True)
class Places:
    """Where a person looks when something is odd."""

    temporal_ui_url: str
    namespace: str
    logs: Path

    def workflow(self, workflow_id: str) -> str:
        name = quote(workflow_id, safe="")
        return f"{self.temporal_ui_url}/namespaces/{self.namespace}/workflows/{name}"

    def of(self, subscription: Subscription) -> tuple[str, ...]:
        return (self.workflow(subscription.workflow_id), *self.of_logs("worker", "api"))

    def of_logs(self, *names: str) -> tuple[str, ...]:
        return tuple(str(self.logs / f"{name}.log") for name in names)


class Engine:
    """`run` makes this run's names and keys differ from those of every other run."""

    def __init__(self, info: StackInfo, places: Places, run: str) -> None:
        self.places = places
        self._run = run
        self._wishes = 0
        self._app = _client(info.api_url, info.api_key)
        self._admin = _client(info.api_url, info.admin_api_key)

    async def aclose(self) -> None:
        await self._app.aclose()
        await self._admin.aclose()

    async def create_plan(self, name: str, prices: Iterable[Money]) -> PlanView:
        """Needs the administrator's key: applications sell plans, they do not make them."""
        offered = [{**price.model_dump(), "billing_interval": "monthly"} for price in prices]
        plan = CreatePlan.model_validate({"name": name, "prices": offered})
        made = self._admin.create_plan(plan, idempotency_key=self._key())
        return (await self._answered("a plan", made)).value

    async def create_organization(
        self, name: str, *, country: str, time_zone: str | None = None
    ) -> OrganizationView:
        short = name.split()[0].lower()
        organization = CreateOrganization(
            external_id=f"demo-{self._run}-{short}",
            name=name,
            email=f"{short}@example.com",
            country=country,
            **({"time_zone": time_zone} if time_zone else {}),
        )
        made = self._app.create_organization(organization, idempotency_key=self._key())
        return (await self._answered("an organization", made)).value

    async def organization_of(self, subscription: Subscription) -> OrganizationView:
        path = f"/billing/organizations/{subscription.organization_id}"
        read = self._app.get(path, OrganizationView)
        return (await self._answered("an organization", read)).value

    async def add_card(self, organization: OrganizationView, token: str) -> PaymentMethodView:
        """`token` is what the provider's browser library made of the card. Waits until it is usable."""
        wish = AddPaymentMethod(organization_id=organization.id, token=token, set_as_default=True)
        added = self._app.add_payment_method(wish, idempotency_key=self._key())
        method = (await self._answered("a card", added)).value
        return await self._until(
            f"/billing/payment-methods/{method.id}",
            PaymentMethodView,
            lambda card: card.status == "active",
            "a card that the provider has accepted",
            lambda card: f"a card that is {card.status}",
            self.places.of_logs("worker", "api"),
        )

    async def subscribe(
        self, organization: OrganizationView, plan: PlanView, payment_method_type: str
    ) -> Answer[Subscription]:
        wish = CreateSubscription.model_validate(
            {
                "organization_id": organization.id,
                "plan_id": plan.id,
                "billing_interval": "monthly",
                "payment_method_type": payment_method_type,
            }
        )
        return await self._answered("a subscription", self._wish("", wish))

    async def retry(
        self, subscription: Subscription, card: PaymentMethodView
    ) -> Answer[Subscription]:
        """Collect the open invoice now, with this card from now on."""
        wish = RetryPaymentRequest(payment_method_id=card.id)
        retried = self._wish(f"/{subscription.id}/retry", wish)
        return await self._answered("another try", retried)

    async def cancel(self, subscription: Subscription) -> Answer[Subscription]:
        path = f"/{subscription.id}/cancel?cancel_immediately=true"
        return await self._answered("a cancellation", self._wish(path, None))

    async def read(self, subscription: Subscription) -> Subscription:
        return await self.until(subscription, "an answer", lambda _: True)

    async def until(
        self,
        subscription: Subscription,
        expected: str,
        holds: Callable[[Subscription], bool],
    ) -> Subscription:
        """Read it until `holds`. Raises StepFailed after WAIT_SECONDS_MAX; `expected` says what."""
        return await self._until(
            f"/billing/subscriptions/{subscription.id}",
            Subscription,
            holds,
            expected,
            Subscription.summary,
            self.places.of(subscription),
        )

    async def breaker(self, provider: str) -> BreakerView:
        """The circuit breaker of this provider's account, as operators see it."""
        rows = [row async for row in self._app.pages("/providers", ProviderView)]
        found = [breaker for row in rows if row.name == provider for breaker in row.breakers]
        if len(found) != 1:
            where = self.places.of_logs("api")
            raise StepFailed(f"one circuit breaker of {provider}", str(len(found)), where)
        return found[0]

    async def reset_breaker(self, provider: str) -> Answer[BreakerView]:
        """Let the next call probe. Needs the administrator's key."""
        path = f"/providers/{provider}/breaker/reset"
        reset = self._admin.post(path, BreakerView, idempotency_key=self._key())
        return await self._answered("a reset circuit", reset)

    async def invoices(self, subscription: Subscription) -> list[Invoice]:
        """With their payments, newest first."""
        listed = [one.id async for one in self._app.invoices(subscription_id=subscription.id)]
        reads = [self._app.get(f"/billing/invoices/{id_}", Invoice) for id_ in listed]
        return [(await self._answered("an invoice", read)).value for read in reads]

    def _wish(self, path: str, body: BaseModel | None) -> Awaitable[Subscription]:
        path = f"/billing/subscriptions{path}"
        return self._app.post(path, Subscription, body, idempotency_key=self._key())

    def _key(self) -> str:
        """One wish, one key, however often it has to be sent."""
        self._wishes += 1
        return f"demo-{self._run}-{self._wishes}"

    async def _until(
        self,
        path: str,
        view: type[View],
        holds: Callable[[View], bool],
        expected: str,
        describe: Callable[[View], str],
        where: tuple[str, ...],
    ) -> View:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            found = (await self._answered(expected, self._app.get(path, view), where)).value
            if holds(found):
                return found
            if time.monotonic() > deadline:
                waited = f"after {WAIT_SECONDS_MAX:.0f} s still: {describe(found)}"
                raise StepFailed(expected, waited, where)
            await asyncio.sleep(_POLL_SECONDS)

    async def _answered(
        self, expected: str, call: Awaitable[View], where: tuple[str, ...] = ()
    ) -> Answer[View]:
        """What came back, and how. Raises StepFailed when it is a refusal, or nothing at all."""
        heard: list[_Heard] = []
        _heard.set(heard)
        where = where or self.places.of_logs("api", "worker")
        try:
            value = await call
        except ApiError as problem:
            raise StepFailed(expected, str(problem), where) from None
        except ConnectionFailed as problem:
            raise StepFailed(expected, f"no answer: {problem}", where) from None
        except ValidationError as problem:
            fields = ", ".join(".".join(map(str, error["loc"])) for error in problem.errors())
            raise StepFailed(expected, f"something else in: {fields}", where) from None
        return Answer(heard[-1].status, heard[-1].seconds, value)


def _client(api_url: str, api_key: str) -> AsyncAbonoClient:
    return AsyncAbonoClient(api_url, api_key, tries_max=_TRIES_MAX, transport=_Listening())
