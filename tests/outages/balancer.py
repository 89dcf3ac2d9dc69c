"""What stands between the providers and two processes of the API: it takes every delivery, carries it to
one of them, and remembers what was answered and how long that took."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

EventKey = tuple[str, str]  # The provider, and the id that it gave the event.

_TIMEOUT_SECONDS = 10.0  # Stripe's; nobody listens to an answer after that.
_NOBODY = 502  # As balancers say it: nobody was there, or the line broke before the answer.


@dataclass(frozen=True)
class Answer:
    event: EventKey
    status: int
    seconds: float
    at: float  # Monotonic seconds.


class Balancer:
    """An ASGI program. Whoever is asked takes turns; who takes no connection is passed over."""

    def __init__(self, replicas: Sequence[str]) -> None:
        self._replicas = replicas
        self._turns = count()
        self.answers: list[Answer] = []
        # A fresh connection for each: one that was kept dies with its server, and would tell nothing.
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body, began = await request.body(), time.monotonic()
        answer = await self._carry(request, body)
        event = request.url.path.rpartition("/")[2], str(json.loads(body)["id"])
        now = time.monotonic()
        self.answers.append(Answer(event, answer.status_code, now - began, now))
        await answer(scope, receive, send)

    def since(self, moment: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.at >= moment]

    def accepted(self) -> set[EventKey]:
        """What some answer said is safe."""
        return {answer.event for answer in self.answers if answer.status == httpx.codes.OK}

    async def _carry(self, request: Request, body: bytes) -> Response:
        first = next(self._turns)
        for turn in range(len(self._replicas)):
            replica = self._replicas[(first + turn) % len(self._replicas)]
            try:
                answer = await self._client.post(
                    f"{replica}{request.url.path}", content=body, headers=request.headers.raw
                )
            except httpx.ConnectError:
                continue
            except httpx.HTTPError:
                break  # It may have been heard: that is for the provider to find out.
            return Response(answer.content, answer.status_code)
        return Response(status_code=_NOBODY)
