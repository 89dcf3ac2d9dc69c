"""Who is calling: a bearer key becomes a principal, or nothing at all."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import func, or_, select

from api.about import is_for_tenant
from api.context import Context
from models.errors import PermissionDenied, Unauthenticated
from models.storage.tables import ApiKey

KEY_PREFIX = "abk_"
# What people see of a key in lists and in the audit log: enough to recognise it, far too little to use it.
KEY_PREFIX_LENGTH = 12
_KEY_LENGTH_MAX = 200


class Scope(StrEnum):
    PLANS_WRITE = "plans:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    WEBHOOKS_WRITE = "webhooks:write"
    OPERATOR = "operator"
    ADMIN = "admin"


ALL_SCOPES = "*"


@dataclass(frozen=True)
class Principal:
    """The application that a request speaks for, and what it may do."""

    application_id: UUID
    actor: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return ALL_SCOPES in self.scopes or scope in self.scopes


def hash_key(key: str, pepper: str) -> str:
    """What is stored of a key. Keys are long and random, so a fast keyed hash is enough; a lookup
    by this hash tells an attacker's clock nothing about the key."""
    return hmac.new(pepper.encode(), key.encode(), hashlib.sha256).hexdigest()


_bearer = HTTPBearer(
    auto_error=False, scheme_name="ApiKey", description="`Authorization: Bearer abk_…`"
)


async def authenticate(
    request: Request,
    context: Context,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Raises Unauthenticated for a key that is missing, unknown, expired or revoked: all alike. Raises
    RateLimited for one that is used too much."""
    if credentials is None or len(credentials.credentials) > _KEY_LENGTH_MAX:
        raise _unauthenticated()
    key_hash = hash_key(credentials.credentials, context.pepper)
    statement = select(ApiKey).where(
        ApiKey.key_hash == key_hash,
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
    )
    async with context.sessions() as session:
        row = await session.scalar(statement)
        if row is None:
            raise _unauthenticated()
        request.state.rate_limit = context.key_uses.count(row, context.requests_per_minute)
        await context.key_uses.note(session, row)
    is_for_tenant(row.application_id)
    return Principal(row.application_id, f"key:{row.prefix}", frozenset(row.scopes))


Authenticated = Annotated[Principal, Depends(authenticate)]


def _unauthenticated() -> Unauthenticated:
    return Unauthenticated(
        "Send a valid API key as a bearer token.", headers={"WWW-Authenticate": "Bearer"}
    )


@dataclass(frozen=True)
class Requirement:
    """A dependency that lets only keys with `scope` pass; the API's description reads it from here."""

    scope: Scope

    async def __call__(self, principal: Authenticated) -> Principal:
        if not principal.may(self.scope):
            raise PermissionDenied(f"This needs a key with the scope {self.scope}.")
        return principal


Reader = Annotated[Principal, Depends(Requirement(Scope.BILLING_READ))]
Writer = Annotated[Principal, Depends(Requirement(Scope.BILLING_WRITE))]
PlanWriter = Annotated[Principal, Depends(Requirement(Scope.PLANS_WRITE))]
WebhookWriter = Annotated[Principal, Depends(Requirement(Scope.WEBHOOKS_WRITE))]
Operator = Annotated[Principal, Depends(Requirement(Scope.OPERATOR))]
Administrator = Annotated[Principal, Depends(Requirement(Scope.ADMIN))]
