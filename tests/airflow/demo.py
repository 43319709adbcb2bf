"""``make demo``: a real Airflow runs the quickstart DAG against the emulator, and the answers are printed.

Nothing here is needed to use the provider, and nothing stays behind: every process and file is gone at the end.
``make demo KEEP=1`` lets Airflow go on until Ctrl-C, and ``DAGS=folder`` has it run a visitor's own DAGs meanwhile. Then the
connection is not in the environment but where its form in the UI finds it, so that the same DAGs can go on to a real Coze.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.airflow.emulator import emulator
from tests.airflow.processes import ending_on_sigterm, tail
from tests.airflow.rest import Task
from tests.airflow.stack import Stack, stack
from tests.env.bootstrap import MAIN, ROOT

DAG_ID = "example_coze_quickstart"
#: The run takes about 25 s; a busy machine may need a multiple.
RUN_SECONDS = 180.0
#: Room for the answers in the table.
COLUMNS = 72
#: What Airflow writes into a task's log when it lets go of the worker; the same words from 2.11 to 3.3.
DEFERRED_IN_LOG = "Pausing task as DEFERRED"


class DemoFailed(Exception):
    """Something did not go as shown in the documentation; the text says what, with the log that tells why."""


@dataclass
class Progress:
    """Prints one line per step, with the seconds since the beginning and the seconds the step took."""

    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    @contextlib.contextmanager
    def step(self, beginning: str) -> Iterator[list[str]]:
        """Print that a step begins and, when it has ended, how long it took and what the block said about it."""
        self.say(f"{beginning} …")
        started, result = time.monotonic(), list[str]()
        yield result
        self.say(f"{' '.join(result)} ({time.monotonic() - started:.1f} s)")


@dataclass
class History:
    """The states each task went through, as far as a look every half second shows them."""

    progress: Progress
    seen: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def watch(self, tasks: list[Task]) -> None:
        """Note, and print, every change of state."""
        for task in tasks:
            states = self.seen.setdefault(task.task_id, [])
            # "scheduled" and "queued" are how Airflow goes from one state to the next.
            if task.state in (None, "scheduled", "queued") or (states and states[-1][1] == task.state):
                continue
            states.append((time.monotonic(), str(task.state)))
            self.progress.say(f"    {task.task_id}: {task.state}")

    def seconds_deferred(self, task_id: str) -> float:
        """Return how long the task was seen waiting without a worker."""
        states = self.seen.get(task_id, [])
        return sum(after - at for (at, state), (after, _) in itertools.pairwise(states) if state == "deferred")


class _Visitors:
    """Says what becomes of the DAGs that a visitor puts into *folder*: every state of every run, every failed import."""

    def __init__(self, airflow: Stack, progress: Progress, folder: Path) -> None:
        self.folder, self._url, self._rest, self._progress = folder, airflow.url, airflow.rest, progress
        self._ours = self._rest.dag_ids()
        self._said: set[tuple[str, ...]] = set()
        mine = airflow.home / "dags"
        if folder != mine:
            # A link, so that what is saved is seen, and so that the folder outlives this Airflow's.
            (mine / "yours").symlink_to(folder, target_is_directory=True)

    def look(self) -> None:
        """Print what is new."""
        for trace in self._rest.import_errors():
            self._say("A file does not import:", trace.strip().splitlines()[-1])
        newest = self._rest.get("/dags/~/dagRuns", order_by="-id", limit=20)["dag_runs"]
        for run in reversed(newest):
            if run["dag_id"] not in self._ours and run["state"] != "queued":
                why = (
                    [f"({self._url}/dags/{run['dag_id']}/runs/{run['dag_run_id']})"] if run["state"] == "failed" else []
                )
                self._say(f"    {run['dag_id']} {run['dag_run_id']}:", run["state"], *why)

    def _say(self, *words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._progress.say(" ".join(words))


def main() -> int:
    """Run the demonstration; 0 if it went as it should."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep Airflow up until Ctrl-C")
    parser.add_argument("--dags", type=Path, metavar="FOLDER", help="run the DAGs of this folder too, until Ctrl-C")
    options = parser.parse_args()
    progress = Progress()
    try:
        own = options.dags and _folder(options.dags)
        with ending_on_sigterm():
            _demonstrate(progress, keep=options.keep or own is not None, own=own)
    except KeyboardInterrupt:
        progress.say("Interrupted; everything is stopped")
        return 130
    except (DemoFailed, RuntimeError, OSError) as failure:
        print(f"\n{failure}", file=sys.stderr)
        progress.say("The demonstration failed; everything is stopped")
        return 1
    progress.say("Done; everything is stopped")
    return 0


