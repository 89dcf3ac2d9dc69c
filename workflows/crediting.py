"""Credit by command: unapplied money that an operator, or the app, gives to coming invoices."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.money import CreditOrder, CreditRecords
    from models.commands import CreditUnapplied
    from models.subscription import CREDIT_COMMAND_IDS_MAX
    from workflows.desk import Desk
    from workflows.options import call_write


async def credit_unapplied(desk: Desk, command: CreditUnapplied) -> bool:
    """True when it is credit now. The ledger decides, under its lock, whether as much is left."""
    state = desk.state
    if command.credit_id in state.credit_command_ids:
        return True
    credited: int = await call_write(
        CreditRecords.credit_unapplied,
        CreditOrder(subscription_id=desk.terms.subscription_id, command=command, at=workflow.now()),
        "turn unapplied money into credit",
    )
    if not credited:
        return False
    before = state.credit_minor
    state.credit_minor += credited
    kept = [*state.credit_command_ids, command.credit_id]
    state.credit_command_ids = kept[-CREDIT_COMMAND_IDS_MAX:]
    desk.audit(
        command.actor,
        "credit.added",
        {"credit_minor": before},
        {"credit_minor": state.credit_minor, "payment_id": str(command.payment_id)},
    )
    desk.emit(
        "credit.added",
        payment_id=str(command.payment_id),
        amount_minor=credited,
        currency=command.currency,
        credit_minor=state.credit_minor,
    )
    return True
