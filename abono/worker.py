"""The worker: runs workflows and activities until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import text
from temporalio.client import Client
from temporalio.worker import Interceptor, Replayer, Worker

from abono.long_lived import keep_what_is_loaded
from abono.payload_converter import plain_data_converter
from abono.schedules import ensure_reconcile_schedules
from abono.settings import Settings
from abono.wiring import begin_tracing, build_providers, call_rates, connect_temporal
from abono.worker_metrics import call_metrics, metrics_runtime
from abono.worker_tuning import QUEUES, USUAL, WORKFLOWS_QUEUE, Tuning, in_order, tuning_of
from abono.workflow_runner import workflow_runner
from activities.benefits import BenefitActivities
from activities.credit import CreditActivities
from activities.disputes import DisputeActivities
from activities.late_money import InboxActivities
from activities.money_calls import MoneyActivities
from activities.operating import OperatorActivities
from activities.payment_methods import PaymentMethodActivities
from activities.plan_changes import PlanChangeActivities
from activities.provider_calls import ProviderActivities
from activities.purchase_money import PurchaseActivities
from activities.reconcile import ReconcileActivities
from activities.records import RecordActivities
from activities.subscription_calls import SubscriptionActivities
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE
from models.outcomes import ProviderName
from models.storage.engine import Sessions, make_engine, make_sessions
from providers.registry import ProviderRegistry
from workflows.answering import AnswerOnce
from workflows.benefit import BenefitWorkflow
from workflows.dispute import DisputeWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.payment_method import DetachPaymentMethodWorkflow, PaymentMethodWorkflow
from workflows.pending_payment import PendingPaymentWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.refund import RefundWorkflow
from workflows.resolve_attempt import ResolveAttemptWorkflow
from workflows.subscription import SubscriptionWorkflow

WORKFLOWS: Sequence[type] = (
    SubscriptionWorkflow,
    PendingPaymentWorkflow,
    ResolveAttemptWorkflow,
    PaymentMethodWorkflow,
    DetachPaymentMethodWorkflow,
    LatePaymentWorkflow,
    DisputeWorkflow,
    PurchaseWorkflow,
    BenefitWorkflow,
    RefundWorkflow,
    ReconcileWorkflow,
)
# Beyond the time that calls in flight are given: then the process goes, whatever it waits for.
_EXIT_AFTER = timedelta(seconds=5)
# The file tells whoever started this process that it polls.
READY_FILE = Path("run") / "worker.ready"


def make_replayer(interceptors: Sequence[Interceptor] = ()) -> Replayer:
    """Replays histories as the workers of `make_workers` would."""
    return Replayer(
        workflows=list(WORKFLOWS),
        data_converter=plain_data_converter,
        workflow_runner=workflow_runner(),
        interceptors=[AnswerOnce(), *interceptors],
    )


def make_workers(
    client: Client,
    sessions: Sessions,
    providers: ProviderRegistry,
    *,
    interceptors: Sequence[Interceptor] = (),
    executor: Executor | None = None,
    calls_per_second: Mapping[ProviderName, float] | None = None,
    tuning: Tuning = USUAL,
    queues: Collection[str] = frozenset(QUEUES),
) -> list[Worker]:
    """One worker for workflows and database writes, and one per provider for its calls alone, so
    that a slow provider starves nobody: those of them that `queues` names. `calls_per_second` is kept by
    the server, over all workers; it believes the one that asked last, so they must agree. A provider
    that is not in it has no limit."""
    rates = calls_per_second or {}
    records = RecordActivities(sessions, providers)
    inbox = InboxActivities(sessions)
    calls = ProviderActivities(sessions, providers)
    running = SubscriptionActivities(sessions, calls)
    changes = PlanChangeActivities(sessions, calls)
    methods = PaymentMethodActivities(sessions, providers)
    benefits = BenefitActivities(sessions, providers)
    disputes = DisputeActivities(sessions, providers)
    purchases = PurchaseActivities(sessions, providers)
    operating = OperatorActivities(sessions, providers)
    money = MoneyActivities(sessions, providers)
    credit = CreditActivities(sessions)
    reconciling = ReconcileActivities(sessions, providers)
    common: dict[str, Any] = {
        "interceptors": [AnswerOnce(), *interceptors],
        "activity_executor": executor,
        **tuning.for_activities(),
    }
    engine_activities: list[Callable[..., Any]] = [
        records.record,
        records.record_purchase,
        records.choose_route,
        inbox.acknowledge,
        inbox.find_attempt,
        operating.note_action,
        disputes.record_dispute,
        credit.credit_unapplied,
        reconciling.begin_reconcile,
        reconciling.settle_reconcile,
        reconciling.end_reconcile,
    ]
    provider_activities: list[Callable[..., Any]] = [
        calls.issue_payment,
        changes.collect_change,
        changes.change_provider_subscription,
        calls.open_provider_subscription,
        calls.retry_invoice,
        calls.settle_attempt,
        calls.read_payment,
        calls.void_payment,
        calls.read_subscription,
        calls.cancel_subscription,
        calls.keep_subscription,
        running.pause_subscription,
        running.resume_subscription,
        running.change_payment_method,
        methods.add_payment_method,
        methods.close_payment_method,
        methods.release_payment_method,
        methods.forget_payment_method,
        benefits.check_benefits,
        benefits.change_benefit,
        purchases.follow_purchase,
        operating.check_declaration,
        disputes.read_dispute,
        disputes.accept_dispute,
        money.send_refund,
        money.follow_money,
        reconciling.reconcile_step,
    ]
    workers = []
    if WORKFLOWS_QUEUE in queues:
        engine = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=engine_activities,
            workflow_runner=workflow_runner(),
            **tuning.for_workflows(),
            **common,
        )
        workers.append(engine)
    return workers + [
        Worker(
            client,
            task_queue=queue,
            activities=provider_activities,
            max_task_queue_activities_per_second=rates.get(provider),
            **common,
        )
        for provider, queue in PROVIDER_TASK_QUEUES.items()
        if provider in queues
    ]


async def run(settings: Settings, queues: Collection[str] = frozenset(QUEUES)) -> None:
    """Run until SIGTERM or SIGINT; calls in flight are let finish. `queues`: which of QUEUES."""
    log, tuning = structlog.get_logger("abono.worker"), tuning_of(settings)
    database = make_engine(settings.sqlalchemy_url, pool_size=settings.database_pool_size)
    providers = build_providers(settings)
    tracing = begin_tracing(settings, "abono-worker")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = settings.home / READY_FILE
    try:
        # Before a single task is taken: without its database a worker could only fail at it.
        async with database.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await providers.load()
        runtime = None
        if settings.worker_metrics_port:
            runtime = metrics_runtime(settings.worker_metrics_host, settings.worker_metrics_port)
        client = await connect_temporal(
            settings, lazy=False, runtime=runtime, interceptors=tracing.interceptors
        )
        async with AsyncExitStack() as stack:
            sessions, rates = make_sessions(database), call_rates(settings)
            watchers = call_metrics(runtime)
            for worker in make_workers(
                client,
                sessions,
                providers,
                calls_per_second=rates,
                interceptors=watchers,
                tuning=tuning,
                queues=queues,
            ):
                await stack.enter_async_context(worker)
            every = timedelta(minutes=settings.reconcile_every_minutes) or None
            await ensure_reconcile_schedules(client, providers.names(), every)
            keep_what_is_loaded()
            _mark_ready(ready)
            names = [str(name) for name in providers.names()]
            log.info("worker ready", providers=names, queues=in_order(queues))
            await stop.wait()
            log.info("worker stopping")
            _exit_at_the_latest(tuning.shutdown + _EXIT_AFTER)
    finally:
        ready.unlink(missing_ok=True)
        await providers.aclose()
        await database.dispose()
        await tracing.aclose()


def _exit_at_the_latest(after: timedelta) -> None:
    """Local activities are retried while PostgreSQL is away, and the SDK waits for them: whoever asked
    this process to stop gets it, and the work goes on in another one."""
    timer = threading.Timer(after.total_seconds(), os._exit, args=(1,))
    timer.daemon = True
    timer.start()


def _mark_ready(ready: Path) -> None:
    ready.parent.mkdir(parents=True, exist_ok=True)
    ready.touch()
