"""Figures for Prometheus. Labels come from us (templates, names), never from a caller's text."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.ledger_metrics import LedgerMetrics
from models.outcomes import ProviderName

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds from an event to its delivery: from at once to the end of the retries, after three days.
_AGE_BUCKETS = (
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    30.0,
    120.0,
    600.0,
    3600.0,
    21600.0,
    86400.0,
    259200.0,
)
# Seconds. The promise is 10 s; webhooks should be answered within 50 ms.
_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 10.0)


class Metrics:
    """One registry per application object, so that two of them in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ledger = LedgerMetrics(self.registry)
        self.requests = Counter(
            "abono_http_requests", "Requests", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "abono_http_request_seconds",
            "Time to answer",
            ["method", "route"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.webhooks = Counter(
            "abono_webhooks", "Webhooks by answer", ["provider", "result"], registry=self.registry
        )
        self.configured = Gauge(
            "abono_provider_configured",
            "1 for a provider that has a key here",
            ["provider"],
            registry=self.registry,
        )
        # A series that begins with its first refusal has no rate before the second one.
        for provider in ProviderName:
            for result in ("accepted", "webhook_signature_invalid", "webhook_malformed"):
                self.webhooks.labels(str(provider), result)
        self.dispatched = Counter(
            "abono_dispatched_events",
            "Inbox rows by what the dispatcher did with them",
            ["result"],
            registry=self.registry,
        )
        self.signals = Counter(
            "abono_dispatcher_signals", "Signals by result", ["result"], registry=self.registry
        )
        self.dispatcher_lag = Gauge(
            "abono_dispatcher_lag_seconds",
            "How long the oldest due webhook has been waiting to be sent",
            registry=self.registry,
        )
        self.dispatcher_errors = Counter(
            "abono_dispatcher_errors",
            "Passes that failed, by what was away",
            ["cause"],
            registry=self.registry,
        )
        self.openings = Counter(
            "abono_openings_restarted",
            "Accepted commands whose workflow was started later",
            ["kind", "result"],
            registry=self.registry,
        )

        self._count_outbound()

    def _count_outbound(self) -> None:
        self.outbound_deliveries = Counter(
            "abono_outbound_deliveries",
            "Tries to bring an event to an application's endpoint",
            ["result"],
            registry=self.registry,
        )
        self.outbound_seconds = Histogram(
            "abono_outbound_request_seconds",
            "How long an endpoint takes to answer",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.outbound_age = Histogram(
            "abono_outbound_age_seconds",
            "From an event to its delivery",
            buckets=_AGE_BUCKETS,
            registry=self.registry,
        )
        self.outbound_lag = Gauge(
            "abono_outbound_lag_seconds",
            "How long the oldest due event has been waiting to be sent",
            registry=self.registry,
        )

    def tell_providers(self, configured: Collection[ProviderName]) -> None:
        for provider in ProviderName:
            self.configured.labels(str(provider)).set(provider in configured)

    def render(self) -> bytes:
        return generate_latest(self.registry)
