"""The chapter in which Conekta is down: nobody in Mexico has to wait for it, and nobody keeps asking it."""

from __future__ import annotations

import asyncio

from abono.demo.checks import expect
from abono.demo.scene import MXN_PRICE, Scene, has_status, pays, reference_of, shown
from abono.demo.views import Subscription
from abono.demo.wording import in_words
from abono_client.models import BreakerView, FallbackView

CONEKTA, STRIPE = "conekta", "stripe"
# With Hugo five tries without an answer: that many open the circuit.
OTHERS = ("Ines Rey", "Jorge Lara", "Karla Cruz", "Luis Mata")


async def conekta_is_down(scene: Scene) -> None:
    await scene.world.go_down(CONEKTA)
    scene.telling.say("Conekta", "is down: it answers 503 to everything")
    await _hugo_pays_at_stripe(scene)
    await _others_do_too(scene)
    await _circuit_opens(scene)
    await _conekta_is_back(scene)


async def _hugo_pays_at_stripe(scene: Scene) -> None:
    telling = scene.telling
    hugo = await _voucher_from(scene, "Hugo Rios", STRIPE)
    telling.say("Hugo", f"subscribes, and has his voucher all the same: {shown(hugo)}")
    telling.link(scene.engine.places.workflow(hugo.workflow_id))
    if hugo.fallback is not None:
        found = hugo.fallback
        names = f"{found.attempted_provider} → {found.fallback_provider}"
        telling.say("Abono", f"tells the app: [bold]fallback {names}[/], {found.reason}")
    await pays(scene, "Hugo", hugo, "pays it at an OXXO")


async def _others_do_too(scene: Scene) -> None:
    """At the same time, as people do."""
    names = in_words([name.split()[0] for name in OTHERS])
    with scene.telling.waiting(f"{names} subscribe …"):
        issued = await asyncio.gather(*(_voucher_from(scene, name, STRIPE) for name in OTHERS))
        for voucher in issued:
            await scene.world.pay(reference_of(voucher))
        for voucher in issued:
            await scene.engine.until(voucher, "the voucher to be paid", has_status("active"))
    scene.telling.say("Stripe", f"stands in for {names} as well: all [green]active[/]")


async def _circuit_opens(scene: Scene) -> None:
    found = await _breaker(scene, "open")
    reason = f"{found.failures} calls in a row came to nothing, {found.last_reason}"
    scene.telling.say("Abono", f"leaves Conekta alone: circuit [red]open[/] ({reason})")


async def _conekta_is_back(scene: Scene) -> None:
    engine, telling = scene.engine, scene.telling
    await scene.world.clear_faults()
    telling.say("Conekta", "is back, and whoever is on call lets one call through")
    # Without them the circuit would try by itself, half a minute after it opened.
    await engine.reset_breaker(CONEKTA)
    await _breaker(scene, "half_open")
    mateo = await _voucher_from(scene, "Mateo Gil", CONEKTA)
    await _breaker(scene, "closed")
    telling.say("Mateo", f"is the next to subscribe: voucher {shown(mateo)}")
    telling.link(engine.places.workflow(mateo.workflow_id))
    telling.say("Abono", "has it from Conekta again: circuit half open → [green]closed[/]")
    await pays(scene, "Mateo", mateo, "pays it")


async def _voucher_from(scene: Scene, customer: str, provider: str) -> Subscription:
    """Somebody subscribes with OXXO and has a voucher of this provider's in hand."""
    organization = await scene.engine.create_organization(customer, country="MX")
    answer = await scene.subscribe(organization, "oxxo", ends="active", paid=MXN_PRICE)
    issued = await scene.engine.until(
        answer.value, "a voucher to pay", lambda now: now.reference is not None
    )
    where = scene.where(issued)
    expect(issued.provider == provider, f"a voucher from {provider}", issued.provider, where)
    told = _told(issued.fallback)
    expected = "no fallback" if provider == CONEKTA else f"{CONEKTA} → {STRIPE}: unavailable"
    expect(told == expected, expected, told, where)
    return issued


def _told(fallback: FallbackView | None) -> str:
    if fallback is None:
        return "no fallback"
    return f"{fallback.attempted_provider} → {fallback.fallback_provider}: {fallback.reason}"


async def _breaker(scene: Scene, state: str) -> BreakerView:
    found = await scene.engine.breaker(CONEKTA)
    where = scene.engine.places.of_logs("worker", "api")
    expect(found.state == state, f"Conekta's circuit to be {state}", found.state, where)
    return found
