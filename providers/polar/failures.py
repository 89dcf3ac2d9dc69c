"""One place that says what a call without an answer means: did it happen, and what comes next?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from models.outcomes import DeclineClass, FallbackReason
from models.snapshots import Decline
from providers.failures import FailureKind, NotOnSale, ProviderFailure

_KIND_BY_STATUS: dict[int, tuple[FailureKind, FallbackReason | None]] = {
    401: (FailureKind.MISCONFIGURED, FallbackReason.PROVIDER_NOT_CONFIGURED),
    402: (FailureKind.DECLINED, None),
    # A proxy in between says so when the upstream did not finish: the request may have gone through.
    408: (FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
    429: (FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
    # Says that it is away, and may have begun all the same.
    503: (FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE),
}
# 403 is also Polar's answer to "done already"; these names, or none, are about our token.
_ABOUT_THE_TOKEN = frozenset({None, "NotPermitted", "Unauthorized", "insufficient_scope"})
# The organization does not sell in this currency or for this amount: another provider may.
_PRICE_FIELDS = frozenset({"price_currency", "price_amount", "prices", "currency"})
# The product of a page is archived, or there is none with this id.
_PRODUCT_FIELDS = frozenset({"body.products", "body.products.0"})
# Names of errors and of fields are Polar's own words; anything else (an address) is not repeated.
_CODE = re.compile(r"[\w.-]{1,80}")
_RETRY_AFTER_SECONDS_MAX = 3600.0


def from_answer(
    operation: str, status: int, body: Any, headers: Mapping[str, str]
) -> ProviderFailure:
    """Classify an answer that is not 2xx, also when its body is not Polar's."""
    name = _safe(body.get("error")) if isinstance(body, dict) else None
    fields = _fields(body)
    kind, reason = _kind_of(status, name, fields)
    parts = [f"Polar answered {status} to {operation}", name, *sorted(fields)]
    message = ", ".join(part for part in parts if part)
    if status == 422 and _PRODUCT_FIELDS & fields:
        return NotOnSale(message, code=_code(status, name, fields))
    return ProviderFailure(
        kind,
        message,
        code=_code(status, name, fields),
        fallback_reason=reason,
        decline=Decline(decline_class=DeclineClass.SOFT, code=name or "declined")
        if kind is FailureKind.DECLINED
        else None,
        retry_after_seconds=_retry_after_seconds(headers.get("Retry-After")),
    )


def from_transport(operation: str, error: httpx.RequestError) -> ProviderFailure:
    """Classify what httpx raised: did the request leave this machine?"""
    name = type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        # An address that is none, or a token that cannot stand in a header (an empty one).
        return misconfigured(operation, name)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        kind, reason = FailureKind.UNAVAILABLE, FallbackReason.TIMEOUT
    elif isinstance(error, httpx.ConnectError):
        kind, reason = FailureKind.UNAVAILABLE, FallbackReason.UNAVAILABLE
    elif isinstance(error, httpx.TimeoutException):
        kind, reason = FailureKind.UNKNOWN, FallbackReason.TIMEOUT
    else:
        kind, reason = FailureKind.UNKNOWN, FallbackReason.API_ERROR
    lost = kind is FailureKind.UNKNOWN
    what = "the answer of Polar was lost" if lost else "no connection to Polar"
    return ProviderFailure(kind, f"{what} ({operation}, {name})", fallback_reason=reason)


def misconfigured(operation: str, what: str) -> ProviderFailure:
    message = f"the base address or the token for {operation} is not usable ({what})"
    reason = FallbackReason.PROVIDER_NOT_CONFIGURED
    return ProviderFailure(FailureKind.MISCONFIGURED, message, fallback_reason=reason)


def gave_up_waiting(operation: str) -> ProviderFailure:
    message = f"{operation} took too long at Polar"
    return ProviderFailure(FailureKind.UNKNOWN, message, fallback_reason=FallbackReason.TIMEOUT)


def unreadable(operation: str, what: str) -> ProviderFailure:
    """Polar said yes, but not in a way that we can read: it happened, or it did not."""
    message = f"the answer of Polar to {operation} cannot be read: {what}"
    return ProviderFailure(FailureKind.UNKNOWN, message, fallback_reason=FallbackReason.API_ERROR)


def rejected(message: str, code: str, **more: Any) -> ProviderFailure:
    return ProviderFailure(FailureKind.REJECTED, message, code=code, **more)


def unsupported(message: str, code: str = "unsupported", **more: Any) -> ProviderFailure:
    return ProviderFailure(FailureKind.UNSUPPORTED, message, code=code, **more)


def after_the_write(failure: ProviderFailure) -> ProviderFailure:
    """A read that failed *after* a write went through says nothing about the write: unknown."""
    return ProviderFailure(
        FailureKind.UNKNOWN,
        f"written, but not read back: {failure.message}",
        code=failure.code,
        fallback_reason=failure.fallback_reason or FallbackReason.API_ERROR,
        retry_after_seconds=failure.retry_after_seconds,
    )


def nothing_attempted(failure: ProviderFailure) -> ProviderFailure:
    """For a call whose unseen result is harmless (a page that nobody can find, a second product)."""
    if failure.kind is not FailureKind.UNKNOWN:
        return failure
    return ProviderFailure(
        FailureKind.UNAVAILABLE,
        f"nothing that anybody could pay: {failure.message}",
        code=failure.code,
        fallback_reason=failure.fallback_reason or FallbackReason.API_ERROR,
        retry_after_seconds=failure.retry_after_seconds,
    )


def _kind_of(
    status: int, name: str | None, fields: frozenset[str]
) -> tuple[FailureKind, FallbackReason | None]:
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    token_is_bad = status == 403 and name in _ABOUT_THE_TOKEN
    # A plain 404 without an error's name is about the path (an API version that is gone): no object
    # was looked for, so none is missing.
    if token_is_bad or (status == 404 and name is None):
        return FailureKind.MISCONFIGURED, FallbackReason.PROVIDER_NOT_CONFIGURED
    if status == 404:
        return FailureKind.NOT_FOUND, None
    if status == 422 and any(_PRICE_FIELDS & set(field.split(".")) for field in fields):
        return FailureKind.REJECTED, FallbackReason.UNAVAILABLE
    if 400 <= status < 500:
        return FailureKind.REJECTED, None
    # 5xx, and a redirect or anything else that the API never documents.
    return FailureKind.UNKNOWN, FallbackReason.API_ERROR


def _fields(body: Any) -> frozenset[str]:
    """The fields that a 422 complains about, such as `body.email`."""
    details = body.get("detail") if isinstance(body, dict) else None
    found = set()
    for detail in details if isinstance(details, list) else []:
        where = detail.get("loc") if isinstance(detail, dict) else None
        if isinstance(where, list):
            found.add(_safe(".".join(str(step) for step in where)))
    return frozenset(field for field in found if field)


def _code(status: int, name: str | None, fields: frozenset[str]) -> str:
    if status == 422 and fields:
        return min(fields)
    return name or f"http_{status}"


def _safe(text: Any) -> str | None:
    return text if isinstance(text, str) and _CODE.fullmatch(text) else None


def _retry_after_seconds(header: str | None) -> float | None:
    """Seconds or an HTTP date, as RFC 9110 allows both (the SDK fails on the date)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), _RETRY_AFTER_SECONDS_MAX)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = (at - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _RETRY_AFTER_SECONDS_MAX)
