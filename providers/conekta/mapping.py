"""From Conekta's orders and charges to our snapshots, through models of our own that forgive.

Everything but the ids is optional and unknown fields are ignored: the SDK's own models refuse answers
that Conekta really gives (unknown enum values, missing keys), also after a write that succeeded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from models.outcomes import NextAction, PayTransfer, PayVoucher, ProviderName, Voucher
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus, RefundSnapshot
from providers.conekta import failures
from providers.drafts import RefundDraft
from providers.failures import FailureKind, ProviderFailure

# What Conekta documents for a cash charge that does not say when it runs out.
_EXPIRY_DEFAULT = timedelta(days=30)

# Money arrived with these, whatever happened to it afterwards.
_MONEY_STATUSES = frozenset({"paid", "refunded", "partially_refunded", "charged_back", "reversed"})
_PAYABLE_STATUSES = frozenset({"pending_payment", "pending_confirmation"})

_STATUS_BY_PAYMENT_STATUS = {
    "pending_payment": PaymentStatus.PENDING,
    # Not all of the money is there yet. The captures carry what is.
    "partially_paid": PaymentStatus.PENDING,
    "pre_authorized": PaymentStatus.PENDING,
    "under_fraud_review": PaymentStatus.PENDING,
    "paid": PaymentStatus.SUCCEEDED,
    "refunded": PaymentStatus.SUCCEEDED,
    "partially_refunded": PaymentStatus.SUCCEEDED,
    "charged_back": PaymentStatus.SUCCEEDED,
    "declined": PaymentStatus.DECLINED,
    "fraudulent": PaymentStatus.DECLINED,
    "expired": PaymentStatus.EXPIRED,
    "canceled": PaymentStatus.CANCELED,
    "voided": PaymentStatus.CANCELED,
}

_REFUND_STATUS = {
    "pending": "pending",
    "refunded": "succeeded",
    "succeeded": "succeeded",
    "paid": "succeeded",
    "failed": "failed",
    "rejected": "failed",
    "canceled": "failed",
    "expired": "failed",
}


class Tolerant(BaseModel):
    # A reference or an agreement may come as a number: it is text to us, whatever its length.
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


Model = TypeVar("Model", bound=Tolerant)


class ConektaRefund(Tolerant):
    id: str
    amount: int = 0  # Negative at Conekta.
    status: str | None = None
    created_at: int = 0


class _RefundList(Tolerant):
    data: list[ConektaRefund] | None = None


class ConektaPaymentMethod(Tolerant):
    object: str | None = None
    type: str | None = None
    reference: str | None = None
    barcode_url: str | None = None
    product_type: str | None = None
    agreement: str | None = None
    service_name: str | None = None
    clabe: str | None = None
    receiving_account_number: str | None = None
    bank: str | None = None
    receiving_account_bank: str | None = None
    expires_at: int | None = None


class ConektaChargeback(Tolerant):
    """A disputed charge. It names the charge alone, and no amount."""

    id: str
    charge_id: str | None = None
    status: str | None = None
    reason: str | None = None
    created_at: int | None = None
    evidence_due_by: int | None = None


class ConektaCharge(Tolerant):
    id: str
    order_id: str | None = None
    status: str | None = None
    amount: int | None = None
    currency: str | None = None
    paid_at: int | None = None
    created_at: int | None = None
    failure_code: str | None = None
    payment_method: ConektaPaymentMethod | None = None
    chargeback: ConektaChargeback | None = None
    # A list envelope in an order, a bare list (or null) in the answer to a new charge.
    refunds: _RefundList | list[ConektaRefund] | None = None

    @property
    def refund_list(self) -> list[ConektaRefund]:
        if isinstance(self.refunds, _RefundList):
            return self.refunds.data or []
        return self.refunds or []

    @property
    def has_money(self) -> bool:
        return self.status in _MONEY_STATUSES or self.paid_at is not None

    @property
    def clabe(self) -> str | None:
        method = self.payment_method
        return (method.clabe or method.receiving_account_number) if method is not None else None

    @property
    def is_payable(self) -> bool:
        return self.status in _PAYABLE_STATUSES


class _ChargeList(Tolerant):
    data: list[ConektaCharge] | None = None


class _CustomerInfo(Tolerant):
    customer_id: str | None = None


class ConektaOrder(Tolerant):
    id: str
    customer_info: _CustomerInfo | None = None
    amount: int | None = None
    amount_refunded: int | None = None
    currency: str | None = None
    payment_status: str | None = None
    created_at: int | None = None
    charges: _ChargeList | None = None
    metadata: dict[str, Any] | None = None

    @property
    def charge_list(self) -> list[ConektaCharge]:
        return (self.charges.data or []) if self.charges is not None else []

    @property
    def customer_id(self) -> str | None:
        return self.customer_info.customer_id if self.customer_info is not None else None

    @property
    def refund_list(self) -> list[ConektaRefund]:
        """Every refund of every charge, oldest first."""
        found = [refund for charge in self.charge_list for refund in charge.refund_list]
        return sorted(found, key=lambda refund: refund.created_at)

    def reference(self, key: str) -> str | None:
        """One of our ids out of the metadata; orders that are not ours have none."""
        value = (self.metadata or {}).get(key)
        return value if isinstance(value, str) and value else None


class ConektaCustomer(Tolerant):
    id: str
    custom_reference: str | None = None
    created_at: int = 0


def read(model: type[Model], operation: str, body: Any) -> Model:
    """Raises ProviderFailure(UNKNOWN) when the body is not what it should be."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        fields = sorted({".".join(map(str, e["loc"])) for e in error.errors()})
        raise failures.unreadable(operation, ", ".join(fields) or "not an object") from None


