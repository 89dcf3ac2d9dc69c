"""SPEI transfers: a CLABE per customer, a cash balance behind it, and intents that draw on it."""

from __future__ import annotations

import secrets

from sandbox.core import Call, new_id
from sandbox.stripe.charging import Charging
from sandbox.stripe.forms import Params, only
from sandbox.stripe.world import Object, World, rfc3339

BANK_CODE = "646"
BANK_NAME = "STP"
_ADDRESS = {
    "city": "Ciudad de México",
    "country": "MX",
    "line1": "Av. Insurgentes Sur 1425",
    "line2": None,
    "postal_code": "03920",
    "state": "CDMX",
}


class Transfers:
    """Money goes into the customer's cash balance first; Stripe then applies it, oldest intent first.

    What no intent needs stays in the balance and pays for the next intent.
    """

    def __init__(self, world: World, charging: Charging) -> None:
        self.world = world
        self.charging = charging

    def ask(self, intent: Object) -> None:
        """The intent is confirmed: show the CLABE, or take what is in the balance already."""
        customer = self.world.get("customers", intent["customer"])
        clabe = self._clabe(customer)
        intent.update(status="requires_action", last_payment_error=None, _reference=clabe)
        intent["_applied"] = 0
        balance_before = customer["_cash_balance"].get(intent["currency"], 0)
        if balance_before < intent["amount"]:
            self._show_instructions(intent, customer)
            self.world.emit("payment_intent.requires_action", intent)
            self.charging.book(intent, "pending")
        self._reconcile(customer)

    def pay(self, clabe: str, amount_minor: int | None) -> Object:
        """A transfer of any amount arrives; by default what the oldest waiting intent still needs,
        or, when none waits, what the last one cost."""
        customer = self.world.get("customers", self.world.all("clabes")[clabe]["customer"])
        waiting = self._waiting(customer)
        last = [p for p in self._intents(customer) if p["_reference"] == clabe][-1]
        due = waiting[0]["amount"] - waiting[0]["_applied"] if waiting else last["amount"]
        self._move(
            customer,
            amount_minor or due,
            "funded",
            funded={
                "bank_transfer": {
                    "type": "mx_bank_transfer",
                    "reference": "".join(secrets.choice("0123456789") for _ in range(7)),
                }
            },
        )
        self._reconcile(customer)
        return waiting[0] if waiting else last

    def withdraw(self, intent: Object) -> None:
        """The intent was canceled: what had been applied goes back to the customer's balance."""
        applied = intent.get("_applied", 0)
        if applied == 0:
            return
        customer = self.world.get("customers", intent["customer"])
        intent["_applied"] = 0
        moved = self._move(
            customer, applied, "unapplied_from_payment",
            unapplied_from_payment={"payment_intent": intent["id"]},
        )  # fmt: skip
        self.charging.world.book(
            moved["id"],
            "refund",
            "succeeded",
            amount_minor=applied,
            currency=intent["currency"].upper(),
            reference=intent["_reference"],
            subscription_id=intent["metadata"].get("subscription_id"),
            invoice_id=intent["metadata"].get("invoice_id"),
            created_at=rfc3339(self.world.now()),
        )
        self._book_balance(customer)

    def take_back(self, intent: Object, refund: Object) -> None:
        """A refunded transfer goes to the customer's cash balance, not to a bank account."""
        customer = self.world.get("customers", intent["customer"])
        self._move(
            customer, refund["amount"], "refunded_from_payment",
            refunded_from_payment={"refund": refund["id"]},
        )  # fmt: skip
        self._book_balance(customer)

    def list_transactions(self, params: Params, call: Call, customer: str) -> Object:
        only(params, "limit", "starting_after", "ending_before")
        self.world.get("customers", customer, "customer")
        transactions = self.world.all("cash_balance_transactions").values()
        owned = [t for t in transactions if t["customer"] == customer]
        return self.world.page(f"/v1/customers/{customer}/cash_balance_transactions", owned, params)

    def _reconcile(self, customer: Object) -> None:
        for intent in self._waiting(customer):
            available = customer["_cash_balance"].get(intent["currency"], 0)
            portion = min(available, intent["amount"] - intent["_applied"])
            if portion > 0:
                self._apply(intent, customer, portion)
        if customer["_cash_balance"].get("mxn", 0) > 0:
            self.world.emit("cash_balance.funds_available", _cash_balance(customer))
        self._book_balance(customer)

    def _apply(self, intent: Object, customer: Object, portion: int) -> None:
        moved = self._move(
            customer, -portion, "applied_to_payment",
            applied_to_payment={"payment_intent": intent["id"]},
        )  # fmt: skip
        intent["_applied"] += portion
        if intent["_applied"] == intent["amount"]:
            # The last portion is the intent's own entry in the book; earlier ones have theirs.
            self.charging.succeed(intent, intent["amount"], booked_amount=portion)
            return
        self._show_instructions(intent, customer)
        self.world.emit("payment_intent.partially_funded", intent)
        self.charging.book(intent, "paid", amount=portion, entry_id=moved["id"])
        self.charging.book(intent, "pending", amount=intent["amount"] - intent["_applied"])

    def _move(self, customer: Object, net_amount: int, kind: str, **details: Object) -> Object:
        currency = "mxn"
        balance = customer["_cash_balance"].get(currency, 0) + net_amount
        customer["_cash_balance"][currency] = balance
        moved: Object = {
            "id": new_id("ccsbtxn_1"),
            "object": "customer_cash_balance_transaction",
            "created": self.world.now(),
            "currency": currency,
            "customer": customer["id"],
            "ending_balance": balance,
            "livemode": False,
            "net_amount": net_amount,
            "type": kind,
            **details,
        }
        self.world.put("cash_balance_transactions", moved)
        self.world.emit("customer_cash_balance_transaction.created", moved)
        return moved

    def _book_balance(self, customer: Object) -> None:
        """Money that is nobody's payment yet is in the book too, as one pending entry."""
        balance = customer["_cash_balance"].get("mxn", 0)
        booked_id = f"cash_balance_{customer['id']}"
        if balance == 0 and not customer.get("_balance_booked"):
            return
        customer["_balance_booked"] = True
        self.world.book(
            booked_id,
            "charge",
            "pending" if balance else "canceled",
            amount_minor=balance,
            currency="MXN",
            reference=customer["_clabe"],
            subscription_id=None,
            invoice_id=None,
            created_at=rfc3339(self.world.now()),
        )

    def _show_instructions(self, intent: Object, customer: Object) -> None:
        intent["next_action"] = {
            "type": "display_bank_transfer_instructions",
            "display_bank_transfer_instructions": {
                "amount_remaining": intent["amount"] - intent["_applied"],
                "currency": intent["currency"],
                "financial_addresses": [_financial_address(customer)],
                "hosted_instructions_url": "https://payments.stripe.com/bank_transfers/"
                f"instructions/test_{intent['id']}",
                "reference": intent["id"][-7:].upper(),
                "type": "mx_bank_transfer",
            },
        }

    def _waiting(self, customer: Object) -> list[Object]:
        return [p for p in self._intents(customer) if p["status"] == "requires_action"]

    def _intents(self, customer: Object) -> list[Object]:
        return [
            p
            for p in self.world.all("payment_intents").values()
            if p["customer"] == customer["id"] and "_applied" in p
        ]

    def _clabe(self, customer: Object) -> str:
        if customer["_clabe"] is None:
            clabe = new_clabe()
            customer["_clabe"] = clabe
            self.world.all("clabes")[clabe] = {"customer": customer["id"]}
        return str(customer["_clabe"])


def new_clabe() -> str:
    """18 digits; the last one checks the others with the weights 3, 7, 1."""
    digits = BANK_CODE + "180" + "".join(secrets.choice("0123456789") for _ in range(11))
    weighted = (int(d) * (3, 7, 1)[i % 3] % 10 for i, d in enumerate(digits))
    return digits + str((10 - sum(weighted) % 10) % 10)


def _financial_address(customer: Object) -> Object:
    return {
        "type": "spei",
        "supported_networks": ["spei"],
        "spei": {
            "account_holder_address": dict(_ADDRESS),
            "account_holder_name": "Sandbox de Abono",
            "bank_address": dict(_ADDRESS),
            "bank_code": BANK_CODE,
            "bank_name": BANK_NAME,
            "clabe": customer["_clabe"],
        },
    }


def _cash_balance(customer: Object) -> Object:
    return {
        "object": "cash_balance",
        "available": dict(customer["_cash_balance"]),
        "customer": customer["id"],
        "livemode": False,
        "settings": {"reconciliation_mode": "automatic", "using_merchant_default": True},
    }
