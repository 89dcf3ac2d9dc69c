"""Plays planned lives on the skipping clock, faults included, and checks the invariants at rest."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError

from abono.simulate.commitments import check_commitments
from abono.simulate.courier import Courier, Shares
from abono.simulate.habits import Habits
from abono.simulate.invariants import InvariantViolated, check_invariants
from abono.simulate.lives import DAY, YEAR, Deed, Life, Outage
from abono.simulate.world import World
from api.context import ApiContext
from models.calendar import BillingInterval
from models.commands import (
    Cancel,
    ChangePlan,
    Command,
    Pause,
    Resume,
    RetryPayment,
    subscription_workflow_id,
)
from models.outcomes import Instrument
from models.plan_change import Offer, Proration
from models.storage.tables import (
    ChargeAttempt,
    FallbackEvent,
    Invoice,
    Payment,
    Subscription,
    WebhookEvent,
)
from sandbox.faults import Fault, FaultMode, Faults
from workflows.subscription import SubscriptionWorkflow

ACTOR = "simulate"
# A commitment that any doubt is settled within: the longest outage, its daily question, and a look.
REST = 4 * DAY
# The bar moves at least this often while nothing happens in the lives.
STRIDE = timedelta(days=45)
# Of an outage: reads are repeated every five minutes, and each may wait for its real timeout.
OUTAGE_STRIDE = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
PATIENCE_SECONDS = 1.0
LOOK_SECONDS, LOOKS_MAX = 0.2, 100

Happening = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Progress:
    """How far the simulated time is, of how far it goes."""

    elapsed: timedelta
    total: timedelta
    summary: str


@dataclass
class Outcome:
    """What the years came to. `violations` is empty when every invariant held."""

    subscription_years: float
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    invoices: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    outages: int = 0
    received: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)  # The lives that a violation names.
    renewals: int = 0  # Bills for a period after the first one.
    webhooks: Counter[str] = field(default_factory=Counter)  # What became of them on their way.
    calls_hit: Counter[str] = field(default_factory=Counter)  # Calls to providers, by fault.
    first_subscription_id: UUID | None = None


class Driver:
    """One simulation in one world."""

    def __init__(
        self,
        world: World,
        seed: int,
        lives: Sequence[Life],
        outages: Sequence[Outage],
        years: float,
        shares: Shares | None = None,
    ) -> None:
        self._world = world
        self._seed = seed
        self._lives = {life.number: life for life in lives}
        self._outages = outages
        self._total = years * YEAR
        # Without faults the network is as good as the providers.
        shaky = Shares(lost=0.05, doubled=0.05, held=0.1) if outages else Shares()
        self._shares = shares or shaky
        self._numbers: dict[str, int] = {}  # Subscription id to the life's number.
        self._handles: dict[int, WorkflowHandle[SubscriptionWorkflow, Any]] = {}
        self._habits = Habits(seed, self._lives, self._numbers)
        self._agenda: list[tuple[timedelta, int, Happening]] = []
        self._unanswered: list[asyncio.Task[None]] = []
        self._outcome = Outcome(subscription_years=years * len(lives))

    async def run(self, tell: Callable[[Progress], None]) -> Outcome:
        began = time.monotonic()
        self._start = await self._world.env.get_current_time()
        world = self._world
        world.payer.follow(self._habits.visits)
        context = ApiContext(
            sessions=world.sessions,
            temporal=world.client,
            providers=world.providers,
            pepper="",
        )
        self._courier = Courier(world.sandbox, context, seed=self._seed, shares=self._shares)
        world.payer.on_time.append(self._courier.deliver)
        self._plan()
        while self._agenda:
            at, _, happening = heapq.heappop(self._agenda)
            await self._sleep_until(at, tell)
            await happening()
        await self._sleep_until(self._total, tell)
        self._world.core.faults.clear()
        for stop in self._world.on_calm:
            stop()
        await self._courier.deliver_all()
        await self._sleep_until(self._total + REST, tell)
        await self._courier.deliver_all()
        await self._come_to_rest()
        await asyncio.gather(*self._unanswered)
        await self._check()
        await self._count()
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    # What happens when ------------------------------------------------------------------------

    def _plan(self) -> None:
        for life in self._lives.values():
            self._at(life.starts_after, partial(self._subscribe, life))
            for at, deed in life.deeds:
                self._at(at, partial(self._do, life, deed))
        for outage in self._outages:
            fault = Fault(
                provider=outage.provider, mode=FaultMode(outage.mode), seconds=outage.seconds
            )
            self._at(outage.begins, partial(self._break, fault))
            self._at(outage.ends, partial(self._mend, fault))

    def _at(self, moment: timedelta, happening: Happening) -> None:
        heapq.heappush(self._agenda, (moment, len(self._agenda), happening))

    async def _sleep_until(self, moment: timedelta, tell: Callable[[Progress], None]) -> None:
        now = await self._world.env.get_current_time()
        while True:
            elapsed = now - self._start
            tell(Progress(min(elapsed, self._total), self._total, self._summary()))
            if elapsed >= moment:
                return
            ahead = await self._next_interesting(now)
            longest = OUTAGE_STRIDE if self._world.core.faults.active else STRIDE
            await self._world.sleep(max(MINUTE, min(moment - elapsed, longest, ahead)))
            now = await self._world.env.get_current_time()
            await self._world.payer.live_until(now.timestamp())

    async def _next_interesting(self, now: datetime) -> timedelta:
        """Until somebody pays, a provider bills, or an engine does its next step: to look in between would
        be idle."""
        ahead = [STRIDE]
        billed = self._world.core.next_due_at() - now.timestamp()
        if 0 < billed < STRIDE.total_seconds():
            # Its webhook comes then, and not when the engine looks whether it was lost.
            ahead.append(timedelta(seconds=math.ceil(billed)))
        if (visit := self._world.payer.next_visit_at) is not None:
            ahead.append(datetime.fromtimestamp(visit, UTC) - now)
        async with self._world.sessions() as session:
            step = await session.scalar(
                select(func.min(Subscription.next_step_at)).where(Subscription.next_step_at > now)
            )
        if step is not None:
            ahead.append(step - now + MINUTE)
        return min(ahead)

    def _summary(self) -> str:
        paid = len(self._world.payer.paid)
        return f"{len(self._handles)} subscribed, {paid} slips paid"

    async def _subscribe(self, life: Life) -> None:
        kind, world = life.kind, self._world
        kept, world.core.faults = world.core.faults, Faults()
        # Storing the card is another story than the subscription's.
        terms = await world.terms(
            kind.instrument,
            country=kind.country,
            currency=kind.currency,
            amount_minor=kind.amount_minor,
            interval=life.interval,
            time_zone=kind.time_zone,
            trial_days=life.trial_days,
            card=kind.card,
            card_at=kind.card_at,
        )
        world.core.faults = kept
        self._numbers[str(terms.subscription_id)] = life.number
        if self._outcome.first_subscription_id is None:
            self._outcome.first_subscription_id = terms.subscription_id
        try:
            self._handles[life.number], _ = await world.open(terms)
        except RPCError:
            # The skipping server loses an opening that has ended before it is asked again what became of
            # it. The row is there and the workflow runs: like an app, the simulation reads it later.
            self._outcome.deeds["opens without an answer"] += 1
            self._handles[life.number] = world.client.get_workflow_handle_for(
                SubscriptionWorkflow.run, subscription_workflow_id(terms.subscription_id)
            )

    async def _do(self, life: Life, deed: Deed) -> None:
        handle = self._handles.get(life.number)
        if handle is None:
            return
        doing = asyncio.create_task(self._answered(handle, deed))
        # While a provider is down the answer takes as long as the clock stands still: like an app, the
        # simulation goes on with what it has, and the answer comes later.
        await asyncio.wait([doing], timeout=PATIENCE_SECONDS)
        self._unanswered.append(doing)

    async def _answered(
        self, handle: WorkflowHandle[SubscriptionWorkflow, Any], deed: Deed
    ) -> None:
        try:
            done = await self._carry_out(handle, deed)
        except (WorkflowUpdateFailedError, RPCError):
            done = False  # Refused, or it has ended: the engine said no, and nothing happened.
        self._outcome.deeds[str(deed) if done else "is told no"] += 1

    async def _carry_out(
        self, handle: WorkflowHandle[SubscriptionWorkflow, Any], deed: Deed
    ) -> bool:
        if deed is Deed.CARD_FAILS:
            return await self._fail_card(handle)
        now = await self._world.env.get_current_time()
        commands: dict[Deed, tuple[str, Command]] = {
            Deed.CANCEL_AT_PERIOD_END: ("cancel", Cancel(actor=ACTOR)),
            Deed.CANCEL_NOW: ("cancel", Cancel(actor=ACTOR, immediately=True)),
            Deed.RESUME: ("resume", Resume(actor=ACTOR)),
            Deed.PAUSE: ("pause", Pause(actor=ACTOR, resume_at=now + 30 * DAY)),
            Deed.RETRY: ("retry_payment", RetryPayment(actor=ACTOR)),
        }
        if deed in commands:
            name, command = commands[deed]
        else:
            name, command = "change", await self._change(handle, deed)
        await handle.execute_update(name, command)
        return True

    async def _change(
        self, handle: WorkflowHandle[SubscriptionWorkflow, Any], deed: Deed
    ) -> ChangePlan:
        """One more at once, for a share of the period; or one alone from the next period on."""
        row = await self._row(handle)
        unit = row.amount_minor // row.quantity
        quantity = row.quantity + 1 if deed is Deed.MORE else 1
        offer = Offer(
            plan_id=row.plan_id,
            plan_name="Pro",
            billing_interval=BillingInterval(row.billing_interval),
            quantity=quantity,
            amount_minor=unit * quantity,
        )
        now_or_then = Proration.PRORATE if deed is Deed.MORE else Proration.NEXT_PERIOD
        return ChangePlan(actor=ACTOR, offer=offer, proration=now_or_then)

    async def _row(self, handle: WorkflowHandle[SubscriptionWorkflow, Any]) -> Subscription:
        async with self._world.sessions() as session:
            mine = select(Subscription).where(Subscription.workflow_id == handle.id)
            return (await session.scalars(mine)).one()

    async def _fail_card(self, handle: WorkflowHandle[SubscriptionWorkflow, Any]) -> bool:
        """The provider bills the next period, and the bank refuses."""
        row = await self._row(handle)
        by_card = row.payment_method_type == Instrument.CARD and row.status == "active"
        if not by_card or row.provider is None:
            return False
        simulator = getattr(self._world.sandbox.state, row.provider)
        await simulator.renew(row.provider_subscription_id, "failed")
        return True

    async def _break(self, fault: Fault) -> None:
        self._outcome.outages += 1
        self._world.core.faults.add(fault)

    async def _mend(self, fault: Fault) -> None:
        if fault in self._world.core.faults.active:
            self._world.core.faults.active.remove(fault)

    # What came of it --------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Signals are on their way: wait, in real time, until what was sent has been dealt with."""
        sent = WebhookEvent.applied_at.is_(None) & WebhookEvent.workflow_id.is_not(None)
        for _ in range(LOOKS_MAX):
            if not await self._world.all(select(WebhookEvent.id).where(sent).limit(1)):
                return
            await asyncio.sleep(LOOK_SECONDS)
            await self._courier.send_again()

    async def _check(self) -> None:
        try:
            await check_invariants(self._world)
            await check_commitments(self._world, farewell=REST)
        except InvariantViolated as violation:
            said = str(violation)
            self._outcome.violations.append(said.splitlines()[0])
            self._outcome.suspects += [
                number for known_as, number in self._numbers.items() if known_as in said
            ]

    async def _count(self) -> None:
        outcome, world = self._outcome, self._world
        async with world.sessions() as session:
            for table, column, counter in (
                (Subscription, Subscription.status, outcome.statuses),
                (Invoice, Invoice.status, outcome.invoices),
                (ChargeAttempt, ChargeAttempt.outcome, outcome.attempts),
            ):
                rows = await session.execute(
                    select(column, func.count()).select_from(table).group_by(column)
                )
                counter.update({name: count for name, count in rows})  # noqa: C416
            periods = Invoice.period_start.is_not(None) & Invoice.subscription_id.is_not(None)
            billed = await session.scalar(select(func.count(Invoice.id)).where(periods)) or 0
            first = func.count(Invoice.subscription_id.distinct())
            outcome.renewals = billed - (await session.scalar(select(first).where(periods)) or 0)
            outcome.webhooks, outcome.calls_hit = self._courier.met, world.core.faults.hit
            outcome.fallbacks = await session.scalar(select(func.count(FallbackEvent.id))) or 0
            received = await session.execute(
                select(Payment.currency, func.sum(Payment.amount_minor))
                .where(Payment.kind == "capture")
                .group_by(Payment.currency)
            )
            outcome.received = {currency: int(total) for currency, total in received}


async def play(
    world: World,
    *,
    seed: int,
    lives: Sequence[Life],
    outages: Sequence[Outage],
    years: float,
    shares: Shares | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Live all lives to the end of the years and come to rest."""
    return await Driver(world, seed, lives, outages, years, shares).run(tell)
