"""Batches on a real Airflow: workers that are killed in the middle, deferrals, and one bill for each row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.server import Server
from tests.airflow.runs import Run, run_dag, stored, written
from tests.airflow.stack import Stack

#: Not on the Airflow of many_chats, which counts the connection pools in its logs: batches open theirs on workers.
pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

#: As in dags/batches.py, which can be imported by an Airflow only.
ROWS = 150
CHATS = ("chats", "deferred_chats")


@pytest.fixture(scope="module")
def run(airflow_of: Callable[[str], Stack], coze: Server) -> Run:
    coze.emulator.reset()
    coze.emulator.world.rate_limits = False
    try:
        return run_dag(airflow_of("3.3.2-sqlite"), "batches", coze, seconds=400, every=2)
    finally:
        coze.emulator.world.rate_limits = None


@pytest.fixture(scope="module")
def bill(run: Run, coze: Server) -> Counter[str]:
    """How often each row was billed, by task and answer."""
    return Counter(_row_of(entry.as_json()) for entry in coze.ledger)


def _row_of(entry: dict[str, Any]) -> str:
    marker = entry["marker"]
    if entry["kind"] == "workflow":
        return f"runs {marker['parameters']['value']}"
    return f"{marker['meta_data']['task']} {marker['meta_data']['airflow'].split('.')[1]}"


def _results(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(manifest["result_uri"]).read_text().splitlines()]


@pytest.mark.parametrize("task_id", [*CHATS, "runs"])
def test_every_row_has_its_own_answer_in_its_place(run: Run, task_id: str) -> None:
    manifest = run.xcom(task_id)
    right: list[Any] = [f"answer {n} of batches" for n in range(ROWS)]
    if task_id == "runs":
        right = [{"output": n} for n in range(ROWS)]
    assert manifest["counts"]["succeeded"] == manifest["request_count"] == ROWS
    assert [row["output"] for row in _results(manifest)] == right


@pytest.mark.parametrize("task_id", ["chats", "runs"])
def test_the_process_died_and_another_try_went_on(run: Run, task_id: str) -> None:
    assert [task.try_number for task in run.tasks if task.task_id == task_id] == [2]


def test_every_row_is_billed_once(bill: Counter[str]) -> None:
    assert bill == Counter(f"{task_id} {n}" for task_id in (*CHATS, "runs") for n in range(ROWS))


def test_the_deferred_batch_let_go_of_its_worker(run: Run) -> None:
    assert run.deferrals("deferred_chats") >= 2
    assert "deferred" in run.states_seen["deferred_chats"]


def test_a_table_in_the_log_tells_how_it_was(run: Run) -> None:
    log = run.airflow.task_logs("batches", "chats")
    assert "Batch ended after" in log
    assert "taken over" in log


def test_the_token_is_nowhere(run: Run, coze: Server) -> None:
    assert coze.token not in stored(run.airflow.database)
    assert [path for path, text in written(run.airflow.home) if coze.token in text] == []
