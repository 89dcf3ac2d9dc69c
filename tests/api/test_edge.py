"""The door: what is too long, ambiguous or no JSON is refused with a typed problem, and nothing is a 500."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from abono.api_server import make_context, server_config
from abono.settings import Settings
from api.app import create_app
from models.storage.tables import Organization
from tests.api.every_route import Ids, one_of_everything, requests
from tests.api.support import BASE, Api

ACME = {"name": "Acme", "email": "a@acme.mx"}
RAW = json.dumps(ACME).encode()
JSON = {"Content-Type": "application/json"}


async def offer(api: Api, content: bytes, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.ours.http.post(f"{BASE}/organizations", content=content, headers=sent)


async def made(api: Api) -> int:
    found: int = (await api.all(select(func.count()).select_from(Organization)))[0]
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "nonsense"},
        {"Content_Type": "application/json; charset=utf-16"},
        {"Content_Type": "application/json", "Content_Encoding": "gzip"},
    ],
)
async def test_what_is_not_sent_as_json_is_a_415(api: Api, headers: dict[str, str]) -> None:
    answer = await offer(api, RAW, **headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert await made(api) == 0


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", "application/x+json"]
)
async def test_json_is_taken_under_each_of_its_names(api: Api, content_type: str) -> None:
    assert (await offer(api, RAW, Content_Type=content_type)).status_code == 201


async def test_an_application_that_forgets_the_header_means_json(api: Api) -> None:
    assert (await offer(api, RAW)).status_code == 201


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "valid JSON"),
        (b'{"name": "Acme", "name": "Other", "email": "a@acme.mx"}', "twice"),
        (b'{"billing_address": {"country": "MX", "country": "US"}}', "twice"),
        (b'{"n": ' + b"[" * 40 + b"]" * 40 + b"}", "deeper"),
        (b"[" * 20_000 + b"]" * 20_000, "deeper"),
        (b'{"a":' * 7_000 + b"1" + b"}" * 7_000, "deeper"),
        (b'{"name": "\xff\xfe"}', "UTF-8"),
        (RAW.decode().encode("utf-16"), "UTF-8"),
        (RAW.decode().encode("utf-16-le"), "valid JSON"),
        (b"\xef\xbb\xbf" + RAW, "valid JSON"),
        (b'{"name": NaN}', "does not know"),
        (b'{"name": -Infinity}', "does not know"),
        (b'{"name": ' + b"9" * 20 + b"}", "digits"),
        (b'{"name": ' + b"9" * 40_000 + b"}", "digits"),
        (b'{"name": -' + b"9" * 6_000 + b"}", "digits"),
        (b'{"name": 1e999}', "cannot be stored"),
        (b'{"name": "a\\u0000b"}', "cannot be stored"),
        (b'{"a\\u0000b": 1}', "cannot be stored"),
        (b'{"name": "\\ud800"}', "cannot be stored"),
        (b'"text"', "see errors"),
        (b"[]", "see errors"),
        (b"null", "see errors"),
    ],
    ids=range(22),
)
async def test_what_two_readers_could_understand_differently_is_refused(
    api: Api, content: bytes, word: str
) -> None:
    answer = await offer(api, content, Content_Type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert word in answer.json()["detail"]
    assert await made(api) == 0


async def test_a_number_that_is_too_long_is_not_called_broken_json(api: Api) -> None:
    answer = await offer(api, b'{"n": 11529383377307639808}', Content_Type="application/json")
    assert [error["code"] for error in answer.json()["errors"]] == ["number_too_long"]


async def test_a_query_is_held_to_the_same(api: Api) -> None:
    answer = await api.ours.get("/organizations", external_id="a\x00b")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_an_unknown_field_is_refused_and_an_unknown_query_parameter_ignored(
    api: Api,
) -> None:
    refused = await offer(api, json.dumps({**ACME, "nmae": "Acme"}).encode())
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "nmae")
    assert (await api.ours.get("/organizations", nonsense="1")).status_code == 200


async def test_long_addresses_and_long_headers_have_problems_of_their_own(api: Api) -> None:
    asked = [
        await api.ours.get("/organizations", external_id="x" * 9_000),
        await api.anyone.get("/healthz/" + "x" * 9_000),
        await api.anyone.get("/healthz", headers={"X-Long": "x" * 40_000}),
        await api.anyone.get("/healthz", headers=[(f"X-{n}", "1") for n in range(120)]),
    ]
    said = [(answer.status_code, answer.json()["code"]) for answer in asked]
    assert said == [(414, "uri_too_long")] * 2 + [(431, "headers_too_large")] * 2
    assert {answer.headers["content-type"] for answer in asked} == {"application/problem+json"}


@pytest.mark.parametrize("name", ["Idempotency-Key", "Content-Type", "Authorization"])
async def test_a_header_that_decides_something_is_there_once(api: Api, name: str) -> None:
    value = api.ours.http.headers.get(name, "application/json")
    answer = await api.anyone.post(
        f"{BASE}/organizations", content=RAW, headers=[(name, value), (name, value)]
    )
    assert answer.status_code == 422
    assert name.lower() in answer.json()["detail"]


async def test_only_trusted_hosts_are_answered_when_there_are_some(api: Api) -> None:
    api.context.trusted_hosts = ("billing.example", "[::1]")
    asked = {
        "billing.example": 200,
        "Billing.Example:8443": 200,
        "[::1]:8080": 200,
        "evil.example": 400,
        "billing.example.evil.example": 400,
        "": 400,
    }
    for host, status in asked.items():
        answer = await api.ours.http.get(f"{BASE}/plans", headers={"Host": host})
        assert answer.status_code == status, host
    # Balancers ask by address.
    assert (await api.anyone.get("/healthz", headers={"Host": "10.0.0.7"})).status_code == 200


async def test_nobody_is_sent_to_where_the_host_header_says(api: Api) -> None:
    answer = await api.ours.http.get(f"{BASE}/plans/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "location" not in answer.headers


async def test_strict_transport_security_is_a_setting(api: Api) -> None:
    assert "strict-transport-security" not in (await api.anyone.get("/healthz")).headers
    api.context.hsts_seconds = 600
    headers = (await api.anyone.get("/nowhere")).headers
    assert headers["strict-transport-security"] == "max-age=600"


async def test_no_other_site_may_read_an_answer(api: Api) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = await api.anyone.options(f"{BASE}/organizations", headers=asked)
    read = await api.ours.http.get(f"{BASE}/plans", headers=asked)
    assert preflight.status_code == 405
    for answer in (preflight, read):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers


async def test_the_server_tells_neither_its_name_nor_what_proxies_say() -> None:
    settings = Settings(DATABASE_URL="postgresql://postgres@127.0.0.1:9/none")
    context = await make_context(settings)
    config = server_config(settings, create_app(context))
    assert (config.server_header, config.proxy_headers, config.access_log) == (False, False, False)
    assert context.hsts_seconds > 0


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_pages_for_people_may_load_what_they_name_and_nothing_else(
    api: Api, page: str
) -> None:
    answer = await api.anyone.get(page)
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    scripts = policy["script-src"].split()
    assert answer.status_code == 200
    assert "'unsafe-inline'" not in scripts
    for source, text in re.findall(
        r"<script(?: src=\"([^\"]+)\")?>(.*?)</script>", answer.text, re.S
    ):
        digest = b64encode(sha256(text.encode()).digest()).decode()
        allowed = [source.startswith(one) for one in scripts] if source else []
        assert any(allowed) or f"'sha256-{digest}'" in scripts, source or text
    for link in re.findall(r"<link [^>]*stylesheet[^>]*href=\"([^\"]+)\"", answer.text):
        assert any(link.startswith(one) for one in policy["style-src"].split())
    assert policy["connect-src"] == "'self'"
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")


NASTY: list[Any] = [None, -1, "", "9" * 400, "\u202e\ufffe", [[]]]


def spoiled(body: Any) -> Iterator[Any]:
    """The body with each of its values replaced by each nasty one, and each nasty one alone."""
    yield from NASTY
    if isinstance(body, dict):
        for name in body:
            for value in NASTY:
                yield {**body, name: value}


async def test_no_body_makes_any_route_fail(api: Api) -> None:
    api.context.response_wait_seconds = 0.01
    ids: Ids = await one_of_everything(api, api.ours)
    tried = 0
    for request in requests("POST", "PATCH"):
        for body in spoiled(request.line.body):
            answer = await replace(request, line=replace(request.line, body=body)).send(
                api.ours, ids
            )
            tried += 1
            where = f"{request} {body}"
            assert answer.status_code != 500, where
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", where
    assert tried > 250


NASTY_TEXTS = ["", "-1", "9" * 400, "\u202e'; --"]


async def test_no_query_makes_any_route_fail(api: Api) -> None:
    ids: Ids = await one_of_everything(api, api.ours)
    described = api.app.openapi()["paths"]
    for request in requests("GET"):
        parameters = described[request.path]["get"].get("parameters", [])
        for name in [one["name"] for one in parameters if one["in"] == "query"]:
            for text in NASTY_TEXTS:
                line = replace(request.line, query={**request.line.query, name: text})
                answer = await replace(request, line=line).send(api.ours, ids)
                assert answer.status_code in {200, 404, 409, 422}, f"{request}?{name}={text!r}"
