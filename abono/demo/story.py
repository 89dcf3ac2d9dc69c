"""The story: who does what, and what must then be so. Everything goes over HTTP, as in real life."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from abono.demo.checks import Account, StepFailed, balance, expect
from abono.demo.engine import Answer
from abono.demo.outage import conekta_is_down
from abono.demo.scene import (
    MXN_PRICE,
    NOTHING,
    USD_PRICE,
    Chapter,
    Part,
    Scene,
    active_until,
    has_status,
    moved_on,
    pays,
    reference_of,
    shown,
    shown_card,
    voucher_for,
)
from abono.demo.views import Subscription
from abono.demo.wording import amount, local_day
from abono_client.models import OrganizationView, PayTransfer, PayVoucher
from models.money import Money

AUSTIN = "America/Chicago"


# 1 -------------------------------------------------------------------------------------------


async def price_list(scene: Scene) -> None:
    scene.plan = await scene.engine.create_plan("Pro", [USD_PRICE, MXN_PRICE])
    scene.telling.say("Abono", f"sells [bold]Pro[/]: ${USD_PRICE} or ${MXN_PRICE} a month")


# 2 -------------------------------------------------------------------------------------------


async def austin(scene: Scene) -> None:
    engine, telling = scene.engine, scene.telling
    abby = await engine.create_organization("Abby Walker", country="US", time_zone=AUSTIN)
    card = await engine.add_card(abby, "pm_card_visa")
    telling.say("Abby", f"in Austin, Texas, adds her card, {shown_card(card)}")
    three_months = Money(amount_minor=3 * USD_PRICE.amount_minor, currency=USD_PRICE.currency)
    answer = await scene.subscribe(abby, "card", ends="active", paid=three_months)
    opened = await engine.until(answer.value, "her subscription to be active", has_status("active"))
    price = amount(opened.amount_minor, opened.currency)
    telling.say("Abby", f"subscribes to Pro for {price} a month → {active_until(opened, AUSTIN)}")
    telling.link(engine.places.workflow(opened.workflow_id))
    await _renewed(scene, opened)


async def _renewed(scene: Scene, opened: Subscription) -> None:
    telling = scene.telling
    await scene.world.renew(opened, "paid")
    renewed = await scene.engine.until(
        opened, "the renewal to be booked: active, a period further", moved_on(opened)
    )
    telling.say("Stripe", f"a month later charges her card → {active_until(renewed, AUSTIN)}")
    await scene.world.renew(opened, "failed")
    late = await scene.engine.until(
        opened, "past_due after the declined renewal", has_status("past_due")
    )
    telling.say("Stripe", "one more month, and her bank declines → [yellow]past_due[/]")
    await _recovered(scene, renewed, late)


async def _recovered(scene: Scene, renewed: Subscription, late: Subscription) -> None:
    engine, telling, access = scene.engine, scene.telling, late.access_until
    if access is None or access <= datetime.now(UTC):
        raise StepFailed("access during the grace period", str(access), scene.where(late))
    telling.say("Abono", f"keeps the door open for her until {local_day(access, AUSTIN)}")
    abby = await engine.organization_of(late)
    card = await engine.add_card(abby, "pm_card_mastercard")
    await engine.retry(late, card)
    telling.say("Abby", f"adds a {shown_card(card)} and asks to be charged again")
    saved = await engine.until(late, "active again, the missed period paid", moved_on(renewed))
    telling.say("Stripe", f"charges the new card → {active_until(saved, AUSTIN)}")


# 3 -------------------------------------------------------------------------------------------


async def mexico_city(scene: Scene) -> None:
    await _beatriz_pays(scene)
    await _carlos_is_late(scene)
    await _diana_cancels(scene)
    await _elena_transfers(scene)


async def _beatriz_pays(scene: Scene) -> None:
    telling = scene.telling
    subscription = await voucher_for(scene, "Beatriz Luna", ends="active", paid=MXN_PRICE)
    telling.say("Beatriz", "in Mexico City, wants to pay Pro in cash: here is her voucher")
    telling.link(scene.engine.places.workflow(subscription.workflow_id))
    if isinstance(subscription.next_action, PayVoucher):
        telling.slip("Beatriz Luna", subscription.next_action)
    await pays(scene, "Beatriz", subscription, "pays it at an OXXO")


async def _carlos_is_late(scene: Scene) -> None:
    telling = scene.telling
    first = await voucher_for(scene, "Carlos Vega", ends="active", paid=MXN_PRICE)
    telling.say("Carlos", f"gets voucher {shown(first)} and forgets it on the kitchen table")
    telling.link(scene.engine.places.workflow(first.workflow_id))
    await scene.world.expire(reference_of(first))
    second = await scene.engine.until(
        first,
        f"a new voucher with another reference than {reference_of(first)}",
        lambda now: now.reference not in {None, reference_of(first)},
    )
    await scene.world.until_status(first, reference_of(first), "expired")
    telling.say("Abono", f"sees it expire at Conekta and issues another: {shown(second)}")
    await pays(scene, "Carlos", second, "pays the new one")


async def _diana_cancels(scene: Scene) -> None:
    telling = scene.telling
    opened = await voucher_for(scene, "Diana Soto", ends="canceled", paid=NOTHING)
    telling.say("Diana", f"gets voucher {shown(opened)}, thinks again and cancels")
    telling.link(scene.engine.places.workflow(opened.workflow_id))
    await scene.engine.cancel(opened)
    await scene.engine.until(opened, "her subscription to be canceled", has_status("canceled"))
    await scene.world.until_status(opened, reference_of(opened), "canceled")
    telling.say("Abono", "voids it at Conekta: nobody can pay it by mistake → [red]canceled[/]")


async def _elena_transfers(scene: Scene) -> None:
    engine, telling = scene.engine, scene.telling
    elena = await engine.create_organization("Elena Mora", country="MX")
    answer = await scene.subscribe(elena, "spei", ends="active", paid=MXN_PRICE)
    asked = await engine.until(
        answer.value, "a CLABE to transfer to", lambda now: now.reference is not None
    )
    bank = asked.next_action.bank if isinstance(asked.next_action, PayTransfer) else None
    telling.say("Elena", f"prefers a bank transfer (SPEI): CLABE {shown(asked)}, {bank}")
    telling.link(engine.places.workflow(asked.workflow_id))
    await pays(scene, "Elena", asked, "sends it from her phone")


# 4 -------------------------------------------------------------------------------------------


async def lost_answers(scene: Scene) -> None:
    """Two at the same time: both wait for an answer that never comes."""
    with scene.telling.waiting("Conekta has done its work, but its answers never arrive …"):
        try:
            async with asyncio.TaskGroup() as both:
                await _lose(scene, both, "Fernando Paz", "charges.create", "the voucher")
                await _lose(scene, both, "Gabriela Ruiz", "orders.create", "the order")
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None


async def _lose(
    scene: Scene, both: asyncio.TaskGroup, customer: str, operation: str, what: str
) -> None:
    """Returns when the answer is lost, while the rest of this customer's story goes on."""
    organization = await scene.engine.create_organization(customer, country="MX")
    await scene.world.lose_answer("conekta", operation)
    both.create_task(_survive(scene, organization))
    await scene.world.until_answer_lost("conekta", operation)
    name = customer.split()[0]
    scene.telling.say(name, f"subscribes; Conekta makes {what}, then the line goes dead")


