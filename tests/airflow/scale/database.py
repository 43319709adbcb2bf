"""What the run asks of Airflow's database: cheaper for two cores than 500 task instances over its API every other second."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg2


class Database:
    """One connection to the metadata database."""

    def __init__(self, url: str) -> None:
        """:param url: of SQLAlchemy."""
        self._connection = psycopg2.connect(url.replace("+psycopg2", ""))
        self._connection.autocommit = True

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def states(self, run_id: str) -> dict[str, Counter[str]]:
        """Return how many instances of each task are in which state."""
        query = "SELECT task_id, coalesce(state, 'none'), count(*) FROM task_instance WHERE run_id = %s GROUP BY 1, 2"
        found: dict[str, Counter[str]] = {}
        for task_id, state, count in self._rows(query, run_id):
            found.setdefault(task_id, Counter())[state] = count
        return found

    def run_state(self, run_id: str) -> str:
        """Return the state of the DAG run."""
        return str(self._rows("SELECT state FROM dag_run WHERE run_id = %s", run_id)[0][0])

    def running(self, run_id: str) -> dict[int, str]:
        """Return the names of the tasks that run now, by their processes."""
        query = "SELECT pid, task_id, map_index FROM task_instance WHERE run_id = %s AND state = 'running' AND pid > 0"
        return {pid: _name(task, index) for pid, task, index in self._rows(query, run_id)}

    def tries(self, run_id: str) -> dict[str, Counter[int]]:
        """Return how many instances of each task needed how many tries."""
        query = "SELECT task_id, try_number, count(*) FROM task_instance WHERE run_id = %s GROUP BY 1, 2"
        found: dict[str, Counter[int]] = {}
        for task_id, tries, count in self._rows(query, run_id):
            found.setdefault(task_id, Counter())[tries] = count
        return found

    def triggerers(self) -> set[int]:
        """Return the numbers of all triggerers that ever were."""
        return {row[0] for row in self._rows("SELECT id FROM job WHERE job_type = 'TriggererJob'")}

    def triggers(self) -> Counter[int]:
        """Return how many waits each triggerer has; those that none has taken yet are not counted."""
        query = "SELECT triggerer_id, count(*) FROM trigger WHERE triggerer_id IS NOT NULL GROUP BY 1"
        return Counter(dict(self._rows(query)))

    def waiting(self, job: int) -> list[str]:
        """Return the names of the tasks that a triggerer waits for."""
        query = (
            "SELECT i.task_id, i.map_index FROM task_instance i JOIN trigger t ON i.trigger_id = t.id"
            " WHERE t.triggerer_id = %s ORDER BY 2, 1"
        )
        return [_name(*row) for row in self._rows(query, job)]

    def first_tries(self, run_id: str, names: list[str]) -> list[str]:
        """Return which of the tasks are still as a dead worker left them: running in the try that it ran."""
        query = (
            "SELECT task_id, map_index FROM task_instance WHERE run_id = %s AND state = 'running' AND try_number = 1"
        )
        return [name for name in (_name(*row) for row in self._rows(query, run_id)) if name in names]

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())


def _name(task_id: str, map_index: int) -> str:
    return f"{task_id} {map_index}" if map_index >= 0 else task_id
