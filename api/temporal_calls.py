"""How the API calls Temporal: with patience, over passing trouble, and with every failure translated.

Of what was to begin three things can be said: it was carried out, it goes on, or it cannot be said to have
begun. Only the caller knows which of these is good enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from models.errors import AbonoError, Conflict, InvalidRequest, PaymentRefused, Unavailable

# Starting something is quick or it is not happening: the database remembers to try again.
START_TIMEOUT_SECONDS = 5.0
_RETRY_PAUSE_SECONDS = 0.1

# A workflow task failed under the update, or the run is just being replaced by a fresh one: the same
# update, with the same id, is answered a moment later.
_PASSING = (
    "unexpected workflow task failure",
    "workflow is closing",
    "workflow operation can not be applied",
)
# How the server ends an accepted update whose run was over before it: the outcome is in the database.
_CUT_SHORT = "AcceptedUpdateCompletedWorkflow"
# Nobody can say whether the call was taken: no answer, a proxy's in between, or a failure after it.
_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.ABORTED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)

_log = structlog.get_logger("abono.commands")
_Result = TypeVar("_Result")
_Outcome_co = TypeVar("_Outcome_co", covariant=True)


class TemporalAway(Exception):
    """No answer, or none that says whether it was accepted."""


class WorkflowGone(Exception):
    """No open workflow has this id. `completed`: there was one, and it has ended."""

    def __init__(self, *, completed: bool) -> None:
        super().__init__("the workflow has ended" if completed else "there is no such workflow")
        self.completed = completed


class Begun(Protocol[_Outcome_co]):
    """The handle of a workflow or of an update."""

    async def result(self) -> _Outcome_co: ...


@dataclass(frozen=True)
class TemporalCalls:
    """`wait_seconds` is the patience of a caller who waits for an outcome."""

    client: Client
    wait_seconds: float

    async def carry_out(
        self, begin: Callable[[], Awaitable[Begun[_Result]]], not_begun: str
    ) -> _Result | None:
        """Begin something and wait for its outcome; None when it goes on beyond our patience.

        Raises what it is refused with (Conflict), WorkflowGone when nobody is there to take it, and
        Unavailable with the sentence `not_begun` when it cannot be said to have begun.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds
        try:
            begun = await self.within(self.wait_seconds, begin)
        except TemporalAway:
            raise Unavailable(not_begun) from None
        try:
            return await self.within(deadline - loop.time(), begun.result)
        except (TemporalAway, WorkflowGone) as reason:
            _log.info("it goes on", reason=str(reason))  # What became of it will stand in its row.
        except WorkflowFailureError as failure:
            _log.error("a workflow failed", reason=type(failure.cause).__name__)
        return None

    async def within(self, seconds: float, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """`call`, repeated over passing trouble, its failures translated."""
        try:
            async with asyncio.timeout(max(seconds, 0.01)):
                while True:
                    try:
                        return await call()
                    except RPCError as error:
                        if not _is_passing(error):
                            raise
                    await asyncio.sleep(_RETRY_PAUSE_SECONDS)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error) from None
        except RPCError as error:
            raise _translate(error) from error
        except (TimeoutError, RPCTimeoutOrCancelledError):
            raise TemporalAway("no answer in time") from None
        except RuntimeError as error:  # What a lazy client raises when it cannot connect.
            if "connect" not in str(error).lower():
                raise
            raise TemporalAway("cannot connect") from None


@asynccontextmanager
async def watched(
    operation: WithStartWorkflowOperation[object, object],
) -> AsyncIterator[WithStartWorkflowOperation[object, object]]:
    # The operation keeps the error of a failed start for whoever asks for its handle. Somebody has to,
    # or asyncio logs it as lost.
    handle = asyncio.ensure_future(operation.workflow_handle())
    handle.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        yield operation
    finally:
        handle.cancel()


def _is_passing(error: RPCError) -> bool:
    message = error.message.lower()
    return any(sign in message for sign in _PASSING)


def _translate(error: RPCError) -> Exception:
    if error.status in _AWAY:
        return TemporalAway(f"{error.status.name}: {error.message}")
    if error.status is RPCStatusCode.NOT_FOUND:
        return WorkflowGone(completed="already completed" in error.message)
    return error


def _refusal(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    if cause.type == _CUT_SHORT:
        return TemporalAway("the run ended before the command did")
    by_type: dict[str | None, type[AbonoError]] = {
        "conflict": Conflict,
        "invalid_request": InvalidRequest,
        "payment_refused": PaymentRefused,
    }
    refusal = by_type.get(cause.type)
    return refusal(cause.message) if refusal else error
