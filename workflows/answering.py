"""A command that is sent again gets the answer that it had: nothing is done twice.

Temporal knows an Update by its id, for one run. A subscription begins a new run after each piece of work, and
its caller may have died before the answer was stored: sent again, the command would be carried out again, and
might charge a second time. So its answers travel in the state for a day.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import (
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

with workflow.unsafe.imports_passed_through():
    from models.commands import CommandResult
    from models.subscription import (
        UPDATE_ANSWER_AGE_MAX,
        UPDATE_ANSWERS_MAX,
        SubscriptionState,
        UpdateAnswer,
    )
    from workflows.options import refusal_of


# Sent again it waits again, and tells what is true then.
_ONLY_WAITING = frozenset({"open"})


@runtime_checkable
class Answering(Protocol):
    """A workflow whose answers outlive its run."""

    def remembered(self) -> SubscriptionState: ...


class AnswerOnce(Interceptor):
    """For every worker, and for whoever replays."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Remembering


class _Remembering(WorkflowInboundInterceptor):
    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        """What has been answered was valid when it came."""
        if _answered(input.id) is None:
            super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        if input.update in _ONLY_WAITING:
            return await super().handle_update_handler(input)
        answered = _answered(input.id)
        if answered is not None:
            return _answer_again(answered)
        try:
            result = await super().handle_update_handler(input)
        except ActivityError as error:
            raise _remembered(input.id, _refusal(error)) from None
        except ApplicationError as refused:
            raise _remembered(input.id, refused) from None
        if isinstance(result, CommandResult):
            _remember(input.id, settled=result.settled, detail=result.detail)
        return result


def _answered(update_id: str) -> UpdateAnswer | None:
    instance = workflow.instance()
    fresh = _fresh(instance.remembered()) if isinstance(instance, Answering) else []
    return next((answer for answer in fresh if answer.update_id == update_id), None)


def _fresh(state: SubscriptionState) -> list[UpdateAnswer]:
    now = workflow.now()
    return [answer for answer in state.answers if now - answer.at < UPDATE_ANSWER_AGE_MAX]


def _answer_again(answered: UpdateAnswer) -> CommandResult:
    if answered.refusal is not None:
        raise ApplicationError(answered.refusal, type=answered.refusal_type, non_retryable=True)
    return CommandResult(status=answered.status, settled=answered.settled, detail=answered.detail)


def _refusal(error: ActivityError) -> ApplicationError:
    """What a provider refuses its caller is told in its words."""
    message = f"the provider refuses: {refusal_of(error)}"
    return ApplicationError(message, type="conflict", non_retryable=True)


def _remembered(update_id: str, refused: ApplicationError) -> ApplicationError:
    _remember(update_id, refusal=refused.message, refusal_type=refused.type)
    return refused


def _remember(update_id: str, **answer: Any) -> None:
    instance = workflow.instance()
    if not isinstance(instance, Answering):
        return
    state = instance.remembered()
    given = UpdateAnswer(update_id=update_id, at=workflow.now(), status=state.status, **answer)
    state.answers = [*state.answers, given][-UPDATE_ANSWERS_MAX:]


def forget_old_answers(state: SubscriptionState) -> None:
    """Before a long wait: an idle subscription carries no answer that nobody asks for any more."""
    state.answers = _fresh(state)
