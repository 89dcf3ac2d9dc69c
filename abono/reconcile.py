"""`abono reconcile`: a run at each provider, now, and what it found as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from abono.dev.errors import DevError
from abono.settings import Settings
from abono.wiring import build_providers, connect_temporal
from models.commands import TASK_QUEUE
from models.outcomes import ProviderName
from models.reconcile import ReconcileInput, ReconcileReport, reconcile_workflow_id
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import ReconciliationFinding
from workflows.reconcile import ReconcileWorkflow

NO_DRIFT, REPAIRED, LEFT, INCOMPLETE, NOT_DONE = range(5)
HEADINGS = ("PROVIDER", "WHAT", "OBJECT", "THEIRS", "OURS", "NOW")
_AGO = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Asked:
    providers: Sequence[ProviderName]
    since: datetime | None
    dry_run: bool


@dataclass(frozen=True)
class Refusal:
    """Why no run was made at a provider."""

    provider: ProviderName
    reason: str


@dataclass(frozen=True)
class Outcome:
    reports: list[ReconcileReport]
    findings: list[ReconciliationFinding]
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The gravest: what nobody has looked at may be anything."""
        if self.refusals or not all(report.finished for report in self.reports):
            return INCOMPLETE
        if any(report.left for report in self.reports):
            return LEFT
        return REPAIRED if any(report.repaired for report in self.reports) else NO_DRIFT


def since_of(text: str | None) -> datetime | None:
    """`90m`, `12h`, `3d`, or a date or time by ISO 8601 (UTC where it names no zone)."""
    if text is None:
        return None
    if (ago := _AGO.fullmatch(text)) is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise DevError(f"{text} is no time: say 12h, 3d, or 2026-11-22T08:00.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


async def reconcile(settings: Settings, asked: Asked) -> Outcome:
    """Raises DevError where it cannot be done now."""
    configured = build_providers(settings)
    names = [name for name in asked.providers or list(ProviderName) if name in configured.names()]
    await configured.aclose()
    if not names:
        raise DevError("No such provider is configured: there is nobody to ask.")
    client = await connect_temporal(settings, lazy=False)
    if not await _has_worker(client):
        raise DevError("No worker takes this up: start `abono worker`, then ask again.")
    answers = await asyncio.gather(*(_run(client, name, asked) for name in names))
    reports = [answer for answer in answers if isinstance(answer, ReconcileReport)]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    engine = make_engine(settings.sqlalchemy_url, pool_size=1)
    try:
        async with make_sessions(engine)() as session:
            table = ReconciliationFinding
            runs = [UUID(report.run_id) for report in reports]
            statement = (
                select(table).where(table.run_id.in_(runs)).order_by(table.found_at, table.id)
            )
            return Outcome(reports, list(await session.scalars(statement)), refusals)
    finally:
        await engine.dispose()


async def _has_worker(client: Client) -> bool:
    """Whether anybody polls: Temporal remembers for five minutes who did. True where it cannot tell."""
    question = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        return bool((await client.workflow_service.describe_task_queue(question)).pollers)
    except RPCError as error:
        if error.status is not RPCStatusCode.UNIMPLEMENTED:
            raise
        return True


async def _run(client: Client, provider: ProviderName, asked: Asked) -> ReconcileReport | Refusal:
    """One that cannot be asked keeps nobody from asking the others."""
    request = ReconcileInput(provider=provider, since=asked.since, dry_run=asked.dry_run)
    try:
        handle: WorkflowHandle[ReconcileWorkflow, ReconcileReport] = await client.start_workflow(
            ReconcileWorkflow.run,
            request,
            id=reconcile_workflow_id(provider),
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        return await handle.result()
    except WorkflowAlreadyStartedError:
        return Refusal(provider, "a run is under way: wait for it to end")
    except WorkflowFailureError as failure:
        return Refusal(provider, f"the run failed: {failure.cause}")


def as_table(outcome: Outcome) -> str:
    rows = [HEADINGS, *(_cells(finding) for finding in outcome.findings)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    refused = [f"{one.provider}: NOT COMPARED, {one.reason}." for one in outcome.refusals]
    summaries = [*map(_summary, outcome.reports), *refused]
    return "\n".join([*(lines if outcome.findings else []), *summaries])


def as_json(outcome: Outcome) -> str:
    findings = [
        {**dict(zip(("provider", "kind", "object_id", "theirs", "ours", "status"), _cells(one), strict=True)),
         "id": str(one.id), "run_id": str(one.run_id),
         "subscription_id": str(one.subscription_id) if one.subscription_id else None,
         "purchase_id": str(one.purchase_id) if one.purchase_id else None}
        for one in outcome.findings
    ]  # fmt: skip
    reports = [report.model_dump(mode="json") for report in outcome.reports]
    refused = [{"provider": one.provider, "reason": one.reason} for one in outcome.refusals]
    said = {"runs": reports, "findings": findings, "not_compared": refused}
    return json.dumps(said, indent=2)


def _cells(finding: ReconciliationFinding) -> tuple[str, ...]:
    return (
        finding.provider,
        finding.kind,
        finding.object_id,
        finding.theirs,
        finding.ours,
        finding.status,
    )


def _summary(report: ReconcileReport) -> str:
    drift = f"{report.repaired} repaired, {report.left} left"
    if not report.repaired and not report.left:
        drift = "no drift"
    earlier = (
        f"; {report.reported_before} reported earlier and still so"
        if report.reported_before
        else ""
    )
    stopped = ""
    if not report.finished:
        stopped = f"; NOT COMPARED TO THE END ({report.stopped_by}), the next run goes on there"
    return (
        f"{report.provider}: {report.objects} objects since {report.since:%Y-%m-%d %H:%M} UTC, "
        f"{drift}{earlier}{stopped}."
    )