def read_order(operation: str, body: Any) -> ConektaOrder:
    return read(ConektaOrder, operation, body)


def read_charge(operation: str, body: Any) -> ConektaCharge:
    return read(ConektaCharge, operation, body)


def read_customer(operation: str, body: Any) -> ConektaCustomer:
    return read(ConektaCustomer, operation, body)


def read_page(model: type[Model], operation: str, body: Any) -> tuple[list[Model], bool]:
    """The items of a list envelope and whether there are more."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        raise failures.unreadable(operation, "not a list")
    return [read(model, operation, item) for item in body["data"]], bool(body.get("has_more"))


def order_with(charge: ConektaCharge, order_id: str, metadata: dict[str, Any]) -> ConektaOrder:
    """The order around its only charge, as reading it back would show it."""
    return ConektaOrder(
        id=order_id,
        amount=charge.amount,
        currency=charge.currency,
        payment_status=charge.status,
        created_at=charge.created_at,
        charges=_ChargeList(data=[charge]),
        metadata=metadata,
    )


def payment_snapshot(operation: str, order: ConektaOrder) -> PaymentSnapshot:
    """The whole truth about an order. Raises ProviderFailure(UNKNOWN) when it contradicts itself."""
    if order.amount is None or order.currency is None:
        raise failures.unreadable(operation, "the order has no amount or no currency")
    captures = _captures(order, order.currency)
    status = _status(order, order.amount, captures)
    if status is PaymentStatus.SUCCEEDED and sum(c.amount_minor for c in captures) < order.amount:
        raise failures.unreadable(operation, "the order is paid but does not list what was paid")
    declined = next((c for c in reversed(order.charge_list) if c.failure_code), None)
    return PaymentSnapshot(
        provider=ProviderName.CONEKTA,
        provider_payment_id=order.id,
        status=status,
        amount_minor=order.amount,
        currency=order.currency,
        captures=captures,
        amount_refunded_minor=amount_refunded(order),
        expires_at=_expires_at(order),
        next_action=_next_action(order) if status is PaymentStatus.PENDING else None,
        decline=failures.decline_of(declined.failure_code)
        if status is PaymentStatus.DECLINED and declined and declined.failure_code
        else None,
        attempt_id=order.reference("attempt_id"),
    )


def refund_snapshot(
    order: ConektaOrder, refunds: list[ConektaRefund], amount_minor: int
) -> RefundSnapshot:
    """One refund of ours; Conekta may have spread it over several charges of the order."""
    statuses = [_REFUND_STATUS.get(refund.status or "refunded", "pending") for refund in refunds]
    worst = min(statuses, key=["failed", "pending", "succeeded"].index)
    return RefundSnapshot(
        provider=ProviderName.CONEKTA,
        provider_refund_id=refunds[0].id,
        provider_payment_id=order.id,
        status=worst,
        amount_minor=amount_minor,
        currency=order.currency or "MXN",
    )


def earlier_refunds(order: ConektaOrder, draft: RefundDraft) -> list[ConektaRefund]:
    """The refund that an earlier try of ours made, or nothing when it was never executed.

    Raises ProviderFailure(REJECTED) when Conekta's figures and ours cannot be explained by our own
    tries: somebody refunded in the panel, and asking again could pay the customer twice.
    """
    unexplained = amount_refunded(order) - draft.already_refunded_minor
    if unexplained == 0:
        return []
    newest: list[ConektaRefund] = []
    if unexplained == draft.amount_minor:
        for refund in reversed(order.refund_list):
            if -sum(found.amount for found in newest) < draft.amount_minor:
                newest.append(refund)
        if -sum(found.amount for found in newest) == draft.amount_minor:
            return newest
    message = "Conekta paid back another amount than we know of: reconcile before refunding more"
    raise ProviderFailure(FailureKind.REJECTED, message, code="refund_mismatch")


def _status(order: ConektaOrder, amount: int, captures: list[Capture]) -> PaymentStatus:
    """Money beats every word about it: a voucher paid after it expired is paid."""
    if captures and sum(capture.amount_minor for capture in captures) >= amount:
        return PaymentStatus.SUCCEEDED
    if order.payment_status in _STATUS_BY_PAYMENT_STATUS:
        return _STATUS_BY_PAYMENT_STATUS[order.payment_status]
    if not order.charge_list and order.payment_status is None:
        return PaymentStatus.PREPARED
    # An order can lag behind its charges, and Conekta may invent a status: ask the charges.
    statuses = {charge.status for charge in order.charge_list}
    if len(statuses) == 1 and (only := statuses.pop()) in {"declined", "expired", "canceled"}:
        return _STATUS_BY_PAYMENT_STATUS[only]
    # Pending commits to nothing: neither that money came nor that it cannot come any more.
    return PaymentStatus.PENDING


def _captures(order: ConektaOrder, currency: str) -> list[Capture]:
    """One per paid charge: two paid alternatives of one cash order are two payments."""
    return [
        Capture(
            provider_charge_id=charge.id,
            amount_minor=charge.amount or 0,
            currency=charge.currency or currency,
            captured_at=instant(charge.paid_at or charge.created_at or order.created_at or 0),
        )
        for charge in order.charge_list
        if charge.has_money
    ]


def amount_refunded(order: ConektaOrder) -> int:
    """What went back. A store's reversal takes the money away too, but Conekta calls it no refund."""
    listed = -sum(refund.amount for refund in order.refund_list)
    refunded = order.amount_refunded if order.amount_refunded is not None else listed
    reversed_amount = sum(c.amount or 0 for c in order.charge_list if c.status == "reversed")
    return refunded + reversed_amount


