"""API keys of the calling applications: made, listed, switched off. Kept as keyed hashes only."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update
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

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "active"

    def __str__(self) -> str:
        scopes = ",".join(self.scopes)
        return f"{self.id}  {self.prefix}…  {self.application}  {scopes}  {self.state}"


async def create_key(
    database_url: str,
    *,
    application_name: str,
    scopes: Sequence[str],
    pepper: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """A new key of the application, which is made when it is new. Returned once, never again.

    `pepper` is the settings' own when left out. Raises ValueError for an unknown scope.
    """
    _check_scopes(scopes)
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    async with _database(database_url) as session:
        session.add(
            ApiKey(
                id=new_id(),
                application_id=await _application_id(session, application_name),
                prefix=key[:KEY_PREFIX_LENGTH],
                key_hash=hash_key(key, pepper or Settings().api_key_pepper.get_secret_value()),
                scopes=list(scopes),
                created_at=now(),
                expires_at=expires_at,
            )
        )
    return key


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
            )
            for key, name in await session.execute(statement)
        ]


async def revoke_key(database_url: str, key_id: str) -> bool:
    """Switch a key off, by its id or its prefix; False when no key that is on has it."""
    named = [ApiKey.prefix == key_id]
    with suppress(ValueError):
        named.append(ApiKey.id == UUID(key_id))
    statement = (
        update(ApiKey)
        .where(or_(*named), ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    async with _database(database_url) as session:
        return bool((await session.scalars(statement)).all())


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
