"""A whole small world: time-skipping Temporal, PostgreSQL, sandbox, worker.

Everything in it is what runs in production, but for three addresses (Temporal, database, providers)
and one clock: the sandbox's clock follows the workflows' one, so that years pass in seconds.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import select
from starlette.applications import Starlette
from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from abono import search_attributes
from abono.payload_converter import plain_data_converter
from abono.settings import Settings
from abono.simulate.leaked_locks import leaks_mended
from abono.simulate.payer import Payer
from abono.simulate.serving import serving
from abono.simulate.sleeping import Sleeping
from abono.wiring import build_providers
from abono.worker import make_workers
from abono.worker_tuning import USUAL, Tuning
from models.billing_policy import BillingPolicy
from models.calendar import BillingInterval
from models.commands import (
    TASK_QUEUE,
    AddPaymentMethodInput,
    CommandResult,
    Open,
    SubscriptionInput,
    payment_method_workflow_id,
    subscription_workflow_id,
)
from models.outcomes import Instrument, ProviderName
from models.storage.engine import Sessions, make_engine, make_sessions
from models.storage.tables import (
    Application,
    Base,
    Organization,
    PaymentMethod,
    PlanPrice,
    Subscription,
    SubscriptionPlan,
    new_id,
)
from models.subscription import SubscriptionTerms
from providers.registry import ProviderRegistry
from sandbox.app import create_app
from sandbox.core import Core, SandboxConfig
from workflows.payment_method import PaymentMethodWorkflow
from workflows.subscription import SubscriptionWorkflow

TEST_SERVER = Path(sys.executable).with_name("temporal-test-server")
PROVIDER_TIMEOUT_SECONDS = 0.5
PATIENCE_STEP = timedelta(seconds=5)

Answer = TypeVar("Answer")


class SharedClock(Interceptor):
    """Before an activity runs, the sandbox's clock catches up with the workflow's."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _SharedClockInbound(next, self._payer)


class _SharedClockInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, payer: Payer) -> None:
        super().__init__(next)
        self._payer = payer

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        if not info.is_local:
            await self._payer.live_until(info.current_attempt_scheduled_time.timestamp())
        return await super().execute_activity(input)


class Databases(Protocol):
    """Where a world keeps its books: migrated, and its own."""

    async def create(self) -> str:
        """The URL of an empty database."""

    async def drop(self, url: str) -> None: ...


