"""One place that says what a call without an answer means: did it happen, and what comes next?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from models.outcomes import DeclineClass, FallbackReason
from models.snapshots import Decline
from providers.failures import FailureKind, ProviderFailure

_KIND_BY_STATUS: dict[int, tuple[FailureKind, FallbackReason | None]] = {
    400: (FailureKind.REJECTED, None),
    401: (FailureKind.MISCONFIGURED, FallbackReason.PROVIDER_NOT_CONFIGURED),
    402: (FailureKind.DECLINED, None),
    403: (FailureKind.MISCONFIGURED, FallbackReason.PROVIDER_NOT_CONFIGURED),
    404: (FailureKind.NOT_FOUND, None),
    # A proxy in between says so when the upstream did not finish: the request may have gone through.
    408: (FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
    409: (FailureKind.REJECTED, None),
    422: (FailureKind.REJECTED, None),
    428: (FailureKind.REJECTED, None),
    429: (FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
    # Says that it is away, and may have begun all the same.
    503: (FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE),
}

# The account lacks this way to pay: nothing wrong with the request, another provider may have it.
_SWITCHED_OFF = re.compile(r"\.(oxxo|cash|spei|bank)_payment(\.\w+)*\.disabled$")
# Codes are Conekta's own words; anything else in their place (a name, an address) is not repeated.
_CODE = re.compile(r"[\w.:-]{1,160}")

# The first word found in the code decides; a decline that nobody knows is worth another try later.
_DECLINE_CLASS_BY_WORD: tuple[tuple[str, DeclineClass], ...] = (
    ("insufficient_funds", DeclineClass.SOFT),
    ("stolen", DeclineClass.HARD),
    ("lost", DeclineClass.HARD),
    ("fraud", DeclineClass.HARD),
    ("suspicious", DeclineClass.HARD),
    ("blocked", DeclineClass.HARD),
    ("expired", DeclineClass.CUSTOMER_ACTION),
    ("tokenization", DeclineClass.CUSTOMER_ACTION),
    ("invalid", DeclineClass.CUSTOMER_ACTION),
    ("cvc", DeclineClass.CUSTOMER_ACTION),
    ("3ds", DeclineClass.CUSTOMER_ACTION),
    ("authentication", DeclineClass.CUSTOMER_ACTION),
    ("timeout", DeclineClass.TECHNICAL),
)
_RETRY_AFTER_SECONDS_MAX = 3600.0


def from_answer(
    operation: str, status: int, body: Any, headers: Mapping[str, str]
) -> ProviderFailure:
    """Classify an answer that is not 2xx, also when its body is not Conekta's."""
    code = _safe(_dig(body, "details", 0, "code"))
    kind, reason = _kind_of(status)
    if code is not None and _SWITCHED_OFF.search(code):
        kind, reason = FailureKind.REJECTED, FallbackReason.UNAVAILABLE
    parts = [
        f"Conekta answered {status} to {operation}",
        code,
        _safe(_dig(body, "details", 0, "param")),
    ]
    return ProviderFailure(
        kind,
        ", ".join(part for part in parts if part),
        code=code or f"http_{status}",
        fallback_reason=reason,
        decline=_decline(body, code) if kind is FailureKind.DECLINED else None,
        provider_object_id=_dig(body, "data", "id"),
        request_id=_dig(body, "log_id"),
        retry_after_seconds=_retry_after_seconds(headers.get("Retry-After")),
    )


def from_transport(operation: str, error: Exception) -> ProviderFailure:
    """Classify what urllib3 raised: did the request leave this machine?"""
    from urllib3 import exceptions

    name = type(error).__name__
    if isinstance(error, exceptions.LocationValueError):
        message = f"the base address for {operation} is not usable ({name})"
        reason = FallbackReason.PROVIDER_NOT_CONFIGURED
        return ProviderFailure(FailureKind.MISCONFIGURED, message, fallback_reason=reason)
    if isinstance(error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError):
        message = f"no connection to Conekta for {operation} ({name})"
        # To urllib3 a refused connection is a kind of connect timeout.
        refused = isinstance(error, exceptions.NewConnectionError)
        reason = FallbackReason.UNAVAILABLE if refused else FallbackReason.TIMEOUT
        return ProviderFailure(FailureKind.UNAVAILABLE, message, fallback_reason=reason)
    timed_out = isinstance(error, exceptions.TimeoutError)
    reason = FallbackReason.TIMEOUT if timed_out else FallbackReason.API_ERROR
    message = f"the answer of Conekta to {operation} was lost ({name})"
    return ProviderFailure(FailureKind.UNKNOWN, message, fallback_reason=reason)


