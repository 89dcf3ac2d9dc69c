"""What every request of the billing API goes through before its content is looked at."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import Depends, Request

from api.about import is_about_path
from api.auth import authenticate
from api.pans import refuse_card_numbers
from models.errors import InvalidRequest


async def read_body(request: Request) -> Any:
    """The body; None when empty. That it is JSON was seen at the edge (`api.edge_checks`)."""
    return await request.json() if await request.body() else None


async def check_request(
    request: Request,
    _: Annotated[Any, Depends(authenticate)],
    body: Annotated[Any, Depends(read_body)],
) -> None:
    """Refuse card numbers and text that PostgreSQL cannot hold. Authentication comes first, so
    that strangers learn nothing."""
    is_about_path(request.path_params)
    said = [
        body,
        dict(request.query_params),
        list(request.query_params.values()),  # Also of a name that is there twice.
        request.headers.get("idempotency-key", ""),
    ]
    refuse_card_numbers(said)
    _refuse_unstorable(said)
    if len(request.query_params.multi_items()) > len(request.query_params):
        # Which one is meant is anybody's guess, and no parameter here is a list.
        raise InvalidRequest("A parameter stands in the address twice.")


def _refuse_unstorable(body: Any) -> None:
    pending = [body]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif (isinstance(item, str) and not _storable(item)) or (
            isinstance(item, float) and not math.isfinite(item)
        ):
            raise InvalidRequest("The request holds a character or number that cannot be stored.")


def _storable(text: str) -> bool:
    """No NUL and no half of a surrogate pair: neither can be in a PostgreSQL text."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
