"""What the workflows of single payments and purchases say of themselves in the Temporal UI. Pure wording."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from models.explaining import SLIP_BY_INSTRUMENT, at, money
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.purchase import PurchaseStatus, PurchaseTerms


class Slip(NamedTuple):
    """A voucher, transfer order or page, and what is to be paid with it."""

    instrument: Instrument
    provider: ProviderName
    amount_minor: int
    currency: str

    def __str__(self) -> str:
        word = SLIP_BY_INSTRUMENT[self.instrument]
        return f"a {word} of {money(self.amount_minor, self.currency)}"


def issuing(slip: Slip) -> str:
    return f"Having {slip} made by {slip.provider}."


def waiting(slip: Slip, *, expires_at: datetime, look_at: datetime, what: str) -> str:
    """`what` happens at `look_at` when nothing was heard by then."""
    return (
        f"**Waiting for the customer**, who has {slip} of {slip.provider} to pay until"
        f" {at(expires_at)}.\n\nNext: {what}, at {at(look_at)}."
    )


VOIDING = "Making sure at the provider that it cannot be paid any more."


def ended(outcome: OutcomeClass) -> str:
    endings = {
        OutcomeClass.SUCCEEDED: "It was paid.",
        OutcomeClass.DECLINED: "It closed without money.",
        OutcomeClass.NOT_ATTEMPTED: "It was never issued: nothing can be paid with it.",
        OutcomeClass.PENDING: "It can still be paid.",
        OutcomeClass.UNKNOWN: "Whether it was issued is not known.",
    }
    return endings[outcome]


def resolving(provider: ProviderName, *, look: int, looks_at: datetime, waited: timedelta) -> str:
    """`look` counts the coming one."""
    return (
        f"**{provider} did not answer an attempt to collect money**, so it may or may not have happened."
        " Nothing else is tried for this invoice until that is known.\n\n"
        f"Next: question {look}, at {at(looks_at)}.\n\n"
        f"You can: have it asked now, or declare what {provider}'s panel shows"
        f" (waiting for {_span(waited)} so far)."
    )


def resolved(outcome: OutcomeClass, *, looks: int, decided_by: str) -> str:
    times = "1 question" if looks == 1 else f"{looks} questions"
    return f"**Known: {str(outcome).replace('_', ' ')}**, said by {decided_by}, after {times}."


def purchase(
    terms: PurchaseTerms, status: PurchaseStatus, provider: ProviderName | None, *, page_open: bool
) -> str:
    price = money(terms.amount_minor, terms.currency)
    title = f"**{terms.product_name}, {price}: {status}**"
    if status is PurchaseStatus.PENDING:
        doing = "the customer pays on the page of" if page_open else "a page is being opened at"
        return f"{title}\n\nNext: {doing} {provider}." if provider else title
    endings = {
        PurchaseStatus.PAID: "Next: the benefits are looked after until they have arrived.",
        PurchaseStatus.EXPIRED: "The page ran out unpaid. Nothing follows.",
        PurchaseStatus.REFUNDED: "The money went back. Nothing follows.",
        PurchaseStatus.FAILED: "No provider could open a page, or not all of the money came.",
    }
    return f"{title}\n\n{endings[status]}"


def _span(waited: timedelta) -> str:
    minutes = int(waited.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
