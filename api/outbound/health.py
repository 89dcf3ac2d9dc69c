"""What a try says about its event and about its endpoint, and what follows: rules of `models.outbound`
applied to rows that are locked."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from activities.webhook_queue import hand_out
from api.outbound import queue
from api.outbound.queue import Held
from api.outbound.sender import Result
from models.outbound import (
    FAILING_AFTER,
    DeliveryStatus,
    EndpointStatus,
    StatusReason,
    hold_for,
    is_to_be_paused,
    next_try_at,
)
from models.storage.tables import AuditEntry, OutboundEvent, WebhookEndpoint, new_id

ACTOR = "abono:webhooks"
_TOLD = {
    EndpointStatus.PAUSED: "webhook_endpoint.paused",
    EndpointStatus.DISABLED: "webhook_endpoint.disabled",
}

_log = structlog.get_logger("abono.outbound")


async def settle(
    session: AsyncSession, held: Held, result: Result, began: datetime, at: datetime
) -> str:
    """Write what came of a try that began at `began` and ended at `at`; a word for the figures."""
    delivery = held.delivery
    delivery.attempts += 1
    delivery.last_attempt_at = began
    delivery.response_status = result.response_status
    delivery.response_excerpt = result.response_excerpt
    delivery.error = result.error
    if result.delivered:
        delivery.status, delivery.delivered_at = DeliveryStatus.DELIVERED, at
        await _recover(session, held, at)
        await queue.release(session, held.lane, None)
        return "delivered"
    retry_at = _count_failure(held, began, at)
    await queue.release(session, held.lane, retry_at)
    await _judge_endpoint(session, held.endpoint, result, at)
    return "failed" if retry_at is not None else "given_up"


async def _recover(session: AsyncSession, held: Held, at: datetime) -> None:
    endpoint = held.endpoint
    was_failing = endpoint.consecutive_failures >= FAILING_AFTER
    endpoint.last_success_at = at
    endpoint.consecutive_failures = 0
    endpoint.failing_since = endpoint.held_until = None
    if was_failing:
        await session.flush()
        await queue.wake_all(session, endpoint.id)


def _count_failure(held: Held, began: datetime, at: datetime) -> datetime | None:
    """When the event is tried again; None when it is given up, or the endpoint is gone."""
    delivery = held.delivery
    delivery.failures += 1
    delivery.trying_since = delivery.trying_since or began
    gone = delivery.response_status == 410
    # Not for secrets: only so that they do not all come back in the same second.
    jitter = random.random()  # noqa: S311
    retry_at = None if gone else next_try_at(delivery.failures, delivery.trying_since, at, jitter)
    if retry_at is None:
        delivery.status = DeliveryStatus.FAILED
    return retry_at


async def _judge_endpoint(
    session: AsyncSession, endpoint: WebhookEndpoint, result: Result, at: datetime
) -> None:
    endpoint.consecutive_failures += 1
    endpoint.failing_since = endpoint.failing_since or at
    endpoint.last_failure_at, endpoint.last_error = at, result.error
    pause = hold_for(endpoint.consecutive_failures)
    endpoint.held_until = at + pause if pause is not None else None
    if result.gone:
        await queue.drop(session, endpoint.id)
        await _turn_off(session, endpoint, EndpointStatus.DISABLED, StatusReason.GONE, at)
    elif is_to_be_paused(endpoint.consecutive_failures, endpoint.failing_since, at):
        await _turn_off(session, endpoint, EndpointStatus.PAUSED, StatusReason.FAILING, at)


async def _turn_off(
    session: AsyncSession,
    endpoint: WebhookEndpoint,
    status: EndpointStatus,
    reason: StatusReason,
    at: datetime,
) -> None:
    """Said in the log, in the audit log, and to the application's other endpoints."""
    if endpoint.status != EndpointStatus.ENABLED:
        return  # Another try was under way when it was turned off.
    change_status(session, endpoint, status, reason, actor=ACTOR, at=at)
    endpoint.version += 1
    event = OutboundEvent(
        id=new_id(),
        application_id=endpoint.application_id,
        sequence=endpoint.version,
        type=_TOLD[status],
        data={
            "webhook_endpoint_id": str(endpoint.id),
            "url": endpoint.url,
            "status_reason": reason.value,
            "last_error": endpoint.last_error,
        },
        created_at=at,
    )
    session.add(event)
    await session.flush()
    await hand_out(session, [event.id])
    _log.warning(
        "webhook endpoint turned off",
        webhook_endpoint_id=str(endpoint.id),
        status=status.value,
        reason=reason.value,
        last_error=endpoint.last_error,
    )


def change_status(
    session: AsyncSession,
    endpoint: WebhookEndpoint,
    status: EndpointStatus,
    reason: StatusReason | None,
    *,
    actor: str,
    at: datetime,
) -> None:
    before = endpoint.status
    endpoint.status = status.value
    endpoint.status_reason = reason.value if reason is not None else None
    endpoint.status_changed_at = endpoint.updated_at = at
    audit(session, endpoint, actor, "webhook_endpoint.status", {"status": before}, at)


def audit(
    session: AsyncSession,
    endpoint: WebhookEndpoint,
    actor: str,
    action: str,
    before: dict[str, Any],
    at: datetime,
) -> None:
    """`before` are the fields that changed; what they are now is read from the endpoint."""
    session.add(
        AuditEntry(
            id=new_id(),
            application_id=endpoint.application_id,
            version=0,
            actor=actor,
            action=action,
            before=before and {"webhook_endpoint_id": str(endpoint.id), **before},
            after={
                "webhook_endpoint_id": str(endpoint.id),
                "url": endpoint.url,
                "event_types": endpoint.event_types,
                "status": endpoint.status,
                "status_reason": endpoint.status_reason,
            },
            at=at,
        )
    )
