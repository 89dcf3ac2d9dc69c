"""From Polar's objects to our snapshots, through models of our own that forgive.

Everything but the ids is optional, unknown fields are ignored and enums stay texts: the SDK's own
models refuse a value that Polar adds tomorrow.

Amounts are **net**: before tax, after discounts. Polar is the merchant of record, so the tax on top is
Polar's to collect, to pay and to give back; what our invoice asks for is the price. Prices that we make
say `tax_behavior: exclusive`, so net is exactly that price.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError

from models.outcomes import DeclineClass, NextAction, ProviderName, Redirect
from models.snapshots import (
    Capture,
    Decline,
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.polar import failures

# Money arrived with these, whatever happened to it afterwards.
_MONEY_STATUSES = frozenset({"paid", "refunded", "partially_refunded"})
# Orders of a subscription's later life: no payment of the page that started it.
_LATER_REASONS = frozenset(
    {"subscription_cycle", "subscription_update", "subscription_meter_cycle"}
)
_CHECKOUT_STATUS = {
    "expired": PaymentStatus.EXPIRED,
    "failed": PaymentStatus.DECLINED,
}
_SUBSCRIPTION_STATUS = {
    "incomplete": ProviderSubscriptionStatus.INCOMPLETE,
    "incomplete_expired": ProviderSubscriptionStatus.CANCELED,
    "trialing": ProviderSubscriptionStatus.TRIALING,
    "active": ProviderSubscriptionStatus.ACTIVE,
    "past_due": ProviderSubscriptionStatus.PAST_DUE,
    # Polar gave up collecting: access is over, and nothing brings it back.
    "unpaid": ProviderSubscriptionStatus.CANCELED,
    "paused": ProviderSubscriptionStatus.PAUSED,
    "canceled": ProviderSubscriptionStatus.CANCELED,
}
_INVOICE_STATUS = {
    **dict.fromkeys(_MONEY_STATUSES, ProviderInvoiceStatus.PAID),
    "void": ProviderInvoiceStatus.VOID,
}
# A status that is new at Polar says neither that it arrived nor that it failed: it is read again.
_REFUND_STATUS = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}
REFUND_GONE = frozenset(name for name, means in _REFUND_STATUS.items() if means == "failed")


def _with_zone(value: Any) -> Any:
    """Polar's times are UTC; one without a zone is read as that."""
    if isinstance(value, str):
        parsed = datetime.fromisoformat(value)
        return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_with_zone)]


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Model = TypeVar("Model", bound=_Tolerant)


class _WithMetadata(_Tolerant):
    metadata: dict[str, Any] | None = None

    def reference(self, key: str) -> str | None:
        """One of our ids out of the metadata; objects that are not ours have none."""
        value = (self.metadata or {}).get(key)
        return value if isinstance(value, str) and value else None


class PolarCustomer(_Tolerant):
    id: str
    external_id: str | None = None


class PolarBenefit(_WithMetadata):
    id: str
    type: str | None = None
    description: str | None = None
    created_at: Time | None = None


class PolarProduct(_WithMetadata):
    id: str
    created_at: Time | None = None
    benefits: list[PolarBenefit] = []


class PolarCheckout(_WithMetadata):
    id: str
    status: str | None = None
    url: str | None = None
    expires_at: Time | None = None
    net_amount: int | None = None
    currency: str | None = None
    customer_id: str | None = None
    external_customer_id: str | None = None


class _Item(_Tolerant):
    start_timestamp: Time | None = None
    end_timestamp: Time | None = None


class _Period(_Tolerant):
    current_period_start: Time | None = None
    current_period_end: Time | None = None


class PolarOrder(_WithMetadata):
    id: str
    status: str | None = None
    paid: bool = False
    billing_reason: str | None = None
    created_at: Time
    net_amount: int
    currency: str
    refunded_amount: int = 0
    refundable_amount: int | None = None
    checkout_id: str | None = None
    subscription_id: str | None = None
    customer: PolarCustomer | None = None
    subscription: _Period | None = None
    items: list[_Item] = []

    @property
    def has_money(self) -> bool:
        return self.paid or self.status in _MONEY_STATUSES

    @property
    def is_of_checkout(self) -> bool:
        return self.billing_reason not in _LATER_REASONS


