"""Every history ever recorded replays on today's code (invariant 8)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from abono.correlation import Correlation
from abono.worker import WORKFLOWS, make_replayer
from tests.record_histories import EVERY_SCENARIO, HISTORIES

FILES = sorted(HISTORIES.glob("*/*.json"))
WHAT_TO_DO = (
    "A running subscription with this history would get stuck on the changed code. Put the change "
    "behind workflow.patched(...), or undo it. Only for a shape that was never released, record the "
    "histories anew with `make record`."
)


def test_every_scenario_has_histories() -> None:
    recorded = {file.name.split(".")[0] for file in FILES}
    assert recorded == {scenario.__name__ for scenario in EVERY_SCENARIO}


def test_every_workflow_has_a_history() -> None:
    started = {
        event["workflowExecutionStartedEventAttributes"]["workflowType"]["name"]
        for file in FILES
        for event in json.loads(file.read_text())["events"][:1]
    }
    lacking = {workflow.__name__ for workflow in WORKFLOWS} - started
    assert not lacking, (
        f"No recorded history of {sorted(lacking)}: a change that gets it stuck would not be noticed. Give "
        "it a scenario in tests/record_histories.py and its like, and record that: `python -m "
        "tests.record_histories <scenario>`."
    )


async def test_all_histories_replay() -> None:
    replayer = make_replayer([Correlation()])
    for file in FILES:
        history = WorkflowHistory.from_json(_workflow_id(file), file.read_text())
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            pytest.fail(f"{file.relative_to(HISTORIES)}: {result.replay_failure}\n{WHAT_TO_DO}")


def _workflow_id(file: Path) -> str:
    return f"replay/{file.stem}"
