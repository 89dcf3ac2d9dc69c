"""`abono webhooks`: a readable table, JSON for programs, exit codes that tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from abono import cli
from models.events import EventKind
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import WebhookEvent, new_id
from tests.api.support import event
from tests.support.database import TestDatabases, sqlalchemy_url

NOW = datetime.now(UTC)


def row(**changes: Any) -> WebhookEvent:
    told = event(EventKind.PAYMENT)
    values: dict[str, Any] = {
        "id": new_id(),
        "provider": "conekta",
        "account": "default",
        "provider_event_id": told.provider_event_id,
        "event_type": "order.paid",
        "kind": "payment",
        "payload": {},
        "event": told.model_dump(mode="json"),
        "received_at": NOW,
        "attempts": 4,
        "next_dispatch_at": NOW + timedelta(hours=1),
    }
    return WebhookEvent(**values | changes)


@pytest.fixture
def inbox(databases: TestDatabases, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One that waits, one that failed, one that was applied."""
    url = asyncio.run(databases.create())
    rows = [row(), row(last_error="signal failed: X"), row(applied_at=NOW, disposition="applied")]
    ids = [str(each.id) for each in rows]

    async def fill() -> None:
        engine = make_engine(sqlalchemy_url(url))
        async with make_sessions(engine).begin() as session:
            session.add_all(rows)
        await engine.dispose()

    asyncio.run(fill())
    monkeypatch.setenv("DATABASE_URL", url)
    yield ids
    asyncio.run(databases.drop(url))


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert cli.run(["webhooks", "list", "--json", *options]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_the_table_and_the_states(inbox: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    waiting, failed, applied = inbox
    assert cli.run(["webhooks", "list", "--state", "failed"]) == 0
    told = capsys.readouterr()
    heading, line = told.out.splitlines()
    assert heading.split()[:3] == ["ID", "PROVIDER", "EVENT"]
    assert line.split()[:3] == [failed, "conekta", "order.paid"]
    next_try = NOW + timedelta(hours=1)
    assert line.split("failed", 1)[1].split() == [
        *("4", f"{next_try:%Y-%m-%d}", f"{next_try:%H:%M:%S}", "-", "signal", "failed:", "X")
    ]
    assert "abono webhooks replay ID" in told.err, "what to do next, out of grep's way"
    assert [found["id"] for found in listed(capsys)] == [failed, waiting]
    assert [found["id"] for found in listed(capsys, "--state", "applied")] == [applied]
    assert len(listed(capsys, "--limit", "1")) == 1


def test_replaying(inbox: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    waiting, _, applied = inbox
    assert cli.run(["webhooks", "replay", waiting, applied]) == 1
    told = capsys.readouterr()
    assert "1 of 2 will be delivered again." in told.out
    assert "applied already" in told.err
    assert cli.run(["webhooks", "replay", "--all-failed"]) == 0
    assert "1 will be delivered again." in capsys.readouterr().out
    assert listed(capsys, "--state", "failed") == []
    assert {found["tries"] for found in listed(capsys)} == {0}
    assert cli.run(["webhooks", "list", "--state", "failed"]) == 0
    assert "No webhook is failed." in capsys.readouterr().out
    assert cli.run(["webhooks", "replay", applied]) == 1
    assert "It is applied already, or not there." in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--state", "lost"],
        ["replay"],
        ["replay", "nonsense"],
        ["replay", "x", "--all-failed"],
    ],
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["webhooks", *arguments]) == 2
    assert capsys.readouterr().err.startswith("abono: ")
