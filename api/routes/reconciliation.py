"""What reconciliation found: differences between the providers' books and ours."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import or_, select

from api.auth import Administrator, Operator, Scope
from api.context import Context
from api.openapi import problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from models.outcomes import ProviderName
from models.reconcile import Drift, FindingStatus
from models.storage.tables import ReconciliationFinding, ReconciliationRun

router = APIRouter(prefix="/operator/reconciliation", tags=["Operator"])

_RUN: dict[str, Any] = {
    "id": "0199a1f0-7c00-7000-8000-000000000001",
    "provider": "conekta",
    "account": "default",
    "dry_run": False,
    "status": "finished",
    "stopped_by": None,
    "since": "2026-11-22T00:00:00Z",
    "started_at": "2026-11-22T06:00:00Z",
    "finished_at": "2026-11-22T06:00:09Z",
    "objects": 214,
    "repaired": 1,
    "left": 1,
}
_FINDING: dict[str, Any] = {
    "id": "0199a1f0-7c00-7000-8000-000000000002",
    "run_id": _RUN["id"],
    "dry_run": False,
    "provider": "conekta",
    "kind": "money_not_booked",
    "object_id": "ord_2tN1Zk",
    "subscription_id": "0199a1f0-7c00-7000-8000-000000000003",
    "purchase_id": None,
    "theirs": "captured 19900 MXN",
    "ours": "nothing",
    "status": "repaired",
    "webhook_id": "0199a1f0-7c00-7000-8000-000000000004",
    "found_at": "2026-11-22T06:00:02Z",
    "settled_at": "2026-11-22T06:00:04Z",
}


class RunView(BaseModel):
    """A run at one provider. `status`: running, finished, or cut_off (the next run goes on): `stopped_by`
    says why."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    id: UUID
    provider: ProviderName
    account: str
    dry_run: bool
    status: str
    stopped_by: str | None
    since: datetime
    started_at: datetime
    finished_at: datetime | None
    objects: int
    repaired: int
    left: int


class FindingView(BaseModel):
    """One thing that the two books see differently. `webhook_id` is the event that told its owner."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FINDING]})

    id: UUID
    run_id: UUID
    dry_run: bool
    provider: ProviderName
    kind: Drift
    object_id: str
    subscription_id: UUID | None
    purchase_id: UUID | None
    theirs: str
    ours: str
    status: FindingStatus
    webhook_id: UUID | None
    found_at: datetime
    settled_at: datetime | None


@router.get(
    "/runs",
    response_model=Page[RunView],
    responses=problems(401, 403, 422),
    summary="List reconciliation runs",
)
async def list_runs(
    context: Context,
    principal: Administrator,
    provider: ProviderName | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[RunView]:
    """A run is the whole installation's, so this needs the scope `admin`."""
    statement = select(ReconciliationRun)
    if provider is not None:
        statement = statement.where(ReconciliationRun.provider == provider)
    statement = newest_first(statement, ReconciliationRun.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    return page([_run(row) for row in rows], more, rows[-1].id if rows else None)


@router.get(
    "/findings",
    response_model=Page[FindingView],
    responses=problems(401, 403, 422),
    summary="List what reconciliation found",
)
async def list_findings(
    context: Context,
    principal: Operator,
    run_id: UUID | None = None,
    status: Annotated[FindingStatus | None, Query()] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[FindingView]:
    """About your objects; with the scope `admin` also what belongs to nobody here."""
    table = ReconciliationFinding
    mine = table.application_id == principal.application_id
    nobodys = table.application_id.is_(None)
    statement = select(table).where(or_(mine, nobodys) if principal.may(Scope.ADMIN) else mine)
    if run_id is not None:
        statement = statement.where(table.run_id == run_id)
    if status is not None:
        statement = statement.where(table.status == status)
    statement = newest_first(statement, table.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    return page([_finding(row) for row in rows], more, rows[-1].id if rows else None)


def _run(row: ReconciliationRun) -> RunView:
    named = {name: getattr(row, name) for name in RunView.model_fields if name != "left"}
    return RunView(left=row.left_over, **named)


def _finding(row: ReconciliationFinding) -> FindingView:
    named = {name: getattr(row, name) for name in FindingView.model_fields if name != "webhook_id"}
    return FindingView(webhook_id=row.inbox_id, **named)
