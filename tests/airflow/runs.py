"""Run a DAG on a real Airflow and keep what the tests ask about: states seen, tries, what was billed, what was stored."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2  # type: ignore[import-untyped]

from airflow_provider_coze.emulator.server import Server
from tests.airflow.demo import DEFERRED_IN_LOG
from tests.airflow.rest import Task
from tests.airflow.stack import Stack


@dataclass
class Run:
    """A DAG run that has ended."""

    airflow: Stack
    dag_id: str
    run_id: str = ""
    state: str = ""
    tasks: list[Task] = field(default_factory=list)
    states_seen: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    most_deferred: int = 0
    #: The database, read at the first look that found a deferred task: a trigger's row is gone when it has fired.
    stored_while_deferred: str = ""
    billed: Counter[str] = field(default_factory=Counter)

    def watch(self, tasks: list[Task]) -> None:
        """Note the states of this moment."""
        for task in tasks:
            self.states_seen[task.task_id].add(task.state)
        deferred = sum(task.state == "deferred" for task in tasks)
        self.most_deferred = max(self.most_deferred, deferred)
        if deferred and not self.stored_while_deferred:
            self.stored_while_deferred = stored(self.airflow.database)

    def xcom(self, task_id: str) -> Any:
        """Return what a task returned."""
        return self.airflow.rest.xcom(self.dag_id, self.run_id, task_id)

    def deferrals(self, task_id: str) -> int:
        """Return how often a task let go of its worker, from its log."""
        return self.airflow.task_logs(self.dag_id, task_id).count(DEFERRED_IN_LOG)


def run_dag(airflow: Stack, dag_id: str, coze: Server, *, seconds: float = 180, every: float = 0.5) -> Run:
    """Run a DAG to its end."""
    airflow.wait_dag(dag_id)
    before = len(coze.ledger)
    run = Run(airflow, dag_id, airflow.rest.trigger(dag_id))
    run.state = airflow.rest.wait_run(
        dag_id, run.run_id, seconds, watch=run.watch, every=every, check=airflow.processes.check
    )
    run.tasks = airflow.rest.tasks(dag_id, run.run_id)
    run.billed = Counter(entry.kind for entry in coze.ledger[before:])
    return run


def stored(database: str) -> str:
    """Return every value of every table as text."""
    return "\n".join(_values(database))


def written(home: Path) -> Iterator[tuple[Path, str]]:
    """Return every file below an Airflow home, as text."""
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes().decode("utf-8", errors="replace")


def _values(database: str) -> Iterator[str]:
    if database.startswith("sqlite"):
        listing = "SELECT name FROM sqlite_master WHERE type = 'table'"
        connection: Any = sqlite3.connect(database.removeprefix("sqlite:///"), timeout=30)
    else:
        listing = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        place = urlsplit(database)
        connection = psycopg2.connect(
            host=place.hostname, port=place.port, user=place.username, dbname=place.path.lstrip("/")
        )
    with closing(connection):
        cursor = connection.cursor()
        cursor.execute(listing)
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - the database's own names
            for row in cursor.fetchall():
                yield from (_text(value) for value in row)


def _text(value: Any) -> str:
    if isinstance(value, memoryview | bytes):
        return bytes(value).decode("utf-8", errors="replace")
    return str(value)