@dataclass
class World:
    env: WorkflowEnvironment
    client: Client
    sandbox: Starlette
    sandbox_url: str
    database_url: str
    sessions: Sessions
    providers: ProviderRegistry
    payer: Payer
    application_id: UUID = field(default_factory=new_id)
    heard: set[str] = field(default_factory=set)  # Provider event ids that a test has delivered.
    # Called when the providers behave again, so that whatever else disturbs can end as well.
    on_calm: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sleeping = Sleeping(self.env)

    async def sleep(self, duration: timedelta) -> None:
        """Lets so much time pass for everybody in this world."""
        await self._sleeping.sleep(duration)

    @property
    def core(self) -> Core:
        core: Core = self.sandbox.state.core
        return core

    async def add(self, *rows: Base) -> None:
        async with self.sessions.begin() as session:
            session.add_all(rows)

    async def all(self, statement: Any) -> list[Any]:
        async with self.sessions() as session:
            return list((await session.scalars(statement)).all())

    async def movements(self) -> list[dict[str, Any]]:
        """The providers' book, with everything in it that is due by now."""
        await self.core.settle_time()
        return [dict(charge) for charge in self.core.charges]

    async def subscription(self, id_: UUID) -> Subscription:
        async with self.sessions() as session:
            return (await session.scalars(select(Subscription).where(Subscription.id == id_))).one()

    async def prepare_tenant(self) -> None:
        now = datetime.now(UTC)
        await self.add(Application(id=self.application_id, name="Test app", created_at=now))

    async def terms(
        self,
        instrument: Instrument,
        *,
        country: str = "MX",
        currency: str = "MXN",
        amount_minor: int = 19900,
        interval: BillingInterval = BillingInterval.MONTHLY,
        time_zone: str = "America/Mexico_City",
        trial_days: int = 0,
        card: str | None = None,
        card_at: ProviderName = ProviderName.STRIPE,
        policy: BillingPolicy | None = None,
        force_provider: ProviderName | None = None,
    ) -> SubscriptionTerms:
        """An organization, a plan and (with `card`) a stored card, ready to subscribe."""
        now = datetime.now(UTC)
        organization = Organization(
            id=new_id(),
            application_id=self.application_id,
            name="Ana López",
            email="ana@example.mx",
            phone="+525555555555",
            country=country,
            time_zone=time_zone,
            created_at=now,
            updated_at=now,
        )
        plan = SubscriptionPlan(
            id=new_id(),
            application_id=self.application_id,
            name="Pro",
            features=[],
            limits={},
            trial_days=0,
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        await self.add(organization, plan)
        price = PlanPrice(
            id=new_id(),
            application_id=self.application_id,
            plan_id=plan.id,
            currency=currency,
            billing_interval=interval,
            amount_minor=amount_minor,
            provider_plan_ids={},
        )
        await self.add(price)
        method_id = await self.store_card(organization.id, card, card_at) if card else None
        return SubscriptionTerms(
            subscription_id=new_id(),
            application_id=self.application_id,
            organization_id=organization.id,
            plan_id=plan.id,
            plan_name="Pro",
            billing_interval=interval,
            amount_minor=amount_minor,
            currency=currency,
            instrument=instrument,
            payment_method_id=method_id,
            country=country,
            time_zone=time_zone,
            trial_days=trial_days,
            force_provider=force_provider,
            policy=policy or BillingPolicy(),
        )

    async def store_card(
        self,
        organization_id: UUID,
        token: str,
        provider: ProviderName = ProviderName.STRIPE,
    ) -> UUID:
        id_, now = new_id(), datetime.now(UTC)
        await self.add(
            PaymentMethod(
                id=id_,
                application_id=self.application_id,
                organization_id=organization_id,
                provider=provider,
                account="default",
                type="card",
                status="pending",
                setup_token=token,
                is_default=False,
                created_at=now,
                updated_at=now,
            )
        )
        with self.env.auto_time_skipping_disabled():
            await self.client.execute_workflow(
                PaymentMethodWorkflow.run,
                AddPaymentMethodInput(
                    payment_method_id=id_,
                    application_id=self.application_id,
                    organization_id=organization_id,
                    provider=provider,
                    type=Instrument.CARD,
                ),
                id=payment_method_workflow_id(id_),
                task_queue=TASK_QUEUE,
            )
        return id_

    async def while_time_passes(self, update: Awaitable[Answer]) -> Answer:
        """An update's answer. Its workflow may wait for a timer (a question to the provider, again in
        5 s), and for a caller of an update the skipping clock does not skip by itself."""
        if not self.env.supports_time_skipping:
            return await update
        answer = asyncio.ensure_future(update)
        while not (await asyncio.wait({answer}, timeout=1.0))[0]:
            if not self._sleeping.someone_sleeps:
                await self.sleep(PATIENCE_STEP)
        return await answer

    async def open(
        self, terms: SubscriptionTerms
    ) -> tuple[WorkflowHandle[SubscriptionWorkflow, Any], CommandResult]:
        """Insert the row as the API does, then start the workflow and its first update."""
        now = datetime.now(UTC)
        workflow_id = subscription_workflow_id(terms.subscription_id)
        await self.add(
            Subscription(
                id=terms.subscription_id,
                application_id=terms.application_id,
                organization_id=terms.organization_id,
                plan_id=terms.plan_id,
                version=0,
                opening=terms.model_dump(mode="json"),
                workflow_id=workflow_id,
                status="incomplete",
                account="default",
                billing_interval=terms.billing_interval,
                payment_method_type=terms.instrument,
                payment_method_id=terms.payment_method_id,
                currency=terms.currency,
                amount_minor=terms.amount_minor,
                time_zone=terms.time_zone,
                cancel_at_period_end=False,
                metadata_={},
                created_at=now,
                updated_at=now,
            )
        )
        result = await self.while_time_passes(self._open(terms, workflow_id))
        return self.client.get_workflow_handle_for(SubscriptionWorkflow.run, workflow_id), result

    async def _open(
        self, terms: SubscriptionTerms, workflow_id: str, repetitions_left: int = 2
    ) -> CommandResult:
        """The skipping server fails now and then by itself; the same ids make asking again harmless."""
        start = WithStartWorkflowOperation(
            SubscriptionWorkflow.run,
            SubscriptionInput(terms=terms),
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            return await self.client.execute_update_with_start_workflow(
                SubscriptionWorkflow.open,
                Open(actor="test"),
                start_workflow_operation=start,
                id="open",
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.UNKNOWN or not repetitions_left:
                raise
        return await self._open(terms, workflow_id, repetitions_left - 1)


async def _start_skipping() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(TEST_SERVER), data_converter=plain_data_converter
    )


@asynccontextmanager
async def open_world(
    databases: Databases,
    *,
    webhook_base_url: str | None = None,
    start: Callable[[], Awaitable[WorkflowEnvironment]] | None = None,
    interceptors: Sequence[Interceptor] = (),
    tuning: Tuning = USUAL,
) -> AsyncIterator[World]:
    """One world, gone at the end of the block. `start` makes another Temporal than the skipping one;
    `interceptors` are the worker's, inside of the shared clock."""
    database_url = await databases.create()
    app = create_app(SandboxConfig(webhook_base_url=webhook_base_url))
    async with AsyncExitStack() as stack:
        sandbox_url = await stack.enter_async_context(serving(app))
        settings = Settings(
            DATABASE_URL=database_url,
            STRIPE_API_KEY="sk_test_sandbox",
            STRIPE_API_BASE=f"{sandbox_url}/stripe",
            STRIPE_WEBHOOK_SECRET="whsec_sandbox",  # noqa: S106
            CONEKTA_API_KEY="key_sandbox",
            CONEKTA_API_BASE=f"{sandbox_url}/conekta",
            CONEKTA_WEBHOOK_PUBLIC_KEYS=app.state.conekta.public_key_pem,
            POLAR_API_KEY="polar_oat_sandbox",
            POLAR_API_BASE=f"{sandbox_url}/polar",
            POLAR_WEBHOOK_SECRET=app.state.core.config.polar_webhook_secret,
            ABONO_PROVIDER_TIMEOUT_SECONDS=PROVIDER_TIMEOUT_SECONDS,
        )
        engine = make_engine(settings.sqlalchemy_url, pool_size=5)
        stack.push_async_callback(databases.drop, database_url)
        stack.push_async_callback(engine.dispose)
        providers = build_providers(settings)
        stack.push_async_callback(providers.aclose)
        await providers.load()
        env = await stack.enter_async_context(await (start or _start_skipping)())
        await stack.enter_async_context(leaks_mended(env))
        await search_attributes.add(env.client)
        sessions = make_sessions(engine)
        payer = Payer(app)
        app.state.core.on_time.append(payer.tick)
        for worker in make_workers(
            env.client,
            sessions,
            providers,
            interceptors=[SharedClock(payer), *interceptors],
            tuning=tuning,
        ):
            await stack.enter_async_context(worker)
        world = World(env, env.client, app, sandbox_url, database_url, sessions, providers, payer)
        await world.prepare_tenant()
        yield world
