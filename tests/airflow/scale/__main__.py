"""``make scale``: the recipe of docs/howto/scale.md, run: 500 deferred chats and two batches on Celery, two processes killed."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from airflow_provider_coze.emulator.server import serve
from tests.airflow.postgres import postgres
from tests.airflow.processes import ending_on_sigterm
from tests.airflow.scale.cluster import TRIGGERERS, WORKERS, cluster
from tests.airflow.scale.conductor import POOL_SLOTS, Conductor
from tests.airflow.scale.coze import CHAT_QPS, WORKFLOW_QPS, Watched, name_of
from tests.airflow.scale.redis import redis
from tests.airflow.scale.verdict import Outcome
from tests.env.bootstrap import ensure


def main() -> int:
    """Run it and print what it came to; 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=500, help="mapped chats, each a deferred task")
    parser.add_argument("--rows", type=int, default=600, help="rows of each of the two batches")
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which the run is given up")
    parser.add_argument("--logs", type=Path, help="a folder that gets the logs of all processes and tasks")
    given = parser.parse_args()
    ensure("celery")
    with ending_on_sigterm():
        outcome = _run(given.tasks, given.rows, given.limit, given.logs)
    _print(outcome)
    problems = outcome.problems()
    for problem in problems:
        print(f"WRONG: {problem}")
    return 1 if problems else 0


def _run(tasks: int, rows: int, limit: float, logs: Path | None) -> Outcome:
    emulator, began = Watched(), time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)

    with serve(emulator) as coze, postgres() as database, redis() as broker:
        connection = json.loads(coze.connection)
        connection["extra"] = {**connection.get("extra", {}), "chat_qps": CHAT_QPS, "workflow_qps": WORKFLOW_QPS}
        env = {
            "AIRFLOW_CONN_COZE_DEFAULT": json.dumps(connection),
            "SCALE_TASKS": str(tasks),
            "SCALE_ROWS": str(rows),
        }
        say(f"starting Airflow on CeleryExecutor: {', '.join([*WORKERS, *TRIGGERERS])} …")
        with cluster(database, broker, env) as running:
            airflow = running.airflow
            body: dict[str, Any] = {"name": "coze_chats", "slots": POOL_SLOTS, "include_deferred": True}
            airflow.rest.post("/pools", body)
            airflow.wait_dag("scale", 120)
            say(f"{tasks} deferred chats, {rows} rows of chats on a worker, {rows} runs in a deferred batch …")
            conductor = Conductor(running, airflow.rest.trigger("scale"), tasks, say)
            try:
                state = conductor.conduct(limit)
                return _outcome(conductor, emulator, state, tasks, rows)
            finally:
                if logs is not None:
                    _keep(airflow.home, logs)


def _outcome(conductor: Conductor, emulator: Watched, state: str, tasks: int, rows: int) -> Outcome:
    airflow, run_id = conductor.cluster.airflow, conductor.run_id
    answers: list[Any] = []
    outputs: dict[str, list[Any]] = {}
    if state == "success":
        answers = airflow.rest.xcom("scale", run_id, "gather")
        for task in ("chats", "runs"):
            manifest = airflow.rest.xcom("scale", run_id, task)
            lines = Path(manifest["result_uri"]).read_text(encoding="utf-8").splitlines()
            outputs[task] = [json.loads(line)["output"] for line in lines]
    return Outcome(
        tasks=tasks,
        rows=rows,
        state=state,
        seconds=conductor.seconds,
        answers=answers,
        outputs=outputs,
        billed=Counter(name_of(entry) for entry in emulator.ledger),
        kills=conductor.kills,
        tries=conductor.cluster.database.tries(run_id),
        most_deferred=conductor.most_deferred,
        busier=conductor.busier,
        fullest={kind: max(seconds.values(), default=0) for kind, seconds in emulator.asked.items()},
        asked={kind: seconds.total() for kind, seconds in emulator.asked.items()},
        refused=emulator.refused,
    )


def _print(outcome: Outcome) -> None:
    print(f"\nThe DAG run took {outcome.seconds:.0f} s: {outcome.state}")
    for kill in outcome.kills:
        print(kill.row())
        print(f"         {', '.join(kill.held[:6])}{' …' if len(kill.held) > 6 else ''}")
    print(f"waiting at the same time, at most: {outcome.most_deferred}")
    if outcome.busier:
        median, most = statistics.median(outcome.busier), max(outcome.busier)
        print(
            f"of the waits the busier triggerer had {median:.0%} (median of {len(outcome.busier)} looks), {most:.0%} at most"
        )
    for task, tries in sorted(outcome.tries.items()):
        print(f"{task}: " + ", ".join(f"{count} in {number} tries" for number, count in sorted(tries.items())))
    print(f"billed: {outcome.billed.total()}, of {len(outcome.billed)} different chats and runs")
    for kind, count in outcome.asked.items():
        print(
            f"requests about {kind}s: {count}, {outcome.fullest[kind]} in the fullest second, {outcome.refused[kind]} refused"
        )


def _keep(home: Path, logs: Path) -> None:
    import shutil

    logs.mkdir(parents=True, exist_ok=True)
    for log in home.glob("*.log"):
        shutil.copy2(log, logs)
    shutil.copytree(home / "logs", logs / "tasks", dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
