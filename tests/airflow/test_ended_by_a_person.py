"""What a person does to deferred tasks, on a real Airflow that tells triggers about it (3.3): marking cancels, clearing goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.rest import Task
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(400)]


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)


def test_a_marked_task_cancels_its_chat_and_a_cleared_one_goes_on_with_it(
    airflow_of: Callable[[str], Stack], coze: Server
) -> None:
    airflow = airflow_of("3.3.2-postgres")
    airflow.wait_dag("long_chat")
    before = len(coze.ledger)
    run_id = airflow.rest.trigger("long_chat")
    chats = coze.emulator.store.chats

    def tasks() -> dict[str, Task]:
        return {task.task_id: task for task in airflow.rest.tasks("long_chat", run_id)}

    def chat_of(name: str) -> str:
        [entry] = [entry for entry in coze.ledger[before:] if entry.marker["meta_data"]["task"] == name]
        return chats[entry.id].status

    def log_of(name: str) -> str:
        return airflow.task_logs("long_chat", name)

    until(lambda: [task.state for task in tasks().values()] == ["deferred"] * 3, 120)
    time.sleep(10)  # until the triggers run
    airflow.rest.set_state("long_chat", run_id, "failed", "failed")
    airflow.rest.set_state("long_chat", run_id, "kept", "failed")
    airflow.rest.clear("long_chat", run_id, "cleared")

    until(lambda: chat_of("failed") == "canceled")
    until(lambda: "is canceled; what it used is billed" in log_of("failed"))  # Airflow writes what a trigger logs later
    until(lambda: "cancel_on_kill is off" in log_of("kept"))
    assert chat_of("kept") == "in_progress"
    until(lambda: tasks()["cleared"].state == "success", 120)
    assert airflow.rest.xcom("long_chat", run_id, "cleared") == "cleared"
    # A clear ends the trigger as well; whether it has cancelled the chat or the next try found it alive, none is lost.
    assert len(coze.ledger) - before in (3, 4)
