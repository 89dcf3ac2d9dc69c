"""The circuit breaker that all workers share through PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache

from sqlalchemy import Select, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.breaker import Health, admit, failed, succeeded
from models.storage.engine import Sessions
from models.storage.providers import health_of
from models.storage.tables import ProviderHealth
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider

# A refusal, a decline or a missing key says that the provider is there; these say that it is not.
OUTAGES = frozenset({FailureKind.UNAVAILABLE, FailureKind.UNKNOWN})


class Breaker:
    """Ask before an attempt, report after it. The times are the Temporal server's."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def admits(self, provider: PaymentProvider, now: datetime) -> bool:
        health = await self._health(provider)
        if health.opened_at is None:
            return True
        allowed = False

        def decide(locked: Health) -> Health:
            nonlocal allowed
            allowed, after = admit(locked, now)
            return after

        await self._change(provider, decide)
        return allowed

    async def report(
        self, provider: PaymentProvider, failure: ProviderFailure | None, now: datetime
    ) -> None:
        """What a call came to; a success in good times writes nothing."""
        if failure is not None and failure.kind in OUTAGES:
            reason = _reason(failure)
            await self._change(provider, lambda health: failed(health, now, reason))
        elif (await self._health(provider)).failures:
            await self._change(provider, succeeded)

    async def _health(self, provider: PaymentProvider) -> Health:
        async with self._sessions() as session:
            return health_of(await _row(session, provider))

    async def _change(self, provider: PaymentProvider, change: Callable[[Health], Health]) -> None:
        async with self._sessions.begin() as session:
            values = {"provider": provider.name, "account": provider.account}
            await session.execute(
                insert(ProviderHealth).values(failures=0, **values).on_conflict_do_nothing()
            )
            row = await _row(session, provider, lock=True)
            if row is None:
                return
            for name, value in change(health_of(row))._asdict().items():
                setattr(row, name, value)


async def _row(
    session: AsyncSession, provider: PaymentProvider, *, lock: bool = False
) -> ProviderHealth | None:
    which = {"named": provider.name, "account_named": provider.account}
    return await session.scalar(_health_row(lock=lock), which)


@cache
def _health_row(*, lock: bool) -> Select[ProviderHealth]:
    """Built once: it is asked for with every call."""
    statement = select(ProviderHealth).where(
        ProviderHealth.provider == bindparam("named"),
        ProviderHealth.account == bindparam("account_named"),
    )
    return statement.with_for_update() if lock else statement


def _reason(failure: ProviderFailure) -> str:
    return failure.code or str(failure.fallback_reason or failure.kind)
