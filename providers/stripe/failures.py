"""One place that says what a call to Stripe without a good answer means."""

from __future__ import annotations

import re
from typing import Any

import httpx
import stripe

from models.outcomes import DeclineClass, FallbackReason
from models.snapshots import Decline
from providers.failures import FailureKind, NotOnSale, ProviderFailure

# Nobody decided against the customer: an issuer, a network or Stripe was out of order.
TECHNICAL_DECLINE_CODES = frozenset(
    {"issuer_not_available", "processing_error", "reenter_transaction", "try_again_later"}
)
# The networks' own "never again", whatever Stripe makes of it: Mastercard's merchant advice codes (do not
# try again; stop recurring), and what both networks answer for a card that is blocked or revoked.
HARD_NETWORK_ADVICE_CODES = frozenset({"03", "21"})
HARD_NETWORK_DECLINE_CODES = frozenset({"04", "07", "15", "41", "43", "46", "R0", "R1", "R3"})
# Stripe's decline codes; what is in no set is decided by the advice code, and is soft without one.
HARD_DECLINE_CODES = frozenset(
    {
        "card_not_supported",
        "currency_not_supported",
        "do_not_try_again",
        "fraudulent",
        "invalid_account",
        "lost_card",
        "merchant_blacklist",
        "pickup_card",
        "restricted_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "security_violation",
        "stolen_card",
        "stop_payment_order",
        "transaction_not_allowed",
    }
)
CUSTOMER_DECLINE_CODES = frozenset(
    {
        "authentication_required",
        "expired_card",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_number",
        "incorrect_zip",
        "invalid_cvc",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "invalid_number",
        "invoice_payment_intent_requires_action",
        "new_account_information_available",
        "payment_intent_authentication_failure",
        "subscription_payment_intent_requires_action",
    }
)
_CLASS_BY_ADVICE = {
    "confirm_card_data": DeclineClass.CUSTOMER_ACTION,
    "do_not_try_again": DeclineClass.HARD,
    "try_again_later": DeclineClass.SOFT,
}
_WHAT_IS_SOLD = re.compile(
    r"(phases\[1\]\[items\]|(line_)?items)\[0\]\[price(_data)?\](\[product\])?"
)
ACTION_NEEDED_CODES = frozenset(
    {
        "authentication_required",
        "invoice_payment_intent_requires_action",
        "subscription_payment_intent_requires_action",
    }
)


def classify(error: stripe.StripeError, object_id: str | None = None) -> ProviderFailure | None:
    """The failure that `error` stands for; None when it is no doing of Stripe's but a bug of ours.

    `object_id` is what the call was about, if that is known. Stripe's own message is left out: it
    may quote what the customer typed.
    """
    if isinstance(error, stripe.APIConnectionError):
        return _connection_failure(error.__cause__, object_id)
    if _is_about_what_is_sold(error):
        return NotOnSale(_describe(error), code=_code(error), request_id=error.request_id)
    kind, reason = _kind_and_reason(error)
    return ProviderFailure(
        kind,
        _describe(error),
        code=_code(error),
        fallback_reason=reason,
        decline=decline_of(error.error) if kind is FailureKind.DECLINED else None,
        provider_object_id=object_id,
        request_id=error.request_id,
        retry_after_seconds=_retry_after_seconds(error),
    )


def _is_about_what_is_sold(error: stripe.StripeError) -> bool:
    """A price or product that is archived, deleted or no such thing: Stripe names the parameter."""
    if not isinstance(error, stripe.InvalidRequestError):
        return False
    return _WHAT_IS_SOLD.fullmatch(str(error.param or "")) is not None


def decline_of(error: object) -> Decline:
    """What an error object of Stripe (of a call, or of the last payment) says about a refusal."""
    code = getattr(error, "decline_code", None) or getattr(error, "code", None) or "card_declined"
    advice = getattr(error, "advice_code", None)
    if code in HARD_DECLINE_CODES or _is_forbidden(error):
        decline_class = DeclineClass.HARD
    elif code in CUSTOMER_DECLINE_CODES:
        decline_class = DeclineClass.CUSTOMER_ACTION
    elif code in TECHNICAL_DECLINE_CODES:
        decline_class = DeclineClass.TECHNICAL
    else:
        decline_class = _CLASS_BY_ADVICE.get(str(advice), DeclineClass.SOFT)
    return Decline(decline_class=decline_class, code=str(code))


