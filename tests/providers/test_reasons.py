"""Whatever a provider answers has a class, and its class decides whether another provider is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from models.outcomes import FallbackReason
from providers.conekta import failures as conekta_failures
from providers.failures import FailureKind, ProviderFailure
from providers.polar import failures as polar_failures
from providers.stripe import failures as stripe_failures

Classify = Callable[[int, Any], ProviderFailure | None]
NO_HEADERS: Mapping[str, str] = {}


def _conekta(status: int, body: Any) -> ProviderFailure:
    return conekta_failures.from_answer("orders.create", status, body, NO_HEADERS)


def _polar(status: int, body: Any) -> ProviderFailure:
    return polar_failures.from_answer("checkouts.create", status, body, NO_HEADERS)


def _stripe(status: int, body: Any) -> ProviderFailure | None:
    """As the SDK makes errors of answers."""
    requestor = stripe.StripeClient("sk_test_x")._requestor
    with pytest.raises(stripe.StripeError) as raised:
        requestor.handle_error_response(json.dumps(body), status, body, {}, "V1")
    return stripe_failures.classify(raised.value)


CLASSIFIERS: dict[str, Classify] = {"conekta": _conekta, "polar": _polar, "stripe": _stripe}
bodies = st.fixed_dictionaries(
    {"error": st.fixed_dictionaries({"type": st.text(max_size=8), "code": st.text(max_size=8)})}
)
# Who is away, or not ours to use, may be stood in for; who said no may not.
NEEDS_A_REASON = {FailureKind.UNKNOWN, FailureKind.UNAVAILABLE, FailureKind.MISCONFIGURED}


@pytest.mark.parametrize("provider", CLASSIFIERS)
@given(status=st.integers(300, 599), body=bodies)
def test_every_answer_is_classified_and_a_decline_never_falls_back(
    provider: str, status: int, body: Any
) -> None:
    failure = CLASSIFIERS[provider](status, body)
    assert failure is not None
    assert (failure.fallback_reason is not None) is (failure.kind in NEEDS_A_REASON)
    assert (failure.decline is not None) is (failure.kind is FailureKind.DECLINED)


@pytest.mark.parametrize("provider", CLASSIFIERS)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, FallbackReason.PROVIDER_NOT_CONFIGURED),
        (402, None),
        (429, FallbackReason.API_ERROR),
        (500, FallbackReason.API_ERROR),
        (502, FallbackReason.API_ERROR),
        (503, FallbackReason.UNAVAILABLE),
        (504, FallbackReason.API_ERROR),
    ],
)
def test_the_reasons_are_the_same_at_every_provider(
    provider: str, status: int, reason: FallbackReason | None
) -> None:
    failure = CLASSIFIERS[provider](status, {"error": {"type": "x"}})
    assert failure is not None
    assert failure.fallback_reason is reason
