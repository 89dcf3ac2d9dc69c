"""Conekta's own SDK, called as it wants to be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """The SDK is synchronous, and the simulator lives in this very event loop."""
    return await asyncio.to_thread(call, *arguments, **options, _request_timeout=5.0)
