"""Lists: newest first, a page at a time, with a cursor that means nothing to its holder."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from models.errors import InvalidRequest

PAGE_DEFAULT = 20
PAGE_MAX = 100
_CURSOR_VERSION = "1:"

_Row = TypeVar("_Row")
_Item = TypeVar("_Item")

Limit = Annotated[
    int, Query(ge=1, le=PAGE_MAX, description=f"Page size, 1 to {PAGE_MAX}.", examples=[20])
]
Cursor = Annotated[
    str | None, Query(max_length=200, description="`next_cursor` of the page before.")
]


class Page(BaseModel, Generic[_Item]):
    """One page of a list. `next_cursor` is null on the last one."""

    data: list[_Item]
    has_more: bool
    next_cursor: str | None


def encode_cursor(position: object) -> str:
    text = f"{_CURSOR_VERSION}{position}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parse: type[_Row]) -> _Row:
    """The position that `encode_cursor` was given; raises InvalidRequest for anything else."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        if not text.startswith(_CURSOR_VERSION):
            raise ValueError
        make: Any = parse
        return make(text.removeprefix(_CURSOR_VERSION))  # type: ignore[no-any-return]
    except (ValueError, binascii.Error):
        raise InvalidRequest(
            "The cursor is not one that this list gave.",
            code="cursor_invalid",
            errors=[{"field": "cursor", "code": "invalid", "message": "is not a cursor"}],
        ) from None


def newest_first(
    statement: Select[_Row],
    id_column: InstrumentedAttribute[UUID],
    cursor: str | None,
    limit: int,
) -> Select[_Row]:
    """The page after `cursor`, and one row more, which only says that there is another page."""
    if cursor is not None:
        statement = statement.where(id_column < decode_cursor(cursor, UUID))
    return statement.order_by(id_column.desc()).limit(limit + 1)


def split_page(rows: Sequence[_Row], limit: int) -> tuple[list[_Row], bool]:
    """Rows were asked for with `limit + 1`: the one too many only says that there is more."""
    return list(rows[:limit]), len(rows) > limit


def page(items: list[_Item], has_more: bool, position: object | None) -> Page[_Item]:
    """`position` is that of the last item."""
    cursor = encode_cursor(position) if has_more and position is not None else None
    return Page(data=items, has_more=has_more, next_cursor=cursor)
