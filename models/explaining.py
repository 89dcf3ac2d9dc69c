"""Why a subscription is in its state, what happens next, and what a person may do about it. Pure wording.

The same sentences stand in the Temporal UI, answer the `explain` query and open the API's timeline. They
are for somebody who has never seen the code: amounts as money, times in UTC, no word of the inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from models.billing_policy import OnUnpaid
from models.dunning import collection
from models.moments import Moment, Step, paid_until, runs_without_provider
from models.money import Money
from models.outcomes import Instrument, ProviderName
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import BillingClock, OpenInvoice, SubscriptionState, SubscriptionTerms

NEXT_BY_STEP: dict[Step, str] = {
    Step.OPEN_INVOICE: "The next invoice is made and its {slip} issued",
    Step.TRY_AGAIN: "The invoice is tried again",
    Step.PAST_DUE: "The period begins; if the invoice is still unpaid then, it is past due",
    Step.CHECK_PROVIDER: "The provider is asked, should its webhook not have come by then",
    Step.GIVE_UP: "The last chance passes: unpaid by then, the subscription {end}",
    Step.APPLY_CHANGE: "The change of the plan takes effect",
    Step.END: "The subscription ends, as requested",
    Step.PAUSE: "The subscription is paused, as requested",
    Step.RESUME: "The pause ends, and what is due then is collected",
    Step.ASK_AGAIN: "The provider, which refused, is asked again",
    Step.BEGIN_BILLING: "The trial ends, and the first period is billed",
}
END_BY_POLICY: dict[OnUnpaid, str] = {
    OnUnpaid.CANCEL: "ends as expired",
    OnUnpaid.PAUSE: "is paused",
    OnUnpaid.KEEP_PAST_DUE: "stays past due and is tried no more",
}
SLIP_BY_INSTRUMENT: dict[Instrument, str] = {
    Instrument.OXXO: "voucher",
    Instrument.SPEI: "transfer order",
    Instrument.CHECKOUT: "payment page",
    Instrument.CARD: "charge",
}


class Doubt(NamedTuple):
    """An attempt whose answer was lost, while the provider is being asked what became of it."""

    provider: ProviderName
    since: datetime


@dataclass(frozen=True)
class Situation:
    """What the sentences need. `busy`: an attempt is on its way, or a slip is out with the customer."""

    terms: SubscriptionTerms
    state: SubscriptionState
    moment: Moment | None = None
    busy: bool = False
    doubt: Doubt | None = None

    @property
    def slip(self) -> str:
        return SLIP_BY_INSTRUMENT[self.terms.instrument]

    @property
    def by_engine(self) -> bool:
        return self.terms.clock is BillingClock.ENGINE

    @property
    def collector(self) -> str:
        return str(self.state.provider) if self.state.provider else "the provider"


class Explanation(NamedTuple):
    """`why` and `next` are whole sentences; `options` says what an operator could do, if anything."""

    title: str
    why: str
    next: str
    options: str | None

    def __str__(self) -> str:
        """Markdown, as the Temporal UI shows it."""
        parts = [f"**{self.title}**", f"Why: {self.why}", f"Next: {self.next}"]
        if self.options:
            parts.append(f"You can: {self.options}")
        return "\n\n".join(parts)


def explain(situation: Situation) -> Explanation:
    over = situation.state.status in TERMINAL_STATUSES
    return Explanation(
        title=_title(situation),
        why=" ".join(_ended(situation) if over else _why(situation)),
        next=" ".join(_after_the_end(situation) if over else _next(situation)),
        options=None if over else _options(situation),
    )


def at(moment: datetime) -> str:
    """`2026-11-25 18:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def money(amount_minor: int, currency: str) -> str:
    """`199.00 MXN`."""
    return str(Money(amount_minor=amount_minor, currency=currency))


def since(state: SubscriptionState) -> datetime | None:
    """When the present status began, as far as the state remembers."""
    by_status = {
        SubscriptionStatus.INCOMPLETE: state.created_at,
        SubscriptionStatus.TRIALING: state.created_at,
        SubscriptionStatus.ACTIVE: state.current_period_start,
        SubscriptionStatus.PAST_DUE: state.past_due_since,
        SubscriptionStatus.PAUSED: state.paused_at,
        SubscriptionStatus.CANCELED: state.canceled_at,
    }
    return by_status.get(state.status)


def _title(situation: Situation) -> str:
    terms, state = situation.terms, situation.state
    price = money(terms.amount_minor, terms.currency)
    began = since(state)
    status = str(state.status).replace("_", " ")
    what = f"{terms.plan_name} {terms.billing_interval}, {price} by {terms.instrument}: {status}"
    return f"{what} since {at(began)}" if began else what


# Why -----------------------------------------------------------------------------------------


def _why(situation: Situation) -> list[str]:
    state = situation.state
    told = _STATUS_SENTENCES[state.status](situation)
    if state.invoice is not None:
        told += _about_invoice(situation, state.invoice)
    if state.refused_at is not None:
        told.append(
            "Its provider refuses what it was asked: the audit log has the provider's words."
        )
    if state.cancel_requested:
        told.append("It was canceled; that waits for the provider to confirm.")
    elif state.cancel_at_period_end:
        told.append("It was canceled and runs on to the end of what is paid.")
    elif state.pause_at is not None:
        told.append("A pause was asked for and begins at the end of what is paid.")
    return told


def _incomplete(situation: Situation) -> list[str]:
    if not situation.state.opened and situation.state.invoice is None:
        return ["It is just being opened."]
    return ["The first payment has not come in yet."]


def _trialing(situation: Situation) -> list[str]:
    end = situation.state.trial_end
    told = [f"The trial runs until {at(end)}." if end else "The trial runs."]
    if runs_without_provider(situation.state) and situation.state.payment_method_id is None:
        told.append("No card is known that could pay afterwards.")
    return told


def _active(situation: Situation) -> list[str]:
    end = paid_until(situation.state)
    return [f"It is paid until {at(end)}." if end else "It is paid."]


def _past_due(situation: Situation) -> list[str]:
    access = situation.state.access_until
    told = ["A period began, or was billed, and is not paid."]
    return [*told, f"The customer keeps access until {at(access)}."] if access else told


def _paused(situation: Situation) -> list[str]:
    if situation.state.suspended_at is not None:
        return ["It is paused because its invoice was not paid; a payment brings it back."]
    end = paid_until(situation.state)
    told = ["It is paused: nothing is billed."]
    return [*told, f"What was paid for ends at {at(end)}."] if end else told


_STATUS_SENTENCES = {
    SubscriptionStatus.INCOMPLETE: _incomplete,
    SubscriptionStatus.TRIALING: _trialing,
    SubscriptionStatus.ACTIVE: _active,
    SubscriptionStatus.PAST_DUE: _past_due,
    SubscriptionStatus.PAUSED: _paused,
}


def _about_invoice(situation: Situation, invoice: OpenInvoice) -> list[str]:
    if invoice.amount_minor == 0:
        return [f"The trial is being set up at {situation.collector}."]
    lacking = money(invoice.amount_minor - invoice.amount_paid_minor, invoice.currency)
    told = [f"The open invoice lacks {lacking}."]
    if invoice.amount_paid_minor:
        told = [f"The open invoice was paid in part and still lacks {lacking}."]
    return [*told, _about_collecting(situation, invoice)]


def _about_collecting(situation: Situation, invoice: OpenInvoice) -> str:
    collector, slip = situation.collector, situation.slip
    if situation.doubt is not None:
        return (
            f"{situation.doubt.provider} did not answer an attempt to collect it, so whether it was paid is"
            f" unknown since {at(situation.doubt.since)}; until that is known, nothing else is tried."
        )
    if situation.busy and situation.by_engine:
        count = f"{invoice.vouchers_issued} of {situation.terms.policy.vouchers_max}"
        return f"A {slip} of {collector} is out with the customer (number {count})."
    if situation.busy:
        return f"The card is being charged at {collector} at this moment."
    if invoice.attempt_id is not None and not situation.by_engine:
        return (
            f"The customer still has to confirm the payment with the bank, on {collector}'s page."
        )
    if invoice.provider_failures and invoice.next_try_at is not None:
        times = _times(invoice.provider_failures)
        return f"No provider could be reached ({times} so far); nothing was charged."
    if invoice.declines:
        return _about_declines(situation, invoice)
    return (
        f"The next {slip} is about to be issued." if situation.by_engine else "It is being tried."
    )


def _about_declines(situation: Situation, invoice: OpenInvoice) -> str:
    code = invoice.last_decline.code.replace("_", " ") if invoice.last_decline else None
    times = _times(invoice.declines) + (f", last: {code}" if code else "")
    told = f"{situation.collector} declined the card ({times})"
    if invoice.next_try_at is not None:
        return f"{told}; it may work later."
    if invoice.first:
        return f"{told}; a first payment is not repeated by itself."
    return f"{told}, and it will not be tried again by itself: the customer has to act."


def _ended(situation: Situation) -> list[str]:
    state = situation.state
    if state.status is SubscriptionStatus.EXPIRED:
        return ["Nobody paid in time, so it ended by itself."]
    return ["It was canceled."]


# What next -----------------------------------------------------------------------------------


def _next(situation: Situation) -> list[str]:
    told = []
    if situation.doubt is not None:
        told.append(
            f"{situation.doubt.provider} is asked again, ever more patiently;"
            " what happened is adopted, what half happened is undone."
        )
    elif situation.busy and situation.by_engine:
        told.append(_after_the_slip(situation))
    elif situation.busy:
        told.append("The answer decides, usually within seconds.")
    moment = situation.moment
    if moment is not None:
        told.append(_of_moment(situation, moment))
    return told or ["Nothing happens by itself: it waits for the customer or for a command."]


def _of_moment(situation: Situation, moment: Moment) -> str:
    if moment.step is Step.CHECK_PROVIDER and situation.state.invoice is not None:
        return _looked_at(situation, moment)
    if moment.step is Step.CHECK_PROVIDER:
        return (
            f"{_capital(situation.collector)} charges the card at the end of the period;"
            f" should no webhook tell of it, it is asked at {at(moment.at)}."
        )
    return _sentence(situation, moment)


def _sentence(situation: Situation, moment: Moment) -> str:
    end = END_BY_POLICY[situation.terms.policy.on_unpaid]
    if situation.state.status is SubscriptionStatus.INCOMPLETE:
        end = END_BY_POLICY[OnUnpaid.CANCEL]
    sentence = NEXT_BY_STEP[moment.step].format(slip=situation.slip, end=end)
    return f"{sentence}, at {at(moment.at)}."


def _looked_at(situation: Situation, moment: Moment) -> str:
    """Nothing is tried: only the customer can pay, perhaps by a way of the provider's own."""
    told = f"{_capital(situation.collector)} is asked at {at(moment.at)} whether the customer has paid."
    standing = collection(situation.terms, situation.state)
    if standing is None or standing.ends_at is None:
        return told
    return f"{told} {_sentence(situation, Moment(standing.ends_at, Step.GIVE_UP))}"


def _after_the_slip(situation: Situation) -> str:
    invoice, slip = situation.state.invoice, situation.slip
    if invoice is None:
        return f"The {slip} is made void."
    if situation.state.cancel_at_period_end:
        return (
            f"Once the {slip} is paid or expires, this invoice is settled; no other {slip} follows."
        )
    left = situation.terms.policy.vouchers_max - invoice.vouchers_issued
    if left <= 0:
        return f"Paid, it goes on; when this last {slip} expires unpaid, the subscription expires."
    return f"Paid, it goes on; when the {slip} expires unpaid, another one is issued ({left} left)."


def _after_the_end(situation: Situation) -> list[str]:
    access = situation.state.access_until
    told = [f"The customer had access until {at(access)}."] if access else []
    return [*told, "Nothing is charged any more; money that still arrives is kept in sight."]


# What a person may do ------------------------------------------------------------------------


def _options(situation: Situation) -> str | None:
    invoice = situation.state.invoice
    if invoice is None or invoice.amount_minor == 0:
        return None
    if situation.doubt is not None:
        return "resolve it: have the provider asked now, or declare what its panel shows."
    if situation.by_engine and situation.busy:
        return (
            f"reissue the {situation.slip} if the customer lost it; mark the invoice paid if the money"
            " came another way."
        )
    if situation.by_engine:
        return "retry now instead of waiting; mark the invoice paid if the money came another way."
    if situation.busy:
        return None
    if invoice.attempt_id is not None:
        return "ask the customer to finish on the page."
    if invoice.declines and invoice.next_try_at is None:
        return "ask the customer for another card, then retry with it."
    return "retry now instead of waiting, with another card if the customer gave one."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
