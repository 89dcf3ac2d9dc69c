"""What a step writes, as statements that are built once: to put one together from its columns for each
execution takes longer than PostgreSQL takes to carry it out. Values are given when they are executed."""

from __future__ import annotations

from functools import cache
from typing import cast
from uuid import UUID

from sqlalchemy import (
    DateTime,
    Select,
    Table,
    Text,
    TextClause,
    any_,
    bindparam,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.types import Uuid

from models.outcomes import OUTCOME_TRANSITIONS, OutcomeClass
from models.storage.tables import (
    Base,
    ChargeAttempt,
    Invoice,
    OutboundEvent,
    Purchase,
    Subscription,
)


def table_of(model: type[Base]) -> Table:
    return cast(Table, model.__table__)


@cache
def insert_all(model: type[Base]) -> Insert:
    return insert(table_of(model))


@cache
def insert_new(model: type[Base]) -> Insert:
    """A row that is there already is left as it is."""
    return insert(table_of(model)).on_conflict_do_nothing()


@cache
def write_newer(model: type[Subscription] | type[Purchase]) -> ReturningUpdate[UUID]:
    """With `row_id` and `row_version`: returns the id unless this version, or a newer one, is there."""
    row = table_of(model).c
    newer = row.version < bindparam("row_version")
    return update(table_of(model)).where(row.id == bindparam("row_id"), newer).returning(row.id)


@cache
def upsert_invoice(changed: tuple[str, ...]) -> Insert:
    """Of an invoice that is there, only the columns `changed` are written."""
    statement = insert(table_of(Invoice))
    return statement.on_conflict_do_update(
        index_elements=[table_of(Invoice).c.id],
        set_={name: statement.excluded[name] for name in changed},
    )


@cache
def finish_attempt(
    outcome: OutcomeClass, before: frozenset[OutcomeClass] = frozenset(OutcomeClass)
) -> ReturningUpdate[UUID | None, UUID]:
    """With `attempt_id`, and `named` for what was prepared: returns whose attempt it is, or nothing unless
    its outcome is among `before` and may become this one. What was prepared is never forgotten: it is
    the key to every later question."""
    row = table_of(ChargeAttempt).c
    from_ = sorted(one for one in before if outcome in OUTCOME_TRANSITIONS[one])
    return (
        update(table_of(ChargeAttempt))
        .where(row.id == bindparam("attempt_id"), row.outcome.in_(from_))
        .values(
            provider_object_id=func.coalesce(bindparam("named", type_=Text), row.provider_object_id)
        )
        .returning(row.subscription_id, row.invoice_id)
    )


@cache
def name_object() -> ReturningUpdate[UUID]:
    """With `attempt_id`: returns it if nobody has named or settled the attempt."""
    row = table_of(ChargeAttempt).c
    return (
        update(table_of(ChargeAttempt))
        .where(
            row.id == bindparam("attempt_id"),
            row.outcome == OutcomeClass.UNKNOWN,
            row.provider_object_id.is_(None),
        )
        .returning(row.id)
    )


@cache
def begin_attempt(invoice_columns: tuple[str, ...]) -> ReturningInsert[UUID]:
    """The attempt and, unless it is there, its invoice, whose values are prefixed with `of_invoice_`: one
    statement, so both or neither. Returns nothing when another attempt at the invoice is open."""
    invoice = table_of(Invoice).c
    values = {
        name: bindparam(f"of_invoice_{name}", type_=invoice[name].type) for name in invoice_columns
    }
    unless_there = insert(table_of(Invoice)).values(values)
    attempt = insert(table_of(ChargeAttempt)).on_conflict_do_nothing()
    return attempt.returning(table_of(ChargeAttempt).c.id).add_cte(
        unless_there.on_conflict_do_nothing(index_elements=[invoice.id]).cte("invoice")
    )


@cache
def told(owner: str) -> Select[int, list[UUID] | None]:
    """With `owner_id` and `ids`: the highest number that was given to an event of the owner, and which
    of the events are there. `owner` is the column that says whose they are."""
    row = table_of(OutboundEvent).c
    last = select(func.coalesce(func.max(row.sequence), 0)).where(
        row[owner] == bindparam("owner_id")
    )
    known = select(func.array_agg(row.id)).where(
        row.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
    )
    return select(last.scalar_subquery(), known.scalar_subquery())


@cache
def acknowledge() -> TextClause:
    """With `at`, and with `ids` and `said`, one for each row of the inbox: the moment in which they were
    applied, and what was done with them. Rows that are applied already are left as they are."""
    return text(
        """
        UPDATE webhook_events AS row
        SET applied_at = :at, disposition = pairs.said, last_error = NULL
        FROM unnest(:ids, :said) AS pairs (id, said)
        WHERE row.id = pairs.id AND row.applied_at IS NULL
        """
    ).bindparams(
        bindparam("at", type_=DateTime(timezone=True)),
        bindparam("ids", type_=ARRAY(Uuid)),
        bindparam("said", type_=ARRAY(Text)),
    )
