"""What an organization may use now, and how much it has used of what is limited."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from activities.usage_book import UsageReport, count_usage
from api.auth import Reader, Writer
from api.clock import now
from api.context import Context
from api.entitlements import Used, read_entitlements
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from models.entitlements import Limit
from models.errors import Conflict, InvalidRequest

router = APIRouter(prefix="/organizations/{organization_id}", tags=["Organizations"])

# Far above any honest report; a counter of 64 bits takes a billion of them.
QUANTITY_MAX = 1_000_000_000
# The clocks of two machines differ.
AHEAD_MAX = timedelta(minutes=5)

_LimitName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_USAGE: dict[str, Any] = {
    "name": "api_calls",
    "limit": 1000,
    "used": 640,
    "left": 360,
    "reached": False,
    "resets_at": "2026-12-22T18:00:00Z",
}
_ID = "0199a1f0-7c00-7000-8000-00000000000"


class ReportUsage(BaseModel):
    """`event_id` names what happened in your books: the same one is counted once. With `enforce` a report
    that would pass the limit is not counted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"metric": "api_calls", "quantity": 5, "event_id": "req-8412", "enforce": True}
            ]
        },
    )

    metric: _LimitName
    quantity: Annotated[int, Field(strict=True, ge=1, le=QUANTITY_MAX)] = 1
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    occurred_at: AwareDatetime | None = None
    enforce: bool = False


class UsageView(BaseModel):
    """One limit in its current period. `resets_at` is null where no period is known yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USAGE]})

    name: str
    limit: int
    used: int
    left: int
    reached: bool
    resets_at: datetime | None


class UsageReportView(BaseModel):
    """`allowed`: the limit is not passed with it. `recorded`: it was counted, now or before."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"allowed": True, "recorded": True, "duplicate": False, "usage": _USAGE}]
        }
    )

    allowed: bool
    recorded: bool
    duplicate: bool
    usage: UsageView


class UsageListView(BaseModel):
    """Every limit of the subscriptions that give access now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [_USAGE]}]})

    data: list[UsageView]


class EntitledSubscriptionView(BaseModel):
    id: UUID
    plan_id: UUID
    plan_name: str
    status: str
    access_until: datetime


class EntitledBenefitView(BaseModel):
    """`purchase_id` is null for one that was given without a sale."""

    id: UUID
    product_id: UUID
    type: str
    description: str
    purchase_id: UUID | None


class FeatureCheckView(BaseModel):
    name: str
    granted: bool


class EntitlementsView(BaseModel):
    """`access_until` is the latest of the subscriptions'. `feature` answers `?feature=`, else it is null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization_id": f"{_ID}1",
                    "has_access": True,
                    "access_until": "2026-12-22T18:00:00Z",
                    "features": ["reports"],
                    "feature": {"name": "reports", "granted": True},
                    "limits": [_USAGE],
                    "benefits": [
                        {
                            "id": f"{_ID}2",
                            "product_id": f"{_ID}3",
                            "type": "license_keys",
                            "description": "A license key",
                            "purchase_id": f"{_ID}4",
                        }
                    ],
                    "subscriptions": [
                        {
                            "id": f"{_ID}5",
                            "plan_id": f"{_ID}6",
                            "plan_name": "Pro",
                            "status": "active",
                            "access_until": "2026-12-22T18:00:00Z",
                        }
                    ],
                }
            ]
        }
    )

    organization_id: UUID
    has_access: bool
    access_until: datetime | None
    features: list[str]
    feature: FeatureCheckView | None
    limits: list[UsageView]
    benefits: list[EntitledBenefitView]
    subscriptions: list[EntitledSubscriptionView]


