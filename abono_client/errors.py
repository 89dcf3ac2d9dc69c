"""What the API answers instead of what was asked for, as exceptions.

AbonoError
├── ConnectionFailed      nobody answered; whatever was asked may have been done: send the same key again
├── WebhookInvalid        a webhook that is not Abono's, is too old, or was changed on its way
└── ApiError              a problem answer: `status`, stable `code`, `detail`, `errors`, `request_id`
    ├── Invalid           400, 413, 415, 422
    ├── Unauthenticated   401
    ├── PaymentRefused    402
    ├── Forbidden         403
    ├── NotFound          404
    ├── Conflict          409
    ├── RateLimited       429
    └── ServerFailure     5xx
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx


class AbonoError(Exception):
    """Everything that this client raises of itself."""


class ConnectionFailed(AbonoError):
    """No answer, after all the tries."""


class WebhookInvalid(AbonoError):
    """Answer it with 400 and believe nothing in it."""


class ApiError(AbonoError):
    """RFC 9457 problem details. Branch on `code`; the API's errors page says cause and cure of each."""

    def __init__(self, status: int, problem: dict[str, Any], request_id: str | None) -> None:
        self.status = status
        self.code = str(problem.get("code", "unknown"))
        self.detail = str(problem.get("detail", ""))
        self.errors: list[dict[str, Any]] = problem.get("errors") or []
        self.request_id = request_id
        super().__init__(f"{status} {self.code}: {self.detail}".removesuffix(": "))


class Invalid(ApiError): ...


class Unauthenticated(ApiError): ...


class PaymentRefused(ApiError): ...


class Forbidden(ApiError): ...


class NotFound(ApiError): ...


class Conflict(ApiError): ...


class RateLimited(ApiError): ...


class ServerFailure(ApiError): ...


_BY_STATUS: dict[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.PAYMENT_REQUIRED: PaymentRefused,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimited,
}


def error_of(response: httpx.Response) -> ApiError:
    """The exception for an answer that is no success, also for one that a proxy gave."""
    kind = _BY_STATUS.get(response.status_code)
    if kind is None:
        kind = ServerFailure if response.is_server_error else Invalid
    return kind(response.status_code, problem_of(response), response.headers.get("X-Request-Id"))


def problem_of(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