def _folder(path: Path) -> Path:
    found = path.expanduser().resolve()
    if not found.is_dir():
        raise DemoFailed(f"There is no folder {found}. Make it, put a DAG into it, and try again.")
    return found


def _demonstrate(progress: Progress, *, keep: bool, own: Path | None) -> None:
    with contextlib.ExitStack() as running:
        with progress.step("Starting a Coze emulator") as said:
            coze = running.enter_context(emulator())
            said.append(f"The emulator listens at {coze.base_url}")
        with progress.step(f"Starting Airflow {MAIN}: API server, scheduler, DAG processor, triggerer; SQLite") as said:
            env = {} if keep else coze.env
            airflow = running.enter_context(stack(MAIN, dags=[ROOT / "example_dags"], env=env))
            if keep:
                airflow.rest.post("/connections", {"connection_id": "coze_default", **json.loads(coze.connection)})
            said.append(f"Airflow is up at {airflow.url}")
        with progress.step(f"Running {DAG_ID}: one chat and one workflow, both deferred") as said:
            airflow.wait_dag(DAG_ID)
            run_id, history = airflow.rest.trigger(DAG_ID), History(progress)
            state = airflow.rest.wait_run(
                DAG_ID, run_id, RUN_SECONDS, watch=history.watch, check=airflow.processes.check
            )
            said.append(f"The run ended: {state}")
        tasks = {task.task_id: task for task in airflow.rest.tasks(DAG_ID, run_id)}
        _require_success(airflow, state, tasks)
        print()
        for line in _table(airflow, run_id, tasks, history):
            print(line)
        for task_id in _at_once(airflow):
            print(f"{task_id} was over before it would have deferred: this machine is busy.")
        billed = coze.billed()
        print(f"\nBilled by the emulator: {billed['chat']} chat, {billed['workflow']} workflow run.\n", flush=True)
        if keep:
            print(f"Airflow's UI: {airflow.url}/dags/{DAG_ID}/runs/{run_id}")
            print("Login: none; every visitor is an administrator, and only this machine can visit.")
            visitors = _Visitors(airflow, progress, own or airflow.home / "dags")
            print(f"DAGs: {visitors.folder}; a file saved there runs within seconds.")
            print("Ctrl-C stops everything.\n", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    airflow.processes.check()
                    visitors.look()
                    time.sleep(1)
        progress.say("Stopping …")


def _require_success(airflow: Stack, state: str, tasks: dict[str, Task]) -> None:
    failed = [task for task in tasks.values() if task.state != "success"]
    for task in failed:
        log = airflow.task_logs(DAG_ID, task.task_id)
        lines = "\n".join(log.splitlines()[-30:]) or tail(airflow.component_log("scheduler"))
        raise DemoFailed(f"{task.task_id} is {task.state}, the run {state}; the end of its log:\n{lines}")


def _at_once(airflow: Stack) -> list[str]:
    """Return the tasks that did not defer: on a machine this busy, Coze was done before they had looked for five seconds."""
    return [
        task_id for task_id in ("ask_bot", "run_workflow") if DEFERRED_IN_LOG not in airflow.task_logs(DAG_ID, task_id)
    ]


def _table(airflow: Stack, run_id: str, tasks: dict[str, Task], history: History) -> Iterator[str]:
    rows = [("task", "state", "tries", "took", "deferred", "answer")]
    for task_id in ("ask_bot", "run_workflow"):
        task = tasks[task_id]
        took = (task.ended - task.started).total_seconds() if task.started and task.ended else 0.0
        answer = airflow.rest.xcom(DAG_ID, run_id, task_id)
        deferred = f"{history.seconds_deferred(task_id):.0f} s"
        lines = _lines(answer)
        rows.append((task_id, str(task.state), str(task.try_number), f"{took:.0f} s", deferred, lines[0]))
        rows += [("", "", "", "", "", line) for line in lines[1:]]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell + " " * (width - _width(cell)) for cell, width in cells).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _lines(answer: Any) -> list[str]:
    """Return an answer in lines that fit: a text wrapped, an object one key per line, a list one item per line."""
    if not isinstance(answer, dict):
        return textwrap.wrap(str(answer), COLUMNS) or [""]
    lines = []
    for key, value in answer.items():
        items = value if isinstance(value, list) else [value]
        lines += [f"{key if number == 0 else '':>8}  {_short(item)}" for number, item in enumerate(items)]
    return lines


def _short(value: Any) -> str:
    text = ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
    return text if len(text) <= COLUMNS else f"{text[:COLUMNS]} …"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


if __name__ == "__main__":
    sys.exit(main())
