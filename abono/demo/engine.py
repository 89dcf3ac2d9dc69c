"""The engine's public API as an application uses it: one key, one idempotency key per wish, patience.

A POST that meets a restart is sent again with the same Idempotency-Key until it is answered, and
what takes its time is read again until it is so or the deadline has passed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from abono.demo.checks import StepFailed
from abono.demo.views import (
    Breaker,
    Invoice,
    Organization,
    PaymentMethod,
    Plan,
    Provider,
    Subscription,
)
from abono.dev.info import StackInfo
from models.money import Money

# For one wait. A killed worker is noticed within 10 s and starts within 10 more on a busy laptop.
WAIT_SECONDS_MAX = 45.0
_POLL_SECONDS = 0.1
# The API answers within 10 s; a little more, so that a slow answer is seen rather than cut off.
_REQUEST_SECONDS_MAX = 15.0
_AGAIN_SECONDS = 0.5
_PAGE = 100

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
        self._admin_key = info.admin_api_key
        self._providers = f"{info.api_url}/api/v1/providers"
        self._client = httpx.AsyncClient(
            base_url=f"{info.api_url}/api/v1/billing",
            headers={"Authorization": f"Bearer {info.api_key}"},
            timeout=_REQUEST_SECONDS_MAX,
            trust_env=False,  # A proxy for the internet knows nothing of this machine.
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def create_plan(self, name: str, prices: Iterable[Money]) -> Plan:
        """Needs the administrator's key: applications sell plans, they do not make them."""
        offered = [
            {
                "currency": price.currency,
                "billing_interval": "monthly",
                "amount_minor": price.amount_minor,
            }
            for price in prices
        ]
        wish = {"name": name, "prices": offered}
        made = await self._post("/plans", wish, Plan, key=self._admin_key)
        return made.value

    async def create_organization(
        self, name: str, *, country: str, time_zone: str | None = None
    ) -> Organization:
        short = name.split()[0].lower()
        body = {
            "external_id": f"demo-{self._run}-{short}",
            "name": name,
            "email": f"{short}@example.com",
            "country": country,
            "time_zone": time_zone,
        }
        wish = {name: value for name, value in body.items() if value is not None}
        return (await self._post("/organizations", wish, Organization)).value

    async def organization_of(self, subscription: Subscription) -> Organization:
        path = f"/organizations/{subscription.organization_id}"
        where = self.places.of(subscription)
        return _read(Organization, await self._get(path, {}, where), where)

    async def add_card(self, organization: Organization, token: str) -> PaymentMethod:
        """`token` is what the provider's browser library made of the card. Waits until it is usable."""
        wish = {"organization_id": organization.id, "token": token, "set_as_default": True}
        method = (await self._post("/payment-methods", wish, PaymentMethod)).value
        path = f"/payment-methods/{method.id}"
        return await self._until(
            path,
            PaymentMethod,
            lambda card: card.status == "active",
            "a card that the provider has accepted",
            lambda card: f"a card that is {card.status}",
            self.places.of_logs("worker", "api"),
        )

    async def subscribe(
        self, organization: Organization, plan: Plan, payment_method_type: str
    ) -> Answer[Subscription]:
        wish = {
            "organization_id": organization.id,
            "plan_id": plan.id,
            "billing_interval": "monthly",
            "payment_method_type": payment_method_type,
        }
        return await self._post("/subscriptions", wish, Subscription)

    async def retry(self, subscription: Subscription, card: PaymentMethod) -> Answer[Subscription]:
        """Collect the open invoice now, with this card from now on."""
        path = f"/subscriptions/{subscription.id}/retry"
        return await self._post(path, {"payment_method_id": card.id}, Subscription)

    async def cancel(self, subscription: Subscription) -> Answer[Subscription]:
        path = f"/subscriptions/{subscription.id}/cancel?cancel_immediately=true"
        return await self._post(path, None, Subscription)

    async def read(self, subscription: Subscription) -> Subscription:
        path = f"/subscriptions/{subscription.id}"
        where = self.places.of(subscription)
        return await self._until(path, Subscription, lambda _: True, "an answer", str, where)

    async def until(
        self,
        subscription: Subscription,
        expected: str,
        holds: Callable[[Subscription], bool],
    ) -> Subscription:
        """Read it until `holds`. Raises StepFailed after WAIT_SECONDS_MAX; `expected` says what."""
        return await self._until(
            f"/subscriptions/{subscription.id}",
            Subscription,
            holds,
            expected,
            Subscription.summary,
            self.places.of(subscription),
        )

    async def breaker(self, provider: str) -> Breaker:
        """The circuit breaker of this provider's account, as operators see it."""
        where = self.places.of_logs("api")
        page = await self._get(self._providers, {}, where)
        rows = [_read(Provider, row, where) for row in page["data"]]
        found = [breaker for row in rows if row.name == provider for breaker in row.breakers]
        if len(found) != 1:
            raise StepFailed(f"one circuit breaker of {provider}", str(len(found)), where)
        return found[0]

    async def reset_breaker(self, provider: str) -> Answer[Breaker]:
        """Let the next call probe. Needs the administrator's key."""
        path = f"{self._providers}/{provider}/breaker/reset"
        return await self._post(path, None, Breaker, key=self._admin_key)

    async def invoices(self, subscription: Subscription) -> list[Invoice]:
        """With their payments, newest first."""
        where = self.places.of(subscription)
        query = {"subscription_id": subscription.id, "limit": str(_PAGE)}
        page = await self._get("/invoices", query, where)
        return [
            _read(Invoice, await self._get(f"/invoices/{listed['id']}", {}, where), where)
            for listed in page["data"]
        ]

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
            found = _read(view, await self._get(path, {}, where), where)
            if holds(found):
                return found
            if time.monotonic() > deadline:
                waited = f"after {WAIT_SECONDS_MAX:.0f} s still: {describe(found)}"
                raise StepFailed(expected, waited, where)
            await asyncio.sleep(_POLL_SECONDS)

    async def _get(self, path: str, query: Mapping[str, str], where: tuple[str, ...]) -> Any:
        async def send() -> httpx.Response:
            return await self._client.get(path, params=query)

        response, _ = await _patiently(send, f"an answer to GET {path}", where)
        return _accepted(response, f"an answer to GET {path}", where).json()

    async def _post(
        self, path: str, wish: Mapping[str, Any] | None, view: type[View], key: str | None = None
    ) -> Answer[View]:
        """One wish, one Idempotency-Key, however often it has to be sent."""
        self._wishes += 1
        headers = {"Idempotency-Key": f"demo-{self._run}-{self._wishes}"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"

        async def send() -> httpx.Response:
            return await self._client.post(path, json=wish, headers=headers)

        what, where = f"POST {path} to be accepted", self.places.of_logs("api", "worker")
        response, seconds = await _patiently(send, what, where)
        response = _accepted(response, what, where)
        return Answer(response.status_code, seconds, _read(view, response.json(), where))


async def _patiently(
    send: Callable[[], Any], expected: str, where: tuple[str, ...]
) -> tuple[httpx.Response, float]:
    """The answer, once there is one that is not "come back in a moment"; and its seconds."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        started = time.monotonic()
        try:
            response: httpx.Response | None = await send()
            got = _describe(response) if response is not None else ""
        except httpx.TransportError as problem:
            response, got = None, f"no answer ({type(problem).__name__})"
        now = time.monotonic()
        if response is not None and not _is_passing(response):
            return response, now - started
        if now > deadline:
            raise StepFailed(expected, f"{got} for {WAIT_SECONDS_MAX:.0f} s", where)
        await asyncio.sleep(_AGAIN_SECONDS)


def _is_passing(response: httpx.Response) -> bool:
    """Not stored, or the same wish is still being worked on: sent again, it is answered."""
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return True
    busy = response.status_code == httpx.codes.CONFLICT
    return busy and _problem(response).get("code") == "idempotency_key_in_use"


def _accepted(response: httpx.Response, expected: str, where: tuple[str, ...]) -> httpx.Response:
    if not response.is_success:
        request_id = response.headers.get("X-Request-Id")
        found_by = (f"request id {request_id} in the API's log",) if request_id else ()
        raise StepFailed(expected, _describe(response), (*where, *found_by))
    return response


def _read(view: type[View], body: Any, where: tuple[str, ...]) -> View:
    try:
        return view.model_validate(body)
    except ValidationError as problem:
        fields = ", ".join(".".join(map(str, error["loc"])) for error in problem.errors())
        expected = f"{view.__name__.lower()} as the contract describes it"
        raise StepFailed(expected, f"something else in: {fields}", where) from None


def _describe(response: httpx.Response) -> str:
    found = _problem(response)
    said = ": ".join(str(found[name]) for name in ("code", "detail") if found.get(name))
    return f"{response.status_code} {said}".strip()


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
