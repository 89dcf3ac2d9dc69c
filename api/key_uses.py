"""What becomes of a key that was found valid: its use is noted, and counted against its limit."""

from __future__ import annotations

import time
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.rate_limits import RateLimits
from models.errors import RateLimited
from models.storage.tables import ApiKey

# Enough to see which keys are in use, and a write that nobody notices.
NOTED_EVERY_SECONDS = 60.0


class KeyUses:
    """Of this process: see `api.rate_limits`."""

    def __init__(self) -> None:
        self._limits = RateLimits()
        self._noted_seconds: dict[UUID, float] = {}

    def count(self, key: ApiKey, usual_per_minute: int) -> dict[str, str]:
        """The headers that tell how much is left; none without a limit. Raises RateLimited."""
        per_minute = key.requests_per_minute or usual_per_minute
        if not per_minute:
            return {}
        verdict = self._limits.take(key.id, per_minute, time.monotonic())
        if not verdict.allowed:
            raise RateLimited(
                "This key makes too many requests: wait as long as Retry-After says.",
                headers=verdict.headers(),
            )
        return verdict.headers()

    async def note(self, session: AsyncSession, key: ApiKey) -> None:
        """When it was last used, to the minute."""
        moment = time.monotonic()
        if moment - self._noted_seconds.get(key.id, float("-inf")) < NOTED_EVERY_SECONDS:
            return
        self._noted_seconds[key.id] = moment
        used = update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=func.now())
        await session.execute(used.execution_options(synchronize_session=False))
