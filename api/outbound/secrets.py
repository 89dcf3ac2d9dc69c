"""Signing secrets of webhook endpoints: made here, kept sealed, two of them valid during a rotation."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.storage.base import new_id

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret of Standard Webhooks begins with.
# Standard Webhooks asks for 24 to 64 bytes.
_SECRET_BYTES = 32
# A signature each: a header stays short, and nobody rotates more often than that.
SECRETS_MAX = 3

Sealed = dict[str, Any]


class Unreadable(Exception):
    """Sealed under another pepper."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


class Sealer:
    """Seals under a key that follows from the pepper: the database alone signs nothing."""

    def __init__(self, pepper: str) -> None:
        derive = HKDF(SHA256(), length=32, salt=None, info=b"abono webhook signing secrets")
        self._fernet = Fernet(base64.urlsafe_b64encode(derive.derive(pepper.encode())))

    def seal(self, secret: str, at: datetime) -> Sealed:
        return {
            "id": str(new_id()),
            "sealed": self._fernet.encrypt(secret.encode()).decode(),
            "created_at": at.isoformat(),
            "expires_at": None,
        }

    def open(self, sealed: Sealed) -> str:
        """Raises Unreadable."""
        try:
            return self._fernet.decrypt(sealed["sealed"]).decode()
        except InvalidToken:
            raise Unreadable from None

    def readable(self, sealed: Sequence[Sealed], at: datetime) -> list[str]:
        """The secrets that sign at `at`, newest first, without those that cannot be read."""
        found = []
        for one in valid(sealed, at):
            try:
                found.append(self.open(one))
            except Unreadable:
                continue
        return found


def valid(sealed: Sequence[Sealed], at: datetime) -> list[Sealed]:
    """Those that sign at `at`."""
    return [one for one in sealed if not _is_over(one, at)]


def rotated(
    sealed: Sequence[Sealed], new: Sealed, at: datetime, overlap: timedelta
) -> list[Sealed]:
    """`new` first; those before it sign on until `overlap` is over, and never longer than they had."""
    end = at + overlap
    kept = [
        {**one, "expires_at": min(end, _end_of(one) or end).isoformat()}
        for one in valid(sealed, at)
    ]
    return [new, *(one for one in kept if not _is_over(one, at))][:SECRETS_MAX]


def _end_of(one: Sealed) -> datetime | None:
    return datetime.fromisoformat(one["expires_at"]) if one["expires_at"] else None


def _is_over(one: Sealed, at: datetime) -> bool:
    end = _end_of(one)
    return end is not None and end <= at
