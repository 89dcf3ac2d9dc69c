"""OpenTelemetry traces: one for each request, over API, workflow, activities and calls to providers.

Off unless a collector is named (`OTEL_EXPORTER_OTLP_ENDPOINT`): then nothing here is imported. Spans are
sent in batches by a thread of their own; a collector that is away costs the spans, never a request.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from abono.span_export import OURS, AllowlistExporter, CorrelationProcessor
from api.middleware import METHODS, route_template

# Bounds how long an end of the process waits for a collector that does not answer.
EXPORT_SECONDS = 3.0
# Asked every few seconds by machines.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_propagator = TraceContextTextMapPropagator()


def start_tracing(service: str) -> TracerProvider:
    """Once in a process. `shutdown` of what it returns sends the last spans."""
    provider = make_provider(service)
    trace.set_tracer_provider(provider)
    return provider


def make_provider(service: str) -> TracerProvider:
    """Sends spans where the standard variables say, by the name of `service` unless `OTEL_SERVICE_NAME`
    says otherwise."""
    resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(CorrelationProcessor())
    exporter = AllowlistExporter(OTLPSpanExporter(timeout=EXPORT_SECONDS))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class TracedApp:
    """A span around each request. Of what the caller sends only a valid `traceparent` is taken."""

    def __init__(self, app: ASGIApp, provider: trace.TracerProvider) -> None:
        self._app = app
        self._tracer = provider.get_tracer("abono.api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        parent = Headers(scope=scope).get("traceparent", "")
        context = _propagator.extract({"traceparent": parent})
        with self._tracer.start_as_current_span("HTTP", context, SpanKind.SERVER) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _tell(span, message)
                await send(message)

            try:
                await self._app(scope, receive, told)
            finally:
                _name(span, scope)


def _tell(span: trace.Span, message: Message) -> None:
    status = message["status"]
    span.set_attribute("http.response.status_code", status)
    request_id = Headers(raw=message["headers"]).get("x-request-id")
    if request_id:
        span.set_attribute(f"{OURS}request_id", request_id)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _name(span: trace.Span, scope: Scope) -> None:
    """By the route's template, which is known when the request has been routed."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    route = route_template(scope)
    span.update_name(f"{method} {route}")
    values: dict[str, Any] = {"http.request.method": method, "http.route": route}
    span.set_attributes(values)
