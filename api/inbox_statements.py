"""The dispatcher's statements, each built once: it looks into its inbox all the time, and to put a
statement together takes longer than PostgreSQL takes to carry it out."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Interval,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from activities.statements import table_of
from models.storage.tables import WebhookEvent

BATCH = 200
# From a claim to the next one, when nothing was applied in between.
RESEND_AFTER: tuple[timedelta, ...] = (
    timedelta(seconds=2),
    timedelta(seconds=5),
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=1),
)

# What was sent waits behind what was sent before it: to send it again while the workers have not come to
# it makes them do more and end later. A small worker applies a hundred a second; a claim whose dispatcher
# died is taken over within ten seconds all the same.
BEHIND_EACH = timedelta(milliseconds=10)
BEHIND_ALL_MAX = timedelta(seconds=8)
_BEHIND_COUNT_MAX = BEHIND_ALL_MAX // BEHIND_EACH

_INBOX = table_of(WebhookEvent)
_ROW = _INBOX.c
_IDS: ColumnElement[Any] = any_(bindparam("ids", type_=ARRAY(Uuid)))
_UNAPPLIED = (_ROW.id == _IDS, _ROW.applied_at.is_(None))


def _resend_after() -> ColumnElement[timedelta]:
    *steps, last = [literal(step, Interval) for step in RESEND_AFTER]
    return case(*((_ROW.attempts == n, step) for n, step in enumerate(steps)), else_=last)


_DUE = (
    select(_ROW.id)
    .where(_ROW.applied_at.is_(None), _ROW.next_dispatch_at <= func.now())
    .order_by(_ROW.id)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
    .cte("due")
)
_ON_THEIR_WAY = (
    select(literal(1).label("one"))
    .where(
        _ROW.applied_at.is_(None),
        _ROW.next_dispatch_at > func.now(),
        _ROW.next_dispatch_at <= func.now() + RESEND_AFTER[0] + BEHIND_ALL_MAX,
        _ROW.attempts > 0,
    )
    .limit(_BEHIND_COUNT_MAX)
    .subquery()
)


def _behind() -> ColumnElement[timedelta]:
    """What a claim waits longer for, because of those before it and beside it."""
    before = select(func.count()).select_from(_ON_THEIR_WAY).scalar_subquery()
    beside = select(func.count()).select_from(_DUE).scalar_subquery()
    others = func.least(before + beside - 1, _BEHIND_COUNT_MAX)
    return others * literal(BEHIND_EACH, Interval)


# What is due and nobody else has.
CLAIM = (
    update(_INBOX)
    .where(_ROW.id == _DUE.c.id)
    .values(
        attempts=_ROW.attempts + 1,
        next_dispatch_at=func.now() + _resend_after() + _behind(),
    )
    .returning(_ROW.id, _ROW.event, _ROW.attempts, _ROW.received_at)
)
SECONDS_TO_NEXT = select(func.extract("epoch", func.min(_ROW.next_dispatch_at) - func.now())).where(
    _ROW.applied_at.is_(None)
)
# With `ids` and `said`.
SETTLE = (
    update(_INBOX)
    .where(*_UNAPPLIED)
    .values(applied_at=func.now(), disposition=bindparam("said"), last_error=None)
)
# With `ids`: their turn was not used up.
GIVE_BACK = (
    update(_INBOX)
    .where(*_UNAPPLIED)
    .values(attempts=_ROW.attempts - 1, next_dispatch_at=func.now())
)


@cache
def write_texts(column: Literal["last_error", "workflow_id"]) -> Any:
    """With `ids` and `texts`, one for each row; rows that have it already are left alone."""
    return text(
        f"""
        UPDATE webhook_events AS row SET {column} = pairs.text
        FROM unnest(:ids, :texts) AS pairs (id, text)
        WHERE row.id = pairs.id AND row.{column} IS DISTINCT FROM pairs.text
        """  # noqa: S608 - one of two names.
    ).bindparams(
        bindparam("ids", type_=ARRAY(Uuid)),
        bindparam("texts", type_=ARRAY(Text)),
    )
