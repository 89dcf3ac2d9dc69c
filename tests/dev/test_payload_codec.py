"""What Temporal keeps is encrypted, and read again with any key that is still in the ring."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import httpx
import pytest
from google.protobuf import json_format
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client
from temporalio.converter import WithSerializationContext
from temporalio.testing import WorkflowEnvironment

from abono.codec_server import create_app
from abono.payload_codec import ENCODING, AesGcmCodec, data_converter
from abono.payload_keys import PayloadKeyError, parse_keys
from abono.settings import Settings
from abono.simulate.world import TEST_SERVER, open_world
from models.outcomes import Instrument
from tests.support.database import TestDatabases

OLD = {"2026-01": bytes(range(32))}
NEW = {"2026-11": bytes(range(1, 33))}
UI = "http://127.0.0.1:8233"
PLAIN = [
    Payload(metadata={"encoding": b"json/plain"}, data=b'{"email":"ana@example.com"}'),
    Payload(metadata={"encoding": b"binary/null"}),
]


def setting(**keys: bytes) -> str:
    return ", ".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in keys.items())


async def test_nothing_is_readable_and_everything_comes_back() -> None:
    codec = AesGcmCodec(NEW)
    sealed = await codec.encode(PLAIN)
    again = await codec.encode(PLAIN)
    assert b"ana@example.com" not in b"".join(one.SerializeToString() for one in sealed)
    assert sealed[0].data != again[0].data  # Equal payloads do not look equal.
    assert await codec.decode(sealed) == PLAIN


async def test_a_key_is_rotated_without_a_break() -> None:
    old, both = AesGcmCodec(OLD), AesGcmCodec({**NEW, **OLD})
    kept = await old.encode(PLAIN)
    assert await both.decode(kept) == PLAIN
    assert (await both.encode(PLAIN))[0].metadata["key"] == b"2026-11"
    assert await both.decode(PLAIN) == PLAIN  # From before encryption.
    with pytest.raises(PayloadKeyError, match="no payload key is named 2026-11"):
        await old.decode(await both.encode(PLAIN))


async def test_what_was_changed_is_refused() -> None:
    codec = AesGcmCodec({**NEW, **OLD})
    [sealed, _] = await codec.encode(PLAIN)
    for changed in (
        Payload(metadata=sealed.metadata, data=sealed.data[:-1] + b"?"),
        Payload(metadata={**sealed.metadata, "key": b"2026-01"}, data=sealed.data),
        Payload(metadata=sealed.metadata, data=b""),
    ):
        with pytest.raises(PayloadKeyError):
            await codec.decode([changed])


@pytest.mark.parametrize(
    "text", ["plain", ":" + "A" * 44, "a:short", "a:not base64!", setting(a=bytes(31))]
)
def test_a_key_that_is_none_is_named_by_its_place(text: str) -> None:
    with pytest.raises(PayloadKeyError, match="key 1 is not"):
        parse_keys(text)
    with pytest.raises(ValidationError) as refused:
        Settings(ABONO_PAYLOAD_KEYS=text)
    assert text not in str(refused.value)


def test_two_keys_of_one_name_are_refused() -> None:
    text = setting(a=bytes(32))
    with pytest.raises(PayloadKeyError, match="two keys named a"):
        parse_keys(f"{text},{text}")


async def test_the_ui_has_its_payloads_decoded() -> None:
    codec = AesGcmCodec(NEW)
    transport = httpx.ASGITransport(create_app(codec, UI))
    async with httpx.AsyncClient(transport=transport, base_url="http://codec") as client:
        body = json_format.MessageToJson(Payloads(payloads=await codec.encode(PLAIN)))
        answer = await client.post("/decode", content=body, headers={"origin": UI})
        assert json_format.Parse(answer.content, Payloads()).payloads == PLAIN
        assert answer.headers["access-control-allow-origin"] == UI
        stranger = await client.post("/decode", content=body, headers={"origin": "http://x.test"})
        assert "access-control-allow-origin" not in stranger.headers
        for wrong in (b"nonsense", b'{"payloads": 1}', b"\xff"):
            assert (await client.post("/decode", content=wrong)).status_code == 400
        foreign = json_format.MessageToJson(Payloads(payloads=await AesGcmCodec(OLD).encode(PLAIN)))
        refused = await client.post("/decode", content=foreign)
        assert (refused.status_code, refused.json()["message"]) == (
            400,
            "no payload key is named 2026-01",
        )


async def test_a_history_holds_no_plain_text(databases: TestDatabases, tmp_path: Path) -> None:
    async def start() -> WorkflowEnvironment:
        return await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(TEST_SERVER), data_converter=data_converter(NEW)
        )

    async with open_world(databases, start=start) as world:
        terms = await world.terms(Instrument.OXXO)
        handle, opened = await world.open(terms)
        assert opened.status == "incomplete"
        config = world.client.config()
        config["data_converter"] = data_converter({})
        history = (await Client(**config).get_workflow_handle(handle.id).fetch_history()).to_json()
        kept = re.findall(r'"data": "([^"]*)"', history)
        plain = b"\n".join(base64.b64decode(one) for one in kept).decode(errors="replace")
        assert history.count(base64.b64encode(ENCODING).decode()) > 5
        for word in ("organization_id", "amount_minor", "19900", "oxxo"):
            assert word not in plain


def test_encryption_does_not_depend_on_what_a_payload_is_about() -> None:
    """A worker leaves out what it is about, because it costs much (`abono.workflow_runner`)."""
    converter = data_converter(NEW)
    assert converter.payload_codec is not None
    assert not isinstance(converter.payload_codec, WithSerializationContext)
    assert converter.external_storage is None
