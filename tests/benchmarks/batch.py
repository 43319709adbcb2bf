"""What a row of a batch costs, beside a script of bare aiohttp that makes the same calls; and how much of a budget a batch uses.

``python -m tests.benchmarks.batch WAY OPTIONS-AS-JSON`` is the process that does one batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import waiters
from tests.benchmarks.children import say, told
from tests.benchmarks.figures import Check, Result, median, table
from tests.benchmarks.standin import BOT, TOKEN, WORKFLOW, Standin, serving

BARE, CHATS, BARE_RUNS, RUNS = (
    "bare aiohttp",
    "CozeChatBatchOperator",
    "bare aiohttp, runs",
    "CozeWorkflowBatchOperator",
)
IN_FLIGHT = 500
#: Chats and runs take a little less than the wait before the first look, which is as long as Coze wants at least: one look each.
SECONDS = "0.9"
FIRST_LOOK = {BARE: 1.0, BARE_RUNS: 2.0}
LATENCY_MS = 20.0
#: Deferred mapped tasks that a real Airflow 3.3.2 got through (500 of them, PostgreSQL, LocalExecutor, 2 cores). Not measured here:
#: ``tests/airflow/test_many_chats.py`` starts such an Airflow.
MAPPED_PER_MINUTE = 2.4 * 60


@dataclass(frozen=True)
class Given:
    """What a process is told.

    :param rows: how many.
    :param requests_per_minute: of billed requests. None: no limit.
    """

    base_url: str
    connection: str
    rows: int
    requests_per_minute: float | None = None


def run(*, quick: bool = False) -> Result:
    """Do the same batch in each way, in turn, and one under a limit of requests per minute and of requests per second."""
    rows, rounds = (2_000, 1) if quick else (20_000, 3)
    ways = [way for way in WAYS if _is_there(way)]
    if quick:
        ways = [way for way in ways if way in (BARE, CHATS)]
    seen: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for way in ways:
            say(f"batch, round {number + 1} of {rounds}: {rows:,} rows, {way}")
            seen.setdefault(way, []).append(_batch(way, rows))
    limits: dict[str, dict[str, Any]] = {}
    if CHATS in ways:
        rate = 60 if quick else 120
        for name, limit in (
            ("requests_per_minute", {"requests_per_minute": rate * 60}),
            ("chat_qps", {"extra": {"chat_qps": 3 * rate}}),
        ):
            say(f"batch: {name}, so that {rate} rows a second are possible")
            limits[name] = {**_batch(CHATS, rate * (15 if quick else 60), **limit), "rate": rate}
    return result(seen, limits, rows)


def _batch(
    way: str, rows: int, requests_per_minute: float | None = None, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    no_limit = {"chat_qps": 10_000, "workflow_qps": 10_000}
    with serving(latency_ms=LATENCY_MS, seconds=SECONDS, extra=extra or no_limit) as site:
        given = Given(site.base_url, site.connection, rows, requests_per_minute)
        done = told("batch", way, json.dumps(asdict(given)), seconds=1800)
        stats = site.ask("/_stats")
    return {**done, "requests": stats["requests"], "per_second": stats["per_second"], "worst": stats["worst"]}


def result(seen: dict[str, list[dict[str, Any]]], limits: dict[str, dict[str, Any]], rows: int) -> Result:
    """Make the tables and the verdicts."""

    def middle(way: str, name: str) -> float:
        return median([figures[name] for figures in seen[way]]) if way in seen else math.nan

    def ratio(way: str, bare: str) -> float:
        if way not in seen or bare not in seen:
            return math.nan
        return median([mine["us"] / other["us"] for mine, other in zip(seen[way], seen[bare], strict=True)])

    compared = {CHATS: BARE, RUNS: BARE_RUNS, BARE: BARE, BARE_RUNS: BARE_RUNS}
    costs = [
        [
            way,
            middle(way, "us"),
            f"{ratio(way, compared[way]):.2f} ×",
            sum(seen[way][0]["requests"].values()) / rows,
            rows / middle(way, "wall"),
            middle(way, "mb"),
        ]
        for way in seen
    ]
    head = [
        f"{rows:,} rows, {IN_FLIGHT} in flight",
        "CPU µs per row",
        "to bare",
        "requests per row",
        "rows/s",
        "MB at most",
    ]
    shares = {name: _share(name, figures) for name, figures in limits.items()}
    kept = table(
        ["limit", "requests per second that it allows", "share used", "most in any second"],
        [
            [
                f"`{name}`",
                figures["rate"] if name == "requests_per_minute" else 3 * figures["rate"],
                f"{shares[name]:.1%}",
                figures["worst"]["chat"],
            ]
            for name, figures in limits.items()
        ],
    )
    there, per_minute = CHATS in seen, 60 * rows / middle(CHATS, "wall")
    worst = max([ratio(CHATS, BARE)] + ([ratio(RUNS, BARE_RUNS)] if RUNS in seen else []))
    memory = max(middle(CHATS, "mb"), middle(RUNS, "mb")) if RUNS in seen else middle(CHATS, "mb")
    checks = [
        Check(
            "CPU per row of a batch, to bare aiohttp's",
            "≤ 1.5 ×",
            f"{worst:.2f} ×" if there else "-",
            worst <= 1.5 if there else None,
        ),
        Check("memory of a batch", "< 400 MB", f"{memory:.0f} MB" if there else "-", memory < 400 if there else None),
        Check(
            "share of the limit that a batch uses",
            "≥ 95 %",
            ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) or "-",
            min(shares.values()) >= 0.95 if shares else None,
        ),
        Check(
            "rows per minute, to mapped deferred tasks",
            "≥ 100 ×",
            f"{per_minute / MAPPED_PER_MINUTE:.0f} ×" if there else "-",
            per_minute / MAPPED_PER_MINUTE >= 100 if there else None,
        ),
    ]
    return Result("batch", [table(head, costs), *([kept] if limits else [])], checks)


def _share(name: str, figures: dict[str, Any]) -> float:
    """Return how much of a limit was used from the first request to the last row's start, which is when there is work."""
    if name == "requests_per_minute":
        return figures["started_per_second"] / figures["rate"]
    # The last seconds have nothing to send any more.
    busy = figures["per_second"]["chat"][1:-5]
    return sum(busy) / len(busy) / (3 * figures["rate"]) if busy else math.nan


