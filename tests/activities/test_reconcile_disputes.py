"""Whose a dispute is while its payment is still on its way into our books."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from activities.reconcile_ours import our_sides
from models.events import EventKind
from models.outcomes import ProviderName
from models.reconcile import Drift, FindingStatus, Listed, Listing, compare
from models.snapshots import DisputeSnapshot, DisputeStatus
from models.storage.tables import ReconciliationFinding, ReconciliationRun, new_id
from providers.listed import listed
from tests.storage.books import Books

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def _dispute() -> Listed:
    found = DisputeSnapshot(
        provider=ProviderName.STRIPE,
        provider_dispute_id="du_1",
        status=DisputeStatus.OPEN,
        provider_charge_ids=["ch_1", "in_1"],
        withdrawn=True,
        opened_at=NOW,
    )
    facts = {"kind": EventKind.DISPUTE, "dispute": found}
    return listed(ProviderName.STRIPE, "default", Listing.DISPUTES, "du_1", NOW, facts)


def _run() -> ReconciliationRun:
    return ReconciliationRun(
        id=new_id(),
        provider="stripe",
        account="default",
        dry_run=False,
        since=NOW,
        chain_started_at=NOW,
        started_at=NOW,
        status="running",
        cursor={},
        objects=0,
        repaired=0,
        left_over=0,
    )


def _finding(run_id: UUID, object_id: str) -> ReconciliationFinding:
    return ReconciliationFinding(
        id=new_id(),
        run_id=run_id,
        dry_run=False,
        provider="stripe",
        account="default",
        kind=Drift.MONEY_NOT_BOOKED,
        object_id=object_id,
        theirs="captured 900 MXN",
        ours="nothing",
        status=FindingStatus.SIGNALLED,
        listed={},
        found_at=NOW,
    )


async def test_money_that_was_told_a_moment_ago_makes_its_dispute_ours(books: Books) -> None:
    one, run = _dispute(), _run()
    async with books.sessions.begin() as session:
        session.add(run)
        await session.flush()
        session.add(_finding(run.id, "in_of_somebody_else"))
        await session.flush()
        [side] = await our_sides(session, [one])
        assert compare(one, side.ours) is None, "another program's"

        session.add(_finding(run.id, "in_1"))
        await session.flush()
        [side] = await our_sides(session, [one])
    difference = compare(one, side.ours)
    assert difference is not None
    assert (difference.drift, difference.theirs) == (Drift.DISPUTE_DIFFERS, "open, money taken")
