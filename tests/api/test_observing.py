"""One request, seen from outside: its trace and its log lines, from the API to the provider.

Goal: an operator who has the id of a request finds everything that was done for it, and no line or span
holds what is personal. Method: a subscription is opened through the API, real workers and adapters on the
sandbox; a collector that speaks OTLP takes the spans, and the log is read as it is written.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from abono.correlation import Correlation
from abono.dev.ports import LOCALHOST, spare_port
from abono.logging import configure_logging
from abono.settings import Settings
from abono.simulate.serving import serving
from abono.tracing import EXPORT_SECONDS, TracedApp, make_provider, start_tracing
from abono.wiring import build_providers
from abono.worker import make_replayer, make_workers
from abono.workflow_tracing import tracing_interceptor
from providers.calling import path_template
from providers.registry import ProviderRegistry
from sandbox.app import create_app as create_sandbox
from sandbox.core import SandboxConfig
from tests.api.support import BASE, Api, organization, plan, price
from tests.support.collector import Collector, collecting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
REQUEST_ID = "order-4711-of-the-shop"
# Whatever of it is told is told of a person.
CANARY = "canary8f3a"
CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="session")
def tracer_provider(collector: Collector) -> Iterator[TracerProvider]:
    """A process has one, so the tests have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, collector.url)
        provider = start_tracing("abono-tests")
    yield provider
    provider.shutdown()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logging("INFO", json=True, traced=True)
    structlog.configure(cache_logger_on_first_use=False)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
async def providers() -> AsyncIterator[ProviderRegistry]:
    async with serving(create_sandbox(SandboxConfig())) as url:
        settings = Settings(CONEKTA_API_KEY="key_sandbox", CONEKTA_API_BASE=f"{url}/conekta")
        yield build_providers(settings)


@dataclass
class Life:
    """A subscription that was opened and canceled, and what was told of it."""

    subscription: dict[str, Any]
    spans: list[Span]
    lines: list[dict[str, Any]]
    client: Client
    tenant_id: str

    def of_opening(self) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == CALLERS_TRACE]


@pytest.fixture
async def life(
    api: Api,
    temporal: Client,
    tracer_provider: TracerProvider,
    collector: Collector,
    lines: io.StringIO,
) -> Life:
    who = organization(api.ours, name=f"{CANARY} SA", email=f"{CANARY}@acme.mx")
    what = plan(api.ours)
    await api.add(who, what, price(what))
    api.context.temporal = client = await Client.connect(
        temporal.service_client.config.target_host,
        namespace=temporal.namespace,
        data_converter=pydantic_data_converter,
        interceptors=[Correlation(), tracing_interceptor(tracer_provider)],
    )
    body = {"organization_id": str(who.id), "plan_id": str(what.id), "billing_interval": "monthly"}
    headers = {
        "X-Request-Id": REQUEST_ID,
        "traceparent": TRACEPARENT,
        "tracestate": f"shop={CANARY}",
        "baggage": f"name={CANARY}",
        "Idempotency-Key": CANARY,
        "Authorization": f"Bearer {api.ours.key}",
    }
    # On a busy machine too, the answer tells how it ended.
    api.context.response_wait_seconds = 30.0
    seen = len(collector.spans)
    async with AsyncExitStack() as stack:
        for worker in make_workers(client, api.context.sessions, api.context.providers):
            await stack.enter_async_context(worker)
        transport = httpx.ASGITransport(TracedApp(api.app, tracer_provider))
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://abono.test")
        )
        opened = await http.post(
            f"{BASE}/subscriptions", json=body | {"payment_method_type": "oxxo"}, headers=headers
        )
        assert opened.status_code == 201, opened.text
        path = f"{BASE}/subscriptions/{opened.json()['id']}/cancel?cancel_immediately=true"
        key = {"Authorization": headers["Authorization"]}
        canceled = await http.post(f"{path}&{CANARY}=1", headers=key)
        assert canceled.json()["status"] == "canceled"
    tracer_provider.force_flush()
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    tenant = str(api.ours.application_id)
    return Life(opened.json(), collector.spans[seen:], told, client, tenant)


def names(spans: list[Span]) -> Counter[str]:
    return Counter(span.name for span in spans)


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: pair.value.string_value for pair in span.attributes}


