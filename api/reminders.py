"""Tells applications what is due to be told by the clock alone. Any number of replicas may run one each."""

from __future__ import annotations

import asyncio

from activities.reminders import tell_due_reminders
from api.clock import now
from api.context import ApiContext
from api.problems import is_database_away, log_unexpected

# Reminders are about days.
_PAUSE_SECONDS = 10.0
_BATCH = 100


class Reminders:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self.run_once() == _BATCH:
                    pass
            except Exception as error:
                if not is_database_away(error):
                    log_unexpected("reminders pass failed", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def run_once(self) -> int:
        """One batch; how many reminders it settled."""
        async with self._context.sessions.begin() as session:
            return await tell_due_reminders(session, now(), _BATCH)
