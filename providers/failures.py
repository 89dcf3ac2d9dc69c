"""What can go wrong in a call to a provider, and with what it sends us: classified once, for everybody."""

from __future__ import annotations

from enum import StrEnum

from models.outcomes import FallbackReason, OutcomeClass
from models.snapshots import Decline


class FailureKind(StrEnum):
    """What is known about a call that did not give its answer."""

    DECLINED = "declined"  # Executed; the instrument was refused.
    REJECTED = "rejected"  # Refused by validation: our bug or unusable data. Not executed.
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"  # Known not to have been executed: refused connection, 429.
    UNKNOWN = "unknown"  # May have been executed: read timeout, dropped connection, 5xx.
    MISCONFIGURED = "misconfigured"  # Our key is missing, wrong or lacks a permission.
    UNSUPPORTED = "unsupported"  # The capability matrix says no.


OUTCOME_BY_FAILURE: dict[FailureKind, OutcomeClass] = {
    FailureKind.DECLINED: OutcomeClass.DECLINED,
    FailureKind.REJECTED: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.NOT_FOUND: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNAVAILABLE: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNKNOWN: OutcomeClass.UNKNOWN,
    FailureKind.MISCONFIGURED: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNSUPPORTED: OutcomeClass.NOT_ATTEMPTED,
}


class ProviderFailure(Exception):
    """A provider call that did not end in an answer, classified.

    `fallback_reason` is set when another provider may be asked instead (after an unknown outcome is
    resolved); `provider_object_id` names what a refused call created all the same (a declined Conekta
    charge still has its order); `message` is for operators: no secrets, no personal data.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        code: str | None = None,
        fallback_reason: FallbackReason | None = None,
        decline: Decline | None = None,
        provider_object_id: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.code = code
        self.fallback_reason = fallback_reason
        self.decline = decline
        self.provider_object_id = provider_object_id
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    @property
    def outcome(self) -> OutcomeClass:
        return OUTCOME_BY_FAILURE[self.kind]


class NotOnSale(ProviderFailure):
    """What the call sells cannot be sold at the provider: its plan or product is archived there, gone,
    or not what ours says. Nothing can be charged by it; `ensure_plan` and `ensure_product` make another
    when they are told which one it `replaces`."""

    def __init__(self, message: str, *, code: str | None, request_id: str | None = None) -> None:
        super().__init__(FailureKind.REJECTED, message, code=code, request_id=request_id)


class WebhookRejected(Exception):
    """The request is not an authentic webhook of this provider: answer 401 and store nothing."""


class WebhookMalformed(Exception):
    """Authentic but unreadable: answer 400 so that the provider shows it; store nothing."""
