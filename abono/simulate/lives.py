"""Who subscribes, and what they do in their years. Pure: the same seed always tells the same lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from random import Random

from models.calendar import BillingInterval
from models.outcomes import Instrument, ProviderName

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)

# How often in a year somebody does something beside paying; most customers do nothing for years.
DEEDS_PER_YEAR = 1.5
FAULTS_PER_YEAR = 12.0
FAULT_MODES = ("down", "error", "rate_limit", "applied_then_timeout", "applied_then_error")
# Of real seconds, within the patience of the simulated worker's calls.
SLOW_SECONDS = {"slow": 0.2}
# A provider is rarely away for longer; the engine's own patience is tried by the longest of these.
OUTAGES = (timedelta(minutes=5), HOUR, 6 * HOUR, DAY)


@dataclass(frozen=True)
class Kind:
    """What is subscribed to and how it is paid for. `card` is the token of a provider's browser SDK."""

    name: str
    instrument: Instrument
    country: str
    currency: str
    amount_minor: int
    time_zone: str
    card: str | None = None
    card_at: ProviderName = ProviderName.STRIPE


KINDS = (
    Kind("OXXO voucher", Instrument.OXXO, "MX", "MXN", 19900, "America/Mexico_City"),
    Kind("SPEI transfer", Instrument.SPEI, "MX", "MXN", 49900, "America/Tijuana"),
    Kind("card at Stripe", Instrument.CARD, "US", "USD", 1900, "America/Chicago", "pm_card_visa"),
    Kind(
        "card in Auckland", Instrument.CARD, "NZ", "USD", 2900, "Pacific/Auckland", "pm_card_visa"
    ),
    Kind(
        "card at Conekta",
        Instrument.CARD,
        "MX",
        "MXN",
        29900,
        "America/Cancun",
        "tok_test_visa_4242",
        ProviderName.CONEKTA,
    ),
)


class Deed(StrEnum):
    """What a customer or an application does; the engine may refuse it, and then nothing happens."""

    CANCEL_AT_PERIOD_END = "cancels at period end"
    RESUME = "takes the cancellation back"
    CANCEL_NOW = "cancels at once"
    PAUSE = "pauses for a month"
    MORE = "buys one more of it"
    FEWER = "goes back to one of it, from the next period"
    RETRY = "asks to be charged again"
    CARD_FAILS = "has no money on the card"


_WEIGHTS = {
    Deed.CANCEL_AT_PERIOD_END: 3,
    Deed.RESUME: 4,
    Deed.CANCEL_NOW: 1,
    Deed.PAUSE: 2,
    Deed.MORE: 3,
    Deed.FEWER: 2,
    Deed.RETRY: 4,
    Deed.CARD_FAILS: 4,
}


_FAREWELLS = frozenset({Deed.CANCEL_AT_PERIOD_END, Deed.CANCEL_NOW})


@dataclass(frozen=True)
class Habit:
    """How the customer treats slips, as shares of one. What is left over is paid in time."""

    late: float = 0.05  # After it ran out.
    never: float = 0.08
    twice: float = 0.02
    too_little: float = 0.02  # Only transfers can be.
    too_much: float = 0.02


@dataclass(frozen=True)
class Life:
    """One subscription. `deeds` are (since the start of the simulation, what), in order."""

    number: int
    kind: Kind
    interval: BillingInterval
    trial_days: int
    starts_after: timedelta
    habit: Habit = Habit()
    deeds: list[tuple[timedelta, Deed]] = field(default_factory=list)


@dataclass(frozen=True)
class Outage:
    """A provider misbehaves between two moments (since the start of the simulation)."""

    begins: timedelta
    ends: timedelta
    provider: str
    mode: str
    seconds: float | None = None  # How slow, where the mode is that.


def plan_lives(seed: int, subscriptions: int, years: float) -> list[Life]:
    """The lives that `seed` tells. The first one never cancels, so that somebody lives all the years."""
    return [_life(Random(f"{seed}/{n}"), n, years) for n in range(1, subscriptions + 1)]  # noqa: S311


def plan_outages(
    seed: int,
    years: float,
    *,
    modes: Sequence[str] = FAULT_MODES,
    per_year: float = FAULTS_PER_YEAR,
) -> list[Outage]:
    chance = Random(f"{seed}/faults")  # noqa: S311 - seeded on purpose
    outages = []
    for _ in range(round(per_year * years)):
        begins = years * YEAR * chance.random()
        ends, provider = begins + chance.choice(OUTAGES), chance.choice(["stripe", "conekta"])
        mode = chance.choice(modes)
        outages.append(Outage(begins, ends, provider, mode, SLOW_SECONDS.get(mode)))
    return sorted(outages, key=lambda outage: outage.begins)


def _life(chance: Random, number: int, years: float) -> Life:
    monthly = chance.random() < 0.8
    # Spread over a month, so that not everything happens at once.
    starts_after = min(30 * DAY, years * YEAR / 4) * chance.random()
    deeds = [
        (starts_after + (years * YEAR - starts_after) * chance.random(), _deed(chance, number))
        for _ in range(_count(chance, DEEDS_PER_YEAR * years))
    ]
    return Life(
        number=number,
        kind=chance.choice(KINDS),
        interval=BillingInterval.MONTHLY if monthly else BillingInterval.YEARLY,
        trial_days=chance.choice([0, 0, 0, 7, 30]),
        starts_after=starts_after,
        deeds=sorted(deeds),
    )


def _deed(chance: Random, number: int) -> Deed:
    deeds = [deed for deed in _WEIGHTS if number > 1 or deed not in _FAREWELLS]
    return chance.choices(deeds, [_WEIGHTS[deed] for deed in deeds])[0]


def _count(chance: Random, mean: float) -> int:
    """About `mean`, by a coin for every hundredth of it."""
    return sum(chance.random() < mean / 100 for _ in range(100)) if mean < 100 else round(mean)
