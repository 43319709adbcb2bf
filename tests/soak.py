"""``make soak``: thousands of chats and runs through the real operators and triggers, while Coze and the network misbehave.

An Airflow in miniature: workers are threads that execute one leg of a task, the triggerer is an event loop in a thread of its own
that is stopped and started anew on the way, a task state store outlives tries, and failed tries are retried. The emulator is a
process of its own, whose ledger says what was billed. Without Airflow's own processes 4,000 tasks take minutes, not hours.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import SLEEPER, SLEEPER_BOT, default_world
from airflow_provider_coze.emulator.server import Server
from airflow_provider_coze.errors import CozeError, CozeOutcomeUnknownError
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

#: What goes wrong, how often, on every request: the reply is lost after the work was done, 429, 502, a reset before anything was done.
FAULTS = (
    ({"kind": "drop", "after_commit": True}, 0.05),
    ({"kind": "answer", "status": 429, "code": 4013}, 0.05),
    (
        {"kind": "answer", "status": 502, "body": "<html>bad gateway</html>", "headers": {"content-type": "text/html"}},
        0.02,
    ),
    ({"kind": "drop", "after_commit": False}, 0.01),
)
#: More tries than Airflow's users set: what is tested is that none of them buys a second time.
MAX_TRIES = 8


class StateStore:
    """Airflow 3.3's ``task_state_store`` of one task instance."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self._values.pop(key, None)


class TaskInstance:
    """As much of a task instance as the operators touch."""

    dag_id, run_id, map_index, start_date, max_tries = "soak", "manual", -1, None, MAX_TRIES

    def __init__(self, task_id: str, try_number: int) -> None:
        self.task_id, self.try_number = task_id, try_number

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)

    def xcom_pull(self, **_: Any) -> None:
        return None


