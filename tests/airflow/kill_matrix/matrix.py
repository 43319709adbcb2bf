"""Run cells of the kill matrix on a real Airflow, and say of each what became of it and what Coze billed."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.server import Server, serve
from tests.airflow.kill_matrix.dags.chaos_cells import OUTAGES, Cell, write
from tests.airflow.rest import Task
from tests.airflow.stack import Stack, stack

DAGS = Path(__file__).parent / "dags"
#: A component that is away for as long as the issue asks of the API server; others are started again at once.
AWAY_SECONDS = {"api-server": 20.0}
#: Two cores: some hundred task processes, and a scheduler that first has to find out that its predecessor is gone.
LIMIT_SECONDS = 900.0


@dataclass(frozen=True)
class Verdict:
    """What became of one cell."""

    cell: Cell
    state: str | None
    tries: int
    answer: object
    billed: int
    died: bool
    is_told: bool  # whether its log tells a person that nobody can know
    log: str = ""  # the end of the last try's, where the cell is wrong

    @property
    def problem(self) -> str:
        """Why the cell is wrong; "" if it is right."""
        right = self.cell.id if self.cell.kind == "chat" else {"output": self.cell.id}
        if self.cell.point not in OUTAGES and not self.died and self.tries < 2:
            return "its process never died"
        if self.cell.is_lost:
            if self.state != "failed":
                return f"{self.state}, where only a person can know"
            if not self.is_told:
                return "failed, and not with CozeOutcomeUnknownError"
            return "" if self.billed == self.cell.bought_before else f"billed {self.billed} times"
        if self.state != "success" or self.answer != right:
            return f"{self.state} with {self.answer!r}"
        if self.cell.is_window:  # resend: a second one is what the user has allowed
            return "" if self.billed == self.cell.bought_before + 1 else f"billed {self.billed} times"
        return "" if self.billed == 1 else f"billed {self.billed} times"

    def row(self) -> str:
        """The cell as a line of the table."""
        cell = self.cell
        mode = f"{'deferred' if cell.deferrable else 'plain'}{', mapped' if cell.mapped else ''}"
        said = f"on_unknown={cell.on_unknown}" if cell.is_window else ""
        facts = [cell.kind, cell.point, mode, said, str(self.state), str(self.tries), str(self.billed)]
        # https://github.com/apache/airflow/issues/66374: on a busy machine Airflow can end a try between its deferral and its resumption.
        by_airflow = "" if self.died or cell.point in OUTAGES else " (Airflow ended the try first)"
        return " | ".join([*facts, self.problem or f"ok{by_airflow}"])


HEADER = "kind | killed | mode | setting | state | tries | billed | verdict"


@contextlib.contextmanager
def chaos(
    version: str, cells: Sequence[Cell], *, database: str | None, parallelism: int = 12
) -> Iterator[tuple[Stack, Server]]:
    """Run an Airflow with the cells' tasks against an emulator."""
    world = default_world()
    world.rate_limits = False
    with serve(Emulator(world)) as coze:
        env = {"AIRFLOW_CONN_COZE_DEFAULT": coze.connection, "AIRFLOW__CORE__PARALLELISM": str(parallelism)}
        # A task whose scheduler is gone is noticed by its heartbeat alone: Airflow's 300 s are too long to wait for.
        env["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"] = "40"
        env["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL"] = "5"
        env["AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL"] = "10"
        env["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD"] = "15"
        with _prepared(cells) as dags, stack(version, dags=[dags], env=env, database=database) as airflow:
            yield airflow, coze


@contextlib.contextmanager
def _prepared(cells: Sequence[Cell]) -> Iterator[Path]:
    """Give the DAG and its cells in a folder of their own."""
    import shutil
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="coze-chaos-"))
    try:
        shutil.copytree(DAGS, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        write(place / "cells.json", list(cells))
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run(airflow: Stack, coze: Server, cells: Sequence[Cell], name: str) -> list[Verdict]:
    """Run one DAG of the matrix to its end.

    :param name: ``deaths``, or the component that is killed while the tasks wait.
    """
    dag_id = f"chaos_{name}"
    airflow.wait_dag(dag_id, 120)
    run_id = airflow.rest.trigger(dag_id)
    if name in OUTAGES:
        _kill_when_all_wait(airflow, dag_id, run_id, name, len(cells))
    airflow.rest.wait_run(dag_id, run_id, LIMIT_SECONDS, every=3, check=airflow.processes.check)
    tasks = {task.task_id: task for task in airflow.rest.tasks(dag_id, run_id)}
    billed = Counter(_cell_of(entry.marker) for entry in coze.ledger)
    return [_verdict(airflow, dag_id, run_id, cell, tasks[cell.id], billed[cell.id]) for cell in cells]


def _kill_when_all_wait(airflow: Stack, dag_id: str, run_id: str, name: str, expected: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        states = Counter(task.state for task in airflow.rest.tasks(dag_id, run_id))
        if states["deferred"] + states["running"] >= expected and states["deferred"]:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"the tasks of {dag_id} do not wait: {states}")
        time.sleep(0.5)
    time.sleep(3)  # a plain task that runs has sent its chat by then
    # LocalExecutor's workers are the scheduler's children: they go on with their tasks, as orphans.
    airflow.processes.kill(name, alone=name == "scheduler")
    time.sleep(AWAY_SECONDS.get(name, 0.0))
    airflow.processes.restart(name)
    airflow.wait_healthy()


def _verdict(airflow: Stack, dag_id: str, run_id: str, cell: Cell, task: Task, billed: int) -> Verdict:
    answer: object = None
    if task.state == "success":
        with contextlib.suppress(RuntimeError):
            answer = airflow.rest.xcom(dag_id, run_id, cell.id, map_index=task.map_index)
    died = (airflow.home / "dags" / f"{cell.id}.died").exists()
    log = airflow.task_logs(dag_id, cell.id)
    verdict = Verdict(cell, task.state, task.try_number, answer, billed, died, "CozeOutcomeUnknownError" in log)
    if not verdict.problem:
        return verdict
    return replace(verdict, log="\n".join(log.splitlines()[-40:]))


def _cell_of(marker: dict[str, object]) -> str:
    found = marker.get("parameters") or marker.get("meta_data")
    assert isinstance(found, dict)
    return str(found.get("value") or found.get("cell"))
