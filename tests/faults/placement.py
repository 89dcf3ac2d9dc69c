"""Every place at which a provider can fail in the life of one charge, and what must hold after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations_with_replacement
from typing import NamedTuple

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Cancel
from models.outcomes import Instrument
from models.subscription import SubscriptionTerms
from sandbox.core import Core
from sandbox.faults import Fault, FaultMode
from tests.faults.purchases import live_one_purchase
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# `slow` is left to the tests of time-outs: here it would be the same as no fault, only later.
MODES = (
    FaultMode.DOWN,
    FaultMode.ERROR,
    FaultMode.RATE_LIMIT,
    FaultMode.APPLIED_THEN_TIMEOUT,
    FaultMode.APPLIED_THEN_ERROR,
)


class Place(NamedTuple):
    provider: str
    operation: str
    mode: FaultMode

    times: int | None = 1  # None: it lasts.

    def fault(self) -> Fault:
        return Fault(
            provider=self.provider, operation=self.operation, mode=self.mode, count=self.times
        )

    def __str__(self) -> str:
        return f"{self.provider}.{self.operation}:{self.mode}"


@dataclass(frozen=True)
class Route:
    """One way for money to come in, and every call that its first charge may make. `outage` is a
    provider that stays away, so that `operations` are those of the one that stands in."""

    name: str
    instrument: Instrument
    operations: tuple[tuple[str, str], ...]
    outage: Place | None = None

    def places(self) -> list[Place]:
        return [Place(*call, mode) for call in self.operations for mode in MODES]

    def beside_the_outage(self) -> list[tuple[Place, ...]]:
        return [(self.outage, place) for place in self.places()] if self.outage else []

    def pairs(self) -> list[tuple[Place, Place]]:
        """Any two faults, the same place twice included (the retry fails as well)."""
        return list(combinations_with_replacement(self.places(), 2))


CONEKTA_CALLS = tuple(
    ("conekta", operation)
    for operation in (
        "customers.create",
        "customers.list",
        "orders.create",
        "orders.list",
        "charges.create",
        "orders.retrieve",
        "orders.cancel",
    )
)
CARD_CALLS = tuple(
    ("stripe", operation)
    for operation in (
        "customers.create",
        "products.create",
        "prices.list",
        "prices.create",
        "subscriptions.create",
        "invoices.pay",
        "subscriptions.retrieve",
        "subscriptions.cancel",
    )
)
INTENT_CALLS = tuple(
    ("stripe", operation)
    for operation in (
        "customers.create",
        "payment_intents.create",
        "payment_intents.list",
        "payment_intents.confirm",
        "payment_intents.retrieve",
        "payment_intents.cancel",
        "charges.list",
    )
)
POLAR_CALLS = tuple(
    ("polar", operation)
    for operation in (
        "customers.get_external",
        "customers.create",
        "benefits.list",
        "benefits.create",
        "products.list",
        "products.create",
        "products.update_benefits",
        "checkouts.create",
        "checkouts.get",
        "orders.list",
        "benefit_grants.list",
    )
)
PAGE_CALLS = tuple(
    ("stripe", operation)
    for operation in (
        "customers.create",
        "products.create",
        "checkout.sessions.create",
        "checkout.sessions.retrieve",
        "checkout.sessions.expire",
        "payment_intents.retrieve",
        "charges.list",
    )
)
NO_ORDERS = Place("conekta", "orders.create", FaultMode.DOWN, None)
NO_PAGES = Place("polar", "checkouts.create", FaultMode.DOWN, None)
ROUTES = {
    route.name: route
    for route in (
        Route("oxxo", Instrument.OXXO, CONEKTA_CALLS),
        Route("oxxo_fallback", Instrument.OXXO, INTENT_CALLS, NO_ORDERS),
        Route("spei", Instrument.SPEI, CONEKTA_CALLS),
        Route("spei_fallback", Instrument.SPEI, INTENT_CALLS, NO_ORDERS),
        Route("card", Instrument.CARD, CARD_CALLS),
        Route("purchase", Instrument.CHECKOUT, POLAR_CALLS),
        Route("purchase_fallback", Instrument.CHECKOUT, PAGE_CALLS, NO_PAGES),
    )
}


@dataclass
class Watch:
    """Looks at the sandbox's book after every call: one live charge per invoice, at any moment."""

    core: Core
    violations: list[str] = field(default_factory=list)

    async def tick(self) -> None:
        live = Counter(
            charge["invoice_id"]
            for charge in self.core.charges
            if charge["kind"] == "charge" and charge["status"] == "pending" and charge["invoice_id"]
        )
        self.violations += [
            f"{count} live charges for {i}" for i, count in live.items() if count > 1
        ]


async def live_one_life(
    world: World, watch: Watch, route: Route, places: tuple[Place, ...]
) -> None:
    """Subscribe under the faults, let the customer pay, come to rest, and check the books."""
    world.core.faults.clear()
    faults = [place.fault() for place in places]
    if route.instrument is Instrument.CHECKOUT:
        await live_one_purchase(world, faults)
        return
    for fault in faults:
        world.core.faults.add(fault)
    world.payer.after = None
    terms = await _terms(world, route)
    handle, _ = await world.open(terms)
    await world.sleep(HOUR)
    world.core.faults.clear()
    world.payer.after = HOUR
    await world.sleep(4 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "active", f"came to rest as {row.status}"
    assert not watch.violations, watch.violations
    await check_invariants(world)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))


async def _terms(world: World, route: Route) -> SubscriptionTerms:
    if route.instrument is not Instrument.CARD:
        return await world.terms(route.instrument)
    kept = list(world.core.faults.active)
    world.core.faults.clear()  # Storing the card is not part of the charge's life.
    terms = await world.terms(
        Instrument.CARD,
        country="US",
        currency="USD",
        amount_minor=1900,
        time_zone="America/Chicago",
        card="pm_card_visa",
    )
    world.core.faults.active.extend(kept)
    return terms
