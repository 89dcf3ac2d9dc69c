"""Runs an activity the way a worker does, without a Temporal server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from temporalio.testing import ActivityEnvironment

Request = TypeVar("Request")
Result = TypeVar("Result")


async def run(
    function: Callable[[Request], Awaitable[Result]],
    request: Request,
    *,
    attempt: int = 1,
    at: datetime | None = None,
) -> Result:
    """`attempt` counts Temporal's own repetitions of one activity, from 1; `at` is its server's time."""
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.info, attempt=attempt, current_attempt_scheduled_time=at or datetime.now(UTC)
    )
    return await environment.run(function, request)
