"""Column types and conventions that all tables share."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

# Named constraints, so that a migration can address each of them.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own convention
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        dict[str, int]: JSONB,
        dict[str, str]: JSONB,
        list[dict[str, Any]]: JSONB,
        list[str]: JSONB,
        str: Text,
        int: BigInteger,
        UUID: Uuid,
    }


def new_id() -> UUID:
    """A UUIDv7: sortable by time, so new rows land at the end of their indexes."""
    return UUID(str(uuid_utils.uuid7()))


def first_id_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 of that millisecond: ids are ordered by time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
