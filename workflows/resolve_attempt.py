"""An attempt whose answer was lost: ask the provider until it is known what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.results import declared_not_executed
    from activities.signatures.attempts import AttemptResult, SettleAttempt
    from activities.signatures.operating import CheckDeclaration, NoteAction, OperatorRecords
    from models import explaining_payments
    from models.operations import (
        AskNow,
        DecidedBy,
        Declaration,
        Declare,
        OperatorCommand,
        Resolution,
    )
    from models.outcomes import OutcomeClass
    from workflows.options import (
        call_check_declaration,
        call_settle,
        call_write,
    )

# Soon, because a customer may be waiting; then patiently, because nothing else may start meanwhile.
WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=1),
)
WAIT_THEN = timedelta(days=1)
OVERRULED = "The provider says otherwise, and that counts: {outcome}."


@dataclass
class _Wish:
    """An operator's question, and its answer once there is one."""

    command: OperatorCommand
    answer: Resolution | None = None


@workflow.defn
class ResolveAttemptWorkflow:
    """Id `resolve/{attempt_id}`. Ends with any outcome but `unknown`: what happened was adopted, or
    what had half happened was undone. An operator may have it ask at once, or declare what happened."""

    @workflow.init
    def __init__(self, request: SettleAttempt) -> None:
        self._request = request
        self._wishes: list[_Wish] = []
        self._looks = 0

    @workflow.run
    async def run(self, request: SettleAttempt) -> AttemptResult:
        began = workflow.now()
        while True:
            wait = WAITS[self._looks] if self._looks < len(WAITS) else WAIT_THEN
            self._looks += 1
            workflow.set_current_details(
                explaining_payments.resolving(
                    request.provider,
                    look=self._looks,
                    looks_at=workflow.now() + wait,
                    waited=workflow.now() - began,
                )
            )
            await self._wait(wait)
            wishes, self._wishes = self._wishes, []
            result, decided_by = await self._look(wishes)
            if result.outcome is not OutcomeClass.UNKNOWN:
                await self._end(result, decided_by, wishes)
                return result

    @workflow.update
    async def ask_now(self, command: AskNow) -> Resolution:
        return await self._answer(command, "operator.ask", {})

    @workflow.update
    async def declare(self, command: Declare) -> Resolution:
        declared = command.model_dump(mode="json", include={"declared", "provider_object_id"})
        return await self._answer(command, "operator.declare", declared)

    @declare.validator
    def _may_declare(self, command: Declare) -> None:
        needed = command.declared is Declaration.SUCCEEDED
        if needed is not (command.provider_object_id is not None):
            message = "a success names the provider's object, and only a success does"
            raise ApplicationError(message, type="invalid_request", non_retryable=True)

    @workflow.query
    def explain(self) -> str:
        return workflow.get_current_details()

    async def _answer(
        self, command: OperatorCommand, action: str, said: dict[str, str | None]
    ) -> Resolution:
        """Written down first: who asked and why is known whatever comes of it."""
        note = NoteAction(
            id=workflow.uuid7(),
            attempt_id=self._request.attempt_id,
            actor=command.actor,
            action=action,
            after={**said, "reason": command.reason},
            at=workflow.now(),
        )
        await call_write(OperatorRecords.note_action, note, f"{action} by {command.actor}")
        wish = _Wish(command)
        self._wishes.append(wish)
        await workflow.wait_condition(lambda: wish.answer is not None)
        if wish.answer is None:
            raise ApplicationError("the question was lost", type="conflict", non_retryable=True)
        return wish.answer

    async def _wait(self, wait: timedelta) -> None:
        try:
            await workflow.wait_condition(
                lambda: bool(self._wishes),
                timeout=wait.total_seconds(),
                timeout_summary=f"look {self._looks} at {self._request.provider}",
            )
        except TimeoutError:
            return

    async def _look(self, wishes: list[_Wish]) -> tuple[AttemptResult, DecidedBy]:
        """The provider first, whatever was declared; then each declaration, until one holds."""
        result = await call_settle(self._request)
        if result.outcome is not OutcomeClass.UNKNOWN:
            return result, DecidedBy.PROVIDER
        for wish in wishes:
            detail = f"{self._request.provider} still does not answer; it is asked again."
            if isinstance(wish.command, Declare):
                declared, detail = await self._take(wish.command)
                if declared is not None:
                    return declared
            wish.answer = self._resolution(result, DecidedBy.NOBODY, detail)
        return result, DecidedBy.NOBODY

    async def _take(self, command: Declare) -> tuple[tuple[AttemptResult, DecidedBy] | None, str]:
        """The declared outcome if it can be believed, else why it cannot."""
        request = self._request
        if command.provider_object_id is None:
            result = declared_not_executed(request.attempt_id, request.provider)
            return (result, DecidedBy.OPERATOR), ""
        checked = await call_check_declaration(
            CheckDeclaration(
                attempt_id=request.attempt_id,
                provider=request.provider,
                provider_object_id=command.provider_object_id,
            )
        )
        if checked.result is None:
            return None, checked.refusal
        return (checked.result, DecidedBy.PROVIDER), ""

    async def _end(self, result: AttemptResult, decided_by: DecidedBy, wishes: list[_Wish]) -> None:
        workflow.set_current_details(
            explaining_payments.resolved(
                result.outcome, looks=self._looks, decided_by=str(decided_by)
            )
        )
        while True:
            for wish in [*wishes, *self._wishes]:
                detail = _detail(wish.command, result, decided_by)
                wish.answer = wish.answer or self._resolution(result, decided_by, detail)
            self._wishes = []
            if workflow.all_handlers_finished():
                return
            await workflow.wait_condition(
                lambda: bool(self._wishes) or workflow.all_handlers_finished()
            )

    def _resolution(self, result: AttemptResult, decided_by: DecidedBy, detail: str) -> Resolution:
        return Resolution(
            attempt_id=self._request.attempt_id,
            provider=self._request.provider,
            outcome=result.outcome,
            decided_by=decided_by,
            detail=detail,
        )


def _detail(command: OperatorCommand, result: AttemptResult, decided_by: DecidedBy) -> str:
    said = str(result.outcome).replace("_", " ")
    if decided_by is DecidedBy.OPERATOR:
        return "The provider does not answer; the operator's word was taken."
    if isinstance(command, Declare):
        succeeded = result.outcome is OutcomeClass.SUCCEEDED
        if succeeded is not (command.declared is Declaration.SUCCEEDED):
            return OVERRULED.format(outcome=said)
    return f"The provider says: {said}."
