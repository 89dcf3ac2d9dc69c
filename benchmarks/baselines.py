"""The raw workflows that ours are compared with: as little as Temporal lets one write."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

TASK_QUEUE = "raw"
STEP_SECONDS_MAX = timedelta(seconds=30)
MONTH = timedelta(days=30)


class Tally:
    """What the raw workflows of this process have heard."""

    heard = 0


@activity.defn
async def do_nothing() -> None:
    """The one step of a raw workflow."""


@workflow.defn
class RawIdle:
    """Waits, and hears signals. `answer` shows that it is there."""

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(MONTH)

    @workflow.signal
    def hear(self, _event: str) -> None:
        Tally.heard += 1

    @workflow.query
    def answer(self) -> str:
        return "here"


@workflow.defn
class RawApplying:
    """Every signal is one local activity, as every webhook of ours is one transaction at least."""

    def __init__(self) -> None:
        self._waiting = 0

    @workflow.run
    async def run(self) -> None:
        while True:
            await workflow.wait_condition(lambda: self._waiting > 0)
            self._waiting = 0
            await workflow.execute_local_activity(
                do_nothing, start_to_close_timeout=STEP_SECONDS_MAX
            )
            Tally.heard += 1

    @workflow.signal
    def hear(self, _event: str) -> None:
        self._waiting += 1


@workflow.defn
class RawOpening:
    """Started by its first update, which runs one activity."""

    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(MONTH)

    @workflow.update
    async def open(self) -> None:
        await workflow.execute_activity(do_nothing, start_to_close_timeout=STEP_SECONDS_MAX)


@workflow.defn
class RawYears:
    """One timer and one local activity a month, in a fresh history each time."""

    @workflow.run
    async def run(self, months: int) -> None:
        await workflow.sleep(MONTH)
        await workflow.execute_local_activity(do_nothing, start_to_close_timeout=STEP_SECONDS_MAX)
        if months > 1:
            workflow.continue_as_new(months - 1)


WORKFLOWS = (RawIdle, RawApplying, RawOpening, RawYears)
ACTIVITIES = (do_nothing,)
