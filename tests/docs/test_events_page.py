"""docs/events.md is what the code says; what docs/receiving-events.md tells receivers to do works."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from abono.dev.documents import EVENTS_PAGE, rendered
from api.outbound.secrets import new_secret
from api.outbound.sender import TIMEOUT_SECONDS, signed_headers
from api.routes.webhook_endpoints import ENDPOINTS_MAX
from models.event_catalogue import CATALOGUE, EVENT_TYPES, EventType, complaint
from models.outbound import PAUSES

PAGE = EVENTS_PAGE.with_name("receiving-events.md")


def test_the_page_is_what_the_code_says() -> None:
    text = EVENTS_PAGE.read_text()
    assert rendered(text, EVENTS_PAGE) == text, "run `make docs` and commit docs/events.md"
    assert all(f"\n## {name}, of a " in text for name in EVENT_TYPES)


@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: f"{one.type}-{one.about}")
def test_every_example_is_what_it_is_an_example_of(one: EventType) -> None:
    assert complaint(one.type, one.example) is None
    assert complaint(one.type, {**one.example, "surprise": 1}) is not None
    for name in one.example.keys() - one.optional:
        if any(other.type == one.type for other in CATALOGUE if other is not one):
            continue  # May be a good example of its other form.
        less = {key: value for key, value in one.example.items() if key != name}
        assert complaint(one.type, less) == f"{one.type}: {name} is missing"
        nothing = complaint(one.type, {**one.example, name: None})
        assert (nothing is None) == (name in one.nullable)
        assert complaint(one.type, {**one.example, name: object()}) is not None


def test_an_event_that_nobody_described_is_complained_about() -> None:
    assert complaint("invoice.eaten", {}) == "invoice.eaten is not in the catalogue"


async def test_the_receiver_of_the_page_takes_a_signed_event_once_and_refuses_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    written: dict[str, Any] = {}
    exec(compile(found.group(1), str(PAGE), "exec", dont_inherit=True), written)  # noqa: S102
    body = '{"id":"one","type":"invoice.paid","data":{}}'
    at = datetime.now(UTC)
    transport = httpx.ASGITransport(SimpleNamespace(**written).app)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as http:
        good = signed_headers([new_secret(), secret], "one", body, at)
        for _ in range(2):
            answer = await http.post("/hooks/abono", content=body, headers=good)
            assert answer.status_code == 204
        bad = signed_headers([new_secret()], "one", body, at)
        for headers in (bad, {}):
            answer = await http.post("/hooks/abono", content=body, headers=headers)
            assert answer.status_code == 400
    assert capsys.readouterr().out == "invoice.paid {}\n"


def test_the_numbers_of_the_page_are_the_codes() -> None:
    text = " ".join(PAGE.read_text().split())
    *first, last = [_short(int(pause.total_seconds())) for pause in PAUSES]
    assert f"tried again after {', '.join(first)}, then every {last} (each" in text
    assert f"2xx within {TIMEOUT_SECONDS:.0f} seconds" in text
    assert f"at most {ENDPOINTS_MAX} endpoints" in text


def _short(seconds: int) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