# --- the process


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {"n": number, "text": f"The delivery of order {number} was late, but the driver was kind."}
        for number in range(count)
    ]


def chats_bare(given: Given, folder: str) -> int:
    """Do a batch of chats as one writes it by hand: workers that start, look, read, and a line of JSON for each."""
    return _bare(given, folder, _one_chat, FIRST_LOOK[BARE])


def runs_bare(given: Given, folder: str) -> int:
    """Do the same with runs: start and look."""
    return _bare(given, folder, _one_run, FIRST_LOOK[BARE_RUNS])


def _bare(given: Given, folder: str, one: Callable[..., Any], wait: float) -> int:
    import aiohttp

    async def work(results: Any) -> int:
        rows, done = iter(_rows(given.rows)), 0
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=100)) as session:

            async def worker() -> None:
                nonlocal done
                for row in rows:
                    output = await one(session, given.base_url, row, wait)
                    results.write(json.dumps({"index": row["n"], "output": output}) + "\n")
                    done += 1

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return done

    with Path(folder, "results.jsonl").open("w") as results:
        return asyncio.run(work(results))


async def _one_chat(session: Any, base_url: str, row: dict[str, Any], wait: float) -> str:
    message = {"role": "user", "type": "question", "content": f"Classify: {row['text']}", "content_type": "text"}
    body = {"bot_id": BOT, "user_id": "u", "stream": False, "auto_save_history": True, "additional_messages": [message]}
    async with session.post(f"{base_url}/v3/chat", json=body) as answer:
        chat = json.loads(await answer.read())["data"]
    query = f"?conversation_id={chat['conversation_id']}&chat_id={chat['id']}"
    while chat["status"] != "completed":
        await asyncio.sleep(wait)
        async with session.get(f"{base_url}/v3/chat/retrieve{query}") as answer:
            chat = json.loads(await answer.read())["data"]
    async with session.get(f"{base_url}/v3/chat/message/list{query}") as answer:
        messages = json.loads(await answer.read())["data"]
    return next(message["content"] for message in messages if message["type"] == "answer")


