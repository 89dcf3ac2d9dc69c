"""Starts what was accepted while Temporal was away, and what a crash left between row and workflow.

Starting is safe to repeat: ids are fixed and a workflow that ran is never started again. A row that is
tried in vain is left alone for as long as it has waited already, up to a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import INTERVAL

from api.clock import now
from api.context import ApiContext
from api.problems import is_database_away, log_unexpected
from api.storing import payment_method_input
from api.temporal_calls import TemporalAway
from models.commands import RefundInput
from models.outcomes import ProviderName
from models.purchase import PurchaseTerms
from models.storage.base import first_id_at
from models.storage.tables import PaymentMethod, Purchase, Refund, Subscription
from models.subscription import SubscriptionTerms

ACTOR = "abono:starter"
# Longer than a request takes to start its own workflow.
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=1)
# The browser's tokens are worthless after that, so a payment method is given up.
TOKEN_LIFETIME = timedelta(hours=24)
_PAUSE_SECONDS = 5.0
_BATCH = 50

_log = structlog.get_logger("abono.dispatcher")
_Item = TypeVar("_Item")


class Starter:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.run_once()
            except Exception as error:
                if not is_database_away(error):
                    log_unexpected("starter pass failed", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def run_once(self) -> int:
        """One pass; how many rows it tried to start."""
        commands, jobs = self._context.commands, self._context.jobs
        if not await commands.is_reachable():
            return 0
        openings = await self._claim(_waiting_openings(), Subscription)
        terms = [SubscriptionTerms.model_validate(row.opening) for row in openings]
        bought = await self._claim(_waiting_purchases(), Purchase)
        purchases = [PurchaseTerms.model_validate(row.opening) for row in bought]
        methods = [
            payment_method_input(row)
            for row in await self._claim(_waiting_methods(), PaymentMethod)
        ]
        refunds = [
            RefundInput(refund_id=row.id, provider=ProviderName(row.provider))
            for row in await self._claim(_waiting_refunds(), Refund)
        ]
        await self._start("refund", refunds, jobs.ensure_refund)
        await self._start("subscription", terms, lambda it: commands.ensure_open(it, ACTOR))
        await self._start("purchase", purchases, lambda it: commands.ensure_open(it, ACTOR))
        await self._start("payment_method", methods, jobs.ensure_payment_method)
        return len(terms) + len(purchases) + len(methods) + len(refunds)

    async def _claim(self, waiting: Any, table: Any) -> list[Any]:
        """Rows that no other replica is starting; `updated_at` remembers the try."""
        due = waiting.limit(_BATCH).with_for_update(skip_locked=True).cte("due")
        claim = (
            update(table)
            .where(table.id == due.c.id)
            .values(updated_at=func.now())
            .returning(table)
            .execution_options(synchronize_session=False)
        )
        async with self._context.sessions.begin() as session:
            return list(await session.scalars(claim))

    async def _start(
        self, kind: str, items: list[_Item], start: Callable[[_Item], Awaitable[object]]
    ) -> None:
        async def one(item: _Item) -> None:
            result = "started"
            try:
                await start(item)
            except TemporalAway:
                result = "away"
            except Exception as error:
                result = "failed"
                log_unexpected("cannot start what was accepted", error, kind=kind)
            self._context.metrics.openings.labels(kind, result).inc()

        if items:
            _log.info("starting what was accepted", kind=kind, count=len(items))
            await asyncio.gather(*(one(item) for item in items))


def _waiting_openings() -> Any:
    return (
        select(Subscription.id)
        .where(
            # Literals, so that the partial index is used.
            Subscription.version == literal(0, literal_execute=True),
            Subscription.status == literal("incomplete", literal_execute=True),
            _has_waited(Subscription),
        )
        .order_by(Subscription.created_at)
    )


def _waiting_purchases() -> Any:
    return (
        select(Purchase.id)
        .where(Purchase.version == 0, Purchase.status == "pending", _has_waited(Purchase))
        .order_by(Purchase.created_at)
    )


def _waiting_methods() -> Any:
    return (
        select(PaymentMethod.id)
        .where(
            PaymentMethod.status == "pending",
            # Ids are ordered by time: only the newest part of the table is looked at.
            PaymentMethod.id > first_id_at(now() - TOKEN_LIFETIME),
            _has_waited(PaymentMethod),
        )
        .order_by(PaymentMethod.id)
    )


def _waiting_refunds() -> Any:
    return (
        select(Refund.id).where(Refund.status == "pending", _has_waited(Refund)).order_by(Refund.id)
    )


def _has_waited(table: Any) -> Any:
    waited = func.least(table.updated_at - table.created_at, cast(LONGEST_WAIT, INTERVAL))
    return table.updated_at < func.now() - func.greatest(waited, cast(FIRST_WAIT, INTERVAL))
