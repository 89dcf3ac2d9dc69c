"""No secret that comes in, and none that we hold, is in a log line, an answer, a metric or a row."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.keys import create_key
from abono.logging import configure_logging, redact_text
from models.storage.tables import Base, new_id
from tests.api.support import BASE, PEPPER, STRIPE_SECRET, Api, refund_event, stripe_webhook

CARD = "4242424242424242"
# As our own key, a provider's secret key, a webhook's secret, a browser's token, a card.
SECRETS = (
    "abk_k0nyhR0gFqvXkq3Tn2bJw1mZp8sUeYcA",
    "sk_live_51HxyzABCDEF",
    "whsec_c2VjcmV0LW9mLW91cnM",
    "polar_oat_AbCdEf0123456789",
    "pi_3Nabc_secret_XyZ",
    CARD,
)
SEPARATED = (
    "4242-4242-4242-4242",
    "4242 4242 4242 4242",
    "4242.4242.4242.4242",
    "4242_4242_4242_4242",
)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the API and the worker would write to stderr, at the most talkative level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("DEBUG", json=True)
    # Loggers of modules would keep this test's stderr for the tests that follow.
    structlog.configure(cache_logger_on_first_use=False)
    logging.getLogger("hpack").setLevel(logging.INFO)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def assert_silent(told: str, *secrets: str) -> None:
    for secret in secrets or SECRETS:
        assert secret not in told


@pytest.mark.parametrize("secret", [*SECRETS, *SEPARATED])
async def test_what_a_caller_sends_anywhere_is_nowhere_to_be_seen(
    api: Api, lines: io.StringIO, secret: str
) -> None:
    http, body = api.ours.http, {"name": "Acme", "email": "a@acme.mx"}
    sent = {"Authorization": f"Bearer {secret}"}
    answers: list[httpx.Response] = [
        await http.post(f"{BASE}/organizations", json={**body, "email": secret}),
        await http.post(f"{BASE}/organizations", json={**body, secret: secret}),
        await http.post(f"{BASE}/organizations", content=f'{{"name": "{secret}"'),
        await http.get(f"{BASE}/plans/{secret}"),
        await http.get(f"{BASE}/organizations", params={"cursor": secret, secret: "1"}),
        await http.get(f"/{secret}"),
        await http.get(f"{BASE}/plans", headers={"X-Request-Id": secret, "User-Agent": secret}),
        await api.anyone.get(f"{BASE}/plans", headers=sent),
        await api.anyone.post(f"{BASE}/plans", headers=sent, json={"name": secret}),
        await api.anyone.post("/api/v1/webhooks/stripe", content=secret),
        await api.anyone.post(
            "/api/v1/webhooks/stripe", json={}, headers={"Stripe-Signature": secret}
        ),
        await api.anyone.get("/metrics"),
    ]
    assert "request" in lines.getvalue()
    told = lines.getvalue() + "".join(
        answer.text + str({n: v for n, v in answer.headers.items() if n != "x-request-id"})
        for answer in answers
    )
    assert_silent(told, secret)
    if secret == CARD or secret in SEPARATED:
        assert secret not in answers[6].headers["x-request-id"]


async def test_a_mistake_of_ours_tells_no_secret(api: Api, lines: io.StringIO) -> None:
    @api.app.get("/leaks", include_in_schema=False)
    async def leak() -> None:
        raise RuntimeError(" ".join(SECRETS))

    answer = await api.anyone.get("/leaks")
    assert answer.status_code == 500
    assert "RuntimeError" in lines.getvalue()
    assert_silent(lines.getvalue() + answer.text)


async def test_what_we_hold_is_not_told(api: Api, lines: io.StringIO, database_url: str) -> None:
    key = await create_key(database_url, application_name="Ours", scopes=["*"], pepper=PEPPER)
    headers = {"Authorization": f"Bearer {key}"}
    assert (await api.anyone.get(f"{BASE}/plans", headers=headers)).status_code == 200
    signed = stripe_webhook(refund_event())
    await api.anyone.post("/api/v1/webhooks/stripe", **signed)
    structlog.get_logger("abono.api").warning("look", settings={"api_key": key}, headers=headers)
    logging.getLogger("httpx").warning("sent %s to %s", headers, f"https://x:{key}@host/")
    assert_silent(lines.getvalue(), key, PEPPER, STRIPE_SECRET)
    assert_silent(lines.getvalue(), signed["headers"]["Stripe-Signature"])


async def test_a_key_is_in_no_row(api: Api, database_url: str) -> None:
    key = await create_key(database_url, application_name="Ours", scopes=["*"], pepper=PEPPER)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    made = await api.anyone.post(
        f"{BASE}/organizations", json={"name": "A", "email": "a@acme.mx"}, headers=headers
    )
    assert made.status_code == 201
    assert key not in await rows_of(api)
    assert key[:12] in await rows_of(api)


async def rows_of(api: Api) -> str:
    """Everything that is stored, as text."""
    async with api.context.sessions() as session:
        tables = [table.name for table in Base.metadata.sorted_tables]
        found = [
            await session.execute(text(f'SELECT row_to_json(t)::text FROM "{name}" t'))  # noqa: S608
            for name in tables
        ]
        return "\n".join(str(row) for one in found for row in one.all())


@activity.defn
async def leaking_activity() -> None:
    raise RuntimeError(" ".join(SECRETS))


@workflow.defn
class LeakingWorkflow:
    @workflow.run
    async def run(self) -> None:
        from datetime import timedelta

        workflow.logger.warning("about to leak %s", " ".join(SECRETS))
        await workflow.execute_activity(
            leaking_activity,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


async def test_the_worker_tells_no_secret(temporal: Client, lines: io.StringIO) -> None:
    queue = f"redaction-{new_id()}"
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[LeakingWorkflow],
        activities=[leaking_activity],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        with pytest.raises(WorkflowFailureError):
            await temporal.execute_workflow(LeakingWorkflow.run, id=queue, task_queue=queue)
    told: list[dict[str, Any]] = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert any("about to leak" in line["event"] for line in told)
    assert any("RuntimeError" in line.get("exception", "") for line in told)
    assert_silent(lines.getvalue())


@pytest.mark.parametrize("card", SEPARATED)
def test_a_card_is_known_by_its_digits(card: str) -> None:
    assert card not in redact_text(f"paid with {card} today")
