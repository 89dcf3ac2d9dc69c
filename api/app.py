"""Puts the API together: one FastAPI application from one context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from api import pages
from api.bodies import check_request
from api.context import ApiContext
from api.dispatcher import Dispatcher
from api.middleware import EdgeMiddleware
from api.openapi import DESCRIPTION, TAGS
from api.openapi_document import finished
from api.problems import install_problem_handlers
from api.routes import (
    benefits,
    disputes,
    entitlements,
    errors,
    events,
    figures,
    health,
    invoices,
    operator,
    operator_inbox,
    organizations,
    payment_methods,
    payments,
    plans,
    products,
    providers,
    purchases,
    reconciliation,
    refunds,
    routing,
    subscriptions,
    timeline,
    unapplied,
    webhook_deliveries,
    webhook_endpoints,
    webhooks,
)
from api.webhook_door import WebhookDoor

API_PREFIX = "/api/v1"
VERSION = "0.1.0"


def create_app(context: ApiContext) -> FastAPI:
    """The application. Its lifespan runs the dispatcher, and the context's `closers` at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with _dispatching(context):
                yield
        finally:
            for close in context.closers:
                await close()

    app = _Application(
        title="Abono",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # Ours come with a policy: `api.pages`.
        redoc_url=None,
        redirect_slashes=False,  # The redirection would be to whatever the Host header says.
        # An application that forgets the header means JSON all the same.
        strict_content_type=False,
        # Its own takes whatever trace state and baggage a caller sends: see `abono.tracing`.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.context = context
    install_problem_handlers(app)
    app.add_middleware(WebhookDoor, prefix=f"{API_PREFIX}{webhooks.router.prefix}/")
    app.add_middleware(EdgeMiddleware, context=context)  # Added last: it comes first.
    app.include_router(webhooks.router, prefix=API_PREFIX)
    app.include_router(_billing(), prefix=API_PREFIX)
    app.include_router(
        _guarded(
            routing.router,
            providers.router,
            operator.router,
            operator_inbox.router,
            reconciliation.router,
        ),
        prefix=API_PREFIX,
    )
    app.include_router(health.router)
    app.include_router(errors.router)
    app.include_router(pages.router)
    return app


class _Application(FastAPI):
    """FastAPI with a description of itself that is whole."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = finished(super().openapi(), self.routes)
        return self.openapi_schema


def _billing() -> APIRouter:
    parts = (
        organizations,
        entitlements,
        plans,
        products,
        benefits,
        payment_methods,
        subscriptions,
        timeline,
        purchases,
        invoices,
        payments,
        disputes,
        refunds,
        unapplied,
        events,
        figures,
        webhook_endpoints,
        webhook_deliveries,
    )
    return _guarded(*(part.router for part in parts), prefix="/billing")


def _guarded(*parts: APIRouter, prefix: str = "") -> APIRouter:
    """Every route for applications authenticates and refuses card numbers: it cannot be forgotten."""
    router = APIRouter(prefix=prefix, dependencies=[Depends(check_request)])
    for part in parts:
        router.include_router(part)
    return router


@asynccontextmanager
async def _dispatching(context: ApiContext) -> AsyncIterator[None]:
    if not context.dispatch:
        yield
        return
    dispatcher = Dispatcher(context)
    running = asyncio.create_task(dispatcher.run(), name="dispatcher")
    try:
        yield
    finally:
        await dispatcher.stop()
        await running
