"""Who calls (applications and their keys) and who is billed (organizations)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class Application(Base):
    """The calling app: the tenant. Everything below carries its id, and every query names it."""

    __tablename__ = "applications"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class ApiKey(Base):
    """Hashed at rest under the pepper; `prefix` is what people recognise a key by."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    prefix: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    requests_per_minute: Mapped[int | None]  # Its own limit; none: the installation's.
    last_used_at: Mapped[datetime | None]  # To the minute, or so.


class Organization(Base):
    """The billed customer of an application."""

    __tablename__ = "organizations"
    __table_args__ = (
        UniqueConstraint("application_id", "external_id"),
        Index("ix_organizations_page", "application_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    external_id: Mapped[str | None]
    name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str | None]
    country: Mapped[str | None]
    billing_address: Mapped[dict[str, Any] | None]
    tax_id: Mapped[str | None]
    time_zone: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ProviderCustomer(Base):
    """The organization as one provider account knows it."""

    __tablename__ = "provider_customers"
    __table_args__ = (
        UniqueConstraint("organization_id", "provider", "account"),
        Index(
            "ix_provider_customers_provider_customer",
            "provider",
            "account",
            "provider_customer_id",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    provider: Mapped[str]
    account: Mapped[str]
    provider_customer_id: Mapped[str]
    created_at: Mapped[datetime]


class PaymentMethod(Base):
    """An instrument that a provider keeps for us: tokens only, never a card number.

    `status`: `pending` until the provider has answered, then `active` or `failed`; `detached` at the end.
    """

    __tablename__ = "payment_methods"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_payment_method_id"),
        Index("ix_payment_methods_page", "application_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    provider: Mapped[str]
    account: Mapped[str]
    provider_payment_method_id: Mapped[str | None]
    provider_customer_id: Mapped[str | None]
    type: Mapped[str]
    status: Mapped[str]
    failure_code: Mapped[str | None]
    setup_token: Mapped[str | None]  # What the browser gave, until the provider has taken it.
    last4: Mapped[str | None]
    brand: Mapped[str | None]
    exp_month: Mapped[int | None]
    exp_year: Mapped[int | None]
    billing_address: Mapped[dict[str, Any] | None]
    is_default: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
