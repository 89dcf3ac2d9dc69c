"""Which request, application and subscription a log line is about, carried from the API through Temporal.

The API binds the ids to what it logs. They travel in a header of each call to Temporal, and of each
activity, child and signal of a workflow. A workflow adds what it is itself. What a fresh run of a
subscription does is no longer the work of the request that came before, so nothing is carried there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from temporalio import activity, workflow
from temporalio import client as sending
from temporalio import worker as working
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from workflows.options import TENANT_KEY

HEADER = "abono-correlation"
FIELDS = ("request_id", "tenant_id", "subscription_id", "purchase_id")
# Ours are UUIDs; a caller's request id has 64 characters at most.
_LENGTH_MAX = 64
_FIELD_BY_WORKFLOW = {"subscription": "subscription_id", "purchase": "purchase_id"}

_converter = PayloadConverter.default
Headers = Mapping[str, Payload]


class _WithHeaders(Protocol):
    headers: Headers


def current_ids() -> dict[str, str]:
    """What is bound to log lines here."""
    bound = structlog.contextvars.get_contextvars()
    return {name: str(bound[name]) for name in FIELDS if bound.get(name)}


class Correlation(sending.Interceptor, working.Interceptor):
    """For a client; its workers take it from there."""

    def intercept_client(self, next: sending.OutboundInterceptor) -> sending.OutboundInterceptor:
        return _Sending(next)

    def intercept_activity(
        self, next: working.ActivityInboundInterceptor
    ) -> working.ActivityInboundInterceptor:
        return _Acting(next)

    def workflow_interceptor_class(
        self, input: working.WorkflowInterceptorClassInput
    ) -> type[working.WorkflowInboundInterceptor]:
        return _Deciding


class _Sending(sending.OutboundInterceptor):
    async def start_workflow(
        self, input: sending.StartWorkflowInput
    ) -> sending.WorkflowHandle[Any, Any]:
        _put(input)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: sending.SignalWorkflowInput) -> None:
        _put(input)
        await super().signal_workflow(input)

    async def start_workflow_update(
        self, input: sending.StartWorkflowUpdateInput
    ) -> sending.WorkflowUpdateHandle[Any]:
        _put(input)
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self, input: sending.StartWorkflowUpdateWithStartInput
    ) -> sending.WorkflowUpdateHandle[Any]:
        _put(input.start_workflow_input)
        _put(input.update_workflow_input)
        return await super().start_update_with_start_workflow(input)


class _Acting(working.ActivityInboundInterceptor):
    async def execute_activity(self, input: working.ExecuteActivityInput) -> Any:
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            **_read(input.headers), activity=info.activity_type, workflow_id=info.workflow_id
        ):
            return await super().execute_activity(input)


class _Deciding(working.WorkflowInboundInterceptor):
    """Each of these runs in a task of its own, whose context ends with it: nothing is unbound, which
    would happen in somebody else's context when the workflow was evicted."""

    def init(self, outbound: working.WorkflowOutboundInterceptor) -> None:
        super().init(_Calling(outbound))

    async def execute_workflow(self, input: working.ExecuteWorkflowInput) -> Any:
        _bind(input)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: working.HandleSignalInput) -> None:
        _bind(input)
        await super().handle_signal(input)

    async def handle_update_handler(self, input: working.HandleUpdateInput) -> Any:
        _bind(input)
        return await super().handle_update_handler(input)


class _Calling(working.WorkflowOutboundInterceptor):
    def start_activity(self, input: working.StartActivityInput) -> workflow.ActivityHandle[Any]:
        _put(input)
        return super().start_activity(input)

    def start_local_activity(
        self, input: working.StartLocalActivityInput
    ) -> workflow.ActivityHandle[Any]:
        _put(input)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: working.StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        _put(input)
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: working.SignalChildWorkflowInput) -> None:
        _put(input)
        await super().signal_child_workflow(input)

    async def signal_external_workflow(self, input: working.SignalExternalWorkflowInput) -> None:
        _put(input)
        await super().signal_external_workflow(input)


def _bind(input: _WithHeaders) -> None:
    structlog.contextvars.bind_contextvars(**_read(input.headers) | _own_ids())


def _own_ids() -> dict[str, str]:
    """What the workflow at hand is about: its id is `kind/uuid`."""
    info = workflow.info()
    kind, _, entity_id = info.workflow_id.partition("/")
    tenant = info.typed_search_attributes.get(TENANT_KEY)
    ids = {"tenant_id": tenant, _FIELD_BY_WORKFLOW.get(kind, ""): entity_id}
    return {name: value for name, value in ids.items() if name and value}


def _put(input: _WithHeaders) -> None:
    ids = current_ids()
    if ids:
        input.headers = {**input.headers, HEADER: _converter.to_payloads([ids])[0]}


def _read(headers: Headers) -> dict[str, str]:
    """The ids of a header; without it, or when it is not ours, none: no workflow gets stuck on it."""
    payload = headers.get(HEADER)
    try:
        found = json.loads(payload.data) if payload is not None else None
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: str(found[name])[:_LENGTH_MAX] for name in FIELDS if found.get(name)}
