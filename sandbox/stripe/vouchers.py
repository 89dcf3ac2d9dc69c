"""OXXO vouchers: issued when an intent is confirmed, paid at a counter, dead at midnight."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.core import new_id
from sandbox.stripe.charging import Charging
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World

MEXICO_CITY = ZoneInfo("America/Mexico_City")
AMOUNT_MINOR_MIN = 1_000
AMOUNT_MINOR_MAX = 1_000_000
EXPIRES_AFTER_DAYS_DEFAULT = 3


class Vouchers:
    """`vouchers[number]` remembers every slip ever printed: people pay old ones."""

    def __init__(self, world: World, charging: Charging) -> None:
        self.world = world
        self.charging = charging

    def check_amount(self, amount: int) -> None:
        if amount < AMOUNT_MINOR_MIN:
            raise Refusal(
                400, "Amount must be at least $10.00 mxn.", param="amount", code="amount_too_small"
            )
        if amount > AMOUNT_MINOR_MAX:
            raise Refusal(
                400, "Amount must be no more than $10,000.00 mxn.", param="amount",
                code="amount_too_large",
            )  # fmt: skip

    def issue(self, intent: Object, billing: dict[str, Any]) -> None:
        _check_billing(billing)
        options = intent["payment_method_options"].get("oxxo", {})
        days = int(options.get("expires_after_days") or EXPIRES_AFTER_DAYS_DEFAULT)
        expires_at = last_second_of_day(self.world.now(), days)
        number = "".join(secrets.choice("0123456789") for _ in range(20))
        self.world.all("vouchers")[number] = {
            "id": number,
            "intent": intent["id"],
            "expires_at": expires_at,
            "state": "open",
        }
        intent.update(
            status="requires_action",
            last_payment_error=None,
            next_action={
                "type": "oxxo_display_details",
                "oxxo_display_details": {
                    "expires_after": expires_at,
                    "hosted_voucher_url": "https://payments.stripe.com/oxxo/voucher/"
                    + new_id("test_", 24),
                    "number": number,
                },
            },
            _reference=number,
        )
        self.world.wake_at(expires_at)
        self.world.emit("payment_intent.requires_action", intent)
        self.charging.book(intent, "pending", reference=number)

    def pay(self, number: str, amount_minor: int | None) -> Object:
        """The counter takes the cash, whatever Stripe thinks of the voucher by now: a store that
        did not hear of the expiry or the cancellation is how late money comes about."""
        voucher = self.world.all("vouchers")[number]
        intent = self.world.get("payment_intents", voucher["intent"])
        voucher["state"] = "paid"
        again = intent["status"] == "succeeded"
        self.charging.succeed(intent, amount_minor or intent["amount"], again=again)
        return intent

    def expire(self, number: str) -> Object:
        voucher = self.world.all("vouchers")[number]
        intent = self.world.get("payment_intents", voucher["intent"])
        if voucher["state"] != "open":
            return intent
        voucher["state"] = "expired"
        if intent["status"] == "requires_action" and intent["_reference"] == number:
            method = self.world.by_id(intent["payment_method"] or "")
            intent.update(
                status="requires_payment_method",
                next_action=None,
                payment_method=None,
                last_payment_error={
                    "type": "invalid_request_error",
                    "code": "payment_intent_payment_attempt_expired",
                    "message": "The latest payment attempt has expired.",
                    **({"payment_method": self.world.render(method)} if method else {}),
                },
            )
            self.world.emit("payment_intent.payment_failed", intent)
            self.charging.book(intent, "expired", reference=number)
        return intent

    def close(self, intent: Object) -> None:
        """The intent was canceled: its voucher no longer expires."""
        voucher = self.world.all("vouchers").get(intent.get("_reference") or "")
        if voucher is not None and voucher["state"] == "open":
            voucher["state"] = "canceled"

    def tick(self) -> None:
        for voucher in list(self.world.all("vouchers").values()):
            if voucher["state"] != "open":
                continue
            if voucher["expires_at"] <= self.world.now():
                self.expire(voucher["id"])
            else:
                self.world.wake_at(voucher["expires_at"])


def last_second_of_day(now: int, days: int) -> int:
    """23:59:59 in Mexico City, `days` days from today."""
    day = datetime.fromtimestamp(now, UTC).astimezone(MEXICO_CITY) + timedelta(days=days)
    return int(day.replace(hour=23, minute=59, second=59, microsecond=0).timestamp())


def _check_billing(billing: dict[str, Any]) -> None:
    if not billing.get("email"):
        raise Refusal(
            400, "OXXO needs an e-mail address.", param="billing_details[email]",
            code="parameter_missing",
        )  # fmt: skip
    names = str(billing.get("name") or "").split()
    if len(names) < 2 or any(len(name) < 2 for name in (names[0], names[-1])):
        raise Refusal(
            400, "OXXO needs a first and a last name of two letters or more.",
            param="billing_details[name]", code="parameter_invalid_string",
        )  # fmt: skip
