"""The list of providers: what each can do, how it is doing, and the switch for whoever is on call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from models.breaker import FAILURES_TO_OPEN, OPEN_FOR, failed
from models.storage.providers import ProviderHealth, health_of
from models.storage.tables import ApiKey, AuditEntry
from tests.api.support import Api

V1 = "/api/v1"
SECOND = timedelta(seconds=1)


def health_row(failures: int, at: datetime) -> ProviderHealth:
    """What the workers wrote after so many calls without a good answer."""
    row = ProviderHealth(provider="conekta", account="default", failures=0)
    health = health_of(row)
    for _ in range(failures):
        health = failed(health, at, "http_503")
    for name, value in health._asdict().items():
        setattr(row, name, value)
    return row


async def listed(api: Api) -> dict[str, dict[str, Any]]:
    answer = await api.ours.http.get(f"{V1}/providers")
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["data"]}


async def breaker(api: Api) -> dict[str, Any]:
    (found,) = (await listed(api))["conekta"]["breakers"]
    assert isinstance(found, dict)
    return found


async def test_providers_are_listed_with_what_they_can_do_and_no_keys(api: Api) -> None:
    found = await listed(api)
    assert {name: each["configured"] for name, each in found.items()} == {
        "stripe": True,
        "conekta": True,
        "polar": False,
    }
    assert "benefit" in found["polar"]["capabilities"]
    assert found["polar"]["payment_method_types"] == []
    assert found["polar"]["breakers"] == []
    assert "Polar" in found["stripe"]["refusals"]["benefit"]
    assert found["conekta"]["currencies"] == ["MXN"]
    assert {"oxxo", "spei"} <= set(found["conekta"]["payment_method_types"])
    for key in ("sk_test_api", "key_api"):
        assert key not in str(found)
    assert (await api.anyone.get(f"{V1}/providers")).status_code == 401


async def test_a_provider_without_trouble_has_a_closed_circuit(api: Api) -> None:
    assert await breaker(api) == {
        "account": "default",
        "state": "closed",
        "open_since": None,
        "failures": 0,
        "last_failure_at": None,
        "last_reason": None,
        "next_probe_at": None,
    }


@pytest.mark.parametrize(
    ("failures", "ago", "state"),
    [
        (FAILURES_TO_OPEN - 1, SECOND, "closed"),
        (FAILURES_TO_OPEN, SECOND, "open"),
        (FAILURES_TO_OPEN, OPEN_FOR + SECOND, "half_open"),
    ],
)
async def test_the_circuit_is_shown_as_the_workers_left_it(
    api: Api, failures: int, ago: timedelta, state: str
) -> None:
    at = datetime.now(UTC) - ago
    await api.add(health_row(failures, at))
    found = await breaker(api)
    assert (found["state"], found["failures"], found["last_reason"]) == (
        state,
        failures,
        "http_503",
    )
    assert datetime.fromisoformat(found["last_failure_at"]) == at
    is_open = state != "closed"
    assert (found["open_since"] is not None) is is_open
    if is_open:
        assert datetime.fromisoformat(found["next_probe_at"]) == at + OPEN_FOR


async def test_whoever_is_on_call_lets_the_next_call_through(api: Api) -> None:
    await api.add(health_row(FAILURES_TO_OPEN, datetime.now(UTC)))
    path = f"{V1}/providers/conekta/breaker/reset"
    answer = await api.ours.http.post(path, headers={"Idempotency-Key": "reset-1"})
    assert (answer.status_code, answer.json()["state"]) == (200, "half_open")
    assert (await breaker(api))["state"] == "half_open"
    again = await api.ours.http.post(path, headers={"Idempotency-Key": "reset-1"})
    assert again.json() == answer.json()
    (entry,) = await api.all(select(AuditEntry))
    assert (entry.action, entry.application_id) == (
        "provider.breaker_reset",
        api.ours.application_id,
    )
    assert entry.actor.startswith("key:")
    assert (entry.before["state"], entry.after["state"]) == ("open", "half_open")


async def test_a_closed_circuit_stays_as_it_is(api: Api) -> None:
    await api.add(health_row(1, datetime.now(UTC)))
    for name, failures in (("conekta", 1), ("polar", 0)):
        answer = await api.ours.http.post(f"{V1}/providers/{name}/breaker/reset")
        assert (answer.json()["state"], answer.json()["failures"]) == ("closed", failures)


async def test_only_an_administrator_may_do_so(api: Api) -> None:
    path = f"{V1}/providers/conekta/breaker/reset"
    assert (await api.anyone.post(path)).status_code == 401
    await api.run(update(ApiKey).values(scopes=["billing:read", "billing:write", "plans:write"]))
    assert (await api.ours.http.post(path)).status_code == 403
    await api.run(update(ApiKey).values(scopes=["admin"]))
    assert (await api.ours.http.post(path)).status_code == 200
    assert (await api.ours.http.post(f"{V1}/providers/paypal/breaker/reset")).status_code == 404
