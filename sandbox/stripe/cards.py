"""Stripe's documented test cards: which name stands for which card, and how the card behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TestCard:
    brand: str
    last4: str
    country: str = "US"
    decline_code: str | None = None
    # "always": every payment asks the customer. "until_set_up": only the first one does.
    authentication: str = "never"
    refund: str = "succeeded"  # What a refund to it begins as.


def _declining(last4: str, decline_code: str) -> TestCard:
    return TestCard("visa", last4, decline_code=decline_code)


# Stripe refuses to attach some of the declining cards. Here all of them attach and fail when they are
# charged, so that every decline can be reached on every path.
TEST_CARDS: dict[str, TestCard] = {
    "visa": TestCard("visa", "4242"),
    "visa_debit": TestCard("visa", "5556"),
    "mastercard": TestCard("mastercard", "4444"),
    "amex": TestCard("amex", "8431"),
    "mx": TestCard("visa", "0008", country="MX"),
    "chargeCustomerFail": _declining("0341", "generic_decline"),
    "visa_chargeDeclined": _declining("0002", "generic_decline"),
    "chargeDeclined": _declining("0002", "generic_decline"),
    "visa_chargeDeclinedInsufficientFunds": _declining("9995", "insufficient_funds"),
    "chargeDeclinedInsufficientFunds": _declining("9995", "insufficient_funds"),
    "visa_chargeDeclinedLostCard": _declining("9987", "lost_card"),
    "visa_chargeDeclinedStolenCard": _declining("9979", "stolen_card"),
    "chargeDeclinedExpiredCard": _declining("0069", "expired_card"),
    "chargeDeclinedIncorrectCvc": _declining("0127", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _declining("0119", "processing_error"),
    "chargeDeclinedFraudulent": _declining("0019", "fraudulent"),
    "pendingRefund": TestCard("visa", "7726", refund="pending"),
    "authenticationRequired": TestCard("visa", "3184", authentication="always"),
    "authenticationRequiredOnSetup": TestCard("visa", "3155", authentication="until_set_up"),
}

# Declines that Stripe reports with their own error code; all others have `card_declined`.
_OWN_ERROR_CODES = {"expired_card", "incorrect_cvc", "processing_error", "authentication_required"}

_ADVICE_BY_DECLINE_CODE = {
    "insufficient_funds": "try_again_later",
    "processing_error": "try_again_later",
    "generic_decline": "try_again_later",
    "lost_card": "do_not_try_again",
    "stolen_card": "do_not_try_again",
    "fraudulent": "do_not_try_again",
    "expired_card": "confirm_card_data",
    "incorrect_cvc": "confirm_card_data",
}

_MESSAGE_BY_DECLINE_CODE = {
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def card_of(token: str) -> TestCard | None:
    """The card behind `pm_card_visa`, `tok_visa` and the like; None for anything else."""
    for prefix in ("pm_card_", "tok_"):
        if token.startswith(prefix):
            return TEST_CARDS.get(token.removeprefix(prefix))
    return None


def decline_error(decline_code: str) -> dict[str, Any]:
    """The `last_payment_error` of a decline."""
    error = {
        "type": "card_error",
        "code": decline_code if decline_code in _OWN_ERROR_CODES else "card_declined",
        "decline_code": decline_code,
        "message": _MESSAGE_BY_DECLINE_CODE.get(decline_code, "Your card was declined."),
        "doc_url": "https://stripe.com/docs/error-codes/card-declined",
    }
    advice = _ADVICE_BY_DECLINE_CODE.get(decline_code)
    return {**error, "advice_code": advice} if advice else error