class PolarSubscription(_WithMetadata):
    id: str
    customer_id: str
    product_id: str | None = None
    status: str | None = None
    current_period_start: Time
    # A revoked subscription may have no period left; then it ended where it stands.
    current_period_end: Time | None = None
    trial_end: Time | None = None
    cancel_at_period_end: bool = False
    canceled_at: Time | None = None
    ended_at: Time | None = None

    @property
    def is_over(self) -> bool:
        status = _SUBSCRIPTION_STATUS.get(self.status or "")
        return self.ended_at is not None or status is ProviderSubscriptionStatus.CANCELED


class PolarRefund(_WithMetadata):
    id: str
    order_id: str | None = None
    status: str | None = None
    amount: int
    currency: str
    created_at: Time | None = None


class _GrantError(_Tolerant):
    type: str | None = None


class PolarGrant(_Tolerant):
    """`properties` stay out: the SDK's own reading of them loses what they say."""

    id: str
    benefit_id: str
    customer_id: str
    order_id: str | None = None
    subscription_id: str | None = None
    created_at: Time | None = None
    modified_at: Time | None = None
    is_granted: bool = False
    is_revoked: bool = False
    granted_at: Time | None = None
    revoked_at: Time | None = None
    error: _GrantError | None = None
    customer: PolarCustomer | None = None


def read(model: type[Model], operation: str, body: Any) -> Model:
    """Raises ProviderFailure(UNKNOWN) for a body that is not what was asked for."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        fields = sorted({".".join(map(str, e["loc"])) for e in error.errors()})
        raise failures.unreadable(operation, ", ".join(fields) or "not an object") from None


def read_all(model: type[Model], operation: str, bodies: Sequence[Any]) -> list[Model]:
    return [read(model, operation, body) for body in bodies]


def oldest(found: Sequence[PolarProduct] | Sequence[PolarBenefit]) -> str | None:
    """Of several with our reference always the same one: two tries may each have made one."""
    never = datetime.max.replace(tzinfo=UTC)
    ids = sorted((one.created_at or never, one.id) for one in found)
    return ids[0][1] if ids else None


def page_snapshot(
    operation: str, checkout: PolarCheckout, orders: Sequence[PolarOrder]
) -> PaymentSnapshot:
    """A checkout with the orders that came of it. Money beats every word about the page."""
    if checkout.net_amount is None or checkout.currency is None:
        raise failures.unreadable(operation, "the checkout has no amount or no currency")
    money = [order for order in orders if order.has_money and order.is_of_checkout]
    status = _page_status(checkout, money)
    pending = status is PaymentStatus.PENDING and checkout.status in {"open", "confirmed"}
    return PaymentSnapshot(
        provider=ProviderName.POLAR,
        provider_payment_id=checkout.id,
        status=status,
        amount_minor=checkout.net_amount,
        currency=checkout.currency.upper(),
        captures=[capture for order in money for capture in captures_of(order)],
        amount_refunded_minor=sum(order.refunded_amount for order in money),
        expires_at=checkout.expires_at,
        next_action=_redirect(checkout) if pending else None,
        decline=Decline(decline_class=DeclineClass.SOFT, code="checkout_failed")
        if status is PaymentStatus.DECLINED
        else None,
        attempt_id=checkout.reference("attempt_id"),
    )


def order_snapshot(order: PolarOrder) -> PaymentSnapshot:
    """A paid order alone, as a webhook carries it: the page that it came from is paid."""
    return PaymentSnapshot(
        provider=ProviderName.POLAR,
        provider_payment_id=order.checkout_id or order.id,
        status=PaymentStatus.SUCCEEDED,
        amount_minor=order.net_amount,
        currency=order.currency.upper(),
        captures=captures_of(order),
        amount_refunded_minor=order.refunded_amount,
        attempt_id=order.reference("attempt_id"),
    )


def captures_of(order: PolarOrder) -> list[Capture]:
    """One per paid order; a free one moved no money. Polar does not say when it was paid, but an
    order of a page is made in the moment of paying."""
    if not order.has_money or order.net_amount == 0:
        return []
    return [
        Capture(
            provider_charge_id=order.id,
            amount_minor=order.net_amount,
            currency=order.currency.upper(),
            captured_at=order.created_at,
        )
    ]


def invoice_snapshot(order: PolarOrder) -> InvoiceSnapshot:
    """An order of a subscription, which is Polar's invoice for a period."""
    start, end = _period(order)
    return InvoiceSnapshot(
        provider=ProviderName.POLAR,
        provider_invoice_id=order.id,
        provider_subscription_id=order.subscription_id,
        status=_INVOICE_STATUS.get(order.status or "", ProviderInvoiceStatus.OPEN),
        amount_minor=order.net_amount,
        currency=order.currency.upper(),
        captures=captures_of(order),
        amount_refunded_minor=order.refunded_amount,
        period_start=start,
        period_end=end,
        created_at=order.created_at,
        first=order.billing_reason == "subscription_create",
    )


