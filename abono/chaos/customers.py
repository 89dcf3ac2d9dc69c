"""The load: customers on every route, each living a seeded story over HTTP alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from abono.chaos.calling import Caller, GaveUp, Refused, Tally

MXN_MINOR, USD_MINOR = 19_900, 1_900
_PAUSE_SECONDS_MAX = 1.0


@dataclass(frozen=True)
class Shop:
    """What is for sale."""

    plan_id: str
    product_id: str


@dataclass(frozen=True)
class Route:
    """How somebody pays: `card` is the token that a provider's browser library made."""

    name: str
    instrument: str
    country: str
    card: str | None = None
    card_at: str | None = None


OXXO = Route("OXXO", "oxxo", "MX")
ROUTES = (
    OXXO,
    Route("SPEI", "spei", "MX"),
    Route("card at Stripe", "card", "US", "pm_card_visa", "stripe"),
    Route("card at Conekta", "card", "MX", "tok_test_visa_4242", "conekta"),
)
_PURCHASE_SHARE = 0.15


async def open_shop(caller: Caller) -> Shop:
    prices = [
        {"currency": currency, "billing_interval": "monthly", "amount_minor": amount}
        for currency, amount in (("MXN", MXN_MINOR), ("USD", USD_MINOR))
    ]
    plan = await caller.post("/billing/plans", {"name": "Pro", "prices": prices}, admin=True)
    product = {
        "name": "Handbook",
        "amount_minor": 4_900,
        "currency": "USD",
        "benefits": [{"type": "custom", "description": "Thank you", "properties": {"note": "!"}}],
    }
    made = await caller.post("/billing/products", product, admin=True)
    return Shop(plan["id"], made["id"])


async def subscribe(caller: Caller, shop: Shop, route: Route, name: str) -> dict[str, Any]:
    """A new organization's new subscription, as the API answers it."""
    organization = await _organization(caller, name, route.country)
    wish = {
        "organization_id": organization,
        "plan_id": shop.plan_id,
        "billing_interval": "monthly",
        "payment_method_type": route.instrument,
    }
    if route.card is not None:
        wish["payment_method_id"] = await _card(caller, organization, route)
    return await caller.post("/billing/subscriptions", wish)


def reference_of(subscription: dict[str, Any]) -> str | None:
    """What is paid with, at the till or by transfer."""
    action = subscription.get("next_action") or {}
    vouchers = action.get("vouchers") or []
    return vouchers[0]["reference"] if vouchers else action.get("clabe")


def path_of(subscription: dict[str, Any]) -> str:
    return f"/billing/subscriptions/{subscription['id']}"


async def _organization(caller: Caller, name: str, country: str) -> str:
    body = {"external_id": name, "name": name, "email": f"{name}@example.com", "country": country}
    return str((await caller.post("/billing/organizations", body))["id"])


async def _card(caller: Caller, organization: str, route: Route) -> str:
    wish = {
        "organization_id": organization,
        "provider": route.card_at,
        "token": route.card,
        "set_as_default": True,
    }
    method = await caller.post("/billing/payment-methods", wish)
    path = f"/billing/payment-methods/{method['id']}"
    await caller.until(path, lambda card: card["status"] == "active")
    return str(method["id"])