def from_tls(operation: str, reason: str) -> ProviderFailure:
    """A certificate that does not verify stops the call before it starts; other TLS errors may not."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        message = f"the certificate of Conekta's address does not verify ({operation})"
        kind, fallback = FailureKind.UNAVAILABLE, FallbackReason.UNAVAILABLE
    else:
        message = f"the TLS connection to Conekta broke during {operation}"
        kind, fallback = FailureKind.UNKNOWN, FallbackReason.API_ERROR
    return ProviderFailure(kind, message, fallback_reason=fallback)


def gave_up_waiting(operation: str, *, started: bool) -> ProviderFailure:
    if started:
        kind, message = FailureKind.UNKNOWN, f"{operation} took too long at Conekta"
        return ProviderFailure(kind, message, fallback_reason=FallbackReason.TIMEOUT)
    message = f"no thread became free for {operation}, so nothing was sent"
    reason = FallbackReason.UNAVAILABLE
    return ProviderFailure(FailureKind.UNAVAILABLE, message, fallback_reason=reason)


def refused_by_sdk(operation: str, fields: list[str]) -> ProviderFailure:
    message = f"the conekta SDK refused {operation} before sending it: {', '.join(fields)}"
    return ProviderFailure(FailureKind.REJECTED, message, code="invalid_request")


def unreadable(operation: str, what: str) -> ProviderFailure:
    """Conekta said yes, but not in a way that we can read: it happened, or it did not."""
    message = f"the answer of Conekta to {operation} cannot be read: {what}"
    reason = FallbackReason.API_ERROR
    return ProviderFailure(FailureKind.UNKNOWN, message, fallback_reason=reason)


def after_the_write(failure: ProviderFailure) -> ProviderFailure:
    """A read that failed *after* a write went through says nothing about the write: unknown."""
    return ProviderFailure(
        FailureKind.UNKNOWN,
        f"written, but not read back: {failure.message}",
        code=failure.code,
        fallback_reason=failure.fallback_reason or FallbackReason.API_ERROR,
        request_id=failure.request_id,
        retry_after_seconds=failure.retry_after_seconds,
    )


def unsupported(message: str) -> ProviderFailure:
    return ProviderFailure(FailureKind.UNSUPPORTED, message, code="unsupported")


def decline_of(code: str) -> Decline:
    """The decline that a failure code of Conekta's stands for."""
    for word, decline_class in _DECLINE_CLASS_BY_WORD:
        if word in code:
            return Decline(decline_class=decline_class, code=code)
    return Decline(decline_class=DeclineClass.SOFT, code=code)


def _kind_of(status: int) -> tuple[FailureKind, FallbackReason | None]:
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    if 400 <= status < 500:
        return FailureKind.REJECTED, None
    # 5xx, and a redirect or anything else that the API never documents.
    return FailureKind.UNKNOWN, FallbackReason.API_ERROR


def _dig(body: Any, *path: str | int) -> str | None:
    """The text at `path`, or None when anything on the way is not as expected."""
    found = body
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return None
    return found if isinstance(found, str) else None


def _decline(body: Any, code: str | None) -> Decline:
    failure_code = _safe(_dig(body, "data", "charges", "data", -1, "failure_code"))
    return decline_of(failure_code or code or "declined")


def _safe(text: str | None) -> str | None:
    return text if text and _CODE.fullmatch(text) else None


def _retry_after_seconds(header: str | None) -> float | None:
    """Seconds or an HTTP date, as RFC 9110 allows both."""
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
