"""Ids: those that are the same whenever the same thing is heard of again, and those read back."""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID


def derived_id(owner: UUID, name: str, at: datetime) -> UUID:
    """A UUIDv7 whose time is `at` (milliseconds) and whose random bits come from `owner` and `name`.

    It sorts by time like every other id, and two deliveries of one fact make one row.
    """
    digest = int.from_bytes(hashlib.sha256(owner.bytes + name.encode()).digest()[:10], "big")
    milliseconds = int(at.timestamp() * 1000) & ((1 << 48) - 1)
    value = (milliseconds << 80) | digest
    value = (value & ~(0xF << 76)) | (0x7 << 76)  # Version 7.
    value = (value & ~(0x3 << 62)) | (0x2 << 62)  # Variant of RFC 9562.
    return UUID(int=value)


def our_id(text: str | None) -> UUID | None:
    """An id of ours out of a provider's metadata, which anybody may have written into."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
