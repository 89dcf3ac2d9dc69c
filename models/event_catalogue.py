"""Every event that an application is told, with an example of what it carries.

The examples are the description: `docs/events.md` is made of them (`make docs`), patterns of webhook
endpoints choose from them, and the invariants that the scenarios end with hold every event that was
really told to them (`complaint`). A new type, or a new field of one, is written down here first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TEST_EVENT = "webhook.test"

_SUBSCRIPTION_ID = "01980a3e-7d00-7c3a-9b1e-2f6d0c4b8a11"
_PURCHASE_ID = "01980a3e-7d00-7d41-8a52-90b7e1c3f622"
_ORGANIZATION_ID = "01980a3e-7d00-71b7-9d0c-5e8f2a6b4c33"
_INVOICE_ID = "01980a3e-7d00-7e90-8c44-1b2d3f4a5c66"
_PLAN_ID = "01980a3e-7d00-7a12-8e01-6c7d8e9f0a77"
_OTHER_PLAN_ID = "01980a3e-7d00-7a12-8e01-6c7d8e9f0a78"
_PAYMENT_ID = "01980a3e-7d00-7b23-9f12-7d8e9f0a1b88"
_REFUND_ID = "01980a3e-7d00-7c34-8023-8e9f0a1b2c99"
_METHOD_ID = "01980a3e-7d00-7d45-9134-9f0a1b2c3daa"
_BENEFIT_ID = "01980a3e-7d00-7e56-8245-0a1b2c3d4ebb"
_DISPUTE_ID = "01980a3e-7d00-7f67-9356-1b2c3d4e5fcc"
_ENDPOINT_ID = "01980a3e-7d00-7078-8467-2c3d4e5f60dd"
_PERIOD_END = "2026-12-23T00:00:00+00:00"


class About(StrEnum):
    """Whose order an event has its `sequence` in."""

    SUBSCRIPTION = "subscription"
    PURCHASE = "purchase"
    BENEFIT = "benefit"
    ENDPOINT = "webhook endpoint"


# What every event about one of them carries beside its own fields.
_CARRIED: dict[About, dict[str, Any]] = {
    About.SUBSCRIPTION: {
        "subscription_id": _SUBSCRIPTION_ID,
        "organization_id": _ORGANIZATION_ID,
        "status": "active",
    },
    About.PURCHASE: {
        "purchase_id": _PURCHASE_ID,
        "organization_id": _ORGANIZATION_ID,
        "status": "paid",
    },
    About.BENEFIT: {},
    About.ENDPOINT: {},
}


@dataclass(frozen=True)
class EventType:
    """`data` is the example of an event's own fields; those in `optional` are not in each of them, and
    those in `nullable` may be null. The same type can be about several things: it has a form for each."""

    type: str
    when: str
    about: About
    data: Mapping[str, Any] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()

    @property
    def example(self) -> dict[str, Any]:
        return {**_CARRIED[self.about], **self.data}


def _of_subscription(
    type_: str,
    when: str,
    *,
    optional: tuple[str, ...] = (),
    nullable: tuple[str, ...] = (),
    **data: Any,
) -> EventType:
    own = frozenset(optional), frozenset(nullable)
    return EventType(type_, when, About.SUBSCRIPTION, data, *own)


def _of_purchase(
    type_: str, when: str, *, optional: tuple[str, ...] = (), **data: Any
) -> EventType:
    return EventType(type_, when, About.PURCHASE, data, frozenset(optional))


def _offer(plan_id: str, amount_minor: int) -> dict[str, Any]:
    return {
        "plan_id": plan_id,
        "billing_interval": "monthly",
        "quantity": 1,
        "amount_minor": amount_minor,
    }


_INVOICE: dict[str, Any] = {"invoice_id": _INVOICE_ID}
_MONEY: dict[str, Any] = {"amount_minor": 19900, "currency": "MXN"}
_FALLBACK: dict[str, Any] = {
    "attempted_provider": "conekta",
    "fallback_provider": "stripe",
    "reason": "unavailable",
}
_REFUND: dict[str, Any] = {"invoice_id": _INVOICE_ID, "refund_id": _REFUND_ID, **_MONEY}
_DISPUTE: dict[str, Any] = {
    "dispute_id": _DISPUTE_ID,
    "invoice_id": _INVOICE_ID,
    **_MONEY,
    "reason": "fraudulent",
    "dispute_status": "open",
}
_ENDPOINT: dict[str, Any] = {
    "webhook_endpoint_id": _ENDPOINT_ID,
    "url": "https://shop.example/hooks/abono",
    "status_reason": "failing",
    "last_error": "timeout",
}


def _benefit(status: str) -> dict[str, Any]:
    return {
        "benefit_id": _BENEFIT_ID,
        "organization_id": _ORGANIZATION_ID,
        "purchase_id": _PURCHASE_ID,
        "status": status,
    }


_STATUSES = (
    _of_subscription("subscription.trialing", "a trial began", status="trialing"),
    _of_subscription("subscription.active", "it is paid, and access is given"),
    _of_subscription("subscription.past_due", "a payment is missing", status="past_due"),
    _of_subscription(
        "subscription.paused",
        "nothing is billed until it is resumed; `resume_at` when that is known",
        optional=("resume_at",),
        nullable=("resume_at",),
        status="paused",
        resume_at="2027-01-15T00:00:00+00:00",
    ),
    _of_subscription("subscription.canceled", "it has ended", status="canceled"),
    _of_subscription("subscription.expired", "its start was never paid", status="expired"),
)
_PLANS_FOR_LATER = (
    _of_subscription("subscription.cancel_scheduled", "it will end with its period"),
    _of_subscription("subscription.cancel_unscheduled", "it will not end with its period"),
    _of_subscription(
        "subscription.pause_scheduled",
        "it will be paused with its period",
        nullable=("resume_at",),
        resume_at="2027-01-15T00:00:00+00:00",
        pause_at=_PERIOD_END,
    ),
    _of_subscription("subscription.pause_unscheduled", "it will not be paused with its period"),
    _of_subscription(
        "subscription.pause_failed",
        "nobody paid, and the provider refused to pause: it stays past due, because it is billed on",
        status="past_due",
        reason="The provider's own words.",
    ),
    _of_subscription("subscription.resumed", "the pause is over"),
    _of_subscription(
        "subscription.resume_failed",
        "the provider refused to end the pause by itself",
        status="paused",
        reason="The provider's own words.",
    ),
    _of_subscription(
        "subscription.payment_method_changed",
        "another card pays from now on",
        payment_method_id=_METHOD_ID,
    ),
    _of_subscription(
        "trial.will_end",
        "the trial ends in three days",
        status="trialing",
        trial_end=_PERIOD_END,
        has_payment_method=True,
    ),
)
_CHANGES = (
    _of_subscription(
        "subscription.changed",
        "another plan, interval or quantity from now on",
        before=_offer(_PLAN_ID, 19900),
        after=_offer(_OTHER_PLAN_ID, 49900),
    ),
    _of_subscription(
        "subscription.change_scheduled",
        "a change waits for its payment or for the next period",
        **_offer(_OTHER_PLAN_ID, 49900),
        plan_name="Business",
    ),
    _of_subscription("subscription.change_unscheduled", "a change was taken back"),
    _of_subscription("subscription.change_lapsed", "a change was not paid for"),
)
_COLLECTING = (
    _of_subscription("invoice.paid", "an invoice is paid", **_INVOICE),
    _of_subscription(
        "invoice.payment_failed",
        "one try was refused; `next_attempt_at` is null when nothing is tried by itself any more",
        nullable=("next_attempt_at",),
        status="past_due",
        **_INVOICE,
        decline_class="soft",
        attempts_left=3,
        next_attempt_at="2026-11-25T09:00:00+00:00",
    ),
    _of_subscription("invoice.failed", "an invoice is given up", status="past_due", **_INVOICE),
    _of_subscription(
        "invoice.collection_ended",
        "not paid in its time, and the plan keeps the subscription",
        status="past_due",
        **_INVOICE,
    ),
    _of_subscription(
        "invoice.upcoming", "a stored card is charged in seven days", at=_PERIOD_END, **_MONEY
    ),
    _of_subscription(
        "payment.issued", "a voucher, a CLABE or a page is there to be paid", **_INVOICE
    ),
    _of_purchase("payment.issued", "a page is there to be paid", status="pending", **_INVOICE),
    _of_subscription(
        "payment.reminder",
        "a voucher expires soon and is unpaid",
        nullable=("expires_at",),
        **_INVOICE,
        expires_at="2026-11-26T05:59:59+00:00",
    ),
    _of_subscription("payment.expired", "a voucher expired", status="past_due", **_INVOICE),
    _of_subscription("payment.fallback", "another provider was asked instead", **_FALLBACK),
    _of_purchase("payment.fallback", "another provider was asked instead", **_FALLBACK),
)
_USAGE = (
    _of_subscription(
        "usage.limit_reached",
        "a report of usage reached a limit of the plan",
        nullable=("resets_at",),
        metric="api_calls",
        limit=1000,
        used=1004,
        resets_at=_PERIOD_END,
    ),
)
_MONEY_BACK = (
    _of_subscription(
        "payment.unapplied",
        "money came that pays no invoice",
        **_INVOICE,
        case="after_end",
        action="refund",
        payment_id=_PAYMENT_ID,
        **_MONEY,
    ),
    _of_purchase("payment.unapplied", "money came that pays no invoice", **_INVOICE, **_MONEY),
    _of_subscription(
        "invoice.refunded",
        "money of an invoice went back; `invoice_status` is `refunded` when nothing is left",
        **_REFUND,
        invoice_status="refunded",
    ),
    _of_subscription(
        "refund.failed",
        "the provider refuses a refund, or one that had gone came back: `invoice_status` is what holds now",
        **_REFUND,
        invoice_status="paid",
        failure_code="insufficient_funds",
    ),
    _of_purchase(
        "refund.failed",
        "the provider refuses a refund, or one that had gone came back: `invoice_status` is what holds now",
        optional=("status",),
        **_REFUND,
        invoice_status="paid",
        failure_code="insufficient_funds",
    ),
    _of_subscription(
        "credit.added",
        "unapplied money became credit for coming invoices",
        payment_id=_PAYMENT_ID,
        **_MONEY,
        credit_minor=19900,
    ),
    _of_subscription("dispute.opened", "a payment is taken back through the bank", **_DISPUTE),
    _of_purchase("dispute.opened", "a payment is taken back through the bank", **_DISPUTE),
    _of_subscription(
        "dispute.closed", "a dispute is decided", **{**_DISPUTE, "dispute_status": "won"}
    ),
    _of_purchase("dispute.closed", "a dispute is decided", **{**_DISPUTE, "dispute_status": "won"}),
)
_SALES = (
    _of_purchase("purchase.paid", "the product is paid", **_INVOICE),
    _of_purchase("purchase.expired", "its page ran out", status="expired", **_INVOICE),
    _of_purchase("purchase.failed", "no provider could open a page", status="failed"),
    _of_purchase(
        "purchase.refunded",
        "money of a purchase went back; `status` is `refunded` when nothing is left",
        **{"status": "refunded", **_REFUND},
    ),
    EventType(
        "benefit.granted",
        "an organization has a benefit; `purchase_id` is null when it came without a sale",
        About.BENEFIT,
        _benefit("granted"),
        nullable=frozenset({"purchase_id"}),
    ),
    EventType(
        "benefit.revoked",
        "an organization has a benefit no longer",
        About.BENEFIT,
        _benefit("revoked"),
        nullable=frozenset({"purchase_id"}),
    ),
)
_ENDPOINTS = (
    EventType(
        "webhook_endpoint.paused",
        "an endpoint has failed for two days; told to your other endpoints",
        About.ENDPOINT,
        _ENDPOINT,
        nullable=frozenset({"last_error"}),
    ),
    EventType(
        "webhook_endpoint.disabled",
        "an endpoint answered 410 Gone; told to your other endpoints",
        About.ENDPOINT,
        {**_ENDPOINT, "status_reason": "gone", "last_error": "refused"},
        nullable=frozenset({"last_error"}),
    ),
    EventType(
        TEST_EVENT,
        "you asked for it; only by webhook, never in the list of events",
        About.ENDPOINT,
        {"webhook_endpoint_id": _ENDPOINT_ID},
    ),
)
CATALOGUE: tuple[EventType, ...] = (
    *_STATUSES,
    *_PLANS_FOR_LATER,
    *_CHANGES,
    *_COLLECTING,
    *_USAGE,
    *_MONEY_BACK,
    *_SALES,
    *_ENDPOINTS,
)
EVENT_TYPES = frozenset(one.type for one in CATALOGUE)


def complaint(type_: str, data: Mapping[str, Any]) -> str | None:
    """What an event that was told has and the catalogue has not, or the other way round."""
    forms = [one for one in CATALOGUE if one.type == type_]
    if not forms:
        return f"{type_} is not in the catalogue"
    found: list[list[str]] = [list(_differences(form, data)) for form in forms]
    nearest = sorted(found, key=lambda differences: len(differences))[0]
    return f"{type_}: {'; '.join(nearest)}" if nearest else None


def _differences(form: EventType, data: Mapping[str, Any]) -> Iterator[str]:
    example = form.example
    for name in sorted(example.keys() - data.keys() - form.optional):
        yield f"{name} is missing"
    for name, value in data.items():
        if name not in example:
            yield f"{name} is not in the catalogue"
        elif value is None:
            if name not in form.nullable:
                yield f"{name} is null"
        elif type(value) is not type(example[name]):
            yield f"{name} is a {type(value).__name__}"
