"""Stripe's error answers."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """The request ends with an error answer of Stripe's shape.

    `executed` says that the request got past validation, so that the answer is kept under its
    idempotency key and given again (a declined charge is; a missing parameter is not).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        executed: bool = False,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.body: dict[str, Any] = {
            "error": {
                "type": error_type,
                "message": message,
                **{name: value for name, value in fields.items() if value is not None},
            }
        }


def missing(kind: str, object_id: str, param: str = "id") -> Refusal:
    return Refusal(404, f"No such {kind}: '{object_id}'", param=param, code="resource_missing")


def server_error_body(status: int, message: str) -> dict[str, Any]:
    """What `core.serve` answers for a fault that is switched on."""
    if status == 429:
        return {
            "error": {
                "type": "invalid_request_error",
                "code": "rate_limit",
                "message": "Request rate limit exceeded.",
            }
        }
    return {"error": {"type": "api_error", "message": message}}
