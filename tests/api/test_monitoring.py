"""The rules, the dashboard and the runbooks, held to what the running processes tell.

Goal: no alert that can never fire because a figure has another name. Method: the queries are parsed
(`promql-parser`, the grammar of Prometheus) and each figure and label in them is looked up in scrapes of
an API and of workers that have done a piece of work.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import promql_parser
import pytest
import typer.main
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.cli import app as command_line
from abono.dev.ports import LOCALHOST, spare_port
from abono.worker import make_workers
from abono.worker_metrics import call_metrics, metrics_runtime
from api.metrics import Metrics
from models.breaker import FAILURES_TO_OPEN
from models.commands import TASK_QUEUE
from models.storage.engine import Sessions
from providers.registry import ProviderRegistry
from tests.api.support import Api, open_voucher
from tests.api.test_provider_rates import CALLS, Burst
from tests.api.test_providers import health_row
from tests.api.test_reconciliation import run as reconciliation_run
from tests.api.test_routing import fallback

ROOT = Path(__file__).parents[2]
ALERTS = YAML(typ="safe").load(ROOT / "deploy/alerts.yml")
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
SECTIONS = [
    "Symptom",
    "What it means for customers and money",
    "How to look",
    "What to do",
    "How to know that it is over",
]
# So that pytest finds the fixture here under the name that the import gives it.
__all__ = ["reconciliation_run"]
# name of a series -> label -> values seen
Exposed = dict[str, dict[str, set[str]]]


def queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def selectors(
    expression: Any, grouped: frozenset[str] = frozenset()
) -> Iterator[tuple[promql_parser.VectorSelector, frozenset[str]]]:
    """Each selector with the labels that the aggregations around it need."""
    match expression:
        case promql_parser.VectorSelector():
            yield expression, grouped
        case promql_parser.MatrixSelector():
            yield expression.vector_selector, grouped
        case promql_parser.AggregateExpr():
            modifier = expression.modifier
            yield from selectors(
                expression.expr, grouped | set(modifier.labels if modifier else ())
            )
        case promql_parser.BinaryExpr():
            yield from selectors(expression.lhs, grouped)
            yield from selectors(expression.rhs, grouped)
        case promql_parser.Call():
            for argument in expression.args:
                yield from selectors(argument, grouped)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from selectors(expression.expr, grouped)
        case promql_parser.NumberLiteral():
            return
        case other:
            raise AssertionError(f"teach this test what {type(other).__name__} is")


def read(text: str, exposed: Exposed) -> None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = exposed[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)


def problems_of(query: str, exposed: Exposed) -> list[str]:
    """What the processes do not tell of what the query asks for."""
    found: list[str] = []
    for selector, grouped in selectors(promql_parser.parse(query)):
        if selector.name not in exposed:
            found.append(f"nobody tells {selector.name}")
            continue
        told = exposed[selector.name]
        matchers = selector.matchers.matchers
        lacking = (grouped | {matcher.name for matcher in matchers}) - set(told)
        found += [f"{selector.name} has no label {label}" for label in sorted(lacking)]
        for matcher in matchers:
            values = told.get(matcher.name, set())
            is_choice = matcher.op == promql_parser.MatchOp.Re
            wanted = matcher.value.split("|") if is_choice else [matcher.value]
            found += [
                f"{selector.name}: {matcher.name} is never {value}"
                for value in wanted
                if value not in values
            ]
    return found


@pytest.fixture
async def exposed(
    api: Api, temporal: Client, sessions: Sessions, reconciliation_run: UUID
) -> Exposed:
    """What an API and its workers tell after some work."""
    await open_voucher(api)
    await api.add(
        fallback(api.ours),
        health_row(FAILURES_TO_OPEN, datetime.now(UTC)),
    )
    api.context.metrics = Metrics()
    for result in ("parked", "addressed"):
        api.context.metrics.dispatched.labels(result)
    api.context.metrics.signals.labels("failed")
    api.context.metrics.dispatcher_errors.labels("temporal")
    await api.anyone.get("/healthz")
    found: Exposed = defaultdict(lambda: defaultdict(set))
    read((await api.anyone.get("/metrics")).text, found)
    with spare_port() as port:
        runtime = metrics_runtime(LOCALHOST, port)
        await burst(runtime, temporal, sessions)
        async with httpx.AsyncClient() as http:
            read((await http.get(f"http://{LOCALHOST}:{port}/metrics")).text, found)
    return found


async def burst(runtime: Runtime, temporal: Client, sessions: Sessions) -> None:
    """Thirty calls to a provider that is not configured, on workers whose figures are told."""
    client = await Client.connect(
        temporal.service_client.config.target_host,
        namespace=temporal.namespace,
        data_converter=pydantic_data_converter,
        runtime=runtime,
    )
    queue = f"burst-{uuid4()}"
    async with AsyncExitStack() as stack:
        workers = make_workers(
            client, sessions, ProviderRegistry({}), interceptors=call_metrics(runtime)
        )
        for worker in workers:
            await stack.enter_async_context(worker)
        driver = Worker(
            client,
            task_queue=queue,
            workflows=[Burst],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=0,  # So that there is an eviction to tell of.
        )
        await stack.enter_async_context(driver)
        await client.execute_workflow(Burst.run, id=queue, task_queue=queue)


async def test_everything_that_is_asked_for_is_told(exposed: Exposed) -> None:
    wrong = {title: problems_of(query, exposed) for title, query in queries()}
    assert {title: found for title, found in wrong.items() if found} == {}
    assert TASK_QUEUE in exposed["temporal_num_pollers"]["task_queue"]
    assert problems_of("max by (tenant) (abono_subscriptions)", exposed)
    assert problems_of('abono_subscriptions{status="late"}', exposed)
    assert problems_of("rate(abono_subscription[5m])", exposed)


async def test_the_pages_call_the_figures_of_the_sdk_by_their_names(exposed: Exposed) -> None:
    for page in (ROOT / "docs/capacity.md", ROOT / "docs/operating.md"):
        names = re.findall(r"`(temporal_[a-z_]+)[`{]", page.read_text())
        assert names
        for name in names:
            series = {name, f"{name}_count"}  # A histogram is told in parts.
            assert series & exposed.keys(), f"{page.name}: nobody tells {name}"


async def test_calls_are_counted_by_provider_and_outcome(
    temporal: Client, sessions: Sessions
) -> None:
    with spare_port() as port:
        runtime = metrics_runtime(LOCALHOST, port)
        await burst(runtime, temporal, sessions)
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"http://{LOCALHOST}:{port}/metrics")).text
    counts = {
        (sample.labels["provider"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "abono_provider_calls_total"
    }
    assert {key: value for key, value in counts.items() if value} == {("polar", "failed"): CALLS}
    assert counts["stripe", "succeeded"] == 0, "a series does not begin with its first event"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_has_its_runbook(rule: dict[str, Any]) -> None:
    text = (ROOT / rule["annotations"]["runbook_url"]).read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    index = (ROOT / "docs/runbooks/README.md").read_text()
    assert f"`{rule['alert']}`" in index
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_runbook_belongs_to_a_rule() -> None:
    pages = {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md"}
    assert pages == {Path(rule["annotations"]["runbook_url"]).name for rule in RULES}


def test_every_command_of_a_runbook_exists() -> None:
    """And takes the options that the page gives it."""
    commands = typer.main.get_command(command_line)
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        for line in re.findall(r"`abono ([^`]+)`", page.read_text()):
            command: Any = commands
            words = line.split()
            while hasattr(command, "commands"):
                assert " ".join(words[:1]) in command.commands, f"{page.name}: abono {line}"
                command = command.commands[words.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            given = {word.split("=")[0] for word in words if word.startswith("--")}
            assert given <= options, f"{page.name}: abono {line}"


def test_every_address_of_a_runbook_is_a_route(api: Api) -> None:
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in api.app.openapi()["paths"]}
    for page in (ROOT / "docs/runbooks").glob("*.md"):
        for path in re.findall(r"`(?:GET|POST) (/[^`?\s]+)", page.read_text()):
            assert re.sub(r"\{\w+\}", "{}", path) in paths, f"{page.name}: {path}"
