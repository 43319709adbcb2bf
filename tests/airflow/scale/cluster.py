"""An Airflow on CeleryExecutor: two workers and two triggerers beside the rest, on one machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.airflow.postgres import Postgres
from tests.airflow.scale.database import Database
from tests.airflow.stack import NICE, Stack, stack
from tests.env.bootstrap import ensure

#: The lock and the environment; Airflow itself is the newest.
ENVIRONMENT = "celery"
WORKERS, TRIGGERERS = ("worker-1", "worker-2"), ("triggerer", "triggerer-2")
DAGS = Path(__file__).parent / "dags"
#: Tasks that one worker runs at once.
SLOTS = 4
READY_SECONDS = 120.0

#: What the page recommends; the test runs with all of it.
# [START scale_settings]
SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    # Queued and running tasks: the places of all workers, and as many in the queue, so that no place is ever empty.
    "AIRFLOW__CORE__PARALLELISM": str(2 * len(WORKERS) * SLOTS),
    # Each try of a batch holds a place for as long as it runs. Redis hands a message out again when it has not been
    # acknowledged for so long: what a dead worker had taken and not begun. One that still runs elsewhere is left alone.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "120",
}
# [END scale_settings]
#: What is shorter here than anybody would want it: a dead worker is found out by the silence of its tasks, after 300 s.
IMPATIENCE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "240",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
}


@dataclass
class Cluster:
    """A running Airflow, and the triggerers of it by the numbers that its database has for them."""

    airflow: Stack
    database: Database
    jobs: dict[int, str]

    def kill(self, name: str) -> None:
        """End a worker or triggerer with all that it runs, as the end of its machine does."""
        self.airflow.processes.kill(name)

    def restart(self, name: str) -> None:
        """Start it again, as its supervisor does."""
        known = set(self.jobs)
        self.airflow.processes.restart(name)
        if name in TRIGGERERS:
            self.jobs[_new_job(self.database, known)] = name


@contextlib.contextmanager
def cluster(postgres: Postgres, redis: Path, env: Mapping[str, str]) -> Iterator[Cluster]:
    """Run all of it until the end of the block, ready when the block begins."""
    url = postgres.create("scale")
    broker = {
        "AIRFLOW__CELERY__BROKER_URL": f"redis+socket://{redis}",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{url}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
    }
    with (
        contextlib.closing(Database(url)) as database,
        stack(ENVIRONMENT, dags=[DAGS], env={**SETTINGS, **IMPATIENCE, **broker, **env}, database=url) as airflow,
    ):
        jobs = {_new_job(database, set()): TRIGGERERS[0]}
        for name in TRIGGERERS[1:]:
            _start(airflow, name, "triggerer")
            jobs[_new_job(database, set(jobs))] = name
        for name in WORKERS:
            _start(airflow, name, "celery", "worker", "--celery-hostname", f"{name}@localhost")
        _wait_ready(airflow)
        yield Cluster(airflow, database, jobs)


def _start(airflow: Stack, name: str, *command: str) -> None:
    python = str(ensure(ENVIRONMENT))
    airflow.processes.start(
        name,
        [python, "-m", "airflow", *command, "--skip-serve-logs"],
        log=airflow.component_log(name),
        env=airflow.env,
        nice=NICE.get(command[0], 0),
    )


def _new_job(database: Database, known: set[int]) -> int:
    """Wait for a triggerer to enter itself, and return its number."""
    deadline = time.monotonic() + READY_SECONDS
    while not (new := database.triggerers() - known):
        if time.monotonic() > deadline:
            raise TimeoutError("a triggerer did not enter itself into the database")
        time.sleep(0.25)
    return new.pop()


def _wait_ready(airflow: Stack) -> None:
    deadline = time.monotonic() + READY_SECONDS
    for name in WORKERS:
        log = airflow.component_log(name)
        while f"{name}@localhost ready" not in log.read_text(errors="replace"):
            airflow.processes.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} was not ready after {READY_SECONDS:g} s; see {log}")
            time.sleep(0.25)
