"""Grants: what an order or a subscription gives to its customer. Nobody can make one by a call.

A benefit that needs an account elsewhere (Discord, GitHub) waits for the customer: the grant exists,
is not granted and says so in its error. `connect` is the customer doing his part.
"""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call
from sandbox.polar import objects, wire
from sandbox.polar.wire import Json, new_id
from sandbox.polar.world import World

# A fault under this name makes Polar's background work late, by `seconds`.
BACKGROUND = "benefit_grants.background"

_WAITING_MESSAGE = {
    "discord": "The customer needs to connect their Discord account",
    "github_repository": "The customer needs to connect their GitHub account",
}


class Grants:
    def __init__(self, world: World) -> None:
        self.world = world
        world.core.on_time.append(self._do_late_work)
        world.core.next_dues.append(self._next_due_at)

    @property
    def all(self) -> dict[str, Json]:
        return self.world.all("grants")

    async def find_all(self, request: Request, _call: Call) -> Response:
        external_ids = request.query_params.getlist("external_customer_id")
        found = [
            objects.grant(self.world, grant)
            for grant in reversed(self.all.values())
            if wire.matches(request, grant, ("customer_id", "is_granted"))
        ]
        if external_ids:
            found = [grant for grant in found if grant["customer"]["external_id"] in external_ids]
        return JSONResponse(wire.page(request, found))

    def source_began(self, source: Json, source_kind: str) -> None:
        """An order (`order_id`) or a subscription (`subscription_id`) gives what its product has."""
        product = self.world.all("products")[source["product_id"]]
        for benefit_id in product["_benefit_ids"]:
            self._later_or_now("grant", source, source_kind, benefit_id)

    def source_ended(self, source: Json, source_kind: str) -> None:
        for grant in list(self.all.values()):
            if grant[source_kind] == source["id"] and not grant["is_revoked"]:
                self._later_or_now("revoke", source, source_kind, grant["benefit_id"])

    def product_changed(self, product: Json, before: list[str]) -> None:
        """Who has the product gains the benefits that were added and loses those taken away."""
        after = product["_benefit_ids"]
        for source, source_kind in self._sources_of(product["id"]):
            for benefit_id in after:
                if benefit_id not in before:
                    self._later_or_now("grant", source, source_kind, benefit_id)
            for benefit_id in before:
                if benefit_id not in after:
                    self._later_or_now("revoke", source, source_kind, benefit_id)

    def connect(self, grant_id: str) -> Json:
        """The customer connects the account that the grant waits for. Raises KeyError."""
        grant = self.all[grant_id]
        if grant["is_revoked"] or grant["is_granted"]:
            return {"provider": "polar", "id": grant_id, "status": "unchanged"}
        grant.update(is_granted=True, granted_at=self.world.time(), error=None)
        grant["_properties"] = {**grant["_properties"], "account_id": new_id()}
        self._tell("benefit_grant.updated", grant)
        return {"provider": "polar", "id": grant_id, "status": "granted"}

    def _sources_of(self, product_id: str) -> list[tuple[Json, str]]:
        orders = [
            (order, "order_id")
            for order in self.world.all("orders").values()
            if order["product_id"] == product_id
            and order["subscription_id"] is None
            and order["status"] in {"paid", "partially_refunded"}
        ]
        subscriptions = [
            (subscription, "subscription_id")
            for subscription in self.world.all("subscriptions").values()
            if subscription["product_id"] == product_id and subscription["ended_at"] is None
        ]
        return [*orders, *subscriptions]

    def _later_or_now(self, act: str, source: Json, source_kind: str, benefit_id: str) -> None:
        task = {"act": act, "customer_id": source["customer_id"], "benefit_id": benefit_id,
                "source_kind": source_kind, "source_id": source["id"]}  # fmt: skip
        faults = self.world.core.faults
        if any(fault.operation == BACKGROUND for fault in faults.active):
            fault = faults.take("polar", BACKGROUND)
            due_at = self.world.now() + int((fault and fault.seconds) or 60)
            task_id = new_id()
            self.world.all("late_work")[task_id] = {**task, "id": task_id, "due_at": due_at}
            return
        self._do(task)

    def _next_due_at(self) -> float:
        return min(
            (task["due_at"] for task in self.world.all("late_work").values()), default=math.inf
        )

    async def _do_late_work(self) -> None:
        late = self.world.all("late_work")
        for task in [t for t in late.values() if t["due_at"] <= self.world.now()]:
            del late[task["id"]]
            self._do(task)

    def _do(self, task: Json) -> None:
        known = next(
            (
                grant
                for grant in self.all.values()
                if grant[task["source_kind"]] == task["source_id"]
                and grant["benefit_id"] == task["benefit_id"]
            ),
            None,
        )
        if task["act"] == "grant":
            self._grant(task, known)
        elif known is not None and not known["is_revoked"]:
            known.update(
                is_granted=False, is_revoked=True, revoked_at=self.world.time(), error=None
            )
            self._tell("benefit_grant.revoked", known)

    def _grant(self, task: Json, known: Json | None) -> None:
        benefit = self.world.all("benefits")[task["benefit_id"]]
        made = known or self._new(task)
        now = self.world.time()
        waiting = _WAITING_MESSAGE.get(benefit["type"])
        if waiting is not None:
            made["error"] = {
                "message": waiting,
                "type": "BenefitActionRequiredError",
                "timestamp": now,
            }
        made.update(
            is_granted=waiting is None,
            granted_at=None if waiting is not None else now,
            is_revoked=False,
            revoked_at=None,
        )
        made["_properties"] = _properties(benefit)
        self._tell("benefit_grant.created" if known is None else "benefit_grant.updated", made)

    def _new(self, task: Json) -> Json:
        grant: Json = {
            "created_at": self.world.time(),
            "modified_at": None,
            "id": new_id(),
            "granted_at": None,
            "is_granted": False,
            "revoked_at": None,
            "is_revoked": False,
            "subscription_id": None,
            "order_id": None,
            "customer_id": task["customer_id"],
            "member_id": None,
            "benefit_id": task["benefit_id"],
            "error": None,
            "_properties": {},
        }
        grant[task["source_kind"]] = task["source_id"]
        return self.world.put("grants", grant)

    def _tell(self, event_type: str, grant: Json) -> None:
        self.world.touch(grant)
        self.world.emit(event_type, objects.grant_of_webhook(self.world, grant))


def _properties(benefit: Json) -> Json:
    """What the customer got, beyond the fact."""
    if benefit["type"] == "license_keys":
        key = new_id().upper()
        prefix = f"{benefit['properties']['prefix']}_" if benefit["properties"]["prefix"] else ""
        return {"license_key_id": new_id(), "display_key": f"{prefix}****-{key[-6:]}"}
    if benefit["type"] == "downloadables":
        return {"files": benefit["properties"]["files"]}
    if benefit["type"] == "discord":
        kept = benefit["properties"]
        return {"guild_id": kept["guild_id"], "role_id": kept["role_id"]}
    if benefit["type"] == "github_repository":
        return dict(benefit["properties"])
    return {}
