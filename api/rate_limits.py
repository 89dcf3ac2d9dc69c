"""How many requests a key may make: a token bucket for each, in the memory of this process.

No state is shared between replicas, so a key gets the limit from each of them. A shared count would cost
every request a write; what the limit is for (a program gone wild, one tenant starving the others of a
replica) is local to a replica anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from uuid import UUID

# A key may spend this many seconds' worth at once: a page that makes twenty calls is no attack.
BURST_SECONDS = 10


@dataclass(frozen=True)
class Verdict:
    """What one request is told. Seconds are whole, as the headers want them."""

    allowed: bool
    capacity: int
    remaining: int
    reset_seconds: int  # Until everything may be spent at once again.
    retry_seconds: int  # Until the next request is allowed; 0 when this one was.

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers has them in its widely used version 03."""
        told = {
            "RateLimit-Limit": str(self.capacity),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        return told if self.allowed else {**told, "Retry-After": str(self.retry_seconds)}


@dataclass
class _Bucket:
    tokens: float
    at_seconds: float


class RateLimits:
    """`moment_seconds` is any clock that never goes back. Valid keys only come here: their number bounds
    the memory."""

    def __init__(self) -> None:
        self._buckets: dict[UUID, _Bucket] = {}

    def take(self, key_id: UUID, per_minute: int, moment_seconds: float) -> Verdict:
        """Counts one request of this key against `per_minute`, which is at least 1."""
        per_second = per_minute / 60
        capacity = max(1, math.floor(per_second * BURST_SECONDS))
        bucket = self._buckets.setdefault(key_id, _Bucket(capacity, moment_seconds))
        gained = (moment_seconds - bucket.at_seconds) * per_second
        bucket.tokens = min(capacity, bucket.tokens + gained)
        bucket.at_seconds = moment_seconds
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= 1
        return Verdict(
            allowed=allowed,
            capacity=capacity,
            remaining=math.floor(bucket.tokens),
            reset_seconds=math.ceil((capacity - bucket.tokens) / per_second),
            retry_seconds=0 if allowed else max(1, math.ceil((1 - bucket.tokens) / per_second)),
        )
