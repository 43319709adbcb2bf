"""What a real scheduler does with tasks that have retries left: none where none can help, and a policy's delay where it can."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.server import Server
from tests.airflow.rest import Task
from tests.airflow.runs import run_dag, stored
from tests.airflow.stack import Stack, airflow

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(600)]

#: The first is what the test before this module leaves running.
STACKS = ["2.11.2-postgres", "3.3.2-postgres"]


@pytest.mark.parametrize("name", STACKS)
def test_a_task_whose_failure_no_retry_can_change_fails_in_its_first_try(
    airflow_of: Callable[[str], Stack], coze: Server, name: str
) -> None:
    run = run_dag(airflow_of(name), "retries", coze)
    assert {task.task_id: (task.state, task.try_number) for task in run.tasks} == dict.fromkeys(
        ["unknown_bot", "used_up", "used_up_deferred", "unknown_chat", "broken_run"], ("failed", 1)
    )
    for task in run.tasks:
        if task.task_id != "broken_run":
            assert "Not to be retried. Coze" in run.airflow.task_logs("retries", task.task_id)
    assert run.billed["chat"] == 2
    pages = {run.airflow.rest.links("retries", run.run_id, "broken_run", index)["Coze run"] for index in (0, 1)}
    assert len(pages - {None}) == 2  # each of two mapped tasks that failed leads to its own run


def test_airflow_stores_a_dag_with_a_policy_the_same_every_time(airflow_of: Callable[[str], Stack]) -> None:
    stack = airflow_of("3.3.2-postgres")
    stack.wait_dag("retry_policy")

    def versions() -> int:
        return len(stack.rest.get("/dags/retry_policy/dagVersions")["dag_versions"])

    before = versions()
    airflow(stack.version, stack.env, "dags", "reserialize")
    assert versions() == before == 1
    assert stack.rest.import_errors() == []


def test_a_policy_retries_after_a_minute_where_the_task_says_an_hour_and_not_where_it_is_useless(
    airflow_of: Callable[[str], Stack], coze: Server
) -> None:
    stack, before = airflow_of("3.3.2-postgres"), len(coze.ledger)
    coze.emulator.script(scenarios.error(4020), on="POST /v3/chat", times=None)
    failed_at: dict[int, datetime] = {}

    def watch(tasks: list[Task]) -> None:
        for task in tasks:
            if task.state == "up_for_retry" and task.ended:
                failed_at.setdefault(task.map_index, task.ended)
        if len(failed_at) == 2:
            coze.emulator.clear_faults()

    stack.wait_dag("retry_policy")
    run_id = stack.rest.trigger("retry_policy")
    try:
        stack.rest.wait_run("retry_policy", run_id, 240, watch=watch, check=stack.processes.check)
    finally:
        coze.emulator.clear_faults()
    tasks = {(task.task_id, task.map_index): task for task in stack.rest.tasks("retry_policy", run_id)}
    for index in (0, 1):
        done = tasks["per_minute", index]
        assert (done.state, done.try_number) == ("success", 2)
        assert done.started is not None
        assert 60 <= (done.started - failed_at[index]).total_seconds() < 120
    useless = tasks["unknown_bot", -1]
    assert (useless.state, useless.try_number) == ("failed", 1)
    assert len(coze.ledger) - before == 2
    kept = stored(stack.database)
    assert "code 4020 (the purchased requests per minute are exceeded)" in kept  # the reason, for whoever asks
