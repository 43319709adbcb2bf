"""Two hundred deferred chats on LocalExecutor and PostgreSQL: none is failed by Airflow's deferral race, none blocks."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(900)]

CHATS = 200


@dataclass
class Watched:
    """A run, and what the triggerer had to say about it."""

    run: Run
    triggerer_log: str
    #: Seconds in which the triggerer's loop was ready to run and had no core.
    starved: float


@pytest.fixture(scope="module")
def watched(airflow_of: Callable[[str], Stack], coze: Server) -> Watched:
    airflow = airflow_of("3.3.2-postgres")
    # Two cores need 180 s, most of it for starting and ending 400 task processes. Every look costs the API server too.
    run = run_dag(airflow, "many_chats", coze, seconds=800, every=5)
    log = airflow.component_log("triggerer").read_text(errors="replace")
    return Watched(run, log + airflow.task_logs("many_chats", "ask"), _starved(airflow))


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
    # 170 measured with two cores to itself, 67 on a machine with a load of 15: the rest had not started, or was over.
    assert run.most_deferred >= CHATS / 4


def test_every_chat_is_billed_once(run: Run) -> None:
    assert run.billed == Counter(chat=CHATS)


def test_no_trigger_blocks_the_triggerer(watched: Watched) -> None:
    assert "triggers currently running" in watched.triggerer_log
    # Airflow's watchdog cannot tell a loop that is blocked from one that waits for a core; Linux can.
    blocked = re.findall(r"async thread was blocked for ([\d.]+) seconds", watched.triggerer_log)
    assert sum(map(float, blocked)) <= watched.starved


def test_the_triggerer_shares_one_connection_pool(watched: Watched) -> None:
    # One pool at a time, kept for 15 s after its last user: on a loaded machine the first few chats can be over for longer
    # than that before the next one defers, and then it is opened anew. 200 chats never have more than a few.
    assert 1 <= watched.triggerer_log.count("Opened a connection pool to") <= 3


def test_no_connection_stays_open(run: Run, coze: Server) -> None:
    patience = time.monotonic() + 40  # the pool stays for 15 s after the last chat
    while coze.emulator.connections_open and time.monotonic() < patience:
        time.sleep(0.5)
    assert coze.emulator.connections_open == 0


def _starved(airflow: Stack) -> float:
    """Return for how long the busiest of the triggerer's processes waited for a core."""
    waits = [0.0]
    for entry in airflow.processes.living():
        with contextlib.suppress(OSError):
            place = Path(f"/proc/{entry.pid}")
            if b"triggerer" in (place / "cmdline").read_bytes():
                # Of the main thread, where the loop runs: nanoseconds on a core, nanoseconds waiting for one, turns.
                waits.append(int((place / "schedstat").read_text().split()[1]) / 1e9)
    return max(waits)
