"""When a request is sent again, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import BaseModel

from abono_client.errors import problem_of

# The API answers a POST within 10 s; a little more, so that a slow answer is seen and not cut off.
TIMEOUT_SECONDS = 15.0
TRIES_MAX = 5
_WAIT_SECONDS = 0.5  # Doubled from try to try, unless the API says how long.
_WAIT_SECONDS_MAX = 30.0


def as_json(body: BaseModel | Mapping[str, Any] | None) -> Any:
    if isinstance(body, BaseModel):
        return body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return body


def is_passing(answer: httpx.Response) -> bool:
    """Nothing was done, or the same wish is still being worked on: sent again, it is answered."""
    if answer.status_code == httpx.codes.CONFLICT:
        return problem_of(answer).get("code") == "idempotency_key_in_use"
    return answer.status_code in {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.SERVICE_UNAVAILABLE,
    }


def wait_seconds(tried: int, answer: httpx.Response | None) -> float:
    told = answer.headers.get("Retry-After", "") if answer is not None else ""
    wait = float(told) if told.isdigit() else _WAIT_SECONDS * 2 ** (tried - 1)
    return min(wait, _WAIT_SECONDS_MAX)
