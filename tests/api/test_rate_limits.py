"""A key may make so many requests and no more; webhooks and health checks are never counted."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from api.rate_limits import BURST_SECONDS, RateLimits
from models.storage.tables import ApiKey
from tests.api.support import BASE, Api, refund_event, stripe_webhook

ONE = uuid4()


def test_the_bucket_is_spent_and_fills_again() -> None:
    limits = RateLimits()
    verdicts = [limits.take(ONE, 60, 100.0) for _ in range(BURST_SECONDS + 1)]
    assert [one.allowed for one in verdicts] == [True] * BURST_SECONDS + [False]
    assert [one.remaining for one in verdicts[:3]] == [9, 8, 7]
    assert (verdicts[-1].retry_seconds, verdicts[-1].reset_seconds) == (1, 10)
    assert not limits.take(ONE, 60, 100.9).allowed
    assert limits.take(ONE, 60, 101.0).allowed
    assert limits.take(ONE, 60, 10_000.0).remaining == BURST_SECONDS - 1


def test_every_key_has_its_own_bucket() -> None:
    limits = RateLimits()
    assert limits.take(ONE, 1, 0.0).allowed
    assert not limits.take(ONE, 1, 0.0).allowed
    assert limits.take(uuid4(), 1, 0.0).allowed


@given(
    st.integers(1, 100_000),
    st.lists(st.floats(0, 30, allow_nan=False, width=32), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_what_flowed_in(per_minute: int, pauses: list[float]) -> None:
    limits, moment, allowed, capacity = RateLimits(), 0.0, 0, 0
    for pause in pauses:
        moment += pause
        verdict = limits.take(ONE, per_minute, moment)
        capacity = verdict.capacity
        allowed += verdict.allowed
        assert 0 <= verdict.remaining < capacity
    assert allowed <= capacity + moment * per_minute / 60 + 1e-6


@given(st.integers(1, 100_000), st.floats(0, 1, allow_nan=False))
def test_whoever_waits_as_told_is_let_in(per_minute: int, moment: float) -> None:
    limits = RateLimits()
    verdict = limits.take(ONE, per_minute, moment)
    while verdict.allowed and verdict.capacity < 1000:
        verdict = limits.take(ONE, per_minute, moment)
    if not verdict.allowed:
        assert limits.take(ONE, per_minute, moment + verdict.retry_seconds).allowed


async def test_a_key_over_its_limit_is_a_429_that_says_when_to_come_back(api: Api) -> None:
    api.context.requests_per_minute = 12  # Two at once.
    answers = [await api.ours.get("/plans") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
    assert int(answers[1].headers["ratelimit-reset"]) == 10
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert "retry-after" not in answers[0].headers


async def test_another_tenant_and_another_key_are_not_held_up(api: Api) -> None:
    api.context.requests_per_minute = 6
    assert (await api.ours.get("/plans")).status_code == 200
    assert (await api.ours.get("/plans")).status_code == 429
    assert (await api.theirs.get("/plans")).status_code == 200


@pytest.mark.parametrize(("usual", "own", "allowed"), [(6, 600, 3), (600, 6, 1), (0, 6, 1)])
async def test_a_key_may_have_a_limit_of_its_own(
    api: Api, usual: int, own: int, allowed: int
) -> None:
    api.context.requests_per_minute = usual
    ours = ApiKey.application_id == api.ours.application_id
    await api.run(update(ApiKey).where(ours).values(requests_per_minute=own))
    answers = [(await api.ours.get("/plans")).status_code for _ in range(3)]
    assert answers == [200] * allowed + [429] * (3 - allowed)


async def test_without_a_limit_nothing_is_said_of_one(api: Api) -> None:
    answer = await api.ours.get("/plans")
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_a_refused_request_leaves_its_idempotency_key_unused(api: Api) -> None:
    api.context.requests_per_minute = 6
    await api.ours.get("/plans")
    body = {"name": "Acme", "email": "a@acme.mx"}
    assert (await api.ours.post("/organizations", body, key="k")).status_code == 429
    api.context.requests_per_minute = 0
    assert (await api.ours.post("/organizations", body, key="k")).status_code == 201


async def test_webhooks_health_and_strangers_are_not_counted(api: Api) -> None:
    api.context.requests_per_minute = 1
    for _ in range(3):
        assert (await api.anyone.get("/healthz")).status_code == 200
        assert (await api.anyone.get("/readyz")).status_code == 200
        webhook = stripe_webhook(refund_event())
        taken = await api.anyone.post("/api/v1/webhooks/stripe", **webhook)
        assert taken.status_code == 200
        assert (await api.anyone.get(f"{BASE}/plans")).status_code == 401
