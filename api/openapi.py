"""What the description of the API says beside the code: tags, and the problems that can come back."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from api.error_catalog import error_codes

DESCRIPTION = """
Subscriptions that survive anything: cards, cash vouchers (OXXO) and bank transfers (SPEI).

Amounts are integers in minor units with an ISO 4217 currency; times are RFC 3339 in UTC. Every `POST`,
`PATCH` and `DELETE` takes an `Idempotency-Key`. A `POST` that has to reach a provider answers `201` with
the result, or `202` with the same body when the outcome is not known yet: `GET` tells the rest. Errors
are RFC 9457 problem details with a stable `code`.
"""

TAGS: list[dict[str, Any]] = [
    {"name": "Organizations", "description": "The customers that are billed."},
    {"name": "Plans", "description": "What is sold, and for how much."},
    {"name": "Products", "description": "What is sold once, and the benefits that come with it."},
    {
        "name": "Benefits",
        "description": "What organizations have of what was sold, given and taken away without a sale.",
    },
    {"name": "Payment methods", "description": "Cards, kept as tokens by the providers."},
    {"name": "Subscriptions", "description": "Opened, commanded and read here."},
    {"name": "Disputes", "description": "Payments that customers had taken back by their banks."},
    {
        "name": "Timeline",
        "description": "What happened to a subscription, why it is as it is, and what comes next.",
    },
    {"name": "Purchases", "description": "Products bought on a page that a provider hosts."},
    {
        "name": "Invoices",
        "description": "Bills, the tries at collecting them, and the money that came.",
    },
    {"name": "Refunds", "description": "Money that goes back, and money that pays no invoice."},
    {
        "name": "Routing",
        "description": "Who would collect and why, where a customer is, and what providers can do.",
    },
    {"name": "Events", "description": "What happened, in order, for the calling app."},
    {"name": "Figures", "description": "Revenue, churn and recovery, month by month."},
    {
        "name": "Webhook endpoints",
        "description": "Where the calling app is told of its events, and what became of each there.",
    },
    {
        "name": "Operator",
        "description": "What operators look at and do by hand: each action with a reason.",
    },
    {"name": "Webhooks", "description": "Where the payment providers report."},
    {"name": "Operations", "description": "For machines that watch over this one."},
]

# Every problem answer of a route under its status; `api.openapi_document` writes them out.
CODES = "x-abono-codes"
_DEFAULT_CODES = {
    400: "webhook_malformed",
    401: "unauthenticated",
    402: "payment_method_declined",
    403: "permission_denied",
    404: "not_found",
    409: "conflict",
    413: "payload_too_large",
    422: "invalid_request",
    503: "unavailable",
}


def problems(*statuses: int, codes: Iterable[str] = ()) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: each of `statuses` with its usual code, and every one of `codes` with
    the statuses that the errors page gives it."""
    found: dict[int, list[str]] = {status: [_DEFAULT_CODES[status]] for status in statuses}
    for code in codes:
        for status in error_codes()[code].statuses:
            if status in statuses or len(error_codes()[code].statuses) == 1:
                found.setdefault(status, []).append(code)
    return {
        status: {"description": HTTPStatus(status).phrase, CODES: codes}
        for status, codes in found.items()
    }


def accepted(model: Any) -> dict[int | str, dict[str, Any]]:
    return {202: {"model": model, "description": "Accepted; the outcome is not known yet."}}
