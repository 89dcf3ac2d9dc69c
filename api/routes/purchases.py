"""Purchases: opened and read here; decided about in their workflows."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Writer
from api.clock import now
from api.context import ApiContext, Context
from api.countries import hint_of, settle_country
from api.expanding import EXPAND_CODES, Expander, ExpandPurchase, PurchaseDetail
from api.idempotency import Answer, RunOnce
from api.lists import Created, PageAsked, newest
from api.openapi import accepted, problems
from api.opening import require_candidate
from api.pagination import Page
from api.shop_views import CreatePurchase, PurchaseView, purchase_view, purchase_views
from api.tenancy import get_scoped
from models.commands import purchase_workflow_id
from models.errors import Conflict
from models.outcomes import Instrument, ProviderName
from models.purchase import PurchaseStatus, PurchaseTerms
from models.routing import Located, RoutingFacts, TransactionType, decide_route
from models.storage.tables import Organization, Product, Purchase

router = APIRouter(prefix="/purchases", tags=["Purchases"])


@router.post(
    "",
    status_code=201,
    response_model=PurchaseView,
    responses=accepted(PurchaseView)
    | problems(
        401,
        403,
        404,
        409,
        413,
        422,
        503,
        codes=("product_not_active", "payment_method_type_not_supported"),
    ),
    summary="Buy a product",
)
async def open_purchase(
    body: CreatePurchase, request: Request, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """201 when there is a page to pay on, 202 when none has been opened yet."""
    hint = await hint_of(
        context,
        request,
        principal,
        organization_id=body.organization_id,
        address=None,
        ip_address=body.ip_address,
    )

    async def prepare(session: AsyncSession, purchase_id: UUID) -> PurchaseTerms:
        return await _prepare(session, body, context, principal, purchase_id, hint)

    async def act(terms: PurchaseTerms) -> Answer:
        result = await context.commands.open(terms, principal.actor)
        async with context.sessions() as session:
            row = await get_scoped(session, Purchase, terms.purchase_id, principal)
            view = await purchase_view(session, row, principal)
        settled = result is not None and result.settled
        return Answer(201 if settled else 202, view.model_dump(mode="json"))

    return await once.run(context, principal.application_id, prepare, act)


async def _prepare(
    session: AsyncSession,
    body: CreatePurchase,
    context: ApiContext,
    principal: Principal,
    purchase_id: UUID,
    hint: Located | None,
) -> PurchaseTerms:
    """Validate and insert; with an id that was inserted before, what is there."""
    there = await session.get(Purchase, purchase_id)
    if there is not None:
        return PurchaseTerms.model_validate(there.opening)
    organization = await get_scoped(session, Organization, body.organization_id, principal)
    product = await get_scoped(session, Product, body.product_id, principal)
    if not product.is_active:
        raise Conflict("The product is no longer on sale.", code="product_not_active")
    settled = settle_country(organization, None, hint)
    terms = PurchaseTerms(
        purchase_id=purchase_id,
        application_id=principal.application_id,
        organization_id=organization.id,
        product_id=product.id,
        product_name=product.name,
        amount_minor=product.amount_minor,
        currency=product.currency,
        success_url=body.success_url,
        country=settled.country if settled else None,
    )
    facts = RoutingFacts(
        transaction_type=TransactionType.PURCHASE,
        country=terms.country,
        instrument=Instrument.CHECKOUT,
        currency=terms.currency,
        abilities=context.providers.abilities(TransactionType.PURCHASE),
    )
    require_candidate(decide_route(facts))
    moment = now()
    # The address is the customer's: it stays in the row and never travels through a history.
    address = str(body.ip_address) if body.ip_address is not None else None
    session.add(
        Purchase(
            id=purchase_id,
            application_id=terms.application_id,
            organization_id=terms.organization_id,
            product_id=terms.product_id,
            version=0,
            opening={**terms.model_dump(mode="json"), "customer_ip_address": address},
            workflow_id=purchase_workflow_id(purchase_id),
            status=PurchaseStatus.PENDING,
            amount_minor=terms.amount_minor,
            currency=terms.currency,
            metadata_=dict(body.metadata),
            created_at=moment,
            updated_at=moment,
        )
    )
    await session.flush()
    return terms


@router.get(
    "",
    response_model=Page[PurchaseDetail],
    responses=problems(401, 403, 422, codes=EXPAND_CODES),
    summary="List purchases",
)
async def list_purchases(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    created: Created,
    expand: ExpandPurchase,
    organization_id: UUID | None = None,
    product_id: UUID | None = None,
    status: PurchaseStatus | None = None,
    provider: ProviderName | None = None,
) -> Page[PurchaseDetail]:
    """Newest first."""
    filters = {
        Purchase.organization_id: organization_id,
        Purchase.product_id: product_id,
        Purchase.status: status,
        Purchase.provider: provider,
        Purchase.created_at: created,
    }
    async with context.sessions() as session:
        found = await newest(session, Purchase, principal, asked, filters)
        views = await purchase_views(session, found.rows, principal)
        return found.page(await Expander(session, principal, expand).purchases(views))


@router.get(
    "/{purchase_id}",
    response_model=PurchaseDetail,
    responses=problems(401, 403, 404, 422, codes=EXPAND_CODES),
    summary="Read a purchase",
)
async def read_purchase(
    purchase_id: UUID, context: Context, principal: Reader, expand: ExpandPurchase
) -> PurchaseDetail:
    """With the benefits that came of it."""
    async with context.sessions() as session:
        row = await get_scoped(session, Purchase, purchase_id, principal)
        views = await purchase_views(session, [row], principal)
        return (await Expander(session, principal, expand).purchases(views))[0]
