"""The client against a transport that answers as the API does, and the page's code against the API itself."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from abono.dev.documents import (
    BLOCKING_CLIENT,
    CLIENT_MODELS,
    blocking_client_text,
    client_models_text,
)
from abono.simulate.serving import serving
from abono_client import (
    AbonoClient,
    AsyncAbonoClient,
    Conflict,
    NotFound,
    WebhookInvalid,
    models,
    verify_webhook,
)
from tests.api.support import Api


def test_the_models_are_what_the_description_says() -> None:
    assert CLIENT_MODELS.read_text() == client_models_text(), "run `make docs`"


def test_both_clients_are_one() -> None:
    assert BLOCKING_CLIENT.read_text() == blocking_client_text(), "run `make docs`"


def test_a_wish_is_sent_again_under_its_key() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        if len(keys) == 2:
            return httpx.Response(503, json={"code": "unavailable"}, headers={"Retry-After": "0"})
        return httpx.Response(409, json={"code": "conflict", "detail": "over"})

    transport = httpx.MockTransport(answer)
    client = AbonoClient("http://abono.test", "key", transport=transport)
    with client as abono, pytest.raises(Conflict) as refused:
        abono.post("/billing/plans", models.PlanView, {})
    assert (refused.value.code, refused.value.status) == ("conflict", 409)
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_a_change_is_sent_again_as_well() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(404, json={"code": "not_found"})

    transport = httpx.MockTransport(answer)
    async with AsyncAbonoClient("http://abono.test", "key", transport=transport) as abono:
        with pytest.raises(NotFound):
            await abono.change_subscription("1", models.ChangeSubscription(quantity=2))
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_deletion_whose_answer_was_lost_is_not_answered_with_a_404() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(204)

    transport = httpx.MockTransport(answer)
    with AbonoClient("http://abono.test", "key", transport=transport) as abono:
        abono.delete("/billing/webhook-endpoints/1")
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_webhook_is_believed_with_its_signature_only() -> None:
    secret, body = base64.b64encode(b"k" * 24).decode(), json.dumps({"type": "x"}).encode()
    mac = hmac.new(b"k" * 24, b"id.1000." + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    headers = {
        "Webhook-Id": "id",
        "Webhook-Timestamp": "1000",
        "Webhook-Signature": signature,
    }
    assert verify_webhook(body, headers, f"whsec_{secret}", now=1200)["type"] == "x"
    for wrong, at in ((body + b" ", 1200.0), (body, 1301.0)):
        with pytest.raises(WebhookInvalid):
            verify_webhook(wrong, headers, f"whsec_{secret}", now=at)


async def test_the_code_of_the_page_works(api: Api) -> None:
    page = (Path(__file__).parents[2] / "docs/client.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    async with serving(api.app) as url:
        said: dict[str, Any] = {"api_url": url, "api_key": api.ours.key}
        await asyncio.to_thread(exec, code, said)
    assert said["plan"].prices[0].amount_minor == 19900
    assert said["organization"].country == "MX"
    assert "Pro" in said["names"]
    assert said["code"] == "not_found"


async def test_a_list_is_read_to_its_end(api: Api) -> None:
    async with serving(api.app) as url:

        def read() -> tuple[list[str], list[str]]:
            with AbonoClient(url, api.ours.key) as abono:
                made = [
                    abono.create_organization(
                        models.CreateOrganization(name=f"Customer {n}", email=f"c{n}@acme.example")
                    ).id
                    for n in range(5)
                ]
                listed = abono.pages("/billing/organizations", models.OrganizationView, limit=2)
                return [str(id_) for id_ in made], [str(one.id) for one in listed]

        made, listed = await asyncio.to_thread(read)
    assert set(made) <= set(listed)
    assert len(listed) == len(set(listed))
