"""Disputes on their way from the sandbox to their workflows, as the API's dispatcher takes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from abono.simulate.world import World
from models.commands import TASK_QUEUE, DisputeInput, dispute_workflow_id
from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import DisputeSnapshot
from models.storage.tables import Dispute, WebhookEvent, new_id
from workflows.dispute import DisputeWorkflow


async def hear_disputes(
    world: World, *, backwards: bool = False, again: bool = False, stranger: bool = False
) -> list[UUID]:
    """Deliver what the sandbox says of disputes and has not been delivered (`again`: all of it). The
    ids of the inbox rows. `stranger`: as if the payment were another program's."""
    events = [_read(world, sent) for sent in world.core.webhooks.events]
    about = [event for event in events if event is not None and event.dispute is not None]
    new = [e for e in about if again or e.provider_event_id not in world.heard]
    world.heard |= {event.provider_event_id for event in new}
    ids = []
    for event in reversed(new) if backwards else new:
        ids.append(await _deliver(world, event, stranger))
    return ids


# Skipped at once when nobody works; else as long as the machine needs.
SUBSCRIPTION_HEARS = timedelta(minutes=1)


def seen_of(dispute: Dispute) -> DisputeSnapshot:
    """A dispute of ours as its provider is asked about it."""
    return DisputeSnapshot(
        provider=ProviderName(dispute.provider),
        provider_dispute_id=dispute.provider_dispute_id,
        status=dispute.status,
        opened_at=dispute.opened_at,
    )


def _read(world: World, sent: dict[str, object]) -> ProviderEvent | None:
    raw = json.dumps(sent["body"]).encode()
    provider = world.providers.get(ProviderName(str(sent["provider"])))
    if provider is None:
        return None
    signer = world.core.webhooks.signers[str(sent["provider"])]
    headers = {name.lower(): value for name, value in signer(raw).items()}
    return provider.parse_webhook(raw, headers)


async def _deliver(world: World, event: ProviderEvent, stranger: bool) -> UUID:
    assert event.kind is EventKind.DISPUTE
    assert event.dispute is not None
    now, row_id = datetime.now(UTC), new_id()
    await world.add(
        WebhookEvent(
            id=row_id,
            provider=event.provider,
            account=event.account,
            provider_event_id=str(row_id),
            event_type=event.event_type,
            kind=event.kind,
            payload={},
            event=event.model_dump(mode="json"),
            received_at=now,
            next_dispatch_at=now,
            attempts=1,
        )
    )
    account = "another" if stranger else event.account
    following = world.client.execute_workflow(
        DisputeWorkflow.run,
        DisputeInput(seen=event.dispute, account=account, event_id=row_id),
        id=dispute_workflow_id(row_id),
        task_queue=TASK_QUEUE,
    )
    if stranger:  # It looks for the payment for a day.
        await following
    else:
        with world.env.auto_time_skipping_disabled():
            await following
    await world.sleep(SUBSCRIPTION_HEARS)
    return row_id
