"""The checks see what they are for: every one of them fails on books that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from abono.chaos.rest import check_logs
from abono.dev.info import StackInfo
from abono.simulate.commitments import check_over_is_over, check_transitions
from abono.simulate.invariants import InvariantViolated, one_live_charge_per_invoice
from models.outcomes import OutcomeClass
from models.storage.tables import AuditEntry, ChargeAttempt, Subscription, new_id

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8060")
END = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def move(version: int, action: str, before: str, after: str) -> AuditEntry:
    return AuditEntry(
        id=new_id(),
        subscription_id=ID,
        version=version,
        action=action,
        before={"status": before},
        after={"status": after},
        at=END + version * HOUR,
    )


def test_moves_of_the_table_are_fine() -> None:
    paid = move(1, "payment_succeeded", "incomplete", "active")
    check_transitions([paid, move(2, "canceled", "active", "canceled")])


@pytest.mark.parametrize(
    "moves",
    [
        [move(1, "payment_succeeded", "incomplete", "past_due")],
        [move(1, "payment_succeeded", "past_due", "active")],
        [
            move(1, "payment_succeeded", "incomplete", "active"),
            move(2, "payment_succeeded", "incomplete", "active"),
        ],
        [
            move(1, "payment_succeeded", "incomplete", "active"),
            move(2, "canceled", "active", "canceled"),
            move(3, "payment_succeeded", "past_due", "active"),
        ],
    ],
    ids=["not in the table", "from another status", "twice", "back from the end"],
)
def test_a_move_that_is_none_is_seen(moves: list[AuditEntry]) -> None:
    with pytest.raises(InvariantViolated, match="invariant 4"):
        check_transitions(moves)


def ended() -> Subscription:
    return Subscription(id=ID, status="canceled", canceled_at=END)


def attempt(after: timedelta, outcome: OutcomeClass) -> ChargeAttempt:
    return ChargeAttempt(id=new_id(), subscription_id=ID, started_at=END + after, outcome=outcome)


def charge(after: timedelta, reference: str | None = None) -> dict[str, Any]:
    return {
        "id": "ch_1",
        "provider": "stripe",
        "kind": "charge",
        "status": "paid",
        "reference": reference,
        "subscription_id": str(ID),
        "created_at": (END + after).isoformat(),
    }


def test_what_came_before_the_end_is_fine_and_a_slip_is_paid_when_it_is() -> None:
    before = attempt(-HOUR, OutcomeClass.SUCCEEDED)
    refused = attempt(HOUR, OutcomeClass.NOT_ATTEMPTED)
    movements = [charge(-HOUR), charge(30 * HOUR, reference="93000262276908")]
    check_over_is_over([ended()], [before, refused], movements, HOUR)


def test_a_try_after_the_end_is_seen() -> None:
    with pytest.raises(InvariantViolated, match="invariant 6"):
        check_over_is_over([ended()], [attempt(HOUR, OutcomeClass.DECLINED)], [], HOUR)


def test_a_provider_that_goes_on_billing_is_seen() -> None:
    check_over_is_over([ended()], [], [charge(HOUR / 2)], HOUR)
    with pytest.raises(InvariantViolated, match="invariant 6"):
        check_over_is_over([ended()], [], [charge(2 * HOUR)], HOUR)


def test_two_slips_that_can_be_paid_are_seen() -> None:
    slip = {"kind": "charge", "status": "pending", "invoice_id": "1"}
    one_live_charge_per_invoice([slip, slip | {"status": "expired"}, slip | {"invoice_id": "2"}])
    with pytest.raises(InvariantViolated, match="invariant 1"):
        one_live_charge_per_invoice([slip, dict(slip)])


def test_a_key_in_a_log_is_seen(tmp_path: Path) -> None:
    info = StackInfo("", "ab_live_secret", "ab_admin_secret", "", "", "", "", "")
    log = tmp_path / "logs" / "api.log"
    log.parent.mkdir()
    log.write_text('{"event": "request", "status": 201}\n')
    check_logs(tmp_path, info)
    log.write_text('{"event": "request", "key": "ab_live_secret"}\n')
    with pytest.raises(InvariantViolated, match=r"invariant 7: api\.log"):
        check_logs(tmp_path, info)
