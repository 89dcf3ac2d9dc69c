"""A database in MaxMind's format on this machine: GeoLite2, DB-IP, IPinfo and the like."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import maxminddb

from providers.geolocation.reading import iso_country


class DatabaseUnusable(Exception):
    """The file is missing or is no such database. The message is for the person who configured it."""


class Database:
    """Read into memory as a whole: a mapped file that is replaced in place would kill the process.
    A renewed file is read at the next start."""

    def __init__(self, path: Path) -> None:
        """Raises DatabaseUnusable."""
        try:
            self._reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
            self.description = _describe(self._reader)
        except FileNotFoundError:
            raise DatabaseUnusable(f"{path} does not exist") from None
        except OSError as error:
            raise DatabaseUnusable(f"{path} cannot be read: {error.strerror}") from None
        except Exception as error:  # A damaged file makes the reader stumble in many ways.
            kind = type(error).__name__
            raise DatabaseUnusable(f"{path} is no MaxMind-format database ({kind})") from None

    def country_of(self, address: str) -> str | None:
        """Raises whatever a damaged file makes the reader raise."""
        return _country(self._reader.get(address))

    def close(self) -> None:
        self._reader.close()


def _describe(reader: maxminddb.Reader) -> str:
    """`GeoLite2-Country, built 2026-11-17`."""
    metadata = reader.metadata()
    built = datetime.fromtimestamp(metadata.build_epoch, UTC)
    return f"{metadata.database_type}, built {built:%Y-%m-%d}"


def _country(record: Any) -> str | None:
    """MaxMind and DB-IP nest the code, IPinfo and others do not. The country of registration is left
    out: it says where a network's owner has its office."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    if isinstance(country, dict):
        return iso_country(country.get("iso_code"))
    return iso_country(record.get("country_code")) or iso_country(country)
