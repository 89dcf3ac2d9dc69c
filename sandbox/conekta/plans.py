"""Plans: prices with an id that the merchant may choose."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.events import Events
from sandbox.conekta.wire import (
    Json,
    Refusal,
    check_known,
    invalid,
    not_found,
    object_id,
    page,
    read_body,
    required_integer,
    required_text,
)
from sandbox.core import Call, Core

MAX_RETRIES_MIN = 3
RETRY_DELAY_HOURS_MIN = 48

_KNOWN = frozenset(
    [
        "id",
        "name",
        "amount",
        "currency",
        "interval",
        "frequency",
        "trial_period_days",
        "max_retries",
        "retry_delay_hours",
    ]
)
_INTERVALS = frozenset({"week", "month", "year"})
_NOT_SIMULATED = frozenset({"half_month"})


class Plans:
    def __init__(self, core: Core, events: Events) -> None:
        self.core = core
        self.events = events

    @property
    def all(self) -> dict[str, Json]:
        return self.core.collection("conekta", "plans")

    async def create(self, request: Request, _call: Call) -> Response:
        body = await read_body(request)
        if "expiry_count" in body:
            raise invalid("expiry_count", "not_simulated", "the sandbox's plans do not expire")
        check_known(body, _KNOWN)
        plan = {
            "object": "plan",
            "id": required_text(body, "id") if "id" in body else object_id("plan_"),
            "livemode": False,
            "name": required_text(body, "name"),
            "amount": required_integer(body, "amount", 1),
            "currency": body.get("currency", "MXN"),
            "interval": _interval(body),
            "frequency": required_integer(body, "frequency", 1),
            "expiry_count": None,
            "trial_period_days": _optional(body, "trial_period_days", 0, 0),
            "max_retries": _optional(body, "max_retries", MAX_RETRIES_MIN, MAX_RETRIES_MIN),
            "retry_delay_hours": _optional(
                body, "retry_delay_hours", RETRY_DELAY_HOURS_MIN, RETRY_DELAY_HOURS_MIN
            ),
            "created_at": self.core.clock.now(),
        }
        if plan["currency"] != "MXN":
            raise invalid("currency", "unsupported", "cards are charged in MXN")
        if plan["id"] in self.all:
            code = "conekta.errors.conflict.plan.id"
            raise Refusal(409, code, "there is a plan with this id", param="id")
        self.all[plan["id"]] = plan
        self.events.emit("plan.created", plan)
        return JSONResponse(plan)

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.find(request.path_params["id"]))

    async def find_all(self, request: Request, _call: Call) -> Response:
        return JSONResponse(page(request, list(reversed(self.all.values()))))

    async def delete(self, request: Request, _call: Call) -> Response:
        """Undocumented, so the harsher reading: not while somebody is billed by it."""
        plan = self.find(request.path_params["id"])
        subscriptions = self.core.collection("conekta", "subscriptions").values()
        if any(s["plan_id"] == plan["id"] and s["status"] != "canceled" for s in subscriptions):
            code = "conekta.errors.precondition_required.plan.has_subscriptions"
            raise Refusal(428, code, "the plan has subscriptions")
        del self.all[plan["id"]]
        self.events.emit("plan.deleted", plan)
        return JSONResponse(plan)

    def find(self, plan_id: str) -> Json:
        plan = self.all.get(plan_id)
        if plan is None:
            raise not_found("plan")
        return plan


def _interval(body: Json) -> str:
    interval = required_text(body, "interval")
    if interval in _NOT_SIMULATED:
        raise invalid("interval", "not_simulated", f"the sandbox does not bill by {interval}")
    if interval not in _INTERVALS:
        raise invalid("interval", "unknown", "interval is week, half_month, month or year")
    return interval


def _optional(body: Json, key: str, default: int, minimum: int) -> int:
    return default if body.get(key) is None else required_integer(body, key, minimum)