class Triggerer:
    """An event loop in a thread, whose waits outlive it: :meth:`restart` starts them from the top in another one."""

    def __init__(self) -> None:
        self._waits: dict[concurrent.futures.Future[Any], tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._start()

    def wait(self, trigger: Any) -> concurrent.futures.Future[Any]:
        """Take a trigger, as JSON, and return what its event will be."""
        path, arguments = trigger.serialize()
        event: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            self._waits[event] = (path, json.dumps(arguments))
            self._loop.call_soon_threadsafe(self._begin, event)
        return event

    def restart(self) -> int:
        """Stop the loop, as a signal would, and go on in a new one; return how many waits went over."""
        with self._lock:
            self.stop()
            self._waits = {event: wait for event, wait in self._waits.items() if not event.done()}
            self._start()
            for event in self._waits:
                self._loop.call_soon_threadsafe(self._begin, event)
            return len(self._waits)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="triggerer")
        self._thread.start()
        ready.wait()

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        ready.set()
        await self._stopping.wait()  # asyncio.run then cancels and awaits what is still going on

    def _begin(self, event: concurrent.futures.Future[Any]) -> None:
        task = self._loop.create_task(self._watch(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, event: concurrent.futures.Future[Any]) -> None:
        path, arguments = self._waits[event]
        try:
            async for reported in import_string(path)(**json.loads(arguments)).run():
                event.set_result(json.loads(json.dumps(reported.payload)))
                return
        except Exception as error:
            event.set_exception(error)


@dataclass
class Job:
    """One task of the soak, and what became of it."""

    kind: str
    number: int
    seconds: float
    tries: int = 0
    outcome: str = ""  # right, wrong, unknown, failed
    detail: str = ""
    store: StateStore = field(default_factory=StateStore)

    @property
    def task_id(self) -> str:
        return f"{self.kind}_{self.number}"

    def operator(self) -> Any:
        options = {"task_id": self.task_id, "deferrable": True, "deferral_grace": 0, "poll_interval": 5, "timeout": 600}
        if self.kind == "chat":
            message = f"sleep {self.seconds:g}: answer {self.number}"
            return CozeChatOperator(bot_id=SLEEPER_BOT, message=message, meta_data={"task": self.task_id}, **options)
        parameters = {"seconds": self.seconds, "value": self.number}
        return CozeWorkflowOperator(workflow_id=SLEEPER, parameters=parameters, **options)

    @property
    def right(self) -> Any:
        return f"answer {self.number}" if self.kind == "chat" else {"output": self.number}


class Workers:
    """Threads that execute legs of tasks: a task that waits in the triggerer holds none of them."""

    def __init__(self, threads: concurrent.futures.Executor, triggerer: Triggerer) -> None:
        self._threads, self._triggerer = threads, triggerer

    def run(self, job: Job) -> concurrent.futures.Future[None]:
        """Start a task; the future is done when it has ended for good."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._threads.submit(self._leg, job, ended, None, None)
        return ended

    def _leg(self, job: Job, ended: concurrent.futures.Future[None], method: str | None, event: Any) -> None:
        """Execute a task from its start, or from its deferral on, and do with the end of that what Airflow does."""
        job.tries += method is None
        context: Any = {"ti": TaskInstance(job.task_id, job.tries), "task_state_store": job.store}
        final = True
        try:
            value = job.operator().execute(context) if method is None else self._resumed(job, method, context, event)
        except TaskDeferred as deferral:
            name = deferral.method_name
            self._triggerer.wait(deferral.trigger).add_done_callback(
                lambda event: self._threads.submit(self._leg, job, ended, name, event)
            )
            return
        except CozeOutcomeUnknownError as error:
            job.outcome, job.detail, final = "unknown", str(error), isinstance(error, AirflowFailException)
        except CozeError as error:
            job.outcome, job.detail = "failed", f"{type(error).__name__}: {error}"
            final = isinstance(error, AirflowFailException)
        except BaseException as error:
            job.outcome, job.detail = "wrong", f"{type(error).__name__}: {error}"
        else:
            job.outcome, job.detail = ("right" if value == job.right else "wrong"), repr(value)[:200]
        if final or job.tries == MAX_TRIES:
            ended.set_result(None)
        else:
            self._threads.submit(self._leg, job, ended, None, None)

    def _resumed(self, job: Job, method: str, context: Any, event: concurrent.futures.Future[Any]) -> Any:
        return getattr(job.operator(), method)(context, event=event.result())


@dataclass
class Report:
    """What the soak saw."""

    jobs: list[Job]
    billed: Counter[str]  # task_id → executions
    memory: list[float]  # MiB, after each wave
    restarts: list[int]  # waits that went over to another event loop
    seconds: float

    @property
    def problems(self) -> list[str]:
        """Everything that must not be: one line each."""
        found = []
        for job in self.jobs:
            count = self.billed[job.task_id]
            allowed = (
                (1,) if job.outcome == "right" else (0, 1) if job.kind == "run" and job.outcome == "unknown" else ()
            )
            if count not in allowed:
                found.append(
                    f"{job.task_id}: {job.outcome} after {job.tries} tries, billed {count} times: {job.detail}"
                )
        return found

    def table(self) -> str:
        """The figures, as text."""
        lines = [f"{len(self.jobs)} tasks in {self.seconds:.0f} s; triggerer restarts moved {self.restarts} waits"]
        for kind in ("chat", "run"):
            jobs = [job for job in self.jobs if job.kind == kind]
            outcomes = Counter(job.outcome for job in jobs)
            billed = Counter(self.billed[job.task_id] for job in jobs)
            tries = Counter(job.tries for job in jobs)
            lines.append(f"{kind}s: {dict(outcomes)}; executions billed for each: {dict(billed)}; tries: {dict(tries)}")
        lines.append(f"memory after each wave: {', '.join(f'{mib:.0f}' for mib in self.memory)} MiB")
        return "\n".join(lines)


def soak(chats: int, runs: int, waves: int = 4, threads: int = 48) -> Report:
    """Run the soak against an emulator of its own; the triggerer is restarted in the midst of every wave."""
    began = time.monotonic()
    # Durations have another period than waves, so that every wave has all of them.
    jobs = [Job("chat", n, 1 + n % 13) for n in range(chats)] + [Job("run", n, 1 + n % 13) for n in range(runs)]
    memory, restarts = [], []
    with emulator() as url, contextlib.ExitStack() as stack:
        triggerer = Triggerer()
        stack.callback(lambda: triggerer.stop())
        workers = Workers(stack.enter_context(concurrent.futures.ThreadPoolExecutor(threads)), triggerer)
        for wave in range(waves):
            pending = [workers.run(job) for job in jobs[wave::waves]]
            concurrent.futures.wait(pending, timeout=10)
            restarts.append(triggerer.restart())
            for done in concurrent.futures.as_completed(pending):
                done.result()
            gc.collect()
            memory.append(_resident_mib())
        ledger = requests.get(f"{url}/_emulator/ledger", timeout=60).json()["ledger"]
    return Report(jobs, Counter(map(_task_of, ledger)), memory, restarts, time.monotonic() - began)


def _task_of(entry: dict[str, Any]) -> str:
    if entry["kind"] == "workflow":
        return f"run_{entry['marker']['parameters']['value']}"
    return str(entry["marker"]["meta_data"]["task"])


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """Serve a misbehaving Coze from another process; it is the default connection of this one."""
    process = subprocess.Popen([sys.executable, "-m", "tests.soak", "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = ready["connection"]
        for seed, (fault, share) in enumerate(FAULTS):
            order = {"fault": fault, "share": share, "times": None, "seed": seed, "on": "/v*"}
            requests.post(f"{ready['base_url']}/_emulator/faults", json=order, timeout=10).raise_for_status()
        yield ready["base_url"]
    finally:
        os.environ.pop("AIRFLOW_CONN_COZE_DEFAULT", None)
        process.terminate()
        process.wait(timeout=30)


def _serve() -> None:
    world = default_world()
    world.rate_limits = False
    server = Server(Emulator(world), "127.0.0.1", 0).start()
    print(json.dumps({"base_url": server.base_url, "connection": server.connection}), flush=True)
    threading.Event().wait()


def main() -> int:
    """Run the soak and print what it saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be the emulator")
    parser.add_argument("--chats", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=2000)
    given = parser.parse_args()
    if given.serve:
        _serve()
    os.environ["AIRFLOW__COZE__MIN_DEFERRAL_SECONDS"] = "0"
    logging.disable(logging.ERROR)
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    report = soak(given.chats, given.runs)
    print(report.table())
    for problem in report.problems:
        print(problem)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
