"""What every list has in common: a page, filters by equality, and filters by a span of time.

Lists are newest first by id. Ids are made of the time, so a span of `created_at` is one of the list itself:
the index that orders the page is the one that finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.auth import Principal
from api.pagination import PAGE_DEFAULT, Cursor, Limit, Page, newest_first, page, split_page
from api.schemas import Moment
from api.tenancy import scoped
from models.storage.base import Base, first_id_at

# A row's id may be older than the row says it is: it is chosen first. Never by this much.
ID_SLACK = timedelta(days=1)
# Nothing was made before ids could say so, and PostgreSQL and Python part ways at the ends of time.
_FIRST, _LAST = datetime(1970, 1, 3, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_Row = TypeVar("_Row", bound=Base)
_Item = TypeVar("_Item")
Filters = Mapping[InstrumentedAttribute[Any], object]


@dataclass(frozen=True)
class Asked:
    """Which page."""

    limit: int
    cursor: str | None


def _asked(limit: Limit = PAGE_DEFAULT, cursor: Cursor = None) -> Asked:
    return Asked(limit, cursor)


PageAsked = Annotated[Asked, Depends(_asked)]


@dataclass(frozen=True)
class Span:
    """From `since` on, and up to `before`, which is not in it any more."""

    since: datetime | None
    before: datetime | None

    def of(self, column: Any) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(column >= self.since)
        if self.before is not None:
            found.append(column < self.before)
        return found

    def of_ids(self, column: Any) -> list[ColumnElement[bool]]:
        """Where ids of rows that were made in the span are: for the index, not for the answer."""
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(column >= first_id_at(self.since - ID_SLACK))
        if self.before is not None:
            found.append(column < first_id_at(self.before + ID_SLACK))
        return found


def _span(since: datetime | None, before: datetime | None) -> Span:
    within = [None if at is None else min(max(at, _FIRST), _LAST) for at in (since, before)]
    return Span(*within)


def _created(
    created_since: Annotated[
        Moment | None, Query(description="Made at this time or later.")
    ] = None,
    created_before: Annotated[Moment | None, Query(description="Made before this time.")] = None,
) -> Span:
    return _span(created_since, created_before)


def _due(
    due_since: Annotated[Moment | None, Query(description="Due at this time or later.")] = None,
    due_before: Annotated[Moment | None, Query(description="Due before this time.")] = None,
) -> Span:
    return _span(due_since, due_before)


def _occurred(
    occurred_since: Annotated[
        Moment | None, Query(description="Moved at this time or later.")
    ] = None,
    occurred_before: Annotated[Moment | None, Query(description="Moved before this time.")] = None,
) -> Span:
    return _span(occurred_since, occurred_before)


Created = Annotated[Span, Depends(_created)]
Due = Annotated[Span, Depends(_due)]
Occurred = Annotated[Span, Depends(_occurred)]


def matching(statement: Select[_Row], filters: Filters) -> Select[_Row]:
    """Rows that are as every filter says; None says nothing."""
    for column, wanted in filters.items():
        if isinstance(wanted, Span):
            statement = statement.where(*wanted.of(column))
            if column.key == "created_at":
                statement = statement.where(*wanted.of_ids(column.class_.id))
        elif wanted is not None:
            statement = statement.where(column == wanted)
    return statement


@dataclass(frozen=True)
class Found(Generic[_Row]):
    rows: list[_Row]
    has_more: bool

    def page(self, views: list[_Item]) -> Page[_Item]:
        """`views` are those of the rows, in their order."""
        last = self.rows[-1].id if self.rows else None  # type: ignore[attr-defined]
        return page(views, self.has_more, last)


async def newest(
    session: AsyncSession,
    table: type[_Row],
    principal: Principal,
    asked: Asked,
    filters: Filters,
    *more: ColumnElement[bool],
) -> Found[_Row]:
    """One page of the caller's own rows."""
    statement = matching(scoped(select(table), principal), filters).where(*more)
    id_column: Any = table.id  # type: ignore[attr-defined]
    statement = newest_first(statement, id_column, asked.cursor, asked.limit)
    rows, has_more = split_page((await session.scalars(statement)).all(), asked.limit)
    return Found(rows, has_more)
