"""How workflows are run: in the SDK's sandbox, without what of it nobody here needs."""

from __future__ import annotations

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info

# Our packages are pure where workflows import them; importing them anew for each workflow would cost
# eleven times the CPU and fifty times the memory.
PASSED_THROUGH = ("activities", "models", "workflows", "pydantic", "temporalio", "tzdata")


def workflow_runner() -> SandboxedWorkflowRunner:
    return _Runner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    )


class _Runner(SandboxedWorkflowRunner):
    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _WithoutContext(super().create_instance(det))


class _WithoutContext(WorkflowInstance):
    """The SDK enters the sandbox again for each payload, to ask what it is about. That is for codecs that
    depend on it and for payloads that are stored elsewhere; ours do not and are not, and it was a third
    of a workflow's CPU."""

    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: object) -> SerializationContext | None:
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return StorageDriverStoreContext()

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()