def _expires_at(order: ConektaOrder) -> datetime | None:
    """When the last of the alternatives runs out: only then is the payment over."""
    times = [_expiry(order, charge) for charge in order.charge_list if charge.payment_method]
    return max(times) if times else None


def _expiry(order: ConektaOrder, charge: ConektaCharge) -> datetime:
    if charge.payment_method is not None and charge.payment_method.expires_at is not None:
        return instant(charge.payment_method.expires_at)
    return instant(charge.created_at or order.created_at or 0) + _EXPIRY_DEFAULT


def _next_action(order: ConektaOrder) -> NextAction | None:
    """What the customer can do. All payable charges count: a cash order has one per network."""
    payable = [charge for charge in order.charge_list if charge.is_payable]
    vouchers = [voucher for charge in payable if (voucher := _voucher(charge)) is not None]
    if vouchers:
        return PayVoucher(
            vouchers=vouchers,
            amount_minor=order.amount or 0,
            currency=order.currency or "MXN",
            # The customer is told the earliest time, so that no slip is shown longer than it lives.
            expires_at=min(_expiry(order, charge) for charge in payable),
        )
    for charge in payable:
        method = charge.payment_method
        if method is not None and charge.clabe:
            return PayTransfer(
                clabe=charge.clabe,
                bank=method.bank or method.receiving_account_bank or "",
                amount_minor=order.amount or 0,
                currency=order.currency or "MXN",
                expires_at=_expiry(order, charge),
            )
    return None


def _voucher(charge: ConektaCharge) -> Voucher | None:
    method = charge.payment_method
    if method is None or method.object != "cash_payment" or not method.reference:
        return None
    return Voucher(
        network=method.product_type or method.service_name or "cash_in",
        reference=method.reference,
        barcode_url=method.barcode_url,
        agreement=method.agreement,
    )


def instant(unix_seconds: int) -> datetime:
    """Raises ProviderFailure(UNKNOWN) for a number that is no time."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise failures.unreadable("order", "a time is out of range") from None
