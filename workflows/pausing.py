"""Pauses: nothing is invoiced or charged, and what was paid for is used to its end.

Both clocks stop their own machinery and share the rest. The provider is paused as soon as the pause is
agreed on, also for one that begins with the period's end: whatever happens to us, it bills no more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.subscriptions import ResumeReference, SubscriptionReference
    from models.commands import Pause, PauseAt
    from models.moments import paid_until
    from models.states import SubscriptionEvent, SubscriptionStatus
    from models.subscription import SubscriptionState
    from workflows.desk import Desk
    from workflows.options import call_remote, refusal_of

CONFLICT, INVALID_REQUEST = "conflict", "invalid_request"
# A longer pause than any customer plans; it keeps a typing error from holding a subscription for ever.
RESUME_WITHIN_MAX = timedelta(days=5 * 366)

REFUSAL_BY_STATUS: dict[SubscriptionStatus, str] = {
    SubscriptionStatus.INCOMPLETE: "nothing was paid yet that could be paused: cancel it instead",
    SubscriptionStatus.TRIALING: "a trial is not paused: it charges nothing before its end",
    SubscriptionStatus.PAUSED: "it is paused until its invoice is paid: have it paid, or cancel",
    SubscriptionStatus.PAST_DUE: "an invoice is unpaid: have it paid, or cancel",
}


def refuse_pause(desk: Desk, command: Pause, *, busy: bool) -> None:
    """Raises what the caller is told. `busy`: a charge is on its way."""
    state = desk.state
    if state.cancel_at_period_end or state.cancel_requested:
        raise conflict("the subscription ends: take the cancellation back first")
    if not state.is_held and state.status in REFUSAL_BY_STATUS:
        raise conflict(REFUSAL_BY_STATUS[state.status])
    if busy:
        raise conflict("a payment is on its way: try again in a moment")
    _check_resume_at(state, command)


def _check_resume_at(state: SubscriptionState, command: Pause) -> None:
    if command.resume_at is None:
        return
    now = workflow.now()
    begins = paid_until(state) if command.at is PauseAt.PERIOD_END else None
    if command.resume_at <= max(now, begins or now):
        raise ApplicationError(
            "resume_at has to come after the pause begins", type=INVALID_REQUEST, non_retryable=True
        )
    if command.resume_at > now + RESUME_WITHIN_MAX:
        raise ApplicationError(
            "resume_at is more than five years away", type=INVALID_REQUEST, non_retryable=True
        )


def begin(desk: Desk, command: Pause) -> None:
    """Agreed on: from now on nothing is billed. It takes effect now, or when what was paid for ends."""
    state, end = desk.state, paid_until(desk.state)
    state.resume_at = command.resume_at
    told = _iso(resume_at=command.resume_at)
    if state.status is SubscriptionStatus.PAUSED:
        desk.audit(command.actor, "pause", {}, told)
    elif command.at is PauseAt.PERIOD_END and end is not None and end > workflow.now():
        state.pause_at = end
        desk.audit(command.actor, "pause", {}, {**told, **_iso(pause_at=end)})
        desk.emit("subscription.pause_scheduled", **told, **_iso(pause_at=end))
    else:
        take_effect(desk, command.actor)


def take_effect(desk: Desk, actor: str) -> None:
    state = desk.state
    state.pause_at = None
    desk.move(SubscriptionEvent.PAUSED, actor, **_iso(resume_at=state.resume_at))


def still_paid(state: SubscriptionState) -> bool:
    """What was paid for (or the trial) still runs."""
    end = paid_until(state)
    return end is not None and end > workflow.now()


def has_lapsed(state: SubscriptionState) -> bool:
    """A pause has outlasted what was paid for: there is no period's end to wait for."""
    begun = state.status is SubscriptionStatus.PAUSED and state.is_held
    return begun and not still_paid(state)


def unschedule(desk: Desk, actor: str) -> None:
    """Taken back before it began."""
    pause_at, desk.state.pause_at, desk.state.resume_at = desk.state.pause_at, None, None
    desk.audit(actor, "resume", _iso(pause_at=pause_at), {})
    desk.emit("subscription.pause_unscheduled")


def leave(desk: Desk, event: SubscriptionEvent, actor: str) -> None:
    """The pause is over: `event` says whether what comes now is paid."""
    state = desk.state
    in_trial = state.trial_end is not None and state.trial_end > workflow.now()
    if event is SubscriptionEvent.RESUMED and in_trial and state.paid_ahead_until is None:
        event = SubscriptionEvent.TRIAL_STARTED
    state.resume_at = None
    if desk.move(event, actor):
        desk.emit("subscription.resumed")


def resume_reference(reference: SubscriptionReference, *, new_period: bool) -> ResumeReference:
    return ResumeReference(
        **reference.model_dump(), new_period=new_period, resume_id=workflow.uuid7()
    )


async def ask(method: Any, reference: SubscriptionReference, summary: str) -> Any:
    """The provider's answer, however long it is away. Raises what the caller is told when it refuses."""
    try:
        return await call_remote(method, reference, summary)
    except ActivityError as error:
        raise conflict(f"{reference.provider} refuses: {refusal_of(error)}") from None


def conflict(message: str) -> ApplicationError:
    return ApplicationError(message, type=CONFLICT, non_retryable=True)


def _iso(**times: Any) -> dict[str, Any]:
    return {name: at.isoformat() if at else None for name, at in times.items()}
