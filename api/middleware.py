"""The outermost layer: limits, correlation id, security headers, the request log and its figures.

Plain ASGI, because it is on the path of every webhook.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.about import SUBJECTS
from api.context import ApiContext
from api.edge_checks import check_body, check_head
from api.pans import contains_card_number
from api.problems import problem, unexpected
from models.errors import AbonoError, PayloadTooLarge
from models.storage.base import new_id

RawHeader = tuple[bytes, bytes]

_REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{8,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What comes many times a second and is counted anyway is logged only when it fails.
_BUSY = frozenset({"/healthz", "/readyz", "/metrics", "/api/v1/webhooks/{provider}"})
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# The provider signs whatever bytes it sends; what they are is seen after the signature.
_WEBHOOKS = "/api/v1/webhooks/"

_log = structlog.get_logger("abono.api")
_lines = logging.getLogger("abono.api")  # What the one above writes to.


@dataclass
class _Exchange:
    """One request and what became of it."""

    scope: Scope
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    status: int = 500
    answered: bool = False

    @property
    def route(self) -> str:
        return route_template(self.scope)


class EdgeMiddleware:
    def __init__(self, app: ASGIApp, context: ApiContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _Exchange(scope, _request_id(headers.get("x-request-id", "")))
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self._handle(exchange, headers, receive, self._decorated(send, exchange))
            finally:
                self._account(exchange)
                structlog.contextvars.unbind_contextvars(*SUBJECTS)

    async def _handle(
        self, exchange: _Exchange, headers: Headers, receive: Receive, send: Send
    ) -> None:
        scope = exchange.scope
        try:
            body = await self._checked_body(scope, headers, receive)
        except AbonoError as error:
            await problem(error)(scope, receive, send)
            return
        try:
            await self._app(scope, _replay(body, receive), send)
        except Exception as error:
            # Ends here: a server's own log would print the message, and that may hold anything.
            answer = unexpected(error, route=exchange.route)
            if not exchange.answered:
                await answer(scope, receive, send)

    async def _checked_body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """The whole body, of a request that has passed every check of the door."""
        check_head(scope, headers, self._context.trusted_hosts)
        limit = self._context.body_max_bytes
        announced = headers.get("content-length", "0")
        body = None
        # As many digits as the limit has: a longer number is over it, or none.
        if announced.isdecimal() and len(announced) <= 19 and int(announced) <= limit:
            body = await _read_body(receive, limit)
        if body is None:
            raise PayloadTooLarge(f"A body may have at most {limit} bytes.")
        if not scope["path"].startswith(_WEBHOOKS):
            check_body(body, headers)
        return body

    def _decorated(self, send: Send, exchange: _Exchange) -> Send:
        async def decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.answered = True
                message["headers"] = self._headers(exchange, message.get("headers", ()))
            await send(message)

        return decorated

    def _headers(self, exchange: _Exchange, own: Iterable[RawHeader]) -> list[RawHeader]:
        headers = [*own, *_SECURITY_HEADERS, (_REQUEST_ID_HEADER, exchange.request_id.encode())]
        if all(name != _POLICY[0] for name, _ in headers):  # A page for people brings its own.
            headers.append(_POLICY)
        if self._context.hsts_seconds:
            value = f"max-age={self._context.hsts_seconds}"
            headers.append((b"strict-transport-security", value.encode()))
        told: dict[str, str] = exchange.scope.get("state", {}).get("rate_limit", {})
        headers += [(name.lower().encode(), value.encode()) for name, value in told.items()]
        return headers

    def _account(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        method = exchange.scope["method"] if exchange.scope["method"] in METHODS else "other"
        route = exchange.route
        metrics = self._context.metrics
        metrics.requests.labels(method, route, str(exchange.status)).inc()
        metrics.request_seconds.labels(method, route).observe(seconds)
        quiet = exchange.status < 400 and route in _BUSY
        if quiet and not _lines.isEnabledFor(logging.DEBUG):
            return  # A line that is dropped takes as long to make as one that is kept.
        log = _log.debug if quiet else _log.info
        log(
            "request",
            method=method,
            route=route,
            status=exchange.status,
            milliseconds=round(seconds * 1000, 1),
        )


def route_template(scope: Scope) -> str:
    """`/api/v1/billing/plans/{plan_id}`: never the path itself, which is the caller's text."""
    if "route" not in scope:
        return "unmatched"
    names = {value: f"{{{name}}}" for name, value in scope["path_params"].items()}
    return "/".join(names.get(part, part) for part in scope["path"].split("/"))


def _request_id(offered: str) -> str:
    """The caller's correlation id when it is harmless, else a new one."""
    if _REQUEST_ID.fullmatch(offered) and not contains_card_number(offered):
        return offered
    return str(new_id())


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """All of the body; None as soon as it is longer than `limit` bytes, whatever its length header
    said. Reading it here keeps the memory of a request bounded before anything looks at it."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    handed_over = False

    async def replay() -> Message:
        nonlocal handed_over
        if handed_over:
            return await receive()
        handed_over = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
