"""The API of tests/api, which the client is tried against on a socket."""

from __future__ import annotations

from tests.api.conftest import (  # noqa: F401 - fixtures
    api,
    database_url,
    made_apps,
    one_database,
    providers,
    sessions,
    temporal,
    temporal_address,
)
