"""Watches a simulator from outside: every request and answer is held against Stripe's document."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from tests.sandbox.stripe import openapi

PREFIX = "/stripe"


class Recorder:
    """ASGI around the sandbox. `problems` stays empty as long as everybody speaks Stripe's language."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.problems: list[str] = []
        self.requests: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(PREFIX + "/v1"):
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], path.removeprefix(PREFIX)
        sent, answered = bytearray(), bytearray()
        status = 0

        async def watched_receive() -> MutableMapping[str, Any]:
            message = await receive()
            sent.extend(message.get("body", b""))
            return message

        async def watched_send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            answered.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, watched_receive, watched_send)
        self.requests.append((method, path))
        encoded = sent.decode() or scope["query_string"].decode()
        self.problems += openapi.check_request(method, path, encoded)
        if status < 500:
            body = json.loads(bytes(answered))
            self.problems += openapi.check_answer(method, path, status, body)
