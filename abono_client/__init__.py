"""A typed client of Abono's HTTP API. It knows httpx and pydantic, and nothing of the engine."""

from abono_client import models
from abono_client.async_client import AsyncAbonoClient
from abono_client.client import AbonoClient
from abono_client.errors import (
    AbonoError,
    ApiError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    PaymentRefused,
    RateLimited,
    ServerFailure,
    Unauthenticated,
    WebhookInvalid,
)
from abono_client.webhooks import verify_webhook

__all__ = [
    "AbonoClient",
    "AbonoError",
    "ApiError",
    "AsyncAbonoClient",
    "Conflict",
    "ConnectionFailed",
    "Forbidden",
    "Invalid",
    "NotFound",
    "PaymentRefused",
    "RateLimited",
    "ServerFailure",
    "Unauthenticated",
    "WebhookInvalid",
    "models",
    "verify_webhook",
]
