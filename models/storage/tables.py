"""All tables in one place, so that the metadata is complete whoever imports it."""

from models.storage.base import Base, new_id
from models.storage.billing import (
    ChargeAttempt,
    FallbackEvent,
    Invoice,
    Payment,
    PlanPrice,
    Subscription,
    SubscriptionPlan,
)
from models.storage.messages import AuditEntry, IdempotencyKey, OutboundEvent, WebhookEvent
from models.storage.tenants import (
    ApiKey,
    Application,
    Organization,
    PaymentMethod,
    ProviderCustomer,
)

__all__ = [
    "ApiKey",
    "Application",
    "AuditEntry",
    "Base",
    "ChargeAttempt",
    "FallbackEvent",
    "IdempotencyKey",
    "Invoice",
    "Organization",
    "OutboundEvent",
    "Payment",
    "PaymentMethod",
    "PlanPrice",
    "ProviderCustomer",
    "Subscription",
    "SubscriptionPlan",
    "WebhookEvent",
    "new_id",
]
