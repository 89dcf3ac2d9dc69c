"""Everything that can be a caller's mistake, as one tree.

AbonoError                      status, stable code, title; rendered as an RFC 9457 problem
├── InvalidRequest              422  the request does not make sense
│   ├── CurrencyNotSupported    422  the plan has no price that this customer can pay
│   └── InstrumentNotSupported  422  no provider can collect this way here
├── Unauthenticated             401
├── PermissionDenied            403
├── NotFound                    404  also what another tenant's object looks like
├── Conflict                    409  the object's state refuses the command
├── PaymentRefused              402  the customer's instrument was refused
├── HostNotAllowed              400  the Host header names a host that this API does not answer to
├── PayloadTooLarge             413
├── UriTooLong                  414
├── UnsupportedMediaType        415  the body is not sent as JSON
├── RateLimited                 429  too many requests with one key
├── HeadersTooLarge             431
└── Unavailable                 503  nothing was stored: send it again

A provider that fails is no error here but an outcome (`models.outcomes`), and a bug is no AbonoError at all.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AbonoError(Exception):
    """A mistake that the caller can understand and mend.

    `code` is stable and documented; `detail` is for people; `errors` points at fields.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = errors
        self.headers = headers or {}


class InvalidRequest(AbonoError):
    status = 422
    default_code = "invalid_request"
    title = "The request is not valid"


class CurrencyNotSupported(InvalidRequest):
    default_code = "currency_not_supported"


class InstrumentNotSupported(InvalidRequest):
    default_code = "payment_method_type_not_supported"


class ChangeNotSupported(InvalidRequest):
    default_code = "change_not_supported"


class Unauthenticated(AbonoError):
    status = 401
    default_code = "unauthenticated"
    title = "No valid API key"


class PermissionDenied(AbonoError):
    status = 403
    default_code = "permission_denied"
    title = "The API key may not do this"


class NotFound(AbonoError):
    status = 404
    default_code = "not_found"
    title = "No such object"


class Conflict(AbonoError):
    status = 409
    default_code = "conflict"
    title = "The object's state does not allow this"


class PaymentRefused(AbonoError):
    status = 402
    default_code = "payment_method_declined"
    title = "The payment method was refused"


class PayloadTooLarge(AbonoError):
    status = 413
    default_code = "payload_too_large"
    title = "The request body is too large"


class HostNotAllowed(AbonoError):
    status = 400
    default_code = "host_not_allowed"
    title = "Unknown host"


class UriTooLong(AbonoError):
    status = 414
    default_code = "uri_too_long"
    title = "The address is too long"


class UnsupportedMediaType(AbonoError):
    status = 415
    default_code = "unsupported_media_type"
    title = "The body is not JSON"


class RateLimited(AbonoError):
    status = 429
    default_code = "rate_limited"
    title = "Too many requests"


class HeadersTooLarge(AbonoError):
    status = 431
    default_code = "headers_too_large"
    title = "The request headers are too large"


class Unavailable(AbonoError):
    status = 503
    default_code = "unavailable"
    title = "Temporarily unavailable"
