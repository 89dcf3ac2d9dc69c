"""Holds every answer that a test gets to the description of the API: a contract test in each of them."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import httpx

from abono.dev.documents import OPENAPI_PAGE

PROBLEM = "application/problem+json"


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    paths = json.loads(OPENAPI_PAGE.read_text())["paths"]
    # Fixed parts before parameters, as the router tries them.
    ordered = sorted(paths, key=lambda path: path.replace("{", "~"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), paths[path]) for path in ordered]


async def check_described(response: httpx.Response) -> None:
    """Fails for a status, a media type or a problem code that the operation does not name. Addresses
    and methods that are none have no operation to ask."""
    request = response.request
    operation = _operation(request.url.path, request.method.lower())
    if operation is None:
        return
    asked = f"{request.method} {request.url.path}"
    answers = operation["responses"]
    assert str(response.status_code) in answers, f"{asked}: {response.status_code} is not described"
    content = answers[str(response.status_code)].get("content", {})
    media_type = response.headers.get("content-type", "").partition(";")[0]
    # An answer without a body (204) has no type, and is described without one.
    assert media_type in (content or {""}), (
        f"{asked}: {response.status_code} as {media_type} is not described"
    )
    if media_type == PROBLEM:
        await response.aread()
        code = response.json()["code"]
        known = content[PROBLEM]["examples"]
        assert code in known, (
            f"{asked}: {response.status_code} {code} is not described. Name it in the route's "
            f'`problems(..., codes=("{code}",))` and run `make docs`'
        )


def _operation(path: str, method: str) -> dict[str, Any] | None:
    for pattern, operations in _paths():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = operations.get(method)
            return found
    return None
