"""What PostgreSQL keeps: rows, and the bytes of their data. Indexes and free space come on top."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from models.storage.base import Base
from models.storage.engine import Sessions


@dataclass(frozen=True)
class Stored:
    rows: int
    data_bytes: int

    def __sub__(self, earlier: Stored) -> Stored:
        return Stored(self.rows - earlier.rows, self.data_bytes - earlier.data_bytes)


async def stored(sessions: Sessions) -> Stored:
    """Over all tables."""
    rows = data_bytes = 0
    async with sessions() as session:
        for table in Base.metadata.tables:
            counted = text(
                f'SELECT count(*), coalesce(sum(pg_column_size(t.*)), 0) FROM "{table}" AS t'  # noqa: S608
            )
            count, size = (await session.execute(counted)).one()
            rows, data_bytes = rows + count, data_bytes + size
    return Stored(rows, data_bytes)
