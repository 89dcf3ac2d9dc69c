"""A request that changes something happens once for its `Idempotency-Key` and answers the same for ever.

The first transaction claims the key, chooses the id of what will be made, validates, and inserts the row:
a second request sees all of that or nothing. When the process dies after it, the lease runs out and
the next request with the key goes on with the same id, so what was begun is finished, not repeated.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.bodies import read_body
from api.clock import now
from api.context import ApiContext
from api.problems import PROBLEM_MEDIA_TYPE, log_unexpected, problem_body
from models.errors import AbonoError, Conflict, InvalidRequest
from models.storage.tables import IdempotencyKey, new_id

# Longer than any request may take (10 s), short enough that a crash does not block a caller for long. One
# that is slower still may run twice at once, which is as good as once: the id is the same.
LEASE = timedelta(seconds=12)
_KEY_LENGTH_MAX = 255

_Prepared = TypeVar("_Prepared")


class _NoContent(JSONResponse):
    """Of the type that every route answers with."""

    media_type = None  # type: ignore[assignment]  # As Response itself has it.

    def render(self, content: Any) -> bytes:
        return b""


@dataclass(frozen=True)
class Answer:
    """What is sent back, now and to every repetition."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> JSONResponse:
        if self.status == HTTPStatus.NO_CONTENT:
            return _NoContent(None, self.status, headers=self.headers)
        media_type = PROBLEM_MEDIA_TYPE if self.status >= 400 else None
        return JSONResponse(self.body, self.status, headers=self.headers, media_type=media_type)


@dataclass(frozen=True)
class Once:
    """The `Idempotency-Key` of this request, if it has one, and what the request says."""

    key: str | None
    fingerprint: str

    async def run(
        self,
        context: ApiContext,
        application_id: UUID,
        prepare: Callable[[AsyncSession, UUID], Awaitable[_Prepared | Answer]],
        act: Callable[[_Prepared], Awaitable[Answer]],
    ) -> JSONResponse:
        """`prepare` reads and inserts, in the transaction that claims the key; `act` does what
        takes time, outside of any. Both may raise AbonoError, and both may be repeated after a crash.
        When `prepare` knows the answer already, `act` is left out."""
        if self.key is not None:
            claim = _Claim(context, application_id, self.key, self.fingerprint)
            return (await claim.answer(prepare, act)).response()
        async with context.sessions.begin() as session:
            prepared = await prepare(session, new_id())
        if not isinstance(prepared, Answer):
            prepared = await act(prepared)
        return prepared.response()

    async def create(
        self,
        context: ApiContext,
        application_id: UUID,
        prepare: Callable[[AsyncSession, UUID], Awaitable[Answer]],
    ) -> JSONResponse:
        """For what a single transaction can do: made and answered in one."""

        async def nothing(answer: Answer) -> Answer:
            return answer

        return await self.run(context, application_id, prepare, nothing)


async def once(
    request: Request,
    context_body: Annotated[Any, Depends(read_body)],
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            max_length=_KEY_LENGTH_MAX,
            min_length=1,
            pattern=r"^[\x20-\x7e]+$",
            description="Send the same key again to hear the same answer: nothing is done twice.",
            examples=["order-8412"],
        ),
    ] = None,
) -> Once:
    context: ApiContext = request.app.state.context
    said = json.dumps(
        [
            request.method,
            request.url.path,
            sorted(request.query_params.multi_items()),
            context_body,
        ],
        sort_keys=True,
    )
    # Keyed, so that the stored value does not let anyone test guesses at what was sent.
    digest = hmac.new(context.pepper.encode(), said.encode(), hashlib.sha256)
    return Once(key, digest.hexdigest())


RunOnce = Annotated[Once, Depends(once)]


@dataclass(frozen=True)
class _Claim:
    context: ApiContext
    application_id: UUID
    key: str
    fingerprint: str

    async def answer(
        self,
        prepare: Callable[[AsyncSession, UUID], Awaitable[_Prepared | Answer]],
        act: Callable[[_Prepared], Awaitable[Answer]],
    ) -> Answer:
        async with self.context.sessions.begin() as session:
            claimed = await self._take(session)
            if isinstance(claimed, Answer):
                return claimed
            prepared: _Prepared | Answer
            try:
                async with session.begin_nested():
                    prepared = await prepare(session, claimed)
            except AbonoError as error:
                prepared = _refusal(error)
            if isinstance(prepared, Answer):
                await self._store(session, prepared)
                return prepared
        return await self._act(prepared, act)

    async def _act(
        self, prepared: _Prepared, act: Callable[[_Prepared], Awaitable[Answer]]
    ) -> Answer:
        try:
            result = await act(prepared)
        except AbonoError as error:
            result = _refusal(error)
        except BaseException:
            await self._finish(None)
            raise
        await self._finish(result)
        return result

    async def _take(self, session: AsyncSession) -> UUID | Answer:
        """The id to work with, or the answer that was given before."""
        moment = now()
        fresh: UUID | None = await session.scalar(self._insert(moment))
        if fresh is not None:
            return fresh
        row = await session.scalar(select(IdempotencyKey).where(*self._is_ours()).with_for_update())
        if row is None:
            raise _in_use()  # Cleaned away between the two statements: a moment later it is free.
        if not hmac.compare_digest(row.fingerprint, self.fingerprint):
            raise InvalidRequest(
                "This Idempotency-Key was used for another request.", code="idempotency_key_reused"
            )
        if row.response_status is not None:
            headers = {"Idempotent-Replayed": "true"}
            return Answer(row.response_status, row.response_body or {}, headers)
        if row.locked_until > moment:
            raise _in_use()
        row.locked_until = moment + LEASE
        await session.flush()
        return row.object_id

    def _insert(self, moment: datetime) -> Any:
        values = {
            "application_id": self.application_id,
            "key": self.key,
            "fingerprint": self.fingerprint,
            "object_id": new_id(),
            "locked_until": moment + LEASE,
            "created_at": moment,
        }
        statement = insert(IdempotencyKey).values(values).on_conflict_do_nothing()
        return statement.returning(IdempotencyKey.object_id)

    def _is_ours(self) -> tuple[Any, ...]:
        return (
            IdempotencyKey.application_id == self.application_id,
            IdempotencyKey.key == self.key,
        )

    async def _store(self, session: AsyncSession, result: Answer | None) -> None:
        """Keep the answer; without one worth keeping, let the next request try at once."""
        values: dict[str, Any] = {"locked_until": now()}
        if result is not None and result.status < 500:
            values |= {"response_status": result.status, "response_body": result.body}
        await session.execute(update(IdempotencyKey).where(*self._is_ours()).values(values))

    async def _finish(self, result: Answer | None) -> None:
        """The caller gets its answer even when it cannot be stored: the lease runs out by itself."""
        try:
            async with self.context.sessions() as session:
                await self._store(session, result)
        except Exception as error:
            log_unexpected("idempotency record not stored", error)


def _refusal(error: AbonoError) -> Answer:
    return Answer(error.status, problem_body(error), error.headers)


def _in_use() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still running.",
        code="idempotency_key_in_use",
        headers={"Retry-After": "1"},
    )