@router.get(
    "/entitlements",
    response_model=EntitlementsView,
    responses=problems(401, 403, 404, 422),
    summary="Read what an organization may use now",
)
async def read(
    organization_id: UUID,
    context: Context,
    principal: Reader,
    feature: Annotated[str | None, Query(max_length=500, examples=["reports"])] = None,
) -> EntitlementsView:
    """Of all subscriptions that give access now, whatever their status: trials and the grace after a missed
    payment included."""
    async with context.sessions() as session:
        found = await read_entitlements(session, principal, organization_id, now())
    ends = [one.access_until for one in found.subscribed if one.access_until is not None]
    check = FeatureCheckView(name=feature, granted=feature in found.features) if feature else None
    return EntitlementsView(
        organization_id=organization_id,
        has_access=bool(found.subscribed),
        access_until=max(ends, default=None),
        features=found.features,
        feature=check,
        limits=[_usage(one) for one in found.usage.values()],
        benefits=[EntitledBenefitView.model_validate(one) for one in found.benefits],
        subscriptions=[
            EntitledSubscriptionView(
                id=one.subscription_id,
                plan_id=one.plan_id,
                plan_name=one.plan_name,
                status=one.status,
                access_until=one.access_until,
            )
            for one in found.subscribed
            if one.access_until is not None
        ],
    )


@router.get(
    "/usage",
    response_model=UsageListView,
    responses=problems(401, 403, 404),
    summary="Read how much of each limit is used",
)
async def read_usage(organization_id: UUID, context: Context, principal: Reader) -> UsageListView:
    async with context.sessions() as session:
        found = await read_entitlements(session, principal, organization_id, now())
    return UsageListView(data=[_usage(one) for one in found.usage.values()])


@router.post(
    "/usage",
    response_model=UsageReportView,
    responses=problems(
        401, 403, 404, 409, 413, 422,
        codes=["unknown_limit", "usage_event_reused", "no_access", "outside_the_period"],
    ),
    summary="Report usage",
)  # fmt: skip
async def report_usage(
    organization_id: UUID,
    body: ReportUsage,
    context: Context,
    principal: Writer,
    once: RunOnce,
) -> JSONResponse:
    """Counted in the current period of the subscription. What passes the limit is counted all the same,
    with `allowed: false`, unless `enforce` is set."""

    async def prepare(session: AsyncSession, object_id: UUID) -> Answer:
        at = now()
        found = await read_entitlements(session, principal, organization_id, at)
        limit = _limit(found.limits, body, at)
        report = UsageReport(
            application_id=principal.application_id,
            organization_id=organization_id,
            event_id=body.event_id or f"abono:{object_id}",
            metric=body.metric,
            quantity=body.quantity,
            occurred_at=body.occurred_at or at,
        )
        counted = await count_usage(session, report, limit, enforce=body.enforce, at=at)
        known = counted.known
        if known is not None and (known.metric, known.quantity) != (body.metric, body.quantity):
            raise Conflict(
                "This event_id was reported with another metric or quantity.",
                code="usage_event_reused",
            )
        view = UsageReportView(
            allowed=counted.recorded and counted.used <= limit.limit,
            recorded=counted.recorded,
            duplicate=known is not None,
            usage=_usage(Used(limit, counted.used)),
        )
        return Answer(200, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


def _limit(limits: dict[str, Limit], body: ReportUsage, at: datetime) -> Limit:
    if not limits:
        raise Conflict("No subscription gives this organization anything now.", code="no_access")
    limit = limits.get(body.metric)
    if limit is None:
        names = ", ".join(sorted(limits))
        raise InvalidRequest(
            f"Its plans have no such limit. They have: {names}.", code="unknown_limit"
        )
    when = body.occurred_at
    if when is not None and not limit.period_start <= when <= at + AHEAD_MAX:
        raise InvalidRequest(
            f"occurred_at is outside of the current period, which began at "
            f"{limit.period_start.isoformat()}.",
            code="outside_the_period",
        )
    return limit


def _usage(one: Used) -> UsageView:
    return UsageView(
        name=one.limit.name,
        limit=one.limit.limit,
        used=one.used,
        left=one.left,
        reached=one.used >= one.limit.limit,
        resets_at=one.limit.resets_at,
    )