async def test_everything_of_one_request_is_seen(life: Life, collector: Collector) -> None:
    """One test for one life, which takes a second to live."""
    spans = life.of_opening()
    told = names(spans)
    chain = [
        "POST /api/v1/billing/subscriptions",
        "StartUpdateWithStartWorkflow:SubscriptionWorkflow",
        "RunWorkflow:SubscriptionWorkflow",
        "StartActivity:issue_payment",
        "RunActivity:issue_payment",
        "conekta orders.create",
    ]
    assert set(chain) <= set(told), sorted(told)
    assert is_under(spans, "conekta orders.create", "POST /api/v1/billing/subscriptions")
    for span in spans:
        if span.name.startswith(("RunActivity", "conekta")):
            assert attributes(span)["abono.subscription_id"] == life.subscription["id"], span.name
            assert attributes(span)["abono.request_id"] == REQUEST_ID, span.name
    the_command_is_a_trace_of_its_own(life)
    await replaying_tells_no_span(life, collector)
    the_lines_carry_the_ids(life)
    assert CANARY.encode() not in collector.received
    assert CANARY not in json.dumps(life.lines)


def is_under(spans: list[Span], name: str, above: str) -> bool:
    by_id = {span.span_id: span for span in spans}
    found = next((span for span in spans if span.name == name), None)
    while found is not None and found.name != above:
        found = by_id.get(found.parent_span_id)
    return found is not None


def the_command_is_a_trace_of_its_own(life: Life) -> None:
    """The workflow was begun by another request; what it does for this one belongs here."""
    path = "POST /api/v1/billing/subscriptions/{subscription_id}/cancel"
    [root] = [span for span in life.spans if span.name == path]
    assert root.trace_id.hex() != CALLERS_TRACE
    inside = [span for span in life.spans if span.trace_id == root.trace_id]
    assert {"StartWorkflowUpdate:cancel", "HandleUpdate:cancel"} <= set(names(inside))
    assert is_under(inside, "RunActivity:record", path)


async def replaying_tells_no_span(life: Life, collector: Collector) -> None:
    """Each run begins once in the trace, and is not told again when a worker lives it anew."""
    runs = Counter(
        (span.name, attributes(span)["temporalRunID"])
        for span in life.spans
        if span.name.startswith(("RunWorkflow", "CompleteWorkflow"))
    )
    assert runs
    assert set(runs.values()) == {1}
    before = len(collector.spans)
    provider = make_provider("replays")
    replayer = make_replayer([Correlation(), tracing_interceptor(provider)])
    workflow_id = f"subscription/{life.subscription['id']}"
    await replayer.replay_workflow(await history(life.client, workflow_id))
    provider.shutdown()
    assert names(collector.spans[before:]) == Counter()


async def history(client: Client, workflow_id: str) -> WorkflowHistory:
    """Of its first run."""
    described = await client.get_workflow_handle(workflow_id).describe()
    first = described.raw_description.workflow_execution_info.first_run_id
    return await client.get_workflow_handle(workflow_id, run_id=first).fetch_history()


def the_lines_carry_the_ids(life: Life) -> None:
    ours = [line for line in life.lines if line.get("request_id") == REQUEST_ID]
    by_logger = {line["logger"] for line in ours}
    assert by_logger >= {"abono.api", "abono.providers", "temporalio.workflow"}, by_logger
    for line in ours:
        assert line["trace_id"] == CALLERS_TRACE, line
        assert line["tenant_id"] == life.tenant_id, line
        assert line["subscription_id"] == life.subscription["id"], line
    [call] = [line for line in ours if line.get("operation") == "orders.create"]
    assert (call["provider"], call["result"]) == ("conekta", "answered")
    assert (call["activity"], call["level"]) == ("issue_payment", "info")


async def test_a_request_leaves_nothing_to_the_next(api: Api, lines: io.StringIO) -> None:
    await api.ours.get("/plans")
    await api.anyone.get(f"{BASE}/plans")
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert first["tenant_id"] == str(api.ours.application_id)
    assert "tenant_id" not in second
    assert first["request_id"] != second["request_id"]
    assert structlog.contextvars.get_contextvars() == {}


def test_a_collector_that_is_away_costs_only_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    with spare_port() as port:
        monkeypatch.setenv(ENDPOINT, f"http://{LOCALHOST}:{port}")
        provider = make_provider("abono-tests")
        started = time.monotonic()
        for _ in range(100):
            with provider.get_tracer("test").start_as_current_span("x"):
                pass
        assert time.monotonic() - started < 1.0, "nobody waits for the collector"
        provider.shutdown()
        assert time.monotonic() - started < 2 * EXPORT_SECONDS


def test_an_address_is_told_without_its_ids() -> None:
    assert path_template("/v1/customers/cus_Nff8QzQ1/sources") == "/v1/customers/{id}/sources"
    assert path_template("/v1/payment_intents") == "/v1/payment_intents"
    assert path_template(f"/v1/customers/{CANARY}@acme.mx") == "/v1/customers/{id}"
