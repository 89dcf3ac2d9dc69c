"""A migrated PostgreSQL for tests: one server for the run, one fresh database for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abono.dev.postgres import running_postgres
from abono.simulate.databases import FreshDatabases, sqlalchemy_url

__all__ = ["TestDatabases", "sqlalchemy_url", "test_databases"]


class TestDatabases(FreshDatabases):
    __test__ = False  # The name begins with Test, but pytest need not look inside.


@contextmanager
def test_databases(home: Path) -> Iterator[TestDatabases]:
    with running_postgres(home) as url:
        yield TestDatabases(url)
