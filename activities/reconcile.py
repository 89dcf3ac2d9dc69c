"""Reconciliation: the providers' books against ours, page by page; repairs by telling the owner.

Nothing is put right here, except prices (`activities.reconcile_plans`). What the two sides see
differently becomes a finding; where the workflow that owns it can mend it, an event goes into the inbox,
as if the lost webhook had come, and the dispatcher does the rest. The cursor is kept with each page, in
one transaction with its findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import reconcile_runs
from activities.provider_calls import heartbeat, retryable, server_time
from activities.reconcile_disputes import Side
from activities.reconcile_ours import our_sides
from activities.reconcile_plans import PriceCheck
from activities.reconcile_reading import Page, parts, read_part
from activities.reconcile_signatures import (
    BeginRun,
    EndRun,
    ReconcileCalls,
    ReconcileRecords,
    RunStep,
)
from models.ids import derived_id
from models.outcomes import DEFAULT_ACCOUNT, ProviderName
from models.reconcile import (
    OUR_PRICES,
    REPAIRABLE,
    Difference,
    Drift,
    FindingStatus,
    Listed,
    ReconcileReport,
    compare,
)
from models.redaction import hide_event
from models.storage.engine import Sessions
from models.storage.tables import (
    ReconciliationFinding,
    ReconciliationRun,
    WebhookEvent,
)
from providers.capabilities import Capability
from providers.failures import ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

# Findings of earlier runs that are looked at again. More than that is no drift but a broken account.
OPEN_FINDINGS_MAX = 1000
INBOX_CHANNEL = "abono_inbox"  # On which the dispatchers hear that something is due.
Findings = Select[Any]
_OPEN = (FindingStatus.SIGNALLED, FindingStatus.LEFT)


class ReconcileActivities(ReconcileCalls, ReconcileRecords):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers
        self._prices = PriceCheck(sessions)

    @activity.defn(name="begin_reconcile")
    async def begin_reconcile(self, beginning: BeginRun) -> None:
        request = beginning.request
        provider = self._provider(request.provider)
        async with self._sessions.begin() as session:
            if await session.get(ReconciliationRun, beginning.run_id) is not None:
                return
            await reconcile_runs.begin(session, beginning, provider.account)
            if not request.dry_run:
                earlier = _open_findings(request.provider, provider.account)
                await self._look_again(session, beginning.run_id, earlier)

    @activity.defn(name="reconcile_step")
    async def reconcile_step(self, step: RunStep) -> bool:
        provider = self._provider(step.provider)
        async with self._sessions() as session:
            run = await session.get_one(ReconciliationRun, step.run_id)
        todo = parts(provider)
        number, cursor = reconcile_runs.place(run.cursor, todo)
        if number >= len(todo):
            return True
        try:
            async with heartbeat():
                page = await self._page(provider, run, todo[number], cursor)
        except ProviderFailure as failure:
            raise retryable(failure) from None
        moved = reconcile_runs.place_after(number, page.next_cursor, todo)
        async with self._sessions.begin() as session:
            if await reconcile_runs.turn(session, run, moved, len(page.items)):
                await _compare_page(session, run, page, provider)
        return reconcile_runs.place(moved, todo)[0] >= len(todo)

    async def _page(
        self, provider: PaymentProvider, run: ReconciliationRun, part: str, cursor: str | None
    ) -> Page:
        if part == OUR_PRICES:
            return Page([], await self._prices.step(provider, run, cursor, server_time()))
        return await read_part(self._sessions, provider, run, part, cursor)

    @activity.defn(name="settle_reconcile")
    async def settle_reconcile(self, run_id: UUID) -> int:
        async with self._sessions.begin() as session:
            statement = select(ReconciliationFinding).where(
                ReconciliationFinding.run_id == run_id,
                ReconciliationFinding.status.in_(_OPEN),
            )
            return await self._look_again(session, run_id, statement)

    @activity.defn(name="end_reconcile")
    async def end_reconcile(self, ending: EndRun) -> ReconcileReport:
        """What was told and is still not written down is left for a person from here on."""
        async with self._sessions.begin() as session:
            run = await session.get_one(ReconciliationRun, ending.run_id, with_for_update=True)
            finding = ReconciliationFinding
            await session.execute(
                update(finding)
                .where(finding.run_id == run.id, finding.status == FindingStatus.SIGNALLED)
                .values(status=FindingStatus.LEFT)
            )
            counted = select(finding.status, func.count()).where(finding.run_id == run.id)
            found: dict[str, int] = {}
            for status, count in await session.execute(counted.group_by(finding.status)):
                found[status] = count
            run.repaired = found.get(FindingStatus.REPAIRED, 0)
            run.left_over = found.get(FindingStatus.LEFT, 0) + found.get(FindingStatus.FOUND, 0)
            run.status = reconcile_runs.FINISHED if ending.complete else reconcile_runs.CUT_OFF
            run.finished_at, run.stopped_by = ending.at, ending.stopped_by
            earlier = select(func.count()).select_from(
                _open_findings(run.provider, run.account).where(finding.run_id != run.id).subquery()
            )
            return ReconcileReport(
                run_id=str(run.id),
                provider=ProviderName(run.provider),
                since=run.since,
                objects=run.objects,
                repaired=run.repaired,
                left=run.left_over,
                reported_before=int(await session.scalar(earlier) or 0),
                finished=ending.complete,
                stopped_by=ending.stopped_by,
            )

    async def _look_again(self, session: AsyncSession, run_id: UUID, statement: Findings) -> int:
        """Compare what was found with our rows as they are now. How many are told and not done."""
        rows: list[ReconciliationFinding] = list(await session.scalars(statement))
        if not rows:
            return 0
        listed = [Listed.model_validate(row.listed) for row in rows]
        provider = self._provider(listed[0].event.provider)
        sides = await our_sides(session, listed)
        for row, one, side in zip(rows, listed, sides, strict=True):
            if _difference(provider, one, side) is not None:
                continue
            if row.run_id == run_id and row.kind not in REPAIRABLE:
                # Nobody was told: our own row was only a step behind the provider's list.
                await session.delete(row)
            else:
                row.status, row.settled_at = FindingStatus.REPAIRED, server_time()
        return sum(row.status == FindingStatus.SIGNALLED for row in rows)

    def _provider(self, name: ProviderName) -> PaymentProvider:
        provider = self._providers.get(name)
        if provider is None:
            raise ApplicationError(
                f"{name} is not configured", type="not_configured", non_retryable=True
            )
        return provider


def _open_findings(provider: str, account: str) -> Findings:
    finding = ReconciliationFinding
    return (
        select(finding)
        .where(
            finding.provider == provider,
            finding.account == account,
            finding.status.in_(_OPEN),
            ~finding.dry_run,
        )
        .order_by(finding.found_at)
        .limit(OPEN_FINDINGS_MAX)
    )


def _difference(provider: PaymentProvider, listed: Listed, side: Side) -> Difference | None:
    at_period_end = Capability.CANCEL_AT_PERIOD_END in provider.capabilities.supports
    return compare(listed, side.ours, cancels_at_period_end=at_period_end)


async def _compare_page(
    session: AsyncSession, run: ReconciliationRun, page: Page, provider: PaymentProvider
) -> None:
    sides = await our_sides(session, page.items)
    agreeing: list[str] = []
    told = False
    for listed, side in zip(page.items, sides, strict=True):
        difference = _difference(provider, listed, side)
        if difference is None:
            agreeing.append(listed.object_id)
        else:
            told |= await _report(session, run, listed, side, difference)
    if not run.dry_run:
        await _close(session, run, agreeing)
    if told:
        await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": INBOX_CHANNEL})


async def _close(session: AsyncSession, run: ReconciliationRun, object_ids: Sequence[str]) -> None:
    """Somebody put it right at the provider."""
    finding = ReconciliationFinding
    await session.execute(
        update(finding)
        .where(
            finding.provider == run.provider,
            finding.account == run.account,
            finding.object_id.in_(object_ids),
            finding.status == FindingStatus.LEFT,
            ~finding.dry_run,
            finding.kind.in_((Drift.STILL_PAYABLE, Drift.STILL_BILLED, Drift.UNKNOWN_THERE)),
        )
        .values(status=FindingStatus.REPAIRED, settled_at=server_time())
    )


async def _report(
    session: AsyncSession,
    run: ReconciliationRun,
    listed: Listed,
    side: Side,
    difference: Difference,
) -> bool:
    """Write the finding down, and tell its owner; True when somebody was told."""
    safe = listed.model_copy(update={"event": hide_event(listed.event)})
    id_ = derived_id(run.id, f"{difference.drift}:{listed.object_id}", run.started_at)
    tells = difference.drift in REPAIRABLE and not run.dry_run
    known = None if run.dry_run else await _known(session, run, listed, difference)
    if known is not None and known.status in _OPEN:
        return False
    if difference.drift is Drift.UNKNOWN_MONEY and await _is_found(session, run, listed):
        return False  # Under the name of our own row, which says whose it is.
    inbox_id = await _tell_owner(session, run, safe, difference) if tells else None
    status = FindingStatus.SIGNALLED if tells else FindingStatus.LEFT
    values = {
        "run_id": run.id,
        "ours": difference.ours,
        "status": FindingStatus.FOUND if run.dry_run else status,
        "listed": safe.model_dump(mode="json"),
        "inbox_id": inbox_id,
        "found_at": server_time(),
        "settled_at": None,
    }
    finding = ReconciliationFinding
    if known is not None:
        await session.execute(update(finding).where(finding.id == known.id).values(values))
        return tells
    await session.execute(
        insert(finding)
        .values(
            id=id_,
            dry_run=run.dry_run,
            provider=run.provider,
            account=run.account,
            kind=difference.drift,
            object_id=listed.object_id,
            theirs=difference.theirs,
            **side.owner._asdict(),
            **values,
        )
        .on_conflict_do_nothing()
    )
    return tells


async def _known(
    session: AsyncSession, run: ReconciliationRun, listed: Listed, difference: Difference
) -> ReconciliationFinding | None:
    """The same drift, found before: by an earlier run, or by another part of this one."""
    finding = ReconciliationFinding
    return await session.scalar(
        select(finding).where(
            finding.provider == run.provider,
            finding.account == run.account,
            finding.kind == difference.drift,
            finding.object_id == listed.object_id,
            finding.theirs == difference.theirs,
            ~finding.dry_run,
        )
    )


async def _is_found(session: AsyncSession, run: ReconciliationRun, listed: Listed) -> bool:
    finding = ReconciliationFinding
    mine = finding.run_id == run.id, finding.object_id == listed.object_id
    return await session.scalar(select(finding.id).where(*mine).limit(1)) is not None


MONEY_BACK = frozenset({Drift.REFUND_NOT_BOOKED, Drift.REFUND_UNKNOWN_THERE})


async def _tell_owner(
    session: AsyncSession, run: ReconciliationRun, listed: Listed, difference: Difference
) -> UUID:
    """Into the inbox, as the webhook that did not come."""
    name = f"reconcile:{run.id}:{difference.drift}:{listed.object_id}"
    event = listed.event.model_copy(
        update={
            "provider_event_id": name,
            # Another way leads there: the totals are read, and the ledger of refunds follows.
            "money_back": difference.drift in MONEY_BACK,
        }
    )
    id_ = derived_id(run.id, name, run.started_at)
    await session.execute(
        insert(WebhookEvent)
        .values(
            id=id_,
            provider=run.provider,
            account=run.account or DEFAULT_ACCOUNT,
            provider_event_id=name,
            event_type=event.event_type,
            kind=event.kind,
            payload={"reconciliation_run": str(run.id), "object_id": listed.object_id},
            event=event.model_dump(mode="json"),
            received_at=func.now(),
            attempts=0,
            next_dispatch_at=func.now(),
        )
        .on_conflict_do_nothing()
    )
    return id_
