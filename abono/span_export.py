"""What of a span leaves the process: names of ours and an allowlist of attributes, nothing else.

Libraries put addresses, messages of exceptions and ids that a caller chose into spans. An allowlist lets
none of that out, also what a later version of a library thinks of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status
from opentelemetry.util.types import AttributeValue

from abono.correlation import current_ids
from abono.logging import redact_text

OURS = "abono."
ALLOWED = frozenset(
    {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "exception.type",
        "temporalWorkflowID",
        "temporalRunID",
        "temporalActivityID",
    }
)

Attributes = Mapping[str, AttributeValue]


class AllowlistExporter(SpanExporter):
    """Hands to another exporter what may be told."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._inner.export([_told(span) for span in spans])

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class CorrelationProcessor(SpanProcessor):
    """Each span says what the log lines of its place say: request, application, subscription."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attributes({OURS + name: value for name, value in current_ids().items()})


def _told(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=redact_text(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_allowed(span.attributes),
        events=[Event(one.name, _allowed(one.attributes), one.timestamp) for one in span.events],
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),  # Its description is the exception's message.
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _allowed(attributes: Attributes | None) -> dict[str, AttributeValue]:
    return {
        name: redact_text(value) if isinstance(value, str) else value
        for name, value in (attributes or {}).items()
        if name in ALLOWED or name.startswith(OURS)
    }
