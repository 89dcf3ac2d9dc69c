"""The control plane: what a person, a test or the demo may do to the simulated world."""

from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.core import Core
from sandbox.faults import Fault
from sandbox.webhooks import DeliveryPolicy

DISPUTE_OUTCOMES = frozenset({"won", "lost"})
NOT_FOUND_BY_ACT = {
    "dispute": "no card payment of this id was made",
    "close_dispute": "no disputed card payment has this id",
    "fail_refund": "no refund that could fail has this id",
}

Model = TypeVar("Model", bound=BaseModel)


class Simulator(Protocol):
    """What the control plane needs of a provider's simulator. Unknown ids raise KeyError."""

    async def pay(self, reference: str, amount_minor: int | None) -> dict[str, Any]:
        """Somebody pays the voucher or CLABE `reference`: in time, late, twice, another amount."""

    async def expire(self, reference: str) -> dict[str, Any]:
        """The voucher or CLABE `reference` runs out now."""

    async def dispute(self, reference: str, outcome: str | None) -> dict[str, Any]:
        """The cardholder has the payment taken back; with an outcome, that is decided at once."""

    async def close_dispute(self, reference: str, outcome: str) -> dict[str, Any]:
        """The bank decides the open dispute of this payment."""

    async def fail_refund(self, reference: str) -> dict[str, Any]:
        """The bank sends back a refund that was called done."""

    async def renew(self, provider_subscription_id: str, outcome: str) -> dict[str, Any]:
        """The provider's clock bills the next period (or retries the open invoice) now."""


class Control:
    def __init__(self, core: Core, simulators: dict[str, Simulator]) -> None:
        self.core = core
        self.simulators = simulators

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/webhooks", self.webhooks, methods=["GET", "POST"]),
            Route("/webhooks/redeliver", self.redeliver, methods=["POST"]),
            Route("/payments/{reference}/pay", self.pay, methods=["POST"]),
            Route("/payments/{reference}/expire", self.expire, methods=["POST"]),
            Route("/payments/{reference}/dispute", self.dispute, methods=["POST"]),
            Route("/payments/{reference}/dispute/close", self.close_dispute, methods=["POST"]),
            Route("/subscriptions/{provider}/{id}/renew", self.renew, methods=["POST"]),
            Route("/refunds/{reference}/fail", self.fail_refund, methods=["POST"]),
            Route("/charges", self.charges, methods=["GET"]),
            Route("/clock", self.clock, methods=["GET", "POST"]),
            Route("/reset", self.reset, methods=["POST"]),
        ]

    async def healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.core.faults.clear()
        elif request.method == "POST":
            fault = await _parse(request, Fault)
            if isinstance(fault, Response):
                return fault
            self.core.faults.add(fault)
        return JSONResponse({"data": [f.model_dump(mode="json") for f in self.core.faults.active]})

    async def webhooks(self, request: Request) -> Response:
        if request.method == "POST":
            policy = await _parse(request, DeliveryPolicy)
            if isinstance(policy, Response):
                return policy
            self.core.webhooks.policy = policy
        summary = [
            {
                "provider": e["provider"],
                "id": e["id"],
                "type": e["body"].get("type"),
                "status": e["status"],
            }
            for e in self.core.webhooks.events
        ]
        policy_now = self.core.webhooks.policy.model_dump()
        return JSONResponse({"policy": policy_now, "data": summary})

    async def redeliver(self, request: Request) -> Response:
        body = await _json(request)
        count = self.core.webhooks.redeliver(
            only_undelivered=bool(body.get("only_undelivered")), newest=int(body.get("newest", 0))
        )
        return JSONResponse({"redelivered": count})

    async def pay(self, request: Request) -> Response:
        body = await _json(request)
        return await self._by_reference(request, "pay", body.get("amount_minor"))

    async def expire(self, request: Request) -> Response:
        return await self._by_reference(request, "expire")

    async def dispute(self, request: Request) -> Response:
        outcome = (await _json(request)).get("outcome")
        if outcome not in {None, *DISPUTE_OUTCOMES}:
            return _refusal(422, "outcome is won or lost, or left out")
        return await self._by_reference(request, "dispute", outcome)

    async def close_dispute(self, request: Request) -> Response:
        outcome = (await _json(request)).get("outcome")
        if outcome not in DISPUTE_OUTCOMES:
            return _refusal(422, "outcome is won or lost")
        return await self._by_reference(request, "close_dispute", outcome)

    async def fail_refund(self, request: Request) -> Response:
        """One that has succeeded: the bank sends the money back."""
        return await self._by_reference(request, "fail_refund")

    async def renew(self, request: Request) -> Response:
        simulator = self.simulators.get(request.path_params["provider"])
        body = await _json(request)
        outcome = body.get("outcome", "paid")
        if outcome not in {"paid", "failed"}:
            return _refusal(422, "outcome is paid or failed")
        if simulator is None:
            return _refusal(404, "no such provider")
        await self.core.settle_time()
        try:
            result = await simulator.renew(request.path_params["id"], outcome)
        except KeyError:
            return _refusal(404, "no such subscription")
        self.core.save()
        return JSONResponse(result)

    async def charges(self, _request: Request) -> Response:
        await self.core.settle_time()
        return JSONResponse(self.core.charges)

    async def clock(self, request: Request) -> Response:
        """`POST {"advance_seconds"}` or `{"now"}` (Unix seconds): what falls due then happens."""
        if request.method == "POST":
            body = await _json(request)
            target = body.get("now", self.core.clock.now() + float(body.get("advance_seconds", 0)))
            self.core.clock.advance_to(float(target))
            await self.core.settle_time()
            self.core.save()
        return JSONResponse({"now": self.core.clock.now()})

    async def reset(self, _request: Request) -> Response:
        self.core.reset()
        return JSONResponse({"status": "reset"})

    async def _by_reference(self, request: Request, act: str, *arguments: Any) -> Response:
        await self.core.settle_time()
        for simulator in self.simulators.values():
            try:
                result = await getattr(simulator, act)(request.path_params["reference"], *arguments)
            except KeyError:
                continue
            self.core.save()
            return JSONResponse(result)
        return _refusal(404, NOT_FOUND_BY_ACT.get(act, "no voucher or CLABE has this reference"))


def _refusal(status: int, detail: str) -> Response:
    return JSONResponse({"error": detail}, status)


async def _json(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        parsed = json.loads(raw) if raw else {}
    except ValueError:
        parsed = {}
    return parsed if isinstance(parsed, dict) else {}


async def _parse(request: Request, model: type[Model]) -> Model | Response:
    try:
        return model.model_validate(await _json(request))
    except ValidationError as error:
        return JSONResponse({"error": error.errors(include_url=False)}, 422)
