"""What operators had done by hand: written down, and their declarations read back from the provider."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from temporalio import activity

from activities.ledger import Ledger
from activities.provider_calls import server_time
from activities.results import for_history, of_invoice, of_payment
from activities.signatures.attempts import AttemptResult
from activities.signatures.operating import (
    CheckDeclaration,
    DeclarationCheck,
    NoteAction,
    OperatorCalls,
    OperatorRecords,
)
from models.money import Money
from models.outcomes import Instrument, OutcomeClass
from models.snapshots import Capture
from models.storage.engine import Sessions
from models.storage.tables import AuditEntry, ChargeAttempt, Payment, Purchase, Subscription
from providers.failures import ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry


class OperatorActivities(OperatorRecords, OperatorCalls):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers
        self._ledger = Ledger(sessions)

    @activity.defn(name="note_action")
    async def note_action(self, note: NoteAction) -> None:
        async with self._sessions.begin() as session:
            attempt = await session.get_one(ChargeAttempt, note.attempt_id)
            owner: Subscription | Purchase = (
                await session.get_one(Subscription, attempt.subscription_id)
                if attempt.subscription_id is not None
                else await session.get_one(Purchase, attempt.purchase_id)
            )
            statement = insert(AuditEntry).values(
                id=note.id,
                application_id=attempt.application_id,
                subscription_id=attempt.subscription_id,
                purchase_id=attempt.purchase_id,
                version=owner.version,
                actor=note.actor,
                action=note.action,
                before={"outcome": attempt.outcome},
                after={**note.after, "attempt_id": str(attempt.id)},
                at=note.at,
            )
            await session.execute(statement.on_conflict_do_nothing())

    @activity.defn(name="check_declaration")
    async def check_declaration(self, check: CheckDeclaration) -> DeclarationCheck:
        """Read the object; it has to be paid, for this amount, for this attempt, and not booked yet."""
        attempt = await self._ledger.find(check.attempt_id)
        provider = self._providers.get(check.provider)
        if attempt is None or provider is None:
            return DeclarationCheck(refusal=f"{check.provider} cannot be asked here")
        try:
            result, stated_attempt_id = await _read(provider, attempt, check.provider_object_id)
        except ProviderFailure as failure:
            return DeclarationCheck(
                refusal=f"{check.provider} does not show this object ({failure.kind}):"
                " a success is only believed of one that can be read."
            )
        refusal = _refusal(attempt, result, stated_attempt_id)
        refusal = refusal or await self._already_booked(check, result)
        if refusal is not None:
            return DeclarationCheck(refusal=refusal)
        await self._ledger.finish(result, server_time())
        return DeclarationCheck(result=for_history(result))

    async def _already_booked(self, check: CheckDeclaration, result: AttemptResult) -> str | None:
        ids = [capture.provider_charge_id for capture in _captures(result)]
        statement = select(Payment.id).where(
            Payment.provider == check.provider,
            Payment.kind == "capture",
            Payment.provider_charge_id.in_(ids),
        )
        async with self._sessions() as session:
            booked = await session.scalar(statement.limit(1))
        return "The money of this object is booked already." if booked is not None else None


async def _read(
    provider: PaymentProvider, attempt: ChargeAttempt, object_id: str
) -> tuple[AttemptResult, str | None]:
    """The object as the attempt's result, and the attempt that it says it belongs to."""
    if Instrument(attempt.instrument) is not Instrument.CARD:
        payment = await provider.get_payment(object_id)
        return of_payment(attempt.id, payment), payment.attempt_id
    # A stored card is charged through an invoice of the provider's, whichever call began it. What the
    # ledger knows of the subscription that it opens stays the key to every later question.
    result = of_invoice(attempt.id, await provider.get_invoice(object_id))
    known = attempt.provider_object_id or object_id
    return result.model_copy(update={"provider_object_id": known}), None


def _refusal(
    attempt: ChargeAttempt, result: AttemptResult, stated_attempt_id: str | None
) -> str | None:
    if result.outcome is not OutcomeClass.SUCCEEDED:
        return f"The provider says of this object: {str(result.outcome).replace('_', ' ')}."
    if stated_attempt_id is not None and stated_attempt_id != str(attempt.id):
        return "This object belongs to another attempt."
    received_minor = sum(
        capture.amount_minor
        for capture in _captures(result)
        if capture.currency == attempt.currency
    )
    if received_minor != attempt.amount_minor:
        wanted = Money(amount_minor=attempt.amount_minor, currency=attempt.currency)
        return f"This object did not collect the attempt's {wanted}."
    return None


def _captures(result: AttemptResult) -> list[Capture]:
    if result.payment is not None:
        return result.payment.captures
    return result.invoice.captures if result.invoice is not None else []
