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
from models.storage.money import CreditEntry, Dispute, Refund, Reminder
from models.storage.outbound import WebhookDelivery, WebhookEndpoint, WebhookLane
from models.storage.providers import ProviderHealth
from models.storage.reconciliation import ReconciliationFinding, ReconciliationRun
from models.storage.shop import Benefit, BenefitGrant, Product, Purchase
from models.storage.tenants import (
    ApiKey,
    Application,
    Organization,
    PaymentMethod,
    ProviderCustomer,
)
from models.storage.usage import UsageCounter, UsageEvent

__all__ = [
    "ApiKey",
    "Application",
    "AuditEntry",
    "Base",
    "Benefit",
    "BenefitGrant",
    "ChargeAttempt",
    "CreditEntry",
    "Dispute",
    "FallbackEvent",
    "IdempotencyKey",
    "Invoice",
    "Organization",
    "OutboundEvent",
    "Payment",
    "PaymentMethod",
    "PlanPrice",
    "Product",
    "ProviderCustomer",
    "ProviderHealth",
    "Purchase",
    "ReconciliationFinding",
    "ReconciliationRun",
    "Refund",
    "Reminder",
    "Subscription",
    "SubscriptionPlan",
    "UsageCounter",
    "UsageEvent",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookLane",
    "new_id",
]
