"""Customers at the counter and at their bank: they pay slips when they choose to, not when somebody looks."""

from __future__ import annotations

import heapq
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from starlette.applications import Starlette

from sandbox.core import Core

Charge = dict[str, Any]


class Visit(NamedTuple):
    """`amount_minor` None pays what the slip says. A `stubborn` customer pays it whatever became of it
    meanwhile; the others see that it is no longer good."""

    after: timedelta
    amount_minor: int | None = None
    stubborn: bool = False


class Payer:
    """Pays every slip `after` it was issued, or as `habit` says; pays nothing without either."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._after: timedelta | None = None
        self._habit: Callable[[Charge], Sequence[Visit]] | None = None
        self._seen = 0  # How many of the book's charges have their visits planned.
        self._visits: list[tuple[int, int, int]] = []  # A heap of (Unix seconds, charge, visit).
        self._slips: dict[str, int] = {}  # Where in the book each reference stands first.
        self._made: set[tuple[int, int]] = set()
        self.paid: list[str] = []
        self.on_time: list[Callable[[], Awaitable[None]]] = []  # After each move of the clock.

    @property
    def after(self) -> timedelta | None:
        return self._after

    @after.setter
    def after(self, after: timedelta | None) -> None:
        """Holds for the slips that are out, too."""
        self._after = after
        self._plan_anew()

    def follow(self, habit: Callable[[Charge], Sequence[Visit]]) -> None:
        self._habit = habit
        self._plan_anew()

    async def live_until(self, moment: float) -> None:
        """Move the sandbox's clock there, stopping whenever a slip is to be paid: it is paid at its
        time, not when the engine happens to look. `moment` is in Unix seconds."""
        core = self._core
        self._look_at_the_book()
        while self._visits and self._visits[0][0] < moment:
            core.clock.advance_to(self._visits[0][0])
            await core.settle_time()
        core.clock.advance_to(moment)
        await core.settle_time()
        for happening in self.on_time:
            await happening()

    @property
    def next_visit_at(self) -> int | None:
        """In Unix seconds."""
        self._look_at_the_book()
        return self._visits[0][0] if self._visits else None

    async def tick(self) -> None:
        """Make the visits that are due by the sandbox's clock."""
        self._look_at_the_book()
        while self._visits and self._visits[0][0] <= self._core.clock.now():
            _, position, number = heapq.heappop(self._visits)
            charge = self._core.charges[position]
            visit = self._visits_of(charge)[number]
            self._made.add((position, number))
            if charge["status"] == "pending" or visit.stubborn:
                self.paid.append(charge["reference"])
                simulator = getattr(self._app.state, charge["provider"])
                await simulator.pay(charge["reference"], visit.amount_minor)

    @property
    def _core(self) -> Core:
        core: Core = self._app.state.core
        return core

    def _visits_of(self, charge: Charge) -> Sequence[Visit]:
        if self._habit is not None:
            return self._habit(charge)
        return [] if self._after is None else [Visit(self._after)]

    def _plan_anew(self) -> None:
        self._seen = 0
        self._visits.clear()

    def _look_at_the_book(self) -> None:
        for position in range(self._seen, len(self._core.charges)):
            charge = self._core.charges[position]
            reference = charge["reference"]
            # A slip that is paid once more stands in the book once more.
            if reference is None or self._slips.setdefault(reference, position) != position:
                continue
            issued = datetime.fromisoformat(charge["created_at"])
            for number, visit in enumerate(self._visits_of(charge)):
                if (position, number) not in self._made:
                    due = math.ceil((issued + visit.after).timestamp())
                    heapq.heappush(self._visits, (due, position, number))
        self._seen = len(self._core.charges)
