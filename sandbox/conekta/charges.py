"""Charges: what makes an order payable. One cash request becomes several alternative charges."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable

from sandbox.conekta.cards import Card
from sandbox.conekta.wire import Json, check_known, hex_id, invalid, object_id

# Conekta documents 30 days for cash. For SPEI it documents nothing; three days are ours.
CASH_EXPIRY_SECONDS = 30 * 86400
SPEI_EXPIRY_SECONDS = 3 * 86400

_CHARGE_KEYS = frozenset({"amount", "payment_method", "reference_id"})
_METHOD_KEYS = frozenset(
    [
        "type",
        "expires_at",
        "token_id",
        "payment_source_id",
        "monthly_installments",
        "cvc",
        "contract_id",
        "customer_ip_address",
    ]
)

DECLINE_CODES = {
    "card_declined": "conekta.errors.processing.bank.declined",
    "insufficient_funds": "conekta.errors.processing.bank.insufficient_funds",
}
_DECLINE_MESSAGES = {
    "card_declined": "La tarjeta ingresada ha sido declinada. Por favor intenta con otro método.",
    "insufficient_funds": "Esta tarjeta no tiene suficientes fondos para completar la compra.",
}

BBVA_AGREEMENT = "1756893"
# STP, the bank that receives most of Conekta's transfers, and its plaza.
_CLABE_BANK_AND_PLAZA = "646180"
_CLABE_WEIGHTS = (3, 7, 1)


def charges_of(order: Json) -> list[Json]:
    """The order's charges; an order without any says null instead of an empty list."""
    charges: list[Json] = order["charges"]["data"] if order["charges"] else []
    return charges


def read_charge(body: Json, now: int, find_card: Callable[[Json], Card]) -> Json:
    """Check one requested charge and return its parts with the defaults filled in."""
    check_known(body, _CHARGE_KEYS, "charges.")
    method = body.get("payment_method")
    if not isinstance(method, dict):
        raise invalid("payment_method", "missing", "a charge needs a payment_method")
    check_known(method, _METHOD_KEYS, "charges.payment_method.")
    kind = method.get("type")
    if kind not in {"cash", "spei", "card"}:
        raise invalid("payment_method.type", "unknown", f"cannot charge by {kind!r}")
    amount = body.get("amount")
    if amount is not None and (not isinstance(amount, int) or amount < 1):
        raise invalid("amount", "integer", "amount must be a positive integer")
    requested = {
        "type": kind,
        "amount": amount,
        "reference_id": body.get("reference_id"),
        "expires_at": method.get("expires_at"),
    }
    if kind == "card":
        return {**requested, "card": find_card(method)}
    expires_at = requested["expires_at"]
    if expires_at is None:
        default = CASH_EXPIRY_SECONDS if kind == "cash" else SPEI_EXPIRY_SECONDS
        return {**requested, "expires_at": now + default}
    if not isinstance(expires_at, int) or expires_at <= now:
        raise invalid("expires_at", "past", "expires_at must be Unix seconds in the future")
    return requested


def make_charges(order: Json, requested: Json, now: int, decline: bool) -> list[Json]:
    """The charges that one request makes: two alternatives for cash, one otherwise."""
    if requested["type"] == "card":
        return [_card_charge(order, requested, now, decline)]
    methods = [_transfer()] if requested["type"] == "spei" else [_store_slip(), _bank_slip()]
    charges = []
    for method in methods:
        method["expires_at"] = requested["expires_at"]
        charge = _charge(order, requested, method, now)
        if decline:
            charge.update(_declined("card_declined"))
        charges.append(charge)
    return charges


def reference_of(charge: Json) -> str | None:
    """What the customer pays with: the digits of a slip, or the CLABE."""
    method = charge["payment_method"]
    reference: str | None = method.get("reference") or method.get("clabe")
    return reference


def expires_at_of(charge: Json) -> int | None:
    expires_at: int | None = charge["payment_method"].get("expires_at")
    return expires_at