class Crowd:
    """So many customers at once, one story after the other, until they are told to stop."""

    def __init__(self, caller: Caller, tally: Tally, shop: Shop, seed: int, size: int) -> None:
        self._caller = caller
        self._tally = tally
        self._shop = shop
        self._seed = seed
        self._size = size
        self._over = asyncio.Event()
        self.stories: Counter[str] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self._live(number) for number in range(1, self._size + 1)))

    def stop(self) -> None:
        """Whoever is in the middle of a story lives it to its end."""
        self._over.set()

    async def _live(self, number: int) -> None:
        chance = Random(f"{self._seed}/customer {number}")  # noqa: S311 - seeded on purpose
        count = 0
        while not self._over.is_set():
            count += 1
            told = "purchase"
            try:
                if chance.random() < _PURCHASE_SHARE:
                    await self._buy(chance, f"chaos-{self._seed}-{number}-{count}")
                else:
                    route = chance.choice(ROUTES)
                    told = route.name
                    await self._subscribe(chance, route, f"chaos-{self._seed}-{number}-{count}")
                self.stories[told] += 1
            except Refused:
                self.stories[f"{told}, told no"] += 1
            except GaveUp as tired:
                self._tally.late.append(f"{told}: {tired}")
            await asyncio.sleep(_PAUSE_SECONDS_MAX * chance.random())

    async def _buy(self, chance: Random, name: str) -> None:
        caller = self._caller
        wish = {
            "organization_id": await _organization(caller, name, chance.choice(["MX", "US"])),
            "product_id": self._shop.product_id,
            "success_url": "https://shop.example/thanks",
        }
        purchase = await caller.post("/billing/purchases", wish)
        path = f"/billing/purchases/{purchase['id']}"
        shown = await caller.until(path, lambda now: bool((now["next_action"] or {}).get("url")))
        if chance.random() < 0.2:
            return  # The page stays open in a tab.
        await caller.visit(shown["next_action"]["url"])
        await caller.until(path, lambda now: now["status"] == "paid")

    async def _subscribe(self, chance: Random, route: Route, name: str) -> None:
        opened = await subscribe(self._caller, self._shop, route, name)
        path = path_of(opened)
        if route.card is None and not await self._pay_slip(chance, path):
            return
        await self._caller.until(path, lambda now: now["status"] == "active")
        if route.card is not None and chance.random() < 0.6:
            await self._renew(chance, path)
        await self._second_thoughts(chance, path)

    async def _pay_slip(self, chance: Random, path: str) -> bool:
        """Whether it is paid in the end."""
        caller = self._caller
        reference = reference_of(await caller.until(path, lambda now: bool(reference_of(now))))
        roll = chance.random()
        if roll < 0.1:
            return False  # The slip stays on the kitchen table.
        if roll < 0.2:
            await caller.post(f"{path}/cancel?cancel_immediately=true")
            # At the till before the news: the money is kept in sight.
            await caller.control("POST", f"/payments/{reference}/pay", {})
            return False
        await caller.control("POST", f"/payments/{reference}/pay", {})
        if roll < 0.3:
            await caller.control("POST", f"/payments/{reference}/pay", {})
        return True

    async def _renew(self, chance: Random, path: str) -> None:
        """A month passes at the provider, and the bank agrees or does not."""
        row = await self._caller.get(path)
        provider, known_as = row["provider"], row["provider_subscription_id"]
        if known_as is None:
            return
        outcome = "paid" if chance.random() < 0.7 else "failed"
        where = f"/subscriptions/{provider}/{known_as}/renew"
        await self._caller.control("POST", where, {"outcome": outcome})

    async def _second_thoughts(self, chance: Random, path: str) -> None:
        roll = chance.random()
        if roll < 0.2:
            await self._caller.post(f"{path}/cancel?cancel_immediately=true")
        elif roll < 0.35:
            await self._caller.post(f"{path}/cancel?cancel_immediately=false")
            await self._caller.post(f"{path}/resume")
        elif roll < 0.45:
            await self._caller.post(f"{path}/pause", {"at": "now"})
            await self._caller.post(f"{path}/resume")
        elif roll < 0.6:
            await self._refund(path.rpartition("/")[2])

    async def _refund(self, subscription_id: str) -> None:
        page = await self._caller.get(f"/billing/invoices?subscription_id={subscription_id}")
        paid = [one for one in page["data"] if one["status"] == "paid"]
        if paid:
            path = f"/billing/invoices/{paid[0]['id']}/refund"
            await self._caller.post(path, {"amount_minor": 100, "reason": "requested_by_customer"})
