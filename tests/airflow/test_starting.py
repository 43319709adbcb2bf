"""Sensors on a real Airflow that take no worker before the wait: what they find, how they fail, and that they took none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(600)]

#: What Airflow 3.3 writes into a task's log each time that a worker takes it up.
TAKEN_UP = "::group::Pre Execute"
DAG_ID = "from_trigger"


@pytest.fixture(scope="module")
def run(airflow_of: Callable[[str], Stack], coze: Server) -> Run:
    return run_dag(airflow_of("3.3.2-postgres"), DAG_ID, coze)


def _logs(run: Run, task_id: str) -> str:
    return run.airflow.task_logs(DAG_ID, task_id)


def test_they_return_the_answer_and_the_output(run: Run) -> None:
    assert (run.xcom("wait_for_chat"), run.xcom("wait_for_run")) == ("rested", {"output": "rested"})
    assert run.airflow.rest.xcom(DAG_ID, run.run_id, "wait_for_chat", "usage")["token_count"] > 0
    assert run.billed == {"chat": 1, "workflow": 1}


def test_a_worker_takes_them_up_once_and_the_triggerer_first(run: Run) -> None:
    for task_id in ("wait_for_chat", "wait_for_run", "wait_in_vain", "wait_a_second"):
        assert _logs(run, task_id).count(TAKEN_UP) == 1, task_id
        assert "deferred" in run.states_seen[task_id]
    assert _logs(run, "wait_mapped").count(TAKEN_UP) == 2  # Airflow starts no mapped task there


def test_failures_are_ours_and_are_those_of_a_sensor_that_begins_on_a_worker(run: Run) -> None:
    states = {task.task_id: (task.state, task.try_number) for task in run.tasks}
    assert states["wait_in_vain"] == states["wait_a_second"] == ("failed", 1)
    assert "CozeNotFoundError" in _logs(run, "wait_in_vain")
    assert "AirflowSensorTimeout" in _logs(run, "wait_a_second")