def mark_paid(charge: Json, now: int) -> None:
    """What a store or a bank adds when the money arrived."""
    method = charge["payment_method"]
    if method["object"] == "cash_payment":
        method.update(auth_code=secrets.randbelow(900000) + 100000, cashier_id="OINM01010")
        method["store"] = "10MON50EDI"
    elif method["object"] == "bank_transfer_payment":
        method.update(
            issuing_account_bank="BBVA MEXICO",
            issuing_account_number=clabe_of("012180", _digits(11)),
            issuing_account_holder_name="Cliente de Prueba",
            tracking_code=_digits(18),
            reference_number=_digits(7),
            executed_at=str(now),
        )
    charge.update(status="paid", paid_at=now)


def clabe_of(bank_and_plaza: str, account: str) -> str:
    """A CLABE with the control digit that every Mexican bank checks."""
    body = bank_and_plaza + account
    total = sum(
        int(digit) * _CLABE_WEIGHTS[position % 3] % 10 for position, digit in enumerate(body)
    )
    return f"{body}{-total % 10}"


def _charge(order: Json, requested: Json, method: Json, now: int) -> Json:
    return {
        "object": "charge",
        "id": hex_id(),
        "order_id": order["id"],
        "livemode": False,
        "status": "pending_payment",
        "amount": requested["amount"] or order["amount"],
        "currency": order["currency"],
        "description": "Payment from order",
        "customer_id": order["customer_info"].get("customer_id"),
        "reference_id": requested["reference_id"],
        "device_fingerprint": None,
        "failure_code": None,
        "failure_message": None,
        "channel": {"segment": "API", "id": object_id("channel_")},
        "payment_method": method,
        "refunds": None,
        "created_at": now,
        "paid_at": None,
    }


def _store_slip() -> Json:
    """The slip for the tills of OXXO, with a barcode. Whether an account has OXXO is Conekta's word."""
    reference = f"93{_digits(12)}"
    return {
        **_slip(reference, "oxxo"),
        "barcode_url": f"https://barcodes.conekta.com/{reference}.png",
        "agreement": None,
        "store_name": "OXXO",
    }


def _bank_slip() -> Json:
    """The slip for BBVA's cash machines: an agreement and a reference longer than an int64."""
    return {
        **_slip(f"99{_digits(18)}", "bbva_cash_in"),
        "barcode_url": None,
        "agreement": BBVA_AGREEMENT,
        "store_name": None,
    }


def _slip(reference: str, product_type: str) -> Json:
    return {
        "object": "cash_payment",
        "type": "cash",
        "service_name": "Cash",
        "reference": reference,
        "product_type": product_type,
        "auth_code": None,
        "cashier_id": None,
        "store": None,
    }


def _transfer() -> Json:
    clabe = clabe_of(_CLABE_BANK_AND_PLAZA, _digits(11))
    return {
        "object": "bank_transfer_payment",
        "type": "spei",
        "clabe": clabe,
        "bank": "STP",
        "receiving_account_number": clabe,
        "receiving_account_bank": "STP",
        "receiving_account_holder_name": "Conekta",
        "issuing_account_bank": None,
        "issuing_account_number": None,
        "tracking_code": None,
        "reference_number": None,
        "executed_at": None,
        "payment_attempts": [],
    }


def _card_charge(order: Json, requested: Json, now: int, decline: bool) -> Json:
    brand, last4, failure = requested["card"]
    method: Json = {
        "object": "card_payment",
        "type": "credit",
        "brand": brand,
        "last4": last4,
        "name": "Cliente de Prueba",
        "exp_month": "12",
        "exp_year": "34",
        "issuer": "BANCO DE PRUEBA",
        "country": "MX",
        "account_type": "CREDIT",
        "auth_code": None,
        "fraud_indicators": [],
    }
    charge = _charge(order, requested, method, now)
    failure = "card_declined" if decline else failure
    if failure is not None:
        charge.update(_declined(failure))
    else:
        method["auth_code"] = _digits(6)
        charge.update(status="paid", paid_at=now)
    return charge


def _declined(failure: str) -> Json:
    message = _DECLINE_MESSAGES[failure]
    return {"status": "declined", "failure_code": failure, "failure_message": message}


def _digits(count: int) -> str:
    choose: Callable[[str], str] = random.SystemRandom().choice
    return "".join(choose("0123456789") for _ in range(count))
