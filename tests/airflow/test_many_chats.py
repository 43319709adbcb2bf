"""Two hundred deferred chats on LocalExecutor and PostgreSQL: none is failed by Airflow's deferral race, none blocks."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag, written
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(1200)]

CHATS = 200


@dataclass
class Watched:
    """A run, and what the triggerer had to say about it."""

    run: Run
    triggerer_log: str


@pytest.fixture(scope="module")
def watched(airflow_of: Callable[[str], Stack], coze: Server) -> Watched:
    airflow = airflow_of("3.3.2-postgres")
    # Two cores need 180 s, most of it for starting and ending 400 task processes, and 700 s at a load of 20. Every look costs
    # the API server too.
    run = run_dag(airflow, "many_chats", coze, seconds=1100, every=5)
    log = airflow.component_log("triggerer").read_text(errors="replace")
    return Watched(run, log + airflow.task_logs("many_chats", "ask"))


@pytest.fixture(scope="module")
def run(watched: Watched) -> Run:
    return watched.run


def test_every_chat_succeeds_at_the_first_try(run: Run) -> None:
    asked = [task for task in run.tasks if task.task_id == "ask"]
    assert Counter((task.state, task.try_number) for task in asked) == {("success", 1): CHATS}


def test_every_chat_deferred(run: Run) -> None:
    assert run.deferrals("ask") == CHATS


def test_every_answer_is_its_own(run: Run) -> None:
    assert run.xcom("gather") == [f"answer {n}" for n in range(CHATS)]


def test_many_of_them_waited_at_the_same_time(run: Run) -> None:
    # 170 measured with two cores to itself, 67 at a load of 15, 36 at one of 21: the rest had not started, or was over.
    assert run.most_deferred >= CHATS / 8


def test_every_chat_is_billed_once(run: Run) -> None:
    assert run.billed == Counter(chat=CHATS)


def test_no_trigger_blocks_the_triggerer(watched: Watched) -> None:
    assert "triggers currently running" in watched.triggerer_log
    assert re.findall(r"async thread was blocked for ([\d.]+) seconds", watched.triggerer_log) == []


def test_the_triggerer_opens_one_connection_pool(watched: Watched) -> None:
    # One that a test before this has opened is still there: it stays for 10 minutes. Its line is in that test's log.
    everything = "".join(text for _, text in written(watched.run.airflow.home))
    assert everything.count("Opened a connection pool to") == 1


def test_no_connection_stays_open(run: Run, coze: Server) -> None:
    patience = time.monotonic() + 40  # an idle one stays for 15 s after the last chat
    while coze.emulator.connections_open and time.monotonic() < patience:
        time.sleep(0.5)
    assert coze.emulator.connections_open == 0
