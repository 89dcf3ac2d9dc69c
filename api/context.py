"""What the API needs from the outside, handed over once when the application is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.commands import Commands
from api.doorbell import Doorbell
from api.inbox import Inbox
from api.jobs import Jobs
from api.key_uses import KeyUses
from api.metrics import Metrics
from api.outbound.sender import Sender
from api.storefront import Storefront
from models.storage.engine import Sessions
from providers.registry import ProviderRegistry


@dataclass(frozen=True)
class Retention:
    """How long what was said is kept. Stripe keeps its own keys for a day; a week spans a long weekend.
    `payloads`, `deliveries` None: for ever."""

    idempotency: timedelta = timedelta(days=7)
    payloads: timedelta | None = None
    deliveries: timedelta | None = None


@dataclass
class ApiContext:
    """`temporal` may be a lazy client: the API starts and takes webhooks while Temporal is away.

    `dispatch` False leaves the delivery of webhooks to other replicas. `closers` run when the
    application has shut down, after the last request and the last delivery.
    """

    sessions: Sessions
    temporal: Client
    providers: ProviderRegistry
    pepper: str
    body_max_bytes: int = 1_048_576
    trusted_hosts: tuple[str, ...] = ()  # Lower case, without a port; none means any.
    hsts_seconds: int = 0
    requests_per_minute: int = 0  # Of a key that has no limit of its own; 0 is none.
    # A POST answers within 10 s (the promise of the API); this leaves 2 s for the database.
    response_wait_seconds: float = 8.0
    dispatch: bool = True
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    retention: Retention = field(default_factory=Retention)
    storefront: Storefront = field(default_factory=Storefront)
    metrics: Metrics = field(default_factory=Metrics)
    doorbell: Doorbell = field(default_factory=Doorbell)
    key_uses: KeyUses = field(default_factory=KeyUses)
    sender: Sender = field(default_factory=Sender)
    inbox: Inbox = field(init=False)

    def __post_init__(self) -> None:
        self.inbox = Inbox(lambda: self.engine)

    @property
    def engine(self) -> AsyncEngine:
        """The pool behind `sessions`, for the statements that need no session."""
        return self.sessions.engine

    @property
    def commands(self) -> Commands:
        return Commands(self.temporal, self.response_wait_seconds)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.temporal, self.response_wait_seconds)


def context_of(connection: HTTPConnection) -> ApiContext:
    return cast(ApiContext, connection.app.state.context)


Context = Annotated[ApiContext, Depends(context_of)]
