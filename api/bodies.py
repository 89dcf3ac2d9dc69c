"""What every request of the billing API goes through before its content is looked at."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from fastapi import Depends, Request

from api.auth import authenticate
from api.pans import refuse_card_numbers
from models.errors import InvalidRequest


async def read_body(request: Request) -> Any:
    """The body as JSON, or as text where it is none (validation then says so); None when empty."""
    raw = await request.body()
    if not raw:
        return None
    try:
        return await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return raw.decode(errors="replace")


async def check_request(
    request: Request,
    body: Annotated[Any, Depends(read_body)],
    _: Annotated[Any, Depends(authenticate)],
) -> None:
    """Refuse card numbers and text that PostgreSQL cannot hold. Authentication comes first, so
    that strangers learn nothing."""
    refuse_card_numbers(body)
    refuse_card_numbers(list(request.query_params.values()))
    refuse_card_numbers(request.headers.get("idempotency-key", ""))
    _refuse_unstorable(body)


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
