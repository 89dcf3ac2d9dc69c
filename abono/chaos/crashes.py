"""What goes wrong by chance, the same for the same seed: workers that die before an activity has done
anything or after it has done all and told nobody, and calls to providers that fail."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from abono.simulate.lives import SLOW_SECONDS
from sandbox.faults import Fault, FaultMode, Faults


class Crashes(Interceptor):
    """`share` of all activities crash before, and as many after their effect; database writes (local
    activities) as well. Each is retried as after a crash: nothing of its answer is known."""

    def __init__(self, seed: int, share: float) -> None:
        self._seed = seed
        self._share = share
        self._runs: Counter[str] = Counter()
        self._over = False
        self.placed: Counter[str] = Counter()

    def stop(self) -> None:
        self._over = True

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _CrashingInbound(next, self)

    def choose(self, activity_type: str) -> str | None:
        """Where this run of it crashes: the same for the n-th run of its type in every play."""
        self._runs[activity_type] += 1
        if self._over:
            return None
        told = f"{self._seed}/{activity_type}/{self._runs[activity_type]}"
        roll = Random(told).random()  # noqa: S311 - seeded on purpose
        if roll < self._share:
            return "before"
        return "after" if roll < 2 * self._share else None


class FaultyCalls(Faults):
    """Besides what is switched on, `share` of all calls to providers meet a fault of any mode."""

    def __init__(self, seed: int, share: float) -> None:
        super().__init__()
        self._seed = seed
        self._share = share
        self._calls: Counter[str] = Counter()
        self._over = False

    def stop(self) -> None:
        self._over = True

    def take(self, provider: str, operation: str) -> Fault | None:
        if (fault := super().take(provider, operation)) is not None or self._over:
            return fault
        name = f"{provider}/{operation}"
        self._calls[name] += 1
        chance = Random(f"{self._seed}/{name}/{self._calls[name]}")  # noqa: S311 - seeded on purpose
        if chance.random() >= self._share:
            return None
        mode = chance.choice(list(FaultMode))
        self.hit[mode] += 1
        return Fault(provider=provider, mode=mode, seconds=SLOW_SECONDS.get(mode))


class _CrashingInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, crashes: Crashes) -> None:
        super().__init__(next)
        self._crashes = crashes

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        where = self._crashes.choose(activity.info().activity_type)
        if where == "before":
            self._crash("before")
        result = await super().execute_activity(input)
        if where == "after":
            self._crash("after")
        return result

    def _crash(self, where: str) -> None:
        self._crashes.placed[f"crash {where} the effect"] += 1
        raise ApplicationError(f"the worker died {where} the effect", type="Crash")
