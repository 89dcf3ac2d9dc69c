"""A webhook's short way: from the outermost layer straight to the function that takes it.

FastAPI's routing, exit stacks and dependencies cost as much as verifying and reading the event, and a
webhook needs none of them: method and path say all. Every check of the edge has been made before. The
route of the application is the same function; it describes the address, and answers other methods.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import problem
from api.routes.webhooks import take_webhook
from models.errors import AbonoError


class WebhookDoor:
    """`prefix` is the address below which each provider has one: `/api/v1/webhooks/`."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = self._provider(scope)
        if provider is None:
            await self._app(scope, receive, send)
            return
        # What the request log and its figures name it by, as the router would have said.
        scope["route"], scope["path_params"] = take_webhook, {"provider": provider}
        try:
            answer = await take_webhook(provider, Request(scope, receive))
        except AbonoError as error:
            answer = problem(error)
        await answer(scope, receive, send)

    def _provider(self, scope: Scope) -> str | None:
        """The last part of a webhook's address; None for any other request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        name = path.removeprefix(self._prefix)
        return name if name and name != path and "/" not in name else None
