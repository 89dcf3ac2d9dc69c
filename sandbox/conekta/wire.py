"""Conekta's manners on the wire: headers, error bodies, ids, lists and the checks of request bodies."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse

from sandbox.core import new_id

Json = dict[str, Any]

METADATA_KEYS_MAX = 100
METADATA_TEXT_LENGTH_MAX = 249
LINE_ITEM_NAME_LENGTH_MIN = 3
LINE_ITEM_NAME_LENGTH_MAX = 249
PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 250

# Digital FEMSA runs a nearly identical API whose version header says "app", so both are welcome.
_VERSIONED_ACCEPT = re.compile(r"application/vnd\.(conekta|app)-v\d+\.\d+\.\d+\+json")

_TYPE_BY_STATUS = {
    400: "malformed_request_error",
    401: "authentication_error",
    402: "processing_error",
    404: "resource_not_found_error",
    409: "conflict_error",
    422: "parameter_validation_error",
    428: "precondition_required_error",
}
_MESSAGE_BY_STATUS = {
    402: "El cargo fue declinado por el banco emisor.",
    404: "El recurso no fue encontrado.",
    422: "Hay un error en los datos enviados.",
    428: "La orden no puede ser modificada en su estado actual.",
}


class Refusal(Exception):
    """An answer other than 2xx. `data` is the object that the request changed all the same."""

    def __init__(
        self,
        status: int,
        code: str,
        debug_message: str,
        *,
        param: str | None = None,
        data: Json | None = None,
    ) -> None:
        super().__init__(debug_message)
        self.status = status
        self.code = code
        self.debug_message = debug_message
        self.param = param
        self.data = data

    def response(self) -> JSONResponse:
        body = _error(self.status, self.code, self.debug_message, self.param)
        if self.data is not None:
            body["data"] = self.data
        return JSONResponse(body, self.status)


def error_body(status: int, message: str) -> Json:
    """The body that the switched-on faults answer with."""
    return _error(status, "conekta.errors.api_error", message, None)


def _error(status: int, code: str, debug_message: str, param: str | None) -> Json:
    detail = {
        "code": code,
        "message": _MESSAGE_BY_STATUS.get(status, "Ocurrió un error."),
        "debug_message": debug_message,
        "param": param,
    }
    return {
        "object": "error",
        "type": _TYPE_BY_STATUS.get(status, "api_error"),
        "log_id": hex_id(),
        "details": [detail],
    }


def check_headers(request: Request, api_key: str) -> None:
    """Refuse a request without the private key or without a versioned `Accept`."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Refusal(401, "conekta.errors.authentication.missing_key", "no API key was sent")
    if not secrets.compare_digest(key.encode(), api_key.encode()):
        raise Refusal(401, "conekta.errors.authentication.invalid_key", "unknown API key")
    if not _VERSIONED_ACCEPT.fullmatch(request.headers.get("accept", "")):
        raise Refusal(409, "conekta.errors.conflict.version", "Accept must name an API version")


async def read_body(request: Request) -> Json:
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        raise Refusal(400, "conekta.errors.malformed_request", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "conekta.errors.malformed_request", "the body is not an object")
    return body


def hex_id() -> str:
    """An id as charges, refunds, events and keys have it: 24 hexadecimal characters."""
    return secrets.token_hex(12)


def object_id(prefix: str) -> str:
    """An id as orders, customers and line items have it: `ord_` and 17 letters."""
    return new_id(prefix, 17)


def invalid(param: str, rule: str, debug_message: str) -> Refusal:
    code = f"conekta.errors.parameter_validation.{param}.{rule}"
    return Refusal(422, code, debug_message, param=param)


def not_found(kind: str) -> Refusal:
    code = "conekta.errors.resource_not_found.entity"
    return Refusal(404, code, f"no such {kind}", param="id")


def precondition(rule: str, debug_message: str) -> Refusal:
    code = f"conekta.errors.precondition_required.combo.order.{rule}"
    return Refusal(428, code, debug_message)


def check_known(body: Json, known: Iterable[str], where: str = "") -> None:
    """Conekta answers 422 to any parameter that it does not know."""
    for key in body:
        if key not in known:
            code = "conekta.errors.parameter_validation.whitelist"
            raise Refusal(422, code, f"unknown parameter {where}{key}", param=f"{where}{key}")


def required_text(body: Json, key: str, length_min: int = 1, length_max: int = 255) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip():
        raise invalid(key, "missing", f"{key} must be a text that is not empty")
    if not length_min <= len(value) <= length_max:
        raise invalid(key, "length", f"{key} must have {length_min} to {length_max} characters")
    return value


def required_integer(body: Json, key: str, minimum: int) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(key, "missing", f"{key} must be an integer")
    if value < minimum:
        raise invalid(key, "minimum", f"{key} must be at least {minimum}")
    return value


def check_metadata(body: Json) -> Json:
    """At most 100 keys, scalar values, texts of up to 249 characters, nothing nested."""
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or len(metadata) > METADATA_KEYS_MAX:
        raise invalid("metadata", "size", f"metadata is an object of {METADATA_KEYS_MAX} keys")
    for value in metadata.values():
        if isinstance(value, dict | list):
            raise invalid("metadata", "nested", "metadata values must be scalars")
        if isinstance(value, str) and len(value) > METADATA_TEXT_LENGTH_MAX:
            raise invalid("metadata", "length", "a metadata value is too long")
    return metadata


def envelope(items: list[Json]) -> Json:
    """A list inside another object."""
    return {
        "object": "list",
        "has_more": False,
        "total": len(items),
        "next_page_url": None,
        "previous_page_url": None,
        "data": items,
    }


def integer_query(request: Request, name: str) -> int | None:
    raw = request.query_params.get(name)
    if raw is None:
        return None
    if not raw.isdigit():
        raise invalid(name, "integer", f"{name} must be an integer")
    return int(raw)


def page(
    request: Request, items: list[Json], show: Callable[[Json], Json] = lambda item: item
) -> Json:
    """One page of `items`, with cursors. As at Conekta, `next_page_url` forgets the filters."""
    limit = integer_query(request, "limit") or PAGE_SIZE_DEFAULT
    if limit > PAGE_SIZE_MAX:
        raise invalid("limit", "maximum", f"limit must be at most {PAGE_SIZE_MAX}")
    ids = [item["id"] for item in items]
    after, before = request.query_params.get("next"), request.query_params.get("previous")
    start = 0
    if after in ids:
        start = ids.index(after) + 1
    elif before in ids:
        start = max(0, ids.index(before) - limit)
    chosen = items[start : start + limit]
    has_more = start + limit < len(items)
    base = str(request.url.replace(query=""))
    following = urlencode({"limit": limit, "next": chosen[-1]["id"]}) if has_more else None
    preceding = (
        urlencode({"limit": limit, "previous": chosen[0]["id"]}) if start and chosen else None
    )
    return {
        "object": "list",
        "has_more": has_more,
        "next_page_url": f"{base}?{following}" if following else None,
        "previous_page_url": f"{base}?{preceding}" if preceding else None,
        "data": [show(item) for item in chosen],
    }
