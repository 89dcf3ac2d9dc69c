"""`abono reconcile`: a run at each provider, now, and what it found as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from abono.dev.errors import DevError
from abono.settings import Settings
from abono.task_queues import needed, never_asked
from abono.wiring import build_providers, connect_temporal
from abono.worker_tuning import WORKFLOWS_QUEUE
from models.commands import TASK_QUEUE
from models.outcomes import ProviderName
from models.reconcile import ReconcileInput, ReconcileReport, reconcile_workflow_id
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import ReconciliationFinding
from workflows.reconcile import ReconcileWorkflow

NO_DRIFT, REPAIRED, LEFT, INCOMPLETE, NOT_DONE = range(5)
HEADINGS = ("PROVIDER", "WHAT", "OBJECT", "THEIRS", "OURS", "NOW")
NO_WORKER = "no worker takes this up: start `abono worker`, then ask again"
# A worker that is there takes up a run within a second, on a busy machine within a few.
LOOK_EVERY_SECONDS = 15.0
_EVENTS_OF_A_START = 2
_AGO = re.compile(r"(\d{1,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
Run: TypeAlias = WorkflowHandle[ReconcileWorkflow, ReconcileReport]


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


async def reconcile(
    settings: Settings,
    asked: Asked,
    say: Callable[[str], None] = lambda _: None,
    look_every_seconds: float = LOOK_EVERY_SECONDS,
) -> Outcome:
    """`say` hears what a long run waits for. Raises DevError where it cannot be done now."""
    configured = build_providers(settings)
    names = [name for name in asked.providers or list(ProviderName) if name in configured.names()]
    await configured.aclose()
    if not names:
        raise DevError("No such provider is configured: there is nobody to ask.")
    client = await connect_temporal(settings, lazy=False)
    missing = await never_asked(client, needed(names))
    if WORKFLOWS_QUEUE in missing:
        raise DevError(f"{NO_WORKER.capitalize()}.")
    unserved = [Refusal(name, _without(name)) for name in names if name in missing]
    asking = [
        _run(client, name, asked, say, look_every_seconds) for name in names if name not in missing
    ]
    answers = [*await asyncio.gather(*asking), *unserved]
    reports = [answer for answer in answers if isinstance(answer, ReconcileReport)]
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    if all(isinstance(one, Refusal) and one.reason == NO_WORKER for one in answers):
        raise DevError(f"{NO_WORKER.capitalize()}.")
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


async def _run(
    client: Client,
    provider: ProviderName,
    asked: Asked,
    say: Callable[[str], None],
    look_every_seconds: float,
) -> ReconcileReport | Refusal:
    """One that cannot be asked keeps nobody from asking the others."""
    request = ReconcileInput(provider=provider, since=asked.since, dry_run=asked.dry_run)
    try:
        handle: Run = await client.start_workflow(
            ReconcileWorkflow.run,
            request,
            id=reconcile_workflow_id(provider),
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        return await _await(handle, provider, say, look_every_seconds)
    except WorkflowAlreadyStartedError:
        return Refusal(provider, "a run is under way: wait for it to end")
    except WorkflowFailureError as failure:
        return Refusal(provider, f"the run failed: {failure.cause}")


async def _await(
    handle: Run, provider: ProviderName, say: Callable[[str], None], look_every_seconds: float
) -> ReconcileReport | Refusal:
    """To its end, with a line whenever it waits for something else than it did at the last look."""
    ending, said = asyncio.ensure_future(handle.result()), ""
    try:
        while not (await asyncio.wait({ending}, timeout=look_every_seconds))[0]:
            description = (await handle.describe()).raw_description
            if description.workflow_execution_info.history_length <= _EVENTS_OF_A_START:
                await handle.terminate("no worker took it up: `abono reconcile` has given up")
                return Refusal(provider, NO_WORKER)
            line = _waits_for(provider, description)
            if line and line != said:
                say(line)
                said = line
        return await ending
    finally:
        ending.cancel()


def _waits_for(provider: ProviderName, description: DescribeWorkflowExecutionResponse) -> str:
    """What a person would want to know by now; nothing while it goes on as it should."""
    for pending in description.pending_activities:
        if pending.HasField("last_failure"):
            why, tries = (
                pending.last_failure.message,
                f"{pending.attempt} of {pending.maximum_attempts}",
            )
            return f"{provider} has not answered ({why}): waiting for try {tries}."
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            return f"{provider}: waiting for a worker that calls it: is `abono worker` running?"
    return ""


def _without(provider: ProviderName) -> str:
    return f"no worker takes its calls: start `abono worker --queues {provider}`, then ask again"


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
