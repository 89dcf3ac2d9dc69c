"""What the chapters share: the stage, who has come in so far, and what happens in each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from abono.demo.checks import Promise, StepFailed, expect
from abono.demo.engine import Answer, Engine
from abono.demo.telling import Telling
from abono.demo.views import Subscription
from abono.demo.wording import MEXICO_CITY, in_groups, local_day
from abono.demo.world import World
from abono_client.models import OrganizationView, PaymentMethodView, PlanView
from models.money import Money

USD_PRICE = Money(amount_minor=1_900, currency="USD")
MXN_PRICE = Money(amount_minor=19_900, currency="MXN")
NOTHING = Money(amount_minor=0, currency="MXN")


@dataclass(frozen=True)
class Part:
    """Somebody in the story, and what must have become of the subscription in the end."""

    promise: Promise
    subscription: Subscription


@dataclass
class Scene:
    """What the chapters share. `cast` fills up as people come in."""

    engine: Engine
    world: World
    telling: Telling
    plan: PlanView | None = None
    cast: list[Part] = field(default_factory=list)

    @property
    def pro(self) -> PlanView:
        if self.plan is None:
            raise StepFailed("a plan on sale", "none")
        return self.plan

    def where(self, subscription: Subscription) -> tuple[str, ...]:
        return self.engine.places.of(subscription)

    async def subscribe(
        self, organization: OrganizationView, pays_by: str, *, ends: str, paid: Money
    ) -> Answer[Subscription]:
        answer = await self.engine.subscribe(organization, self.pro, pays_by)
        name = organization.name.split()[0]
        self.cast.append(Part(Promise(name, pays_by, ends, paid), answer.value))
        return answer


@dataclass(frozen=True)
class Chapter:
    title: str
    play: Callable[[Scene], Awaitable[None]]


async def voucher_for(scene: Scene, customer: str, *, ends: str, paid: Money) -> Subscription:
    """Somebody subscribes with OXXO and has a voucher in hand."""
    organization = await scene.engine.create_organization(customer, country="MX")
    answer = await scene.subscribe(organization, "oxxo", ends=ends, paid=paid)
    subscription = await scene.engine.until(
        answer.value, "a voucher to pay", lambda now: now.reference is not None
    )
    if subscription.fallback is not None:
        other = subscription.fallback.fallback_provider.capitalize()
        scene.telling.say("Abono", f"could not reach Conekta, so {other} issues this voucher")
    else:
        found, where = subscription.provider, scene.where(subscription)
        expect(found == "conekta", "a voucher from Conekta", found, where)
    return subscription


async def pays(scene: Scene, name: str, subscription: Subscription, how: str) -> None:
    await scene.world.pay(reference_of(subscription))
    paid = await scene.engine.until(
        subscription, f"{name}'s payment to make the subscription active", has_status("active")
    )
    scene.telling.say(name, f"{how} → {active_until(paid, MEXICO_CITY)}")


def has_status(status: str) -> Callable[[Subscription], bool]:
    return lambda now: now.status == status


def moved_on(earlier: Subscription) -> Callable[[Subscription], bool]:
    """Active, and paid for longer than it was."""
    before = earlier.current_period_end

    def further(now: Subscription) -> bool:
        end = now.current_period_end
        return now.status == "active" and before is not None and end is not None and end > before

    return further


def active_until(subscription: Subscription, time_zone: str) -> str:
    end = subscription.current_period_end
    if end is None:
        return "[green]active[/]"
    return f"[green]active[/] until {local_day(end, time_zone)}"


def reference_of(subscription: Subscription) -> str:
    return subscription.reference or ""


def shown_card(card: PaymentMethodView) -> str:
    return f"{(card.brand or 'card').capitalize()} •••• {card.last4}"


def shown(subscription: Subscription) -> str:
    return f"[bold]{in_groups(reference_of(subscription))}[/]"
