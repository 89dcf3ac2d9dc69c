"""Subscriptions over HTTP, by the plural paths. No metadata, no reference, no idempotency."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.customers import Customers
from sandbox.conekta.cycles import Cycles
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
from sandbox.core import Call

_KNOWN = frozenset({"plan_id", "card_id", "trial_end"})
_DAY = 86_400


class Subscriptions:
    def __init__(self, cycles: Cycles, customers: Customers) -> None:
        self.core = cycles.core
        self.cycles = cycles
        self.events = cycles.events
        self.customers = customers

    async def create(self, request: Request, call: Call) -> Response:
        """The same body posted twice bills twice."""
        customer = self.customers.find(request.path_params["customer_id"])
        body = await read_body(request)
        check_known(body, _KNOWN)
        plan = self.cycles.plans.find(required_text(body, "plan_id"))
        made = self._new(customer, plan, self._card_id(customer, body), self._trial_end(body, plan))
        self.cycles.subscriptions[made["id"]] = made
        # Captured at Conekta: it is born in trial, with or without one, and refused a moment later.
        self.events.emit("subscription.created", made)
        self.cycles.start(made, plan, decline=call.decline)
        return JSONResponse(made)

    async def find_all(self, request: Request, _call: Call) -> Response:
        customer = self.customers.find(request.path_params["customer_id"])
        found = [
            subscription
            for subscription in reversed(self.cycles.subscriptions.values())
            if subscription["customer_id"] == customer["id"]
        ]
        return JSONResponse(page(request, found))

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.find(request))

    async def update(self, request: Request, _call: Call) -> Response:
        subscription = self.find(request, "canceled")
        body = await read_body(request)
        for key in body.keys() & {"plan_id", "trial_end"}:
            raise invalid(key, "not_simulated", f"the sandbox does not change the {key}")
        check_known(body, _KNOWN)
        customer = self.customers.find(subscription["customer_id"])
        subscription["card_id"] = self._card_id(customer, body)
        self.events.emit("subscription.updated", subscription)
        return JSONResponse(subscription)

    async def pause(self, request: Request, _call: Call) -> Response:
        subscription = self.find(request, "canceled", "paused")
        subscription.update(status="paused", paused_at=self.core.clock.now())
        self.events.emit("subscription.paused", subscription)
        return JSONResponse(subscription)

    async def resume(self, request: Request, _call: Call) -> Response:
        subscription = self.find(request, "canceled", "active", "in_trial", "past_due")
        subscription["paused_at"] = None
        self.cycles.go_on(subscription)
        self.events.emit("subscription.resumed", subscription)
        await self.cycles.bill_due()
        return JSONResponse(subscription)

    async def cancel(self, request: Request, _call: Call) -> Response:
        subscription = self.find(request, "canceled")
        self.cycles.end(subscription, "user_cancelation")
        return JSONResponse(subscription)

    async def retry(self, request: Request, call: Call) -> Response:
        subscription = self.find(request, "canceled", "paused", "active", "in_trial")
        outcome = "failed" if call.decline else None
        self.cycles.collect(subscription, self.core.clock.now(), outcome)
        return JSONResponse(subscription)

    def renew(self, subscription_id: str, outcome: str) -> Json:
        """Bill now, whatever the card would say: the unpaid cycle, else the next one."""
        subscription = self.cycles.subscriptions[subscription_id]
        now = self.core.clock.now()
        if subscription["status"] == "past_due":
            self.cycles.retry(subscription, now, outcome)
        elif subscription["status"] in {"in_trial", "active"}:
            self.cycles.begin_cycle(subscription, now, outcome)
        return self.cycles.state(subscription)

    def find(self, request: Request, *unfit: str) -> Json:
        """The subscription of the path, which must not be in one of the states `unfit`."""
        found = self.cycles.subscriptions.get(request.path_params["id"])
        if found is None or found["customer_id"] != request.path_params["customer_id"]:
            raise not_found("subscription")
        if found["status"] in unfit:
            code = f"conekta.errors.precondition_required.subscription.is_{found['status']}"
            raise Refusal(428, code, f"the subscription is {found['status']}")
        return found

    def _card_id(self, customer: Json, body: Json) -> str:
        if body.get("card_id") is None:
            default: str | None = customer["default_payment_source_id"]
            if default is None:
                raise invalid("card_id", "missing", "the customer has no card")
            return default
        source = self.cycles.cards.owned(customer["id"], required_text(body, "card_id"))
        source_id: str = source["id"]
        return source_id

    def _trial_end(self, body: Json, plan: Json) -> int:
        """Without a trial it is over when it begins."""
        now = self.core.clock.now()
        if body.get("trial_end") is None:
            trial_end: int = now + plan["trial_period_days"] * _DAY
            return trial_end
        return required_integer(body, "trial_end", now + 1)

    def _new(self, customer: Json, plan: Json, card_id: str, trial_end: int) -> Json:
        now = self.core.clock.now()
        return {
            "object": "subscription",
            "id": object_id("sub_"),
            "status": "in_trial",
            "plan_id": plan["id"],
            "card_id": card_id,
            "customer_id": customer["id"],
            "customer_custom_reference": customer["custom_reference"],
            "charge_id": None,
            "last_billing_cycle_order_id": None,
            "billing_cycle_start": now,
            "billing_cycle_end": trial_end,
            "trial_start": now,
            "trial_end": trial_end,
            "subscription_start": now,
            "paused_at": None,
            "canceled_at": None,
            "canceled_reason": None,
            "created_at": now,
        }
