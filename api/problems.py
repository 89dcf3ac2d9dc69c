"""One shape for every error: RFC 9457 problem details with a stable `code`.

Nothing that the caller sent is repeated: a problem may be logged anywhere.
"""

from __future__ import annotations

import re
import traceback
from http import HTTPStatus
from typing import Any, cast

import asyncpg
import sqlalchemy.exc
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.error_catalog import problem_type
from models.errors import AbonoError, InvalidRequest, NotFound, Unavailable

PROBLEM_MEDIA_TYPE = "application/problem+json"

# The innermost ones: above them there is only the framework.
_FRAMES_MAX = 10

_log = structlog.get_logger("abono.api")

# Pydantic's own messages for these name the rule and never the value.
_SAFE_TYPES = frozenset(
    {
        "bool_parsing",
        "bool_type",
        "dict_type",
        "enum",
        "extra_forbidden",
        "float_type",
        "greater_than",
        "greater_than_equal",
        "int_from_float",
        "int_parsing",
        "int_type",
        "less_than",
        "less_than_equal",
        "list_type",
        "literal_error",
        "missing",
        "model_attributes_type",
        "string_pattern_mismatch",
        "string_too_long",
        "string_too_short",
        "string_type",
        "too_long",
        "too_short",
    }
)
_OWN_MESSAGES = {
    "json_invalid": "The body is not valid JSON.",
    "uuid_parsing": "Input should be a UUID.",
    "uuid_type": "Input should be a UUID.",
    "url_parsing": "Input should be an absolute URL.",
    "url_scheme": "Input should be an http or https URL.",
    "ip_any_address": "Input should be an IP address.",
}


# Keys and tokens have digits all over, names of fields at most at their end: `line1`.
_FIELD_NAME = re.compile(r"[A-Za-z_\-]{1,40}\d{0,2}")


class FieldError(ValueError):
    """A validator's complaint that names the rule and not the value: fit to be shown."""


class CombinationError(FieldError):
    """Fields that are right alone and wrong together."""


class PermanentProblem(AbonoError):
    """An HTTP error that has no class of its own (405 and its like)."""


def problem(error: AbonoError, *, status: int | None = None, title: str | None = None) -> Response:
    return JSONResponse(
        problem_body(error, status=status, title=title),
        status_code=status or error.status,
        headers=error.headers,
        media_type=PROBLEM_MEDIA_TYPE,
    )


def problem_body(
    error: AbonoError, *, status: int | None = None, title: str | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": problem_type(error.code),
        "title": title or error.title,
        "status": status or error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.errors is not None:
        body["errors"] = error.errors
    return body


def install_problem_handlers(app: FastAPI) -> None:
    app.add_exception_handler(AbonoError, _on_abono_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_abono_error(_: Request, error: Exception) -> Response:
    return problem(cast(AbonoError, error))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    mistakes = cast(RequestValidationError, error).errors()
    if any(mistake["loc"][:1] == ("path",) for mistake in mistakes):
        # `DELETE /payment-methods/setup`: a known address, which looks like an id to another route.
        known = _methods_at(request, literally=True)
        if known:
            return _method_not_allowed(known)
        # An id that is no UUID names nothing: the same answer as for one that nobody has.
        return problem(NotFound("There is no object with this id."))
    return problem(
        InvalidRequest(
            "The request is not valid: see errors.", errors=[_field_error(m) for m in mistakes]
        )
    )


def _field_error(mistake: Any) -> dict[str, Any]:
    kind = str(mistake["type"])
    own = (mistake.get("ctx") or {}).get("error")
    if isinstance(own, FieldError):
        message = str(own)
        kind = "combination" if isinstance(own, CombinationError) else "invalid"
    elif kind in _SAFE_TYPES:
        message = str(mistake["msg"])
    else:
        message = _OWN_MESSAGES.get(kind, "Input is not valid.")
    where = [_shown(part) for part in mistake["loc"] if part not in {"body", "query", "header"}]
    return {"field": ".".join(where), "code": kind, "message": message}


def _shown(part: str | int) -> str:
    """A name that the caller made up is repeated when it is nothing but a misspelt one."""
    return str(part) if isinstance(part, int) or _FIELD_NAME.fullmatch(part) else "(unknown)"


async def _on_http_exception(request: Request, error: Exception) -> Response:
    http = cast(HTTPException, error)
    headers = dict(http.headers or {})
    phrase = HTTPStatus(http.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    if http.status_code == HTTPStatus.BAD_REQUEST:
        # The framework's word for a body that its parser gives up on: nested without end, say.
        return problem(InvalidRequest("The body cannot be read.", headers=headers))
    if http.status_code == HTTPStatus.NOT_FOUND:
        return problem(NotFound("There is nothing at this address.", headers=headers))
    if http.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # `OPTIONS /payment-methods/setup`: what is known of an id's address is not known of this one.
        return _method_not_allowed(_methods_at(request, literally=True) or _methods_at(request))
    wrapped = PermanentProblem(f"{phrase}.", code=code, headers=headers)
    return problem(wrapped, status=http.status_code, title=phrase)


def _method_not_allowed(allowed: list[str]) -> Response:
    """Without the framework's own header: it names the methods of one route, and ours would be its
    second."""
    status = HTTPStatus.METHOD_NOT_ALLOWED
    error = PermanentProblem(
        f"{status.phrase}.", code="method_not_allowed", headers={"allow": ", ".join(allowed)}
    )
    return problem(error, status=status, title=status.phrase)


def _methods_at(request: Request, *, literally: bool = False) -> list[str]:
    """All that this address knows: the router names those of one of its routes only. `literally`: without
    the routes that take a part of it for an id."""
    path = request.scope["path"]
    contexts = iter_route_contexts(request.app.routes)
    return sorted(
        {
            method
            for context in contexts
            if isinstance(context.original_route, APIRoute)
            and context.path_regex.match(path)
            and not (literally and context.path_regex.groups)
            for method in context.methods or ()
        }
    )


def unexpected(error: Exception, *, route: str) -> Response:
    """The answer to anything that no handler knows: 503 when the database is away, else 500."""
    if is_database_away(error):
        _log.warning("database is away", error=type(error).__name__)
        return problem(Unavailable("The database cannot be reached just now; nothing was changed."))
    log_unexpected("request failed", error, route=route)
    return problem(AbonoError("Something went wrong on our side. It has been logged."))


def log_unexpected(event: str, error: BaseException, **details: Any) -> None:
    """Where it happened and what kind it was. Not the message: that may hold what a caller sent."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    _log.error(
        event,
        error=type(error).__name__,
        sqlstate=getattr(getattr(error, "orig", None), "sqlstate", None),
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        **details,
    )


def is_database_away(error: BaseException) -> bool:
    """Whether this is PostgreSQL being down, starting, stopping or out of connections."""
    if isinstance(error, sqlalchemy.exc.TimeoutError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        # Classes 08 (connection), 53 (resources), 57P (operator intervention: shutdown, starting up).
        return error.connection_invalidated or state.startswith(("08", "53", "57P"))
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        # What the driver says of a connection that was lost under it, the second when that was just
        # after one statement and before it knew.
        return True
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith(("08", "53", "57P"))