def _is_forbidden(error: object) -> bool:
    """Whether the network itself says that this card must not be asked again."""
    return (
        getattr(error, "network_advice_code", None) in HARD_NETWORK_ADVICE_CODES
        or getattr(error, "network_decline_code", None) in HARD_NETWORK_DECLINE_CODES
        or getattr(error, "advice_code", None) == "do_not_try_again"
    )


def asks_for_customer(failure: ProviderFailure) -> bool:
    """Whether a charge stopped because the customer has to authenticate: nothing was refused."""
    decline_code = None if failure.decline is None else failure.decline.code
    return bool({failure.code, decline_code} & ACTION_NEEDED_CODES)


def unknown(message: str, object_id: str | None, reason: FallbackReason) -> ProviderFailure:
    """A call that was executed, or may have been, but whose answer is of no use."""
    return ProviderFailure(
        FailureKind.UNKNOWN, message, fallback_reason=reason, provider_object_id=object_id
    )


def unsupported(message: str, object_id: str | None = None) -> ProviderFailure:
    return ProviderFailure(
        FailureKind.UNSUPPORTED, message, code="unsupported", provider_object_id=object_id
    )


def _kind_and_reason(error: stripe.StripeError) -> tuple[FailureKind, FallbackReason | None]:
    if isinstance(error, stripe.CardError):
        return FailureKind.DECLINED, None
    if isinstance(error, stripe.RateLimitError):
        return FailureKind.UNAVAILABLE, FallbackReason.API_ERROR
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return FailureKind.MISCONFIGURED, FallbackReason.PROVIDER_NOT_CONFIGURED
    if isinstance(error, stripe.InvalidRequestError):
        if error.http_status == 404:
            return FailureKind.NOT_FOUND, None
        return FailureKind.REJECTED, None
    if isinstance(error, stripe.IdempotencyError):
        return FailureKind.REJECTED, None
    if error.http_status == 503:
        # Says that it is away, and may have begun all the same.
        return FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE
    # 5xx, a body that is no JSON, and 409: an earlier call with this key is still running.
    return FailureKind.UNKNOWN, FallbackReason.API_ERROR


def _connection_failure(
    cause: BaseException | None, object_id: str | None
) -> ProviderFailure | None:
    if isinstance(cause, (httpx.ConnectTimeout, httpx.PoolTimeout)):
        kind, reason = FailureKind.UNAVAILABLE, FallbackReason.TIMEOUT
    elif isinstance(cause, httpx.ConnectError):
        kind, reason = FailureKind.UNAVAILABLE, FallbackReason.UNAVAILABLE
    elif isinstance(cause, httpx.TimeoutException):
        kind, reason = FailureKind.UNKNOWN, FallbackReason.TIMEOUT
    elif isinstance(cause, httpx.TransportError):
        kind, reason = FailureKind.UNKNOWN, FallbackReason.API_ERROR
    else:
        # A closed event loop, a wrong argument: the SDK calls it a connection error all the same.
        return None
    return ProviderFailure(
        kind, type(cause).__name__, fallback_reason=reason, provider_object_id=object_id
    )


def _code(error: stripe.StripeError) -> str | None:
    """Some exception classes of the SDK leave `code` empty although the body has one."""
    found = error.code or getattr(error.error, "code", None) or getattr(error.error, "type", None)
    return None if found is None else str(found)


def _describe(error: stripe.StripeError) -> str:
    parts: dict[str, Any] = {
        "status": error.http_status,
        "type": getattr(error.error, "type", None),
        "code": _code(error),
        "param": getattr(error, "param", None),
        "request": error.request_id,
    }
    known = " ".join(f"{name}={value}" for name, value in parts.items() if value is not None)
    return f"{type(error).__name__} {known}"


def _retry_after_seconds(error: stripe.StripeError) -> float | None:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
