"""How the simulator tells: Standard Webhooks headers, retried under the same id, kept over a restart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest

from sandbox.core import SandboxConfig
from sandbox.polar.world import after_period, signing_key
from tests.sandbox.polar.bodies import customer_body, paid_order, product_body
from tests.sandbox.polar.world import Json, World, running_world

LEGACY_SECRET = "polar_whs_not~base64"


def signature(key: bytes, headers: dict[str, str], raw: bytes) -> str:
    """Another wording of the scheme than the simulator's own."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), raw])
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@pytest.mark.parametrize("secret", [None, LEGACY_SECRET])
async def test_events_are_signed_over_the_bytes_that_are_sent(secret: str | None) -> None:
    config = SandboxConfig(polar_webhook_secret=secret) if secret else SandboxConfig()
    async with running_world(config, deliver=True) as world:
        await world.post("/products/", product_body())
        await world.core.webhooks.drain()
        [(raw, headers)] = world.inbox.received
    if secret is None:
        key = base64.b64decode(config.polar_webhook_secret.removeprefix("whsec_"))
    else:
        key = secret.encode()
    assert headers["webhook-signature"] == signature(key, headers, raw)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5
    body = json.loads(raw)
    assert set(body) == {"type", "timestamp", "api_version", "data"}


async def test_an_event_sent_again_keeps_its_id() -> None:
    async with running_world(deliver=True) as world:
        await world.post("/products/", product_body())
        await world.post("/products/", product_body())
        await world.core.webhooks.drain()
        await world.control("webhooks/redeliver")
        await world.core.webhooks.drain()
        ids = [headers["webhook-id"] for _, headers in world.inbox.received]
        recorded = [record["id"] for record in world.core.webhooks.events]
    assert len(ids) == 4
    assert set(ids) == set(recorded)
    assert len(set(ids)) == 2


async def test_an_event_shows_the_object_as_it_was(
    world: World, product: Json, customer: Json
) -> None:
    await paid_order(world, product, customer)
    statuses = [
        record["body"]["data"]["status"]
        for record in world.core.webhooks.events
        if record["body"]["type"].startswith("checkout.")
    ]
    assert statuses == ["open", "confirmed", "succeeded"]


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    def config() -> SandboxConfig:
        return SandboxConfig(state_file=tmp_path / "state.json")

    async with running_world(config()) as before:
        customer = await before.post("/customers/", customer_body())
        product = await before.post("/products/", product_body())
        order = await paid_order(before, product, customer)
    async with running_world(config()) as after:
        assert (await after.get(f"/orders/{order['id']}")) == order
        refund = {"order_id": order["id"], "reason": "other", "amount": 100}
        await after.post("/refunds/", refund)
        assert [entry["kind"] for entry in await after.book()] == ["charge", "refund"]


async def test_reset_forgets_everything(world: World, product: Json, customer: Json) -> None:
    await paid_order(world, product, customer)
    await world.control("reset")
    assert (await world.get("/products/"))["items"] == []
    assert await world.book() == []
    assert world.event_types() == []


@pytest.mark.parametrize(
    ("start", "interval", "count", "end"),
    [
        ("2027-01-31T10:00:00Z", "month", 1, "2027-02-28T10:00:00Z"),
        ("2028-02-29T10:00:00Z", "year", 1, "2029-02-28T10:00:00Z"),
        ("2027-11-15T10:00:00Z", "month", 3, "2028-02-15T10:00:00Z"),
        ("2027-12-31T10:00:00Z", "day", 1, "2028-01-01T10:00:00Z"),
        ("2027-12-31T10:00:00Z", "week", 2, "2028-01-14T10:00:00Z"),
    ],
)
def test_periods(start: str, interval: str, count: int, end: str) -> None:
    assert after_period(start, interval, count) == end


def test_both_forms_of_a_secret() -> None:
    assert signing_key("whsec_" + base64.b64encode(b"key").decode()) == b"key"
    assert signing_key(LEGACY_SECRET) == LEGACY_SECRET.encode()
