"""The invariants, checked against three books: the sandbox's, the database's and the workflows'."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select
from temporalio.client import Client

from activities.refund_book import balances
from models.event_catalogue import complaint
from models.outcomes import OPEN_OUTCOMES
from models.purchase import PurchaseStatus
from models.storage.engine import Sessions
from models.storage.tables import (
    ChargeAttempt,
    CreditEntry,
    Invoice,
    OutboundEvent,
    Payment,
    Purchase,
    Refund,
    Subscription,
)
from models.subscription import SubscriptionState
from workflows.purchase import PurchaseWorkflow
from workflows.subscription import SubscriptionWorkflow

# Of the sandbox's movements and of our payments; what is not among them takes money away.
RECEIVES = frozenset({"charge", "capture", "dispute_reversal", "refund_reversal"})
# What an operator booked by hand is in no provider's book, but it pays its invoice all the same.
COUNTED = frozenset({"capture", "refund", "refund_reversal", "out_of_band"})
RECEIVED = frozenset({"paid", "succeeded"})
# Money that comes or goes after the end of a purchase's workflow changes its row alone.
AFTER_THE_END = (PurchaseStatus.PAID, PurchaseStatus.REFUNDED)


class InvariantViolated(AssertionError):
    """One of the eight does not hold: a defect of ours, whatever the providers did."""


def hold(condition: bool, violated: str) -> None:
    if not condition:
        raise InvariantViolated(violated)


class Books(Protocol):
    """Where the books are read: a world on the skipping clock, or a stack of real processes."""

    @property
    def client(self) -> Client: ...

    @property
    def sessions(self) -> Sessions: ...

    async def movements(self) -> list[dict[str, Any]]:
        """What the simulated providers say they moved, as `GET /_control/charges` shows it."""

    async def all(self, statement: Any) -> list[Any]: ...


async def check_invariants(world: Books) -> None:
    """Raises InvariantViolated naming the invariant that does not hold. Call it at rest."""
    charges = await world.movements()
    invoices = await world.all(select(Invoice))
    attempts = await world.all(select(ChargeAttempt))
    payments = await world.all(select(Payment))
    one_live_charge_per_invoice(charges)
    _one_open_attempt_per_invoice(attempts)
    _no_money_lost_or_invented(charges, invoices, payments)
    await _every_minor_unit_is_in_one_place(world, invoices, payments)
    for event in await world.all(select(OutboundEvent)):
        differing = complaint(event.type, event.data)
        hold(differing is None, f"an event is not as it is documented: {differing}")
    for row in await world.all(select(Subscription).where(Subscription.version > 0)):
        await _row_equals_workflow(world, row)
    for purchase in await world.all(select(Purchase).where(Purchase.version > 0)):
        await _purchase_equals_workflow(world, purchase, invoices)


def one_live_charge_per_invoice(charges: list[dict[str, Any]]) -> None:
    """Of the providers' book alone: holds at any moment, not only at rest."""
    live = Counter(
        charge["invoice_id"]
        for charge in charges
        if charge["kind"] == "charge" and charge["status"] == "pending" and charge["invoice_id"]
    )
    twice = {invoice: count for invoice, count in live.items() if count > 1}
    hold(not twice, f"invariant 1: several live charges for an invoice: {twice}")


def _one_open_attempt_per_invoice(attempts: list[ChargeAttempt]) -> None:
    open_attempts = Counter(a.invoice_id for a in attempts if a.outcome in OPEN_OUTCOMES)
    hold(all(count == 1 for count in open_attempts.values()), "invariant 1: open attempts")


