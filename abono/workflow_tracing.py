"""Temporal's own tracing of workflows and activities, in two points different.

Commands belong to the trace of the request that sent them, also when the workflow was begun by another. And
a fresh run begins no trace and continues none: a subscription's life would be one trace of many years.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.trace import SpanKind, TracerProvider
from temporalio.api.common.v1 import Payload
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.worker import HandleUpdateInput, WorkflowInterceptorClassInput


def tracing_interceptor(provider: TracerProvider) -> TracingInterceptor:
    """For a client; its workers take it from there."""
    return _Tracing(provider.get_tracer("abono.temporal"))


class _Tracing(TracingInterceptor):
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        super().workflow_interceptor_class(input)
        return _Traced


class _Traced(TracingWorkflowInboundInterceptor):
    """Uses private names of the SDK, whose version is pinned; the tests would notice."""

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        header = input.headers.get(self.header_key)
        if header is None:
            return await super().handle_update_handler(input)
        carrier = self.payload_converter.from_payloads([header])[0]
        # Not undone: the handler runs in a task of its own, whose context ends with it, and an evicted
        # workflow would undo it in somebody else's.
        contexts.attach(self._set_on_context(self.text_map_propagator.extract(carrier)))
        self._completed_span(f"HandleUpdate:{input.update}", kind=SpanKind.SERVER)
        return await self.next.handle_update_handler(input)

    def _context_to_headers(self, headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
        """What a fresh run is given."""
        return headers
