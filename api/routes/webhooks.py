"""Where the payment providers report: verify the raw bytes, store, answer. Nothing else."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.context import ApiContext, context_of
from api.inbox import InboxFull, Reception
from api.openapi import problems
from api.problems import is_database_away, log_unexpected
from api.responses import WebhookAnswer
from models.errors import AbonoError, NotFound, Unauthenticated, Unavailable
from models.events import ProviderEvent
from models.outcomes import ProviderName
from providers.failures import WebhookMalformed, WebhookRejected
from providers.protocol import PaymentProvider

router = APIRouter(prefix="/webhooks", tags=["Webhooks"])

_log = structlog.get_logger("abono.api")
_NAMES = frozenset(ProviderName)
# Written once: nothing else can be answered to a webhook that was taken.
_ANSWERS = {
    reception: WebhookAnswer(status=reception.value).model_dump_json().encode()
    for reception in Reception
}


class WebhookUnreadable(AbonoError):
    status = 400
    default_code = "webhook_malformed"
    title = "The webhook cannot be read"


@router.post(
    "/{provider}",
    response_model=WebhookAnswer,
    responses=problems(
        400, 401, 404, 413, 503, codes=("provider_not_configured", "webhook_signature_invalid")
    ),
    summary="Take a provider's webhook",
    # It is read as bytes: a signature is over them.
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object", "description": "As the provider sends it."},
                    "example": {"id": "evt_1QAbCdEf", "type": "invoice.paid", "data": {}},
                }
            },
        }
    },
)
async def take_webhook(provider: str, request: Request) -> Response:
    """`accepted` the first time, `already_processed` from then on: both 200, so that the provider
    stops. The signature is the authentication; there is no API key."""
    context = context_of(request)
    # Labels of metrics must not grow with what strangers send.
    label = provider if provider in _NAMES else "unknown"
    try:
        reception = await _take(provider, request, context)
    except AbonoError as error:
        context.metrics.webhooks.labels(label, error.code).inc()
        raise
    context.metrics.webhooks.labels(label, reception.value).inc()
    context.doorbell.ring()
    return Response(_ANSWERS[reception], media_type="application/json")


async def _take(provider: str, request: Request, context: ApiContext) -> Reception:
    adapter = context.providers.get(ProviderName(provider)) if provider in _NAMES else None
    if adapter is None:
        raise NotFound("This provider is not configured here.", code="provider_not_configured")
    raw = await request.body()
    event = _parse(adapter, raw, request)
    try:
        return await context.inbox.receive(event, raw)
    except WebhookMalformed as reason:
        raise _unreadable(provider, reason) from None
    except Exception as error:
        # 503 whatever it was: the provider keeps the event and sends it again.
        if not isinstance(error, InboxFull) and not is_database_away(error):
            log_unexpected("webhook not stored", error, provider=provider)
        raise Unavailable("The webhook was not stored: send it again.") from None


def _parse(adapter: PaymentProvider, raw: bytes, request: Request) -> ProviderEvent:
    try:
        return adapter.parse_webhook(raw, request.headers)
    except WebhookRejected:
        raise Unauthenticated(
            "The signature is missing or wrong.", code="webhook_signature_invalid"
        ) from None
    except WebhookMalformed as reason:
        raise _unreadable(request.path_params["provider"], reason) from None


def _unreadable(provider: str, reason: WebhookMalformed) -> WebhookUnreadable:
    """It is kept nowhere, so that the log is the only one who can say what was wrong with it. The reason
    names fields and kinds of errors, and nothing that was sent."""
    _log.warning("webhook cannot be read", provider=provider, reason=str(reason))
    return WebhookUnreadable("The webhook is authentic but cannot be read.")
