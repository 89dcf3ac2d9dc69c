"""The circuit that all workers share: who is kept away from a provider, who probes, what closes it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from activities.breaker import Breaker
from activities.provider_calls import ProviderActivities
from activities.signatures.attempts import AttemptResult
from models.breaker import FAILURES_TO_OPEN, OPEN_FOR, BreakerState, Health
from models.outcomes import FallbackReason, OutcomeClass, ProviderName
from models.storage.providers import ProviderHealth, health_of
from sandbox.faults import FaultMode
from tests.activities.running import run
from tests.activities.stage import Stage

CONEKTA, STRIPE = ProviderName.CONEKTA, ProviderName.STRIPE
START = datetime.now(UTC)
SECOND = timedelta(seconds=1)


async def issue(stage: Stage, worker: ProviderActivities, at: datetime) -> AttemptResult:
    return await run(worker.issue_payment, stage.voucher(CONEKTA), at=at)


async def health(stage: Stage) -> Health:
    async with stage.books.sessions() as session:
        return health_of(await session.scalar(select(ProviderHealth)))


@pytest.fixture
async def opened(stage: Stage) -> Stage:
    """Conekta is down, and two workers have found out together."""
    stage.fault(CONEKTA, "*", FaultMode.DOWN)
    workers = (stage.calls, stage.calls)
    for number in range(FAILURES_TO_OPEN):
        result = await issue(stage, workers[number % 2], START)
        assert (result.outcome, result.fallback_reason) == (
            OutcomeClass.NOT_ATTEMPTED,
            FallbackReason.UNAVAILABLE,
        )
        assert result.reason == "http_503"
    return stage


async def test_an_open_circuit_keeps_every_worker_away(opened: Stage) -> None:
    found = await health(opened)
    assert found.state(START) is BreakerState.OPEN
    assert (found.failures, found.last_reason) == (FAILURES_TO_OPEN, "http_503")
    opened.core.faults.clear()  # Back, but nobody knows yet.
    result = await issue(opened, opened.calls, START + OPEN_FOR - SECOND)
    assert (result.outcome, result.reason) == (OutcomeClass.NOT_ATTEMPTED, "circuit_open")
    assert result.fallback_reason is FallbackReason.UNAVAILABLE
    elsewhere = await run(opened.calls.issue_payment, opened.voucher(STRIPE), at=START)
    assert elsewhere.outcome is OutcomeClass.PENDING, "each provider has its own circuit"


async def test_a_probe_that_is_answered_closes_it(opened: Stage) -> None:
    opened.core.faults.clear()
    result = await issue(opened, opened.calls, START + OPEN_FOR)
    assert result.outcome is OutcomeClass.PENDING
    assert await health(opened) == Health()


async def test_a_probe_that_fails_opens_it_for_another_while(opened: Stage) -> None:
    later = START + OPEN_FOR
    assert (await issue(opened, opened.calls, later)).reason == "http_503"
    found = await health(opened)
    assert (found.state(later + SECOND), found.open_since) == (BreakerState.OPEN, START)
    assert (await issue(opened, opened.calls, later + SECOND)).reason == "circuit_open"


async def test_a_decline_is_an_answer(opened: Stage) -> None:
    opened.core.faults.clear()
    opened.fault(CONEKTA, "charges.create", FaultMode.DECLINE)
    result = await issue(opened, opened.calls, START + OPEN_FOR)
    assert (result.outcome, result.fallback_reason) == (OutcomeClass.DECLINED, None)
    assert await health(opened) == Health()


async def test_of_many_workers_one_probes(opened: Stage) -> None:
    provider = opened.providers.get(CONEKTA)
    assert provider is not None
    breakers = [Breaker(opened.books.sessions) for _ in range(8)]
    later = START + OPEN_FOR
    admitted = await asyncio.gather(*(each.admits(provider, later) for each in breakers))
    assert sorted(admitted) == [False] * 7 + [True]