async def _one_run(session: Any, base_url: str, row: dict[str, Any], wait: float) -> Any:
    body = {"workflow_id": WORKFLOW, "parameters": {"text": row["text"]}, "is_async": True}
    async with session.post(f"{base_url}/v1/workflow/run", json=body) as answer:
        run = json.loads(await answer.read())["execute_id"]
    while True:
        await asyncio.sleep(wait)
        async with session.get(f"{base_url}/v1/workflows/{WORKFLOW}/run_histories/{run}") as answer:
            history = json.loads(await answer.read())["data"][0]
        if history["execute_status"] == "Success":
            return json.loads(json.loads(history["output"])["Output"])


def chats_operator(given: Given, folder: str) -> int:
    """Do it with the operator, in plain mode, with all that it does: journal, results in order, manifest."""
    return _operated(given, folder, CHATS, bot_id=BOT, message="Classify: {{ row.text }}")


def runs_operator(given: Given, folder: str) -> int:
    """Do the same with runs."""
    return _operated(
        given, folder, RUNS, workflow_id=WORKFLOW, parameters={"text": "{{ row.text }}"}, execution_mode="async"
    )


def _operated(given: Given, folder: str, name: str, **options: Any) -> int:
    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = given.connection
    operator = getattr(importlib.import_module(MODULES[name]), name)(
        task_id="measured",
        inputs=_rows(given.rows),
        result_path=folder,
        max_in_flight=IN_FLIGHT,
        requests_per_minute=given.requests_per_minute,
        deferrable=False,
        **options,
    )
    manifest = operator.execute({"ti": TaskInstance()})
    return int(manifest["counts"]["succeeded"])


class TaskInstance:
    """As much of a task instance as the operators touch."""

    dag_id, run_id, task_id, map_index, try_number, max_tries = "bench", "manual", "measured", -1, 1, 0
    start_date = None

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)

    def xcom_pull(self, **_: Any) -> None:
        return None


WAYS: dict[str, Callable[[Given, str], int]] = {
    BARE: chats_bare,
    CHATS: chats_operator,
    BARE_RUNS: runs_bare,
    RUNS: runs_operator,
}
MODULES = {
    CHATS: "airflow_provider_coze.operators.chat_batch",
    RUNS: "airflow_provider_coze.operators.workflow_batch",
}


def _is_there(way: str) -> bool:
    return way not in MODULES or importlib.util.find_spec(MODULES[way]) is not None


def main() -> None:
    """Do one batch and print what it took."""
    way, given = sys.argv[1], Given(**json.loads(sys.argv[2]))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if way in MODULES:  # what Airflow itself takes to import is not the batch's
            waiters.prepare()
            importlib.import_module(MODULES[way])
        cpu, wall = time.process_time(), time.perf_counter()
        done = WAYS[way](given, folder)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stack.close()
    if done != given.rows:
        raise RuntimeError(f"{done} of {given.rows} rows are done")
    started = [work[0] for work in Standin(given.base_url, "").ask("/_chats").values()]
    rate = (len(started) - 1) / max(1e-9, max(started) - min(started)) if started else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"us": cpu / given.rows * 1e6, "wall": wall, "mb": peak, "started_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
