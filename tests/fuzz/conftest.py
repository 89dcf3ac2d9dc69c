"""The API on a socket with everything real behind it: PostgreSQL, Temporal, workers, the sandbox."""

from __future__ import annotations

from tests.api.conftest import (  # noqa: F401 - fixtures
    api,
    database_url,
    made_apps,
    one_database,
    sessions,
    temporal,
    temporal_address,
)