def subscription_snapshot(
    operation: str, found: PolarSubscription, latest: PolarOrder | None
) -> SubscriptionSnapshot:
    status = _SUBSCRIPTION_STATUS.get(found.status or "")
    if status is None:
        raise failures.unreadable(operation, "the subscription's status is unknown")
    end = found.current_period_end or found.ended_at or found.current_period_start
    return SubscriptionSnapshot(
        provider=ProviderName.POLAR,
        provider_subscription_id=found.id,
        provider_customer_id=found.customer_id,
        status=status,
        current_period_start=found.current_period_start,
        current_period_end=end,
        trial_end=found.trial_end,
        cancel_at_period_end=found.cancel_at_period_end,
        canceled_at=found.canceled_at,
        latest_invoice=invoice_snapshot(latest) if latest is not None else None,
    )


def refund_snapshot(refund: PolarRefund, provider_payment_id: str | None) -> RefundSnapshot:
    return RefundSnapshot(
        provider=ProviderName.POLAR,
        provider_refund_id=refund.id,
        provider_payment_id=provider_payment_id,
        status=_REFUND_STATUS.get(refund.status or "", "pending"),
        amount_minor=refund.amount,
        currency=refund.currency.upper(),
    )


def grant_snapshot(grant: PolarGrant) -> GrantSnapshot:
    return GrantSnapshot(
        provider=ProviderName.POLAR,
        provider_grant_id=grant.id,
        provider_benefit_id=grant.benefit_id,
        provider_customer_id=grant.customer_id,
        organization_id=grant.customer.external_id if grant.customer is not None else None,
        is_granted=grant.is_granted,
        is_revoked=grant.is_revoked,
        error_code=grant.error.type if grant.error is not None else None,
        granted_at=grant.granted_at,
        revoked_at=grant.revoked_at,
        changed_at=grant.modified_at or grant.created_at,
    )


def _page_status(checkout: PolarCheckout, money: Sequence[PolarOrder]) -> PaymentStatus:
    received = sum(order.net_amount for order in money)
    free = checkout.net_amount == 0 and checkout.status == "succeeded"
    if free or (money and received >= (checkout.net_amount or 0)):
        return PaymentStatus.SUCCEEDED
    # Pending commits to nothing: a page that succeeded will have its order in a moment, and a status
    # that nobody knows yet says neither that money came nor that it cannot come any more.
    return _CHECKOUT_STATUS.get(checkout.status or "", PaymentStatus.PENDING)


def _redirect(checkout: PolarCheckout) -> NextAction | None:
    if checkout.url is None:
        return None
    return Redirect(url=checkout.url, expires_at=checkout.expires_at)


def _period(order: PolarOrder) -> tuple[datetime, datetime]:
    """The period that an order bills: its items know best, the subscription moved on long since."""
    for item in order.items:
        if item.start_timestamp is not None and item.end_timestamp is not None:
            return item.start_timestamp, item.end_timestamp
    current = order.subscription
    if current is not None and current.current_period_start and current.current_period_end:
        return current.current_period_start, current.current_period_end
    return order.created_at, order.created_at
