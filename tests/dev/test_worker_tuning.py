"""What a person says of one worker: readable when it is wrong, and in force when it is right."""

from __future__ import annotations

from datetime import timedelta

import pytest

from abono import cli
from abono.settings import Settings
from abono.worker_tuning import QUEUES, USUAL, Tuning, parse_queues, tuning_of
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE
from tests.dev.test_cli import one_line, quiet_machine

# So that pytest finds the fixture here under the name that the import gives it.
__all__ = ["quiet_machine"]

WRONG = {
    "ABONO_WORKER_WORKFLOW_SLOTS": ("1", "greater than or equal to 2"),
    "ABONO_WORKER_ACTIVITY_SLOTS": ("0", "greater than or equal to 1"),
    "ABONO_WORKER_LOCAL_ACTIVITY_SLOTS": ("many", "valid integer"),
    "ABONO_WORKER_POLLERS_MAX": ("1", "greater than or equal to 2"),
    "ABONO_WORKER_CACHED_WORKFLOWS_MAX": ("9", "greater than or equal to 10"),
    "ABONO_WORKER_SHUTDOWN_SECONDS": ("inf", "finite"),
}


def test_every_queue_has_a_name() -> None:
    assert set(QUEUES.values()) == {TASK_QUEUE, *PROVIDER_TASK_QUEUES.values()}
    assert parse_queues(",".join(QUEUES)) == QUEUES.keys()


def test_without_settings_a_worker_is_the_usual_one() -> None:
    assert tuning_of(Settings()) == USUAL == Tuning()


def test_settings_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(WRONG, start=3):
        monkeypatch.setenv(name, str(number))
    monkeypatch.setenv("ABONO_WORKER_CACHED_WORKFLOWS_MAX", "17")
    tuned = tuning_of(Settings())
    assert tuned == Tuning(3, 4, 5, 6, 17, timedelta(seconds=8))
    options = tuned.for_activities() | tuned.for_workflows()
    pollers = options["workflow_task_poller_behavior"]
    assert pollers == options["activity_task_poller_behavior"]
    assert (pollers.minimum, pollers.initial, pollers.maximum) == (1, 5, 6)
    assert options["max_concurrent_workflow_tasks"] == 3
    assert options["max_concurrent_activities"] == 4
    assert options["max_concurrent_local_activities"] == 5
    assert options["max_cached_workflows"] == 17
    assert options["graceful_shutdown_timeout"] == timedelta(seconds=8)


def test_far_fewer_workflows_work_at_once_than_are_remembered() -> None:
    few = Tuning(cached_workflows_max=10).for_workflows()
    assert few["max_concurrent_workflow_tasks"] == 2
    assert USUAL.for_workflows()["max_concurrent_workflow_tasks"] == USUAL.workflow_slots


def test_pollers_do_not_begin_above_the_most() -> None:
    assert Tuning(pollers_max=2).for_activities()["activity_task_poller_behavior"].initial == 2


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    value, why = WRONG[name]
    monkeypatch.setenv(name, value)
    assert cli.run(["worker"]) == 1
    line = one_line(capsys)
    assert name in line
    assert why in line


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("workflows,stirpe", "stirpe: not one of workflows, stripe, conekta, polar"),
        (" , ", "name at least one of workflows, stripe, conekta, polar"),
    ],
)
def test_queues_that_are_none(capsys: pytest.CaptureFixture[str], said: str, why: str) -> None:
    assert cli.run(["worker", "--queues", said]) == 2
    assert one_line(capsys) == f"abono: --queues: {why}."


def test_queues_are_a_comma_list() -> None:
    assert parse_queues(" Stripe, workflows,") == {"stripe", "workflows"}
