"""Figures of the worker for Prometheus: the Temporal SDK's own, and ours of each call to a provider.

Both come from the SDK's exporter, at one address: ours are made with the SDK's meter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.common import MetricMeter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.signatures.attempts import AttemptResult
from models.commands import PROVIDER_TASK_QUEUES
from models.outcomes import OutcomeClass

CALLS = "abono_provider_calls"
CALL_DURATION = "abono_provider_call"
# Of a call that came back with an answer that is no outcome of a charge, and of one that raised.
ANSWERED, FAILED = "answered", "failed"
# Seconds. One call of a healthy provider is below a second; an attempt may take up to ninety.
_DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 15.0, 30.0, 90.0)
_PROVIDERS = {queue: str(provider) for provider, queue in PROVIDER_TASK_QUEUES.items()}


def metrics_runtime(host: str, port: int) -> Runtime:
    """A runtime that listens at `http://host:port/metrics`. Raises ValueError when it cannot."""
    return Runtime(
        telemetry=TelemetryConfig(
            metrics=PrometheusConfig(
                bind_address=f"{host}:{port}",
                counters_total_suffix=True,
                unit_suffix=True,
                durations_as_seconds=True,
                histogram_bucket_overrides={CALL_DURATION: _DURATION_BUCKETS},
            )
        )
    )


class CallMetrics(Interceptor):
    """Counts and times what runs on the providers' queues."""

    def __init__(self, meter: MetricMeter) -> None:
        self._calls = meter.create_counter(CALLS, "Calls to providers by what came of them")
        self._durations = meter.create_histogram_timedelta(CALL_DURATION, "How long they took")
        # A series that begins with its first failure has no rate before the second one.
        for provider in _PROVIDERS.values():
            for outcome in (*OutcomeClass, ANSWERED, FAILED):
                self._calls.add(0, {"provider": provider, "outcome": str(outcome)})

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Measured(next, self)

    def note(self, provider: str, outcome: str, seconds: float) -> None:
        self._calls.add(1, {"provider": provider, "outcome": outcome})
        self._durations.record(timedelta(seconds=seconds), {"provider": provider})


class _Measured(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, metrics: CallMetrics) -> None:
        super().__init__(next)
        self._metrics = metrics

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        provider = _PROVIDERS.get(activity.info().task_queue)
        if provider is None or activity.info().is_local:
            return await super().execute_activity(input)
        started, outcome = time.monotonic(), FAILED
        try:
            result = await super().execute_activity(input)
            outcome = str(result.outcome) if isinstance(result, AttemptResult) else ANSWERED
            return result
        finally:
            self._metrics.note(provider, outcome, time.monotonic() - started)


def call_metrics(runtime: Runtime | None) -> Sequence[Interceptor]:
    """What a worker on this runtime is given; nothing when nobody listens."""
    return [CallMetrics(runtime.metric_meter)] if runtime is not None else []
