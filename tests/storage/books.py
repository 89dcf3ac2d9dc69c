"""A tenant with a subscription in a real database, and short ways to add to its ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import select

from models.calendar import BillingInterval
from models.outcomes import Instrument, OutcomeClass
from models.storage.engine import Sessions, make_engine, make_sessions
from models.storage.tables import (
    Application,
    Base,
    ChargeAttempt,
    Invoice,
    Organization,
    Payment,
    PlanPrice,
    Subscription,
    SubscriptionPlan,
    new_id,
)
from models.subscription import SubscriptionTerms
from tests.support.database import TestDatabases, sqlalchemy_url

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AMOUNT = 19900

Row = TypeVar("Row", bound=Base)


@dataclass
class Books:
    """One application with one organization, one plan and one subscription that was just accepted."""

    sessions: Sessions
    instrument: Instrument = Instrument.OXXO
    application_id: UUID = field(default_factory=new_id)
    organization_id: UUID = field(default_factory=new_id)
    plan_id: UUID = field(default_factory=new_id)
    subscription_id: UUID = field(default_factory=new_id)

    @property
    def terms(self) -> SubscriptionTerms:
        return SubscriptionTerms(
            subscription_id=self.subscription_id,
            application_id=self.application_id,
            organization_id=self.organization_id,
            plan_id=self.plan_id,
            plan_name="Pro",
            billing_interval=BillingInterval.MONTHLY,
            amount_minor=AMOUNT,
            currency="MXN",
            instrument=self.instrument,
            country="MX",
            time_zone="America/Mexico_City",
        )

    async def add(self, *rows: Base) -> None:
        async with self.sessions.begin() as session:
            session.add_all(rows)

    async def all(self, table: type[Row]) -> list[Row]:
        """Every row of the table, oldest id first."""
        async with self.sessions() as session:
            order = table.__table__.c["id"]
            return list((await session.scalars(select(table).order_by(order))).all())

    async def subscription(self) -> Subscription:
        async with self.sessions() as session:
            return await session.get_one(Subscription, self.subscription_id)

    async def invoice(self, **changes: Any) -> UUID:
        id_ = changes.pop("id", None) or new_id()
        usual = {
            "application_id": self.application_id,
            "organization_id": self.organization_id,
            "subscription_id": self.subscription_id,
            "account": "default",
            "amount_minor": AMOUNT,
            "amount_paid_minor": 0,
            "amount_refunded_minor": 0,
            "currency": "MXN",
            "status": "pending",
            "invoice_date": NOW,
            "due_date": NOW,
        }
        await self.add(Invoice(**{"id": id_, **usual, **changes}))
        return id_

    async def attempt(self, invoice_id: UUID, outcome: OutcomeClass, **changes: Any) -> UUID:
        id_ = changes.pop("id", None) or new_id()
        usual = {
            "application_id": self.application_id,
            "subscription_id": self.subscription_id,
            "provider": "conekta",
            "account": "default",
            "instrument": str(self.instrument),
            "amount_minor": AMOUNT,
            "currency": "MXN",
            "outcome": str(outcome),
            "started_at": NOW,
        }
        await self.add(ChargeAttempt(**{"id": id_, "invoice_id": invoice_id, **usual, **changes}))
        return id_

    async def payment(self, invoice_id: UUID, **changes: Any) -> UUID:
        id_ = changes.pop("id", None) or new_id()
        usual = {
            "application_id": self.application_id,
            "subscription_id": self.subscription_id,
            "provider": "conekta",
            "account": "default",
            "provider_charge_id": f"ch_{id_}",
            "kind": "capture",
            "amount_minor": AMOUNT,
            "applied_minor": AMOUNT,
            "currency": "MXN",
            "occurred_at": NOW,
            "recorded_at": NOW,
        }
        await self.add(Payment(**{"id": id_, "invoice_id": invoice_id, **usual, **changes}))
        return id_

    async def found(self) -> None:
        """Write the tenant's own rows."""
        stamps = {"created_at": NOW, "updated_at": NOW}
        # In this order: there are no relationships from which SQLAlchemy could tell it.
        await self.add(
            Application(id=self.application_id, name=f"App {self.application_id}", created_at=NOW)
        )
        await self.add(
            Organization(
                id=self.organization_id,
                application_id=self.application_id,
                name="Ana López",
                email="ana@example.mx",
                country="MX",
                time_zone="America/Mexico_City",
                **stamps,
            ),
            SubscriptionPlan(
                id=self.plan_id,
                application_id=self.application_id,
                name="Pro",
                features=[],
                limits={},
                trial_days=0,
                is_active=True,
                **stamps,
            ),
        )
        await self.add(
            PlanPrice(
                application_id=self.application_id,
                plan_id=self.plan_id,
                currency="MXN",
                billing_interval="monthly",
                amount_minor=AMOUNT,
                provider_plan_ids={},
            ),
            Subscription(
                id=self.subscription_id,
                application_id=self.application_id,
                organization_id=self.organization_id,
                plan_id=self.plan_id,
                version=0,
                opening={},
                workflow_id=f"subscription/{self.subscription_id}",
                status="incomplete",
                account="default",
                billing_interval="monthly",
                payment_method_type=str(self.instrument),
                currency="MXN",
                amount_minor=AMOUNT,
                time_zone="America/Mexico_City",
                cancel_at_period_end=False,
                metadata_={},
                **stamps,
            ),
        )


@asynccontextmanager
async def open_sessions(database_url: str) -> AsyncIterator[Sessions]:
    engine = make_engine(sqlalchemy_url(database_url), pool_size=5)
    try:
        yield make_sessions(engine)
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_books(database_url: str) -> AsyncIterator[Books]:
    async with open_sessions(database_url) as sessions:
        books = Books(sessions)
        await books.found()
        yield books


@contextmanager
def kept_database(databases: TestDatabases) -> Iterator[str]:
    """One database for many tests: making one for each would take most of their time."""
    url = asyncio.run(databases.create())
    yield url
    asyncio.run(databases.drop(url))


async def emptied(database_url: str) -> str:
    """The database without a row in it. TRUNCATE fires no row trigger, so the guards let it pass."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("TRUNCATE applications, webhook_events, provider_health CASCADE")
    finally:
        await connection.close()
    return database_url
