"""The processes of a soak, all of them forks of one that has no threads: Coze, the triggerer, and a worker for each leg of the task.

They talk by lines of JSON, one socket each. Nothing that dies here says good-bye.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import importlib
import json
import mmap
import os
import select
import signal
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_coze.batch import doubts, finder
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.faults import Fault
from airflow_provider_coze.emulator.server import Server
from airflow_provider_coze.protocol import recovery
from tests.batch_soak.cases import Case, TaskInstance
from tests.soak import FAULTS

__all__ = ["Child", "Coze", "Line", "triggerer", "worker"]

#: What a batch imports when it runs: once, and not in each fork.
for _name in ("batch.chats", "batch.runs", "hooks.coze", "operators.batch_leg", "triggers.batch_watching"):
    importlib.import_module(f"airflow_provider_coze.{_name}")

PR_SET_PDEATHSIG = 1
#: Of the connection: far more than anything here can do.
_QPS = 5000
#: Loaded before anything forks.
_LIBC = ctypes.CDLL(None)


class Line:
    """One end of a talk between two processes."""

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._file = end, end.makefile("rwb")

    def say(self, what: Any) -> None:
        self._file.write(json.dumps(what).encode() + b"\n")
        self._file.flush()

    def hear(self) -> Any:
        """Wait for the next line; None: the other one is gone, or was in the midst of it."""
        line = self._file.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def has_news(self, seconds: float) -> bool:
        """Wait for something to hear, or for the end of the other one."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Child:
    """A forked process."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            try:
                if os.getppid() == parent:
                    ours.close()
                    work(Line(theirs), *arguments)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()
        self.line = Line(ours)
        self.peak_mib = 0.0
        self.cpu_seconds = 0.0

    def kill(self) -> None:
        """Kill it, as nothing can be prepared for, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        _, _, used = os.wait4(self.pid, 0)
        self.peak_mib, self.cpu_seconds = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
        self.line.close()


class Coze:
    """An emulator in a process of its own."""

    def __init__(self, case: Case) -> None:
        self._started = mmap.mmap(-1, 8)
        self.process = Child(_serve, case, self._started)
        self.connection = self.process.line.hear()

    @property
    def started(self) -> int:
        """How many chats or runs were started, without a request that would slow it down."""
        return int(struct.unpack("q", self._started[:8])[0])

    def ledger(self) -> list[dict[str, Any]]:
        """Return every execution that is billed."""
        self.process.line.say("ledger")
        return self.process.line.hear()  # type: ignore[no-any-return]

    def requests(self) -> dict[str, int]:
        """Return how often each path was asked for."""
        self.process.line.say("requests")
        return self.process.line.hear()  # type: ignore[no-any-return]


def _serve(line: Line, case: Case, started: mmap.mmap) -> None:
    world = default_world()
    world.rate_limits, world.made_conversations_listed = False, case.listed
    emulator = Emulator(world)
    server = Server(emulator).start()
    for seed, (fault, share) in enumerate(FAULTS if case.faults else ()):
        server.script(Fault.from_json(fault), share=share, times=None, seed=seed + 10 * case.seed, on="/v*")

    def count() -> None:
        while True:
            started[:8] = struct.pack("q", len(emulator.store.ledger))
            time.sleep(0.005)

    threading.Thread(target=count, daemon=True).start()
    connection = json.loads(server.connection)
    # A budget that is known comes back within a minute after a 429; what is not known grows as carefully as it has to.
    connection["extra"] = json.dumps({"chat_qps": _QPS, "workflow_qps": _QPS})
    line.say(json.dumps(connection))
    while (asked := line.hear()) is not None:
        line.say(
            [dataclasses.asdict(entry) for entry in emulator.ledger] if asked == "ledger" else dict(emulator.requests)
        )


def worker(
    line: Line, case: Case, folder: Path, connection: str, try_number: int, method: str | None, event: Any
) -> None:
    """Execute a task from its start, or from its deferral on; say what came of it, and live until that was taken in."""
    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = connection
    if case.hurries:
        finder._SETTLE_SECONDS = recovery._SETTLE_SECONDS = 0.5
        doubts._GATHER_SECONDS = 0.2
    context: Any = {"ti": TaskInstance(try_number)}
    try:
        operator = case.operator(folder)
        value = operator.execute(context) if method is None else getattr(operator, method)(context, event=event)
        line.say({"how": "returned", "value": value})
    except TaskDeferred as deferral:
        path, arguments = deferral.trigger.serialize()
        line.say({"how": "deferred", "method": deferral.method_name, "trigger": [path, arguments]})
    except Exception as error:
        told = {"how": "raised", "kind": type(error).__name__, "words": str(error)}
        line.say({**told, "final": isinstance(error, AirflowFailException), "trace": traceback.format_exc()})
    line.hear()


def triggerer(line: Line, connection: str) -> None:
    """Run one trigger after another, each on an event loop that is there already when it comes."""
    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = connection
    while (asked := line.hear()) is not None:
        path, arguments = asked
        line.say(asyncio.run(_event(path, arguments)))


async def _event(path: str, arguments: dict[str, Any]) -> Any:
    async for event in import_string(path)(**arguments).run():
        return event.payload
    return None
