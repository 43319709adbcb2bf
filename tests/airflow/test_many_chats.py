"""Two hundred deferred chats on LocalExecutor and PostgreSQL: none is failed by Airflow's deferral race, none blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(900)]

CHATS = 200


@pytest.fixture(scope="module")
def airflow(airflow_of: Callable[[str], Stack]) -> Stack:
    return airflow_of("3.3.2-postgres")


@pytest.fixture(scope="module")
def run(airflow: Stack, coze: Server) -> Run:
    # Two cores need 180 s, most of it for starting and ending 400 task processes. Every look costs the API server too.
    return run_dag(airflow, "many_chats", coze, seconds=600, every=5)


def test_every_chat_succeeds_at_the_first_try(run: Run) -> None:
    asked = [task for task in run.tasks if task.task_id == "ask"]
    assert Counter((task.state, task.try_number) for task in asked) == {("success", 1): CHATS}


def test_every_answer_is_its_own(run: Run) -> None:
    assert run.xcom("gather") == [f"answer {n}" for n in range(CHATS)]


def test_most_of_them_waited_at_the_same_time(run: Run) -> None:
    assert run.most_deferred > CHATS / 2  # 170 measured; the rest had not started or was over


def test_every_chat_is_billed_once(run: Run) -> None:
    assert run.billed == Counter(chat=CHATS)


def test_the_triggerer_is_never_blocked(run: Run) -> None:
    log = run.airflow.component_log("triggerer").read_text(errors="replace")
    everything = log + run.airflow.task_logs("many_chats", "ask")
    assert "triggers currently running" in log
    assert [line for line in everything.splitlines() if "async thread was blocked" in line] == []


def test_the_triggerer_opens_one_connection_pool(run: Run) -> None:
    log = run.airflow.component_log("triggerer").read_text(errors="replace")
    everything = log + run.airflow.task_logs("many_chats", "ask")
    assert everything.count("Opened a connection pool to") == 1


def test_no_connection_stays_open(run: Run, coze: Server) -> None:
    assert coze.emulator.connections_open == 0
