"""What an organization may use now, and usage against its limits: counted once, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select, update

from models.storage.tables import (
    Benefit,
    BenefitGrant,
    Organization,
    OutboundEvent,
    Product,
    Subscription,
    SubscriptionPlan,
    UsageCounter,
    UsageEvent,
    new_id,
)
from tests.api.support import Api, organization, plan, subscription

DAY = timedelta(days=1)


@pytest.fixture
async def who(api: Api) -> Organization:
    """With a paid subscription of a plan with limits."""
    made, what = organization(api.ours), plan(api.ours, features=["reports"], limits={"calls": 10})
    await api.add(made, what, subscribed(made, what))
    return made


def subscribed(who: Organization, what: SubscriptionPlan, **changes: Any) -> Subscription:
    now = datetime.now(UTC)
    values = {
        "status": "active",
        "current_period_start": now - DAY,
        "current_period_end": now + 29 * DAY,
        "access_until": now + 29 * DAY,
    }
    return subscription(who, what, **{**values, **changes})


async def report(api: Api, who: Organization, quantity: int = 1, **more: Any) -> httpx.Response:
    key = more.pop("key", None)
    body = {"metric": "calls", "quantity": quantity, **more}
    return await api.ours.post(f"/organizations/{who.id}/usage", body, key=key)


async def used(api: Api, who: Organization) -> int:
    [one] = (await api.ours.get(f"/organizations/{who.id}/usage")).json()["data"]
    found: int = one["used"]
    return found


async def entitlements(api: Api, who: Organization, **query: str) -> dict[str, Any]:
    answer = await api.ours.get(f"/organizations/{who.id}/entitlements", **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_usage_is_counted_and_left(api: Api, who: Organization) -> None:
    answer = await report(api, who, 4)
    assert answer.status_code == 200, answer.text
    assert answer.json()["allowed"] is True
    [one] = (await api.ours.get(f"/organizations/{who.id}/usage")).json()["data"]
    assert (one["used"], one["limit"], one["left"], one["reached"]) == (4, 10, 6, False)
    assert one == answer.json()["usage"]
    assert one["resets_at"] is not None


async def test_one_event_is_counted_once(api: Api, who: Organization) -> None:
    first = (await report(api, who, 3, event_id="e1")).json()
    again = (await report(api, who, 3, event_id="e1")).json()
    assert again == {**first, "duplicate": True}
    other = await report(api, who, 4, event_id="e1")
    assert (other.status_code, other.json()["code"]) == (409, "usage_event_reused")
    keyed = [(await report(api, who, 2, key="k")).json() for _ in range(2)]
    assert keyed[0] == keyed[1]
    assert await used(api, who) == 5


async def test_reports_that_come_together_lose_nothing(api: Api, who: Organization) -> None:
    await asyncio.gather(*(report(api, who) for _ in range(8)))
    assert await used(api, who) == 8
    answers = await asyncio.gather(*(report(api, who, enforce=True) for _ in range(6)))
    assert sum(answer.json()["recorded"] for answer in answers) == 2, "ten, and no more"
    same = await asyncio.gather(*(report(api, who, event_id="once") for _ in range(4)))
    assert sum(not answer.json()["duplicate"] for answer in same) == 1
    assert await used(api, who) == 11


async def test_over_the_limit_is_counted_unless_it_is_to_be_refused(
    api: Api, who: Organization
) -> None:
    refused = (await report(api, who, 11, enforce=True, event_id="e")).json()
    assert (refused["allowed"], refused["recorded"], refused["usage"]["used"]) == (False, False, 0)
    assert await api.all(select(UsageEvent)) == []
    over = (await report(api, who, 11, event_id="e")).json()
    assert (over["allowed"], over["recorded"], over["usage"]["left"]) == (False, True, 0)
    await report(api, who, 1)
    told = await api.all(select(OutboundEvent).where(OutboundEvent.type == "usage.limit_reached"))
    assert [(one.data["metric"], one.data["used"]) for one in told] == [("calls", 11)], "told once"


async def test_a_new_period_begins_at_nothing(api: Api, who: Organization) -> None:
    await report(api, who, 7)
    now = datetime.now(UTC)
    await api.run(update(Subscription).values(current_period_start=now - timedelta(hours=1)))
    assert await used(api, who) == 0
    await report(api, who, 2)
    assert await used(api, who) == 2
    assert sorted(one.quantity for one in await api.all(select(UsageCounter))) == [2, 7]
    early = await report(api, who, occurred_at=(now - DAY).isoformat())
    assert (early.status_code, early.json()["code"]) == (422, "outside_the_period")


async def test_what_cannot_be_counted_is_refused(api: Api, who: Organization) -> None:
    unknown = await report(api, who, metric="call")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_limit")
    assert "calls" in unknown.json()["detail"]
    await api.run(update(Subscription).values(access_until=datetime.now(UTC) - DAY))
    nothing = await report(api, who)
    assert (nothing.status_code, nothing.json()["code"]) == (409, "no_access")
    assert (await report(api, who, 0)).status_code == 422


async def test_entitlements_are_what_all_subscriptions_give(api: Api, who: Organization) -> None:
    now = datetime.now(UTC)
    extra = plan(
        api.ours, name="Extra", features=["reports", "sso"], limits={"calls": 5, "seats": 2}
    )
    grace = subscribed(who, extra, status="past_due", current_period_end=now - DAY)
    over = subscribed(who, extra, status="canceled", access_until=now - DAY)
    unpaid = subscribed(who, extra, status="incomplete", access_until=None)
    await api.add(extra, grace, over, unpaid)
    await give_benefit(api, who, "granted")
    await give_benefit(api, who, "revoked")
    await report(api, who, 4)

    found = await entitlements(api, who, feature="sso")

    assert found["has_access"]
    assert found["features"] == ["reports", "sso"]
    assert found["feature"] == {"name": "sso", "granted": True}
    limits = {one["name"]: (one["limit"], one["used"], one["left"]) for one in found["limits"]}
    assert limits == {"calls": (15, 4, 11), "seats": (2, 0, 2)}
    assert [one["description"] for one in found["benefits"]] == ["granted"]
    assert [one["status"] for one in found["subscriptions"]] == ["active", "past_due"]
    assert (await entitlements(api, who, feature="no"))["feature"]["granted"] is False


async def give_benefit(api: Api, who: Organization, status: str) -> None:
    now = datetime.now(UTC)
    product = Product(
        id=new_id(),
        application_id=who.application_id,
        name="Handbook",
        amount_minor=100,
        currency="USD",
        is_active=True,
        provider_product_ids={},
        created_at=now,
    )
    benefit = Benefit(
        id=new_id(),
        application_id=who.application_id,
        product_id=product.id,
        type="custom",
        description=status,
        properties={},
        provider_benefit_ids={},
        created_at=now,
    )
    grant = BenefitGrant(
        id=new_id(),
        application_id=who.application_id,
        organization_id=who.id,
        benefit_id=benefit.id,
        status=status,
        grants={},
        version=1,
        updated_at=now,
    )
    await api.add(product, benefit, grant)


async def test_nobody_without_a_subscription_has_anything(api: Api) -> None:
    await api.add(who := organization(api.ours))
    found = await entitlements(api, who)
    assert (found["has_access"], found["features"], found["limits"]) == (False, [], [])
    assert (await api.theirs.get(f"/organizations/{who.id}/entitlements")).status_code == 404


async def test_one_statement_tells_it_all(api: Api, who: Organization) -> None:
    """Beside the one that reads the API key."""
    what = plan(api.ours, name="More", limits={"seats": 3})
    await api.add(what, *(subscribed(who, what) for _ in range(5)))
    with statements(api) as sent:
        await entitlements(api, who)
    about = [text for text in sent if "FROM organizations" in text]
    assert len(about) == 1
    assert len([text for text in sent if "api_keys" not in text]) == 1, sent


@contextmanager
def statements(api: Api) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        sent.append(text)

    engine = api.context.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
