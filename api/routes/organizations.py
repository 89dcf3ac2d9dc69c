"""The customers that are billed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Writer
from api.clock import now
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.lists import Created, PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.responses import OrganizationView
from api.schemas import CreateOrganization, UpdateOrganization
from api.tenancy import get_scoped
from models.errors import Conflict
from models.storage.tables import Organization

router = APIRouter(prefix="/organizations", tags=["Organizations"])

# Conekta, SAT and most of the country's companies keep this clock.
_ZONE_BY_COUNTRY = {"MX": "America/Mexico_City"}


@router.post(
    "",
    status_code=201,
    response_model=OrganizationView,
    responses=problems(401, 403, 409, 413, 422, 503),
    summary="Create an organization",
)
async def create_organization(
    body: CreateOrganization, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """An `external_id` of your own is unique: the same one again is a conflict."""

    async def prepare(session: AsyncSession, organization_id: UUID) -> Answer:
        row = await _insert(session, body, principal, organization_id)
        return Answer(201, OrganizationView.model_validate(row).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


async def _insert(
    session: AsyncSession, body: CreateOrganization, principal: Principal, organization_id: UUID
) -> Organization:
    moment = now()
    values = body.model_dump(mode="json")
    country = (values["billing_address"] or {}).get("country") or body.country
    values |= {
        "id": organization_id,
        "application_id": principal.application_id,
        "country": country,
        "time_zone": body.time_zone or _ZONE_BY_COUNTRY.get(country or "", "UTC"),
        "created_at": moment,
        "updated_at": moment,
    }
    statement = insert(Organization).values(values).on_conflict_do_nothing()
    row: Organization | None = await session.scalar(statement.returning(Organization))
    if row is None:
        raise Conflict("There is an organization with this external_id already.")
    return row


@router.get(
    "",
    response_model=Page[OrganizationView],
    responses=problems(401, 403, 422),
    summary="List organizations",
)
async def list_organizations(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    created: Created,
    external_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[OrganizationView]:
    """Newest first."""
    filters = {
        Organization.external_id: external_id,
        Organization.created_at: created,
    }
    async with context.sessions() as session:
        found = await newest(session, Organization, principal, asked, filters)
    return found.page([OrganizationView.model_validate(row) for row in found.rows])


@router.get(
    "/{organization_id}",
    response_model=OrganizationView,
    responses=problems(401, 403, 404),
    summary="Read an organization",
)
async def read_organization(
    organization_id: UUID, context: Context, principal: Reader
) -> OrganizationView:
    """Its country and time zone are those that bills go by."""
    async with context.sessions() as session:
        row = await get_scoped(session, Organization, organization_id, principal)
    return OrganizationView.model_validate(row)


@router.patch(
    "/{organization_id}",
    response_model=OrganizationView,
    responses=problems(401, 403, 404, 413, 422),
    summary="Change an organization",
)
async def update_organization(
    organization_id: UUID,
    body: UpdateOrganization,
    context: Context,
    principal: Writer,
    once: RunOnce,
) -> JSONResponse:
    """Only what is sent changes; `null` takes an optional field away."""
    changes = body.model_dump(mode="json", exclude_unset=True)
    if (address := changes.get("billing_address")) is not None:
        changes["country"] = address["country"]

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        row = await get_scoped(session, Organization, organization_id, principal)
        for name, value in changes.items():
            setattr(row, name, value)
        if changes:
            row.updated_at = now()
        return Answer(200, OrganizationView.model_validate(row).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)
