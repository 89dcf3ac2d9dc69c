"""What the log lines of a request say that it is about: ids, bound where they become known."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog

from models.purchase import PurchaseTerms, Terms

TENANT, SUBSCRIPTION, PURCHASE = "tenant_id", "subscription_id", "purchase_id"
# All that is bound here, and unbound at the request's end.
SUBJECTS = (TENANT, SUBSCRIPTION, PURCHASE)


def is_for_tenant(application_id: UUID) -> None:
    structlog.contextvars.bind_contextvars(**{TENANT: str(application_id)})


def is_about_path(path_params: Mapping[str, object]) -> None:
    """Only what is an id: any other text is the caller's."""
    for name in (SUBSCRIPTION, PURCHASE):
        try:
            found = UUID(str(path_params.get(name)))
        except ValueError:
            continue
        structlog.contextvars.bind_contextvars(**{name: str(found)})


def is_about_terms(terms: Terms) -> None:
    if isinstance(terms, PurchaseTerms):
        structlog.contextvars.bind_contextvars(**{PURCHASE: str(terms.purchase_id)})
    else:
        structlog.contextvars.bind_contextvars(**{SUBSCRIPTION: str(terms.subscription_id)})
