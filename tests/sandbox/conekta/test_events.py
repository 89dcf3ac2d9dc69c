"""What the simulator tells: signed, in no sure order, and kept over a restart."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.conekta.app import ConektaSimulator
from sandbox.core import Core, SandboxConfig
from tests.sandbox.conekta.bodies import make_customer, make_order, read_order, references
from tests.sandbox.conekta.world import Json, World, private_pem, public_pem, running_world


def verify(public_key_pem: str, raw: bytes, digest: str) -> None:
    key = serialization.load_pem_public_key(public_key_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(base64.b64decode(digest), raw, padding.PKCS1v15(), hashes.SHA256())


async def test_webhooks_are_signed_over_the_bytes_that_are_sent(
    delivering_world: World,
) -> None:
    world = delivering_world
    order = await make_order(world, await make_customer(world), "cash")
    await world.pay(references(order)[0])
    await world.core.webhooks.drain()
    assert len(world.inbox.received) == len(world.core.webhooks.events) > 0
    assert world.simulator.public_key_pem == public_pem("conekta")
    for raw, headers in world.inbox.received:
        verify(world.simulator.public_key_pem, raw, headers["digest"])
        with pytest.raises(InvalidSignature):
            verify(world.simulator.public_key_pem, raw + b" ", headers["digest"])
        body = json.loads(raw)
        assert body["object"] == "event"
        assert body["livemode"] is False
        assert body["data"]["previous_attributes"] == {}
        assert len(body["id"]) == 24


async def test_an_event_shows_the_object_as_it_was(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "spei")
    await world.pay(references(order)[0])
    status_by_type = {
        record["body"]["type"]: record["body"]["data"]["object"].get("payment_status")
        for record in world.core.webhooks.events
        if record["body"]["type"].startswith("order.")
    }
    assert status_by_type == {
        "order.created": None,
        "order.pending_payment": "pending_payment",
        "order.updated": None,  # Late news from before the charge, as seen at Conekta.
        "order.paid": "paid",
    }


async def test_charges_have_an_order_id_but_none_of_our_ids(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "spei")
    charge = next(
        record["body"]["data"]["object"]
        for record in world.core.webhooks.events
        if record["body"]["type"] == "charge.created"
    )
    assert charge["order_id"] == order["id"]
    assert "metadata" not in charge


async def test_charges_sometimes_speak_before_their_order(world: World, customer_id: str) -> None:
    seen = set()
    for _ in range(2):
        order = await make_order(world, customer_id, "spei")
        await world.pay(references(order)[0])
        last_two = world.event_types()[-2:]
        seen.add(tuple(last_two))
    assert seen == {("order.paid", "charge.paid"), ("charge.paid", "order.paid")}


async def test_events_can_be_listed_and_read(delivering_world: World) -> None:
    world = delivering_world
    await make_order(world, await make_customer(world), "cash")
    await world.core.webhooks.drain()
    listed = (await world.http.get("/events", params={"limit": 250})).json()["data"]
    assert [event["type"] for event in listed] == list(reversed(world.event_types()))
    assert {event["webhook_status"] for event in listed} == {"successful"}
    read = (await world.http.get(f"/events/{listed[0]['id']}")).json()
    assert read == listed[0]


async def test_everything_survives_a_restart(tmp_path: Path) -> None:
    def config() -> SandboxConfig:
        return SandboxConfig(
            conekta_private_key_pem=private_pem("conekta"), state_file=tmp_path / "state.json"
        )

    body: Json = {"name": "Ana", "email": "ana@example.com", "phone": "+5215555555555"}
    async with running_world(config()) as before:
        customer = (await before.http.post("/customers", json=body)).json()
        order = await make_order(before, customer["id"], "cash")
    async with running_world(config()) as after:
        assert (await read_order(after, order["id"]))["payment_status"] == "pending_payment"
        await after.pay(references(order)[1])
        assert (await read_order(after, order["id"]))["payment_status"] == "paid"
        assert [entry["status"] for entry in await after.book()] == ["paid"]


async def test_reset_forgets_everything(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    await world.control("reset")
    assert (await world.http.get(f"/orders/{order['id']}")).status_code == 404
    assert (await world.http.get("/orders")).json()["data"] == []
    assert await world.book() == []
    assert (await world.http.get("/events")).json()["data"] == []


def test_without_a_key_it_makes_its_own() -> None:
    first, second = (ConektaSimulator(Core(SandboxConfig())) for _ in range(2))
    assert first.public_key_pem != second.public_key_pem
    verify(first.public_key_pem, b"{}", first.events.sign(b"{}")["Digest"])


def test_a_key_that_is_not_rsa_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(ValueError, match="RSA"):
        ConektaSimulator(Core(SandboxConfig(conekta_private_key_pem=pem.decode())))
