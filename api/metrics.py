"""Figures for Prometheus. Labels come from us (templates, names), never from a caller's text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.ledger_metrics import LedgerMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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

    def render(self) -> bytes:
        return generate_latest(self.registry)
