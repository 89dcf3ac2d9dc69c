"""Products that are bought once, and the benefits that come with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (CheckConstraint("amount_minor >= 0", name="amount_not_negative"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    name: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    is_active: Mapped[bool]
    provider_product_ids: Mapped[dict[str, str]]
    created_at: Mapped[datetime]


class Benefit(Base):
    """What a buyer gets: a role, a repository, files, a license key, or something of one's own."""

    __tablename__ = "benefits"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"), index=True)
    type: Mapped[str]
    description: Mapped[str]
    properties: Mapped[dict[str, Any]]
    provider_benefit_ids: Mapped[dict[str, str]]
    created_at: Mapped[datetime]


class Purchase(Base):
    """One order of a product. Only its workflow writes it, each time with a higher `version`."""

    __tablename__ = "purchases"
    __table_args__ = (
        Index("ix_purchases_page", "application_id", "id"),
        Index("ix_purchases_status", "application_id", "status", "id"),
        Index("ix_purchases_product", "product_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    product_id: Mapped[UUID] = mapped_column(ForeignKey("products.id"))
    version: Mapped[int]
    opening: Mapped[dict[str, Any]]
    workflow_id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]  # pending | paid | expired | refunded | failed
    provider: Mapped[str | None]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    paid_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class BenefitGrant(Base):
    """Whether an organization has a benefit, and through whom. `grants` is the latest that was heard of
    each of the provider's grants (models.benefits.HeardGrant); the other columns are what follows."""

    __tablename__ = "benefit_grants"
    __table_args__ = (UniqueConstraint("organization_id", "benefit_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    benefit_id: Mapped[UUID] = mapped_column(ForeignKey("benefits.id"))
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"))
    provider: Mapped[str | None]
    provider_grant_id: Mapped[str | None]
    status: Mapped[str]  # granted | waiting | revoked
    error_code: Mapped[str | None]
    grants: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    version: Mapped[int] = mapped_column(server_default=text("0"))  # Counts what the app was told.
    updated_at: Mapped[datetime]
