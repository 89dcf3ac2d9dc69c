"""Figures from the ledgers: right in every replica, after every restart, and cheap to ask for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import update

from api.ledger_metrics import FRESH_SECONDS, LedgerMetrics
from api.metrics import Metrics
from models.breaker import FAILURES_TO_OPEN
from models.outcomes import ProviderName
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import ChargeAttempt
from tests.api.support import Api, attempt, invoice, open_voucher
from tests.api.test_providers import health_row
from tests.api.test_routing import fallback


class Clock:
    """Seconds, as a machine counts them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def figures(api: Api) -> dict[str, float]:
    """As a replica that has just been started tells them."""
    api.context.metrics = Metrics()
    text = (await api.anyone.get("/metrics")).text
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    # Since when a process counts is its own, and no figure of the engine.
    return {
        name: float(value)
        for name, value in rows
        if not name.partition("{")[0].endswith("_created")
    }


def shown(ledger: LedgerMetrics, registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


async def test_fallbacks_are_counted_by_providers_and_reason_for_all_tenants(api: Api) -> None:
    await api.add(
        fallback(api.ours),
        fallback(api.theirs),
        fallback(api.ours, attempted_provider="polar", reason="api_error"),
    )
    found = await figures(api)
    name = 'abono_fallbacks_total{attempted_provider="%s",fallback_provider="stripe",reason="%s"}'
    assert found[name % ("conekta", "timeout")] == 2
    assert found[name % ("polar", "api_error")] == 1
    again = await figures(api)
    for one in (found, again):
        assert one.pop("abono_ledger_figures_age_seconds") < 60
    assert again == found, "another replica says the same"


async def test_tries_are_counted_by_provider_instrument_and_outcome(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    bills = [invoice(row) for _ in range(3)]
    outcomes = ("declined", "declined", "succeeded")
    tries = [
        attempt(bill, outcome=outcome, instrument="card")
        for bill, outcome in zip(bills, outcomes, strict=True)
    ]
    await api.add(*bills, *tries)
    found = await figures(api)
    name = 'abono_charge_attempts{instrument="%s",outcome="%s",provider="stripe"}'
    assert found[name % ("oxxo", "pending")] == 1
    assert found[name % ("card", "declined")] == 2
    assert found[name % ("card", "succeeded")] == 1


async def test_open_questions_are_counted_with_the_age_of_the_oldest(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    bills = [invoice(row) for _ in range(2)]
    ages = (timedelta(hours=1), timedelta(minutes=1))
    tries = [
        attempt(bill, outcome="unknown", started_at=datetime.now(UTC) - age)
        for bill, age in zip(bills, ages, strict=True)
    ]
    await api.add(*bills, *tries)
    found = await figures(api)
    assert found['abono_unknown_attempts{provider="stripe"}'] == 2
    assert 3600 <= found['abono_unknown_attempt_oldest_seconds{provider="stripe"}'] < 3700
    assert found['abono_unknown_attempts{provider="conekta"}'] == 0
    await api.run(update(ChargeAttempt).values(outcome="succeeded"))
    found = await figures(api)
    assert found['abono_unknown_attempts{provider="stripe"}'] == 0
    assert found['abono_unknown_attempt_oldest_seconds{provider="stripe"}'] == 0


async def test_an_open_circuit_is_a_figure(api: Api) -> None:
    await api.add(health_row(FAILURES_TO_OPEN, datetime.now(UTC)))
    found = await figures(api)
    name = 'abono_provider_breaker{account="default",provider="conekta",state="%s"}'
    states = {state: found[name % state] for state in ("closed", "open", "half_open")}
    assert states == {"closed": 0, "open": 1, "half_open": 0}
    assert found['abono_provider_breaker{account="default",provider="stripe",state="closed"}'] == 1


async def test_many_scrapes_are_one_reading(api: Api) -> None:
    registry, clock = CollectorRegistry(), Clock()
    ledger = LedgerMetrics(registry, clock)
    sessions = api.context.sessions
    await asyncio.gather(*(ledger.refresh(sessions) for _ in range(5)))
    await api.add(fallback(api.ours))
    clock.now += FRESH_SECONDS - 0.1
    await ledger.refresh(sessions)
    assert "conekta" not in shown(ledger, registry).partition("abono_charge")[0]
    clock.now += 0.2
    await ledger.refresh(sessions)
    assert "conekta" in shown(ledger, registry).partition("abono_charge")[0]


async def test_a_scrape_goes_on_with_what_was_known_while_the_database_is_away(api: Api) -> None:
    await api.add(fallback(api.ours))
    registry, clock = CollectorRegistry(), Clock()
    ledger = LedgerMetrics(registry, clock)
    nowhere = make_engine("postgresql+asyncpg://postgres@127.0.0.1:9/none")
    await ledger.refresh(make_sessions(nowhere))
    assert shown(ledger, registry) == "", "nothing is known yet, and nothing is made up"
    clock.now += 60
    await ledger.refresh(api.context.sessions)
    clock.now += 60
    await ledger.refresh(make_sessions(nowhere))
    text = shown(ledger, registry)
    assert "abono_fallbacks_total" in text
    assert "abono_ledger_figures_age_seconds 60.0" in text
    await nowhere.dispose()


async def test_a_replica_tells_which_providers_it_has_a_key_for(api: Api) -> None:
    found = await figures(api)
    configured = set(api.context.providers.names())
    assert configured
    for provider in ProviderName:
        told = found[f'abono_provider_configured{{provider="{provider}"}}']
        assert told == (provider in configured)
