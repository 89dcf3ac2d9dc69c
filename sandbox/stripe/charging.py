"""Charges cards: what each test card does when money is asked of it."""

from __future__ import annotations

from sandbox.stripe import objects
from sandbox.stripe.cards import card_of, decline_error
from sandbox.stripe.world import Object, World, our_ids, rfc3339


class Charging:
    def __init__(self, world: World) -> None:
        self.world = world

    def attempt(
        self, intent: Object, method: Object, *, off_session: bool, decline_code: str | None = None
    ) -> Object | None:
        """Charge the card once. Returns the payment error, or None when it succeeded or when the
        customer has to authenticate first (then the intent is `requires_action`)."""
        card = card_of(method["_token"])
        code = decline_code or (card.decline_code if card else None)
        intent["payment_method"] = method["id"]
        if code is not None:
            return self.fail(intent, decline_error(code))
        authentication = card.authentication if card else "never"
        if authentication == "always" or (
            authentication == "until_set_up" and not method["_set_up"]
        ):
            if off_session:
                return self.fail(intent, decline_error("authentication_required"))
            self.ask_customer(intent)
            return None
        self.succeed(intent, intent["amount"])
        return None

    def succeed(
        self, intent: Object, amount: int, *, again: bool = False, booked_amount: int | None = None
    ) -> Object:
        """Money arrives for the intent. A voucher can be paid `again`: that is an entry of its own
        in the book. `booked_amount` is what arrived just now, when some of it had come before."""
        now = self.world.now()
        method = self.world.by_id(intent["payment_method"] or "")
        if method is not None:
            method["_set_up"] = True
        made = objects.charge(now, intent, amount=amount, error=None)
        self.world.put("charges", made)
        intent.update(
            amount_received=amount,
            latest_charge=made["id"],
            last_payment_error=None,
            next_action=None,
            canceled_at=None,
            cancellation_reason=None,
            status="succeeded",
        )
        self.world.emit("charge.succeeded", made)
        self.world.emit("payment_intent.succeeded", intent)
        booked = amount if booked_amount is None else booked_amount
        self.book(intent, "paid", amount=booked, entry_id=made["id"] if again else None)
        return made

    def fail(self, intent: Object, error: Object) -> Object:
        """The card refuses; the intent waits for another payment method."""
        failed = objects.charge(self.world.now(), intent, amount=intent["amount"], error=error)
        self.world.put("charges", failed)
        method = self.world.by_id(intent["payment_method"] or "")
        shown_error = {**error, "charge": failed["id"]}
        if method is not None:
            shown_error["payment_method"] = self.world.render(method)
        intent.update(
            latest_charge=failed["id"],
            last_payment_error=shown_error,
            next_action=None,
            payment_method=None,
            status="requires_payment_method",
        )
        self.world.emit("charge.failed", failed)
        self.world.emit("payment_intent.payment_failed", intent)
        self.book(intent, "declined")
        return shown_error

    def ask_customer(self, intent: Object) -> None:
        """3-D Secure: nothing moves until the customer has confirmed in the browser."""
        intent["next_action"] = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect"},
        }
        intent["status"] = "requires_action"
        self.world.emit("payment_intent.requires_action", intent)
        self.book(intent, "pending")

    def book(
        self,
        intent: Object,
        status: str,
        *,
        amount: int | None = None,
        entry_id: str | None = None,
        reference: str | None = None,
    ) -> None:
        """Write the intent's movement into the book: one entry, whose status moves."""
        # An invoice's intent has no metadata; the ids come from the subscription that it bills.
        ids = intent.get("_our_ids") or our_ids(intent["metadata"])
        self.world.book(
            entry_id or intent["id"],
            "charge",
            status,
            amount_minor=intent["amount"] if amount is None else amount,
            currency=intent["currency"].upper(),
            reference=reference or intent.get("_reference"),
            created_at=rfc3339(self.world.now()),
            **ids,
        )
