"""The wall between tenants: every query of a request goes through `scoped`."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from models.errors import NotFound
from models.storage.base import Base

_Statement = TypeVar("_Statement", bound=Select[Any])
_Table = TypeVar("_Table", bound=Base)


def scoped(statement: _Statement, principal: Principal) -> _Statement:
    """`statement`, limited to rows of the principal's application.

    Every table that it reads has to carry `application_id`; one that does not raises AttributeError, so
    that a new table cannot slip through.
    """
    for table in {column["entity"] for column in statement.column_descriptions}:
        statement = statement.where(table.application_id == principal.application_id)
    return statement


async def get_scoped(
    session: AsyncSession, table: type[_Table], object_id: UUID, principal: Principal
) -> _Table:
    """The row; raises NotFound when there is none or when it is another tenant's."""
    statement = select(table).where(table.__table__.c.id == object_id)
    row: _Table | None = await session.scalar(scoped(statement, principal))
    if row is None:
        raise NotFound(f"There is no {_WORDS.get(table.__tablename__, 'object')} with this id.")
    return row


_WORDS = {
    "organizations": "organization",
    "subscription_plans": "plan",
    "payment_methods": "payment method",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "products": "product",
    "benefits": "benefit",
    "purchases": "purchase",
    "refunds": "refund",
    "payments": "payment",
    "webhook_endpoints": "webhook endpoint",
}
