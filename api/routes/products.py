"""What is sold once, with the benefits that come with it."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import PlanWriter, Reader
from api.clock import now
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.lists import PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.shop_views import CreateProduct, ProductView, product_view, product_views
from api.tenancy import get_scoped
from models.storage.tables import Benefit, Product, new_id

router = APIRouter(prefix="/products", tags=["Products"])


@router.post(
    "",
    status_code=201,
    response_model=ProductView,
    responses=problems(401, 403, 409, 413, 422, 503),
    summary="Create a product",
)
async def create_product(
    body: CreateProduct, context: Context, principal: PlanWriter, once: RunOnce
) -> JSONResponse:
    """Nothing is made at a provider before somebody wants to buy it."""

    async def prepare(session: AsyncSession, product_id: UUID) -> Answer:
        moment = now()
        row = Product(
            id=product_id,
            application_id=principal.application_id,
            name=body.name,
            amount_minor=body.amount_minor,
            currency=body.currency,
            is_active=True,
            provider_product_ids={},
            created_at=moment,
        )
        session.add(row)
        await session.flush()
        benefits = [
            Benefit(
                id=new_id(),
                application_id=principal.application_id,
                product_id=product_id,
                type=benefit.type,
                description=benefit.description,
                properties=benefit.properties,
                provider_benefit_ids={},
                created_at=moment,
            )
            for benefit in body.benefits
        ]
        session.add_all(benefits)
        await session.flush()
        return Answer(201, product_view(row, benefits).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


@router.get(
    "", response_model=Page[ProductView], responses=problems(401, 403, 422), summary="List products"
)
async def list_products(context: Context, principal: Reader, asked: PageAsked) -> Page[ProductView]:
    """Newest first, each with its benefits."""
    async with context.sessions() as session:
        found = await newest(session, Product, principal, asked, {})
        return found.page(await product_views(session, found.rows, principal))


@router.get(
    "/{product_id}",
    response_model=ProductView,
    responses=problems(401, 403, 404),
    summary="Read a product",
)
async def read_product(product_id: UUID, context: Context, principal: Reader) -> ProductView:
    """With the benefits that come with it."""
    async with context.sessions() as session:
        row = await get_scoped(session, Product, product_id, principal)
        return (await product_views(session, [row], principal))[0]
