"""What a request has to be like before anything reads it: bounded, unambiguous, and JSON where it says more.

Syntax only, and before authentication: a stranger learns from it what RFC 8259 and RFC 9110 say anyway.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.message import Message
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from models.errors import (
    HeadersTooLarge,
    HostNotAllowed,
    InvalidRequest,
    UnsupportedMediaType,
    UriTooLong,
)

# Twice what nginx and most balancers let through, so that they speak first. uvicorn ends at 64 KiB.
HEADERS_MAX_BYTES = 32_768
HEADERS_MAX = 100
# The longest of ours is a list with a filter and a cursor: some 400 bytes.
TARGET_MAX_BYTES = 8_192
# The deepest body of ours has five levels; metadata is flat.
JSON_DEPTH_MAX = 32
# PostgreSQL's bigint has 19 digits. Longer ones also cost more than linear time to read.
INTEGER_DIGITS_MAX = 19
# Two of one of these, and the one who checks may look at another than the one who acts.
_ONCE = frozenset(
    {b"authorization", b"content-type", b"content-length", b"host", b"idempotency-key"}
)
# They are asked by address, by machines of the operator's.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


def check_head(scope: Scope, headers: Headers, hosts: Sequence[str]) -> None:
    """Raises UriTooLong, HeadersTooLarge, HostNotAllowed or InvalidRequest. `hosts`: the names that
    the API answers to; none means any."""
    if len(scope.get("raw_path", b"")) + len(scope.get("query_string", b"")) > TARGET_MAX_BYTES:
        raise UriTooLong(f"An address may have at most {TARGET_MAX_BYTES} bytes.")
    raw = headers.raw
    if len(raw) > HEADERS_MAX or sum(len(n) + len(v) for n, v in raw) > HEADERS_MAX_BYTES:
        raise HeadersTooLarge(
            f"A request may have at most {HEADERS_MAX} headers of {HEADERS_MAX_BYTES} bytes together."
        )
    seen: set[bytes] = set()
    for name, _ in raw:
        if name in seen and name in _ONCE:
            raise InvalidRequest(f"The header {name.decode()} is there more than once.")
        seen.add(name)
    if hosts and scope["path"] not in _PROBES and _host_of(headers) not in hosts:
        raise HostNotAllowed("This API is not reached under that name.")


def check_body(raw: bytes, headers: Headers) -> None:
    """Raises UnsupportedMediaType for what is not sent as JSON, InvalidRequest for what is none, or is
    such that two readers could understand it differently."""
    if not raw:
        return
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body as it is, without a Content-Encoding.")
    _check_media_type(headers.get("content-type"))
    value = _parse(raw)
    if _depth(value) > JSON_DEPTH_MAX:
        raise _not_json(f"The body is nested deeper than {JSON_DEPTH_MAX} levels.")


def _host_of(headers: Headers) -> str:
    """Without the port: `[::1]:8080` is `[::1]`."""
    host = headers.get("host", "").lower()
    bare, _, port = host.rpartition(":")
    return bare if port.isdecimal() else host


def _check_media_type(content_type: str | None) -> None:
    if content_type is None:
        return  # An application that forgets the header means JSON all the same.
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    json_like = subtype == "json" or subtype.endswith("+json")
    if message.get_content_maintype() != "application" or not json_like:
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    charset = message.get_param("charset")
    if charset is not None and str(charset).lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("JSON is sent in UTF-8.")


def _parse(raw: bytes) -> Any:
    try:
        # Decoded here: from bytes, the parser would also take UTF-16 and UTF-32.
        return json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except UnicodeDecodeError:
        raise _not_json("The body is not UTF-8.") from None
    except RecursionError:
        raise _not_json(f"The body is nested deeper than {JSON_DEPTH_MAX} levels.") from None
    except ValueError:
        raise _not_json("The body is not valid JSON.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _not_json("The body names a field twice in one object.")
    return found


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > INTEGER_DIGITS_MAX:
        raise _not_json(
            f"The body holds a number of more than {INTEGER_DIGITS_MAX} digits.", "number_too_long"
        )
    return int(digits)


def _constant(_: str) -> Any:
    raise _not_json("The body holds a number that JSON does not know.")


def _not_json(why: str, code: str = "json_invalid") -> InvalidRequest:
    return InvalidRequest(why, errors=[{"field": "", "code": code, "message": why}])


def _depth(value: Any) -> int:
    """Levels of objects and lists; without recursion, for the sender chooses them."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
