"""API keys of the calling applications: made, listed, rotated, switched off. Kept as keyed hashes only."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from abono.settings import Settings
from api.auth import ALL_SCOPES, KEY_PREFIX, KEY_PREFIX_LENGTH, Scope, hash_key
from api.clock import now
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import ApiKey, Application, new_id

KEY_BYTES = 32


@dataclass(frozen=True)
class KeyInfo:
    """What may be shown of a key."""

    id: UUID
    prefix: str
    application: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    requests_per_minute: int | None

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "active"

    def __str__(self) -> str:
        parts = [
            str(self.id),
            f"{self.prefix}…",
            self.application,
            ",".join(self.scopes),
            self.state,
        ]
        if self.state == "active" and self.expires_at is not None:
            parts.append(f"until {self.expires_at:%Y-%m-%d %H:%M} UTC")
        if self.requests_per_minute is not None:
            parts.append(f"{self.requests_per_minute}/min")
        used = self.last_used_at
        parts.append(f"used {used:%Y-%m-%d %H:%M} UTC" if used else "never used")
        return "  ".join(parts)


async def create_key(
    database_url: str,
    *,
    application_name: str,
    scopes: Sequence[str],
    pepper: str | None = None,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
) -> str:
    """A new key of the application, which is made when it is new. Returned once, never again.

    `pepper` is the settings' own when left out. Raises ValueError for an unknown scope and a name that is
    empty.
    """
    _check_scopes(scopes)
    if not application_name.strip():
        raise ValueError("An application needs a name.")
    key, row = _new_key(pepper)
    row.scopes, row.expires_at = list(scopes), expires_at
    row.requests_per_minute = requests_per_minute
    async with _database(database_url) as session:
        row.application_id = await _application_id(session, application_name.strip())
        session.add(row)
    return key


async def rotate_key(
    database_url: str, key_id: str, *, overlap: timedelta, pepper: str | None = None
) -> str:
    """A new key that may do what the old one may. The old one works for as long as `overlap` still, if it
    does not expire before. Raises ValueError unless exactly one key that is on has the id or prefix."""
    key, row = _new_key(pepper)
    async with _database(database_url) as session:
        statement = select(ApiKey).where(*_on(key_id)).with_for_update()
        found = (await session.scalars(statement)).all()
        if len(found) != 1:
            raise ValueError(
                f"More than one key has the prefix {key_id}: name it by its id."
                if found
                else f"No key that is on has the id or prefix {key_id}."
            )
        [old] = found
        lifetime = old.expires_at - old.created_at if old.expires_at is not None else None
        row.application_id, row.scopes = old.application_id, old.scopes
        row.requests_per_minute = old.requests_per_minute
        row.expires_at = row.created_at + lifetime if lifetime is not None else None
        ends_at = row.created_at + overlap
        old.expires_at = min(old.expires_at, ends_at) if old.expires_at is not None else ends_at
        session.add(row)
    return key


def _new_key(pepper: str | None) -> tuple[str, ApiKey]:
    """A key and its row, which still lacks whose it is and what it may do."""
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    row = ApiKey(
        id=new_id(),
        prefix=key[:KEY_PREFIX_LENGTH],
        key_hash=hash_key(key, pepper or Settings().api_key_pepper.get_secret_value()),
        created_at=now(),
    )
    return key, row


async def list_keys(database_url: str) -> list[KeyInfo]:
    """Every key, oldest first."""
    statement = (
        select(ApiKey, Application.name)
        .join(Application, Application.id == ApiKey.application_id)
        .order_by(ApiKey.id)
    )
    async with _database(database_url) as session:
        return [
            KeyInfo(
                id=key.id,
                prefix=key.prefix,
                application=name,
                scopes=key.scopes,
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
                requests_per_minute=key.requests_per_minute,
            )
            for key, name in await session.execute(statement)
        ]


async def revoke_key(database_url: str, key_id: str) -> bool:
    """Switch a key off, by its id or its prefix; False when no key that is on has it."""
    statement = (
        update(ApiKey)
        .where(*_named(key_id), ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    async with _database(database_url) as session:
        return bool((await session.scalars(statement)).all())


def _named(key_id: str) -> list[ColumnElement[bool]]:
    """The condition that a key has this id or prefix."""
    with suppress(ValueError):
        return [ApiKey.id == UUID(key_id)]
    return [ApiKey.prefix == key_id]


def _on(key_id: str) -> list[ColumnElement[bool]]:
    alive = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    return [*_named(key_id), ApiKey.revoked_at.is_(None), alive]


def _check_scopes(scopes: Sequence[str]) -> None:
    known = {ALL_SCOPES, *(scope.value for scope in Scope)}
    unknown = sorted(set(scopes) - known)
    if unknown or not scopes:
        what = f"Unknown: {', '.join(unknown)}." if unknown else "None was given."
        raise ValueError(f"A key needs scopes out of {', '.join(sorted(known))}. {what}")


async def _application_id(session: AsyncSession, name: str) -> UUID:
    statement = insert(Application).values(id=new_id(), name=name, created_at=now())
    await session.execute(statement.on_conflict_do_nothing())
    found = await session.scalars(select(Application.id).where(Application.name == name))
    return found.one()


@asynccontextmanager
async def _database(database_url: str) -> AsyncIterator[AsyncSession]:
    """A session in a transaction, on a connection of its own."""
    engine = make_engine(Settings(DATABASE_URL=database_url).sqlalchemy_url, pool_size=1)
    try:
        async with make_sessions(engine).begin() as session:
            yield session
    finally:
        await engine.dispose()