def _no_money_lost_or_invented(
    charges: list[dict[str, Any]], invoices: list[Invoice], payments: list[Payment]
) -> None:
    """By subscription and by purchase: a provider's own renewals name no invoice of ours."""
    buyers = {str(one.id): str(one.purchase_id) for one in invoices if one.purchase_id}
    received: dict[str, int] = defaultdict(int)
    for charge in charges:
        owner = charge["subscription_id"] or buyers.get(charge["invoice_id"] or "")
        if charge["status"] in RECEIVED and owner:
            sign = 1 if charge["kind"] in RECEIVES else -1
            received[owner] += sign * charge["amount_minor"]
    booked: dict[str, int] = defaultdict(int)
    applied: dict[UUID, int] = defaultdict(int)
    for payment in payments:
        if payment.kind == "out_of_band":
            # In no provider's book: an operator says that it came, and it pays the invoice all the same.
            applied[payment.invoice_id] += payment.applied_minor
            continue
        sign = 1 if payment.kind in RECEIVES else -1
        booked[str(payment.subscription_id or payment.purchase_id)] += sign * payment.amount_minor
        applied[payment.invoice_id] += sign * payment.applied_minor
    differing = {
        owner: f"{received.get(owner, 0)} received, {booked.get(owner, 0)} booked"
        for owner in {*received, *booked}
        if received.get(owner, 0) != booked.get(owner, 0)
    }
    hold(not differing, f"invariant 2: provider's book and ours differ: {differing}")
    for invoice in invoices:
        net = invoice.amount_paid_minor - invoice.amount_refunded_minor
        hold(applied[invoice.id] == net, f"invariant 2: invoice {invoice.id} and its payments")
        whole = invoice.amount_paid_minor == invoice.amount_minor
        hold(whole or invoice.status != "paid", f"invariant 2: {invoice.id} is paid in part")


async def _every_minor_unit_is_in_one_place(
    world: Books, invoices: list[Invoice], payments: list[Payment]
) -> None:
    """By invoice: what came less what went is paid, unapplied, credit, or on its way back."""
    refunds = await world.all(select(Refund))
    credits = await world.all(select(CreditEntry))
    async with world.sessions() as session:
        found = await balances(session)
    balances_of, kept_of = defaultdict(list), Counter[UUID]()
    for payment, balance in found:
        balances_of[payment.invoice_id].append(balance)
    for payment in payments:
        if payment.kind in COUNTED:
            sign = -1 if payment.kind == "refund" else 1
            kept_of[payment.invoice_id] += sign * payment.amount_minor
    pending = {one.payment_id for one in refunds if one.status == "pending"}
    credited = Counter[UUID | None]()
    for entry in credits:
        credited[entry.payment_id] += entry.amount_minor
    for invoice in invoices:
        mine, kept = balances_of[invoice.id], kept_of[invoice.id]
        placed = invoice.amount_paid_minor - invoice.amount_refunded_minor
        placed += sum(one.unapplied_minor + credited[one.payment_id] for one in mine)
        on_its_way = any(one.payment_id in pending for one in mine)
        hold(on_its_way or kept == placed, f"invariant 2: {kept} is kept, {placed} has a place")
        within = all(one.refunded_minor + one.credited_minor <= one.amount_minor for one in mine)
        hold(within, f"invariant 2: more than was paid went back of invoice {invoice.id}")
    moved = {(r.provider, r.provider_refund_id) for r in refunds if r.status == "succeeded"}
    written, came_back = (
        {(p.provider, p.provider_charge_id) for p in payments if p.kind == kind}
        for kind in ("refund", "refund_reversal")
    )
    hold(moved == written - came_back, "invariant 2: refunds and their movements differ")
    credit_of = Counter[UUID | None]()
    for entry in credits:
        credit_of[entry.subscription_id] += entry.amount_minor
    for row in await world.all(select(Subscription)):
        hold(row.credit_minor == credit_of[row.id], f"invariant 5: credit of {row.id}")


async def _row_equals_workflow(world: Books, row: Subscription) -> None:
    handle = world.client.get_workflow_handle(row.workflow_id)
    state: SubscriptionState = await handle.query(SubscriptionWorkflow.state)
    for name in (
        "version",
        "status",
        "provider",
        "provider_subscription_id",
        "current_period_start",
        "current_period_end",
        "paid_ahead_until",
        "cancel_at_period_end",
        "canceled_at",
        "access_until",
        "credit_minor",
    ):
        hold(getattr(row, name) == getattr(state, name), f"invariant 5: {name} of {row.id}")


async def _purchase_equals_workflow(world: Books, row: Purchase, invoices: list[Invoice]) -> None:
    handle = world.client.get_workflow_handle(row.workflow_id)
    status = await handle.query(PurchaseWorkflow.status)
    same = row.status == status or (status, row.status) == AFTER_THE_END
    hold(same, f"invariant 5: purchase {row.id} is {row.status}, its workflow says {status}")
    paid = {invoice.status for invoice in invoices if invoice.purchase_id == row.id}
    sold = {PurchaseStatus.PAID: {"paid"}, PurchaseStatus.REFUNDED: {"refunded"}}
    if row.status in sold:
        hold(paid == sold[PurchaseStatus(row.status)], f"invariant 2: purchase {row.id}: {paid}")
