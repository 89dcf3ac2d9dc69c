"""Polar's manners on the wire: headers, error bodies, lists and the checks of request bodies."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

Json = dict[str, Any]

API_VERSION = "2026-10"
PAGE_SIZE_DEFAULT = 10
PAGE_SIZE_MAX = 100
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_TEXT_LENGTH_MAX = 500

_NAME_BY_STATUS = {429: "RateLimitExceeded", 500: "InternalServerError", 504: "GatewayTimeout"}


class Refusal(Exception):
    """An answer other than 2xx; `detail` is a text, or the list of a failed validation."""

    def __init__(self, status: int, name: str | None, detail: str | list[Json]) -> None:
        super().__init__(f"{status} {name}")
        self.status = status
        self.name = name
        self.detail = detail

    def response(self) -> JSONResponse:
        body: Json = {"detail": self.detail}
        if self.name is not None:
            body = {"error": self.name, **body}
        return JSONResponse(body, self.status, {"Polar-Version": API_VERSION})


def error_body(status: int, message: str) -> Json:
    """The body that the switched-on faults answer with."""
    return {"error": _NAME_BY_STATUS.get(status, "Error"), "detail": message}


def not_found() -> Refusal:
    return Refusal(404, "ResourceNotFound", "Not found")


def invalid(field: str, message: str, given: Any = None, *, rule: bool = False) -> Refusal:
    """A 422. `rule` says that the shape was right and a rule of the business was not kept."""
    name = "PolarRequestValidationError" if rule else "RequestValidationError"
    where = ["body", *field.split(".")]
    return Refusal(
        422, name, [{"type": "value_error", "loc": where, "msg": message, "input": given}]
    )


def check_headers(request: Request, access_token: str) -> None:
    """Refuse a request without the token, or in a version that is not spoken here."""
    version = request.headers.get("polar-version", API_VERSION)
    if version != API_VERSION:
        # As at Polar: a version that is gone looks like a path that does not exist.
        raise Refusal(404, None, "Not Found")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    known = secrets.compare_digest(token.encode(), access_token.encode())
    if scheme.lower() != "bearer" or not known:
        raise Refusal(401, "invalid_token", "The access token is invalid.")


async def read_body(request: Request) -> Json:
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        raise invalid("", "JSON decode error") from None
    if not isinstance(body, dict):
        raise invalid("", "Input should be a valid dictionary")
    return body


def new_id() -> str:
    return str(uuid.uuid4())


def check_known(body: Json, known: Iterable[str], where: str = "") -> None:
    """Whether Polar refuses fields that it does not know is not documented; a typo of ours is caught."""
    for key in body:
        if key not in known:
            raise invalid(f"{where}{key}", "Extra inputs are not permitted", body[key])


def text(
    body: Json, field: str, length_min: int = 1, length_max: int = 2000, where: str = ""
) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise invalid(f"{where}{field}", "Input should be a valid string", value)
    if not length_min <= len(value) <= length_max:
        message = f"String should have {length_min} to {length_max} characters"
        raise invalid(f"{where}{field}", message, value)
    return value


def optional_text(body: Json, field: str) -> str | None:
    return None if body.get(field) is None else text(body, field)


def integer(body: Json, field: str, minimum: int, where: str = "") -> int:
    value = body.get(field)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{where}{field}", "Input should be a valid integer", value)
    if value < minimum:
        raise invalid(f"{where}{field}", f"Input should be at least {minimum}", value)
    return value


def boolean(body: Json, field: str, default: bool) -> bool:
    value = body.get(field, default)
    if not isinstance(value, bool):
        raise invalid(field, "Input should be a valid boolean", value)
    return value


def one_of(body: Json, field: str, allowed: Collection[str], default: str | None = None) -> str:
    value = body.get(field, default)
    if value not in allowed:
        raise invalid(field, f"Input should be one of {sorted(allowed)}", value)
    return str(value)


def metadata(body: Json) -> Json:
    """At most 50 keys of 40 characters; texts of 1 to 500 characters, numbers and booleans."""
    found = body.get("metadata") or {}
    if not isinstance(found, dict) or len(found) > METADATA_KEYS_MAX:
        raise invalid("metadata", f"at most {METADATA_KEYS_MAX} keys")
    for key, value in found.items():
        if not 1 <= len(key) <= METADATA_KEY_LENGTH_MAX:
            raise invalid("metadata", "the key is too long", key)
        if isinstance(value, str) and not 1 <= len(value) <= METADATA_TEXT_LENGTH_MAX:
            raise invalid(f"metadata.{key}", "the text is empty or too long", value)
        if not isinstance(value, str | int | float | bool):
            raise invalid(f"metadata.{key}", "only texts, numbers and booleans", value)
    return found


def matches(request: Request, entity: Json, columns: Iterable[str]) -> bool:
    """Whether the entity passes the list's filters: columns, and `metadata[key]=text`."""
    query = request.query_params
    for column in columns:
        wanted = query.getlist(column)
        if wanted and _shown(entity[column]) not in wanted:
            return False
    for name in query:
        if name.startswith("metadata[") and name.endswith("]"):
            key = name.removeprefix("metadata[").removesuffix("]")
            if _shown(entity["metadata"].get(key)) not in query.getlist(name):
                return False
    return True


def made_within(request: Request, entity: Json) -> bool:
    """Whether the entity passes `created_after` and `created_before`, which are inclusive."""
    made = datetime.fromisoformat(entity["created_at"])
    after, before = (_moment(request, f"created_{name}") for name in ("after", "before"))
    return (after is None or made >= after) and (before is None or made <= before)


def _moment(request: Request, name: str) -> datetime | None:
    raw = request.query_params.get(name)
    if raw is None:
        return None
    try:
        found = datetime.fromisoformat(raw)
    except ValueError:
        raise Refusal(
            422,
            "RequestValidationError",
            [{"type": "datetime_parsing", "loc": ["query", name], "msg": "a date and time"}],
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def page(request: Request, items: list[Json]) -> Json:
    """One page, in the order given."""
    number = _integer_query(request, "page", 1)
    limit = min(_integer_query(request, "limit", PAGE_SIZE_DEFAULT), PAGE_SIZE_MAX)
    start = (number - 1) * limit
    return {
        "items": items[start : start + limit],
        "pagination": {"total_count": len(items), "max_page": -(-len(items) // limit)},
    }


def _integer_query(request: Request, name: str, default: int) -> int:
    raw = request.query_params.get(name, str(default))
    if not raw.isdigit() or int(raw) < 1:
        raise Refusal(
            422,
            "RequestValidationError",
            [{"type": "int_parsing", "loc": ["query", name], "msg": "a positive integer"}],
        )
    return int(raw)


def _shown(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
