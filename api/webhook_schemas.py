"""What is said about webhook endpoints and their deliveries, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from api.outbound.addresses import URL_LENGTH_MAX
from api.problems import FieldError
from api.schemas import Moment
from models.event_catalogue import EVENT_TYPES
from models.outbound import EVERYTHING, DeliveryStatus, EndpointStatus, StatusReason, is_pattern

OVERLAP_HOURS_MAX = 168
_OVERLAP_HOURS = 24
_EVENT_TYPES_MAX = 100


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [values]})


def _check_pattern(text: str) -> str:
    if not is_pattern(text, EVENT_TYPES):
        raise FieldError("should be the name of an event, a group of them such as invoice.*, or *")
    return text


_GROUPS = {event_type.partition(".")[0] + ".*" for event_type in EVENT_TYPES}

EventPattern = Annotated[
    str,
    StringConstraints(max_length=100),
    AfterValidator(_check_pattern),
    Field(json_schema_extra={"enum": [EVERYTHING, *sorted(_GROUPS | EVENT_TYPES)]}),
]
EventPatterns = Annotated[list[EventPattern], Field(min_length=1, max_length=_EVENT_TYPES_MAX)]
EndpointUrl = Annotated[str, StringConstraints(min_length=1, max_length=URL_LENGTH_MAX)]
Flag = Annotated[bool, Field(strict=True)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class CreateWebhookEndpoint(BaseModel):
    """`event_types` are names of events, groups (`invoice.*`) or `*` for all, also those to come."""

    model_config = _example(
        url="https://shop.example/hooks/abono",
        event_types=["subscription.*", "invoice.paid"],
        description="Grants access",
    )

    url: EndpointUrl
    event_types: EventPatterns = [EVERYTHING]
    description: Description | None = None
    enabled: Flag = True


class UpdateWebhookEndpoint(BaseModel):
    """Only the fields that are sent change. `enabled: true` also ends a pause: what was kept is sent now.
    With `enabled: false` nothing is kept; see `replay`."""

    model_config = _example(enabled=True)

    url: EndpointUrl = ""
    event_types: EventPatterns = [EVERYTHING]
    description: Description | None = None
    enabled: Flag = True


class RotateWebhookSecret(BaseModel):
    """For `overlap_hours` both secrets sign, so that the receiver can change over in peace."""

    model_config = _example(overlap_hours=24)

    overlap_hours: Annotated[int, Field(strict=True, ge=0, le=OVERLAP_HOURS_MAX)] = _OVERLAP_HOURS


class ReplayWebhookEvents(BaseModel):
    """Events from `since` on (and before `until`) that the endpoint's `event_types` choose; with
    `undelivered_only` those that never arrived. `after` goes on behind the `last_event_id` of the
    answer before."""

    model_config = _example(since="2026-11-20T00:00:00Z", undelivered_only=True)

    since: Moment
    until: Moment | None = None
    after: UUID | None = None
    undelivered_only: Flag = False


class WebhookEndpointView(BaseModel):
    """`status`: `enabled`; `paused` by us after it has failed for long (events are kept); `disabled` by
    request or because it answered 410 (events are not kept). `secret` is there once: in the answer that
    made it. `secrets` says which ones sign, newest first."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    status: EndpointStatus
    status_reason: StatusReason | None
    status_changed_at: datetime
    consecutive_failures: int
    failing_since: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None
    secrets: list[WebhookSecretView]
    created_at: datetime
    updated_at: datetime


class WebhookSecretView(BaseModel):
    id: UUID
    created_at: datetime
    expires_at: datetime | None


class NewWebhookEndpointView(WebhookEndpointView):
    secret: str | None


class WebhookTryView(BaseModel):
    """What an endpoint answered to a try. `error` is null when it was a 2xx."""

    delivered: bool
    response_status: int | None
    response_excerpt: str | None
    error: str | None


class WebhookDeliveryView(BaseModel):
    """One event at one endpoint. `next_attempt_at` is null while an earlier event of the same
    subscription has to arrive first (`waits_for`), and when nothing more is tried."""

    event_id: UUID
    event_type: str
    subscription_id: UUID | None
    purchase_id: UUID | None
    sequence: int
    status: DeliveryStatus
    attempts: int
    error: str | None
    response_status: int | None
    response_excerpt: str | None
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    waits_for: UUID | None
    created_at: datetime


class ReplayView(BaseModel):
    """`has_more`: send the same again with `after` = `last_event_id`."""

    queued: int
    has_more: bool
    last_event_id: UUID | None