async def _survive(scene: Scene, organization: OrganizationView) -> None:
    engine, telling, name = scene.engine, scene.telling, organization.name.split()[0]
    answer = await scene.subscribe(organization, "oxxo", ends="active", paid=MXN_PRICE)
    telling.say("Abono", _honest(scene, name, answer))
    telling.link(engine.places.workflow(answer.value.workflow_id))
    found = await engine.until(
        answer.value, "the voucher to be found", lambda now: now.reference is not None
    )
    await _one_live_voucher(scene, found)
    telling.say("Abono", f"has asked Conekta: {name} has one live voucher, {shown(found)}")
    await pays(scene, name, found, "pays it")


def _honest(scene: Scene, name: str, answer: Answer[Subscription]) -> str:
    """Either it is known what to pay, or it is said that it is not."""
    value, waited = answer.value, f"after {answer.seconds:.1f} s"
    where = scene.where(value)
    if answer.is_settled:
        expect(value.reference is not None, "a voucher in a 201", value.summary(), where)
        return f"answers {name}'s app {waited}: [bold]201[/], here is the voucher"
    expect(value.status == "incomplete", "incomplete in a 202", value.summary(), where)
    return f"answers {name}'s app {waited}: [bold]202[/], accepted, not known yet"


async def _one_live_voucher(scene: Scene, subscription: Subscription) -> None:
    book = await scene.world.movements(subscription)
    live = [m.reference for m in book if m.kind == "charge" and m.status == "pending"]
    expect(
        live == [subscription.reference],
        f"exactly one live voucher, {subscription.reference}",
        ", ".join(map(str, live)) or "none",
        scene.where(subscription),
    )


# 6 -------------------------------------------------------------------------------------------


async def the_books(scene: Scene) -> None:
    # In the order of appearance, which two who wait at the same time may not keep.
    cast = sorted(scene.cast, key=lambda part: part.promise.customer)
    lines = balance([await _account(scene, part) for part in cast])
    scene.telling.books(lines)
    links = [scene.engine.places.workflow(part.subscription.workflow_id) for part in cast]
    scene.telling.links(zip([line.customer for line in lines], links, strict=True))
    bad = [(line, link) for line, link in zip(lines, links, strict=True) if not line.good]
    got = "; ".join(f"{line.customer}: {', '.join(line.complaints)}" for line, _ in bad)
    expect(not bad, "books that agree to the centavo", got, [link for _, link in bad])


async def _account(scene: Scene, part: Part) -> Account:
    return Account(
        promise=part.promise,
        status=(await scene.engine.read(part.subscription)).status,
        movements=await scene.world.movements(part.subscription),
        invoices=await scene.engine.invoices(part.subscription),
    )


STORY = (
    Chapter("The price list", price_list),
    Chapter("Austin: a card, through Stripe", austin),
    Chapter("Mexico City: cash and transfers, through Conekta", mexico_city),
    Chapter("Two answers get lost", lost_answers),
    Chapter("Conekta is down, and comes back", conekta_is_down),
    Chapter("The books", the_books),
)
