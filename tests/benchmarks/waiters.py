"""One way of waiting for many chats at once, alone in a process: ``python -m tests.benchmarks.waiters NAME OPTIONS-AS-JSON``.

Each of :data:`WAYS` waits for chats that never end, and looks at each every so many seconds. What is printed is one line of JSON: CPU
per look, looks per second, memory per waiting chat. CPU is that of the process, all threads and the system calls it makes included.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks import lapse
from tests.benchmarks.standin import CONVERSATION, FIRST_CHAT, FIRST_RUN, TOKEN, WORKFLOW, Standin

#: An age at which every schedule is at its longest wait.
OLD = 1e6
#: How long, of the wall, is waited until all have looked twice.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Given:
    """What a process is told.

    :param waiting: how many chats.
    :param interval: seconds between two looks at one chat, on the average.
    :param speed: how many of those seconds pass in one.
    :param seconds: how long is measured, in seconds of the wall.
    :param traced: count Python's own allocations instead of CPU time, which that would falsify.
    """

    base_url: str
    connection: str
    waiting: int
    interval: float = 10.0
    speed: float = 1.0
    seconds: float = 10.0
    traced: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}", "User-Agent": "airflow-provider-coze/benchmark"}


#: Waits for the chat of a number, for ever.
Waiter = Callable[[int], Awaitable[None]]


def chat_path(number: int) -> str:
    return f"/v3/chat/retrieve?conversation_id={CONVERSATION}&chat_id={FIRST_CHAT + number}"


# --- the ways


def floor(given: Given) -> Waiter:
    """Return the least that asyncio can do: timers, a handful of connections, prepared requests. No task, no client library."""
    parts, free = urlsplit(given.base_url), []
    loop = asyncio.get_running_loop()
    head = "".join(f"{name}: {value}\r\n" for name, value in given.headers.items())

    class Wire(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.unread = transport, b""

        def ask(self, request: bytes) -> None:
            self.request = request
            self.transport.write(request)

        def data_received(self, data: bytes) -> None:
            data = self.unread = self.unread + data if self.unread else data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            at = data.find(b"Content-Length: ", 0, end) + 16
            if len(data) < end + 4 + int(data[at : data.find(b"\r", at)]):
                return
            self.unread = b""
            if json.loads(data[end + 4 :])["data"]["status"] == "in_progress":
                loop.call_later(given.interval, look, self.request)
            free.append(self)

    async def dial(request: bytes) -> None:
        _, wire = await loop.create_connection(Wire, parts.hostname, parts.port)
        wire.ask(request)

    def look(request: bytes) -> None:
        if free:
            free.pop().ask(request)
        else:
            dialling.append(loop.create_task(dial(request)))

    dialling: list[Any] = []

    async def wait(number: int) -> None:
        request = f"GET {chat_path(number)} HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}\r\n".encode()
        look(request)

    return wait


def aiohttp_bare(given: Given) -> Waiter:
    """Return what one writes by hand with aiohttp: one session, a task for each chat, GET, decode, sleep."""
    import aiohttp

    session = aiohttp.ClientSession(headers=given.headers)

    async def wait(number: int) -> None:
        url = given.base_url + chat_path(number)
        while True:
            async with session.get(url) as answer:
                body = json.loads(await answer.read())
            if body["data"]["status"] != "in_progress":
                return
            await asyncio.sleep(given.interval)

    return wait


def coze_chat(given: Given) -> Waiter:
    """Return our trigger, as the triggerer runs it."""
    from airflow_provider_coze.triggers.chat import CozeChatTrigger

    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = given.connection

    def trigger(number: int) -> Any:
        return CozeChatTrigger(
            conversation_id=CONVERSATION,
            chat_id=str(FIRST_CHAT + number),
            started_at=time.time() - OLD,
            deadline=time.time() + OLD,
            poll_interval=given.interval / 0.9,  # it looks up to a fifth earlier, by chance
        )

    return _triggered(trigger)


def coze_run(given: Given) -> Waiter:
    """Return our trigger of runs."""
    from airflow_provider_coze.triggers.workflow import CozeWorkflowTrigger

    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = given.connection

    def trigger(number: int) -> Any:
        return CozeWorkflowTrigger(
            workflow_id=WORKFLOW,
            execute_id=str(FIRST_RUN + number),
            started_at=time.time() - OLD,
            deadline=time.time() + OLD,
            poll_interval=given.interval / 0.9,
        )

    return _triggered(trigger)


def http_event(given: Given) -> Waiter:
    """Return the http provider's trigger that asks until a function says that it is enough."""
    from airflow.providers.http.triggers.http import HttpEventTrigger

    _connect("HTTP_DEFAULT", conn_type="http", host=given.base_url, extra=given.headers)
    return _triggered(
        lambda number: HttpEventTrigger(
            response_check_path="tests.benchmarks.response_check.never",
            endpoint=chat_path(number).lstrip("/"),
            poll_interval=given.interval,
        )
    )


def dbt_cloud(given: Given) -> Waiter:
    """Return dbt Cloud's trigger; its address is always https, so that is replaced."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    _connect("DBT", conn_type="dbt_cloud", login="1", password=TOKEN, host=urlsplit(given.base_url).netloc)

    def url(tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
        return f"http://{tenant}/api/v2/accounts/{endpoint}", {}

    DbtCloudHook.get_request_url_params = staticmethod(url)
    return _triggered(
        lambda number: DbtCloudRunJobTrigger(
            conn_id="dbt", run_id=number, end_time=time.time() + OLD, poll_interval=given.interval, account_id=1
        )
    )


def databricks(given: Given) -> Waiter:
    """Return Databricks' trigger."""
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    parts = urlsplit(given.base_url)
    _connect("DATABRICKS", conn_type="databricks", schema="http", host=parts.hostname, port=parts.port, password=TOKEN)
    return _triggered(
        lambda number: DatabricksExecutionTrigger(
            run_id=number, databricks_conn_id="databricks", polling_period_seconds=given.interval
        )
    )


def llm_batch(given: Given) -> Waiter:
    """Return common.ai's trigger of batches, which asks in threads with OpenAI's client."""
    from airflow.providers.common.ai.triggers.llm_batch import LLMBatchTrigger

    _connect("LLM", conn_type="pydanticai", host=f"{given.base_url}/v1", password=TOKEN)
    return _triggered(
        lambda number: LLMBatchTrigger(
            llm_conn_id="llm",
            adapter="openai",
            batch_id=f"batch_{number}",
            poll_interval=given.interval,
            end_time=time.time() + OLD,
            cancel_on_kill=False,
            cancel_on_timeout=False,
        )
    )


WAYS: dict[str, Callable[[Given], Waiter]] = {
    "floor": floor,
    "bare aiohttp": aiohttp_bare,
    "CozeChatTrigger": coze_chat,
    "CozeWorkflowTrigger": coze_run,
    "http": http_event,
    "dbt Cloud": dbt_cloud,
    "Databricks": databricks,
    "common.ai batch": llm_batch,
}
#: They need the environment with the other providers.
PEERS = ("http", "dbt Cloud", "Databricks", "common.ai batch")


def _connect(conn_id: str, **fields: Any) -> None:
    os.environ[f"AIRFLOW_CONN_{conn_id}"] = json.dumps(fields)


def _triggered(make: Callable[[int], Any]) -> Waiter:
    """Run triggers as the triggerer does: each in a task, until its first event, of which there must be none."""

    async def wait(number: int) -> None:
        async for event in make(number).run():
            raise RuntimeError(f"an event instead of waiting: {event.payload!r}")

    return wait


# --- the process


def prepare() -> None:
    """Give Airflow an empty home, and let its triggers log as in the triggerer, to nowhere."""
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))
    os.environ["AIRFLOW__COZE__MIN_DEFERRAL_SECONDS"] = "0"
    from airflow.sdk.log import configure_logging

    configure_logging(json_output=True, log_level="INFO", output=open(os.devnull, "wb"))  # noqa: SIM115, PTH123
    sys.excepthook = sys.__excepthook__  # Airflow's would log to nowhere why this process ends


async def measure(way: Callable[[Given], Waiter], given: Given) -> dict[str, float]:
    """Let *waiting* chats be waited for, and measure when all are."""
    site, wait, tasks = Standin(given.base_url, given.connection), way(given), set()

    def begin(number: int) -> None:
        task = asyncio.get_running_loop().create_task(wait(number))
        tasks.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if task.exception():
            print(repr(task.exception()), file=sys.stderr, flush=True)
            os._exit(1)

    begin(0)  # what is imported, opened and kept once is not part of what each costs
    await asyncio.sleep(1.5 * given.interval)
    gc.collect()
    if given.traced:
        tracemalloc.start()
    resident, begun = _resident(), time.monotonic()
    for number in range(1, given.waiting):
        begin(number)
        late = begun + given.interval * number / given.waiting - time.monotonic()
        if late > 0:
            await asyncio.sleep(late)
    await asyncio.sleep(2 * given.interval)
    patience = lapse.real() + PATIENCE_SECONDS
    while site.ask("/_count")["count"] < 2 * given.waiting and lapse.real() < patience:  # noqa: ASYNC110
        await asyncio.sleep(given.interval)  # some make a client for each, which takes longer than that
    gc.collect()
    seen = {"bytes_resident": (_resident() - resident) / given.waiting}
    if given.traced:
        return {"bytes_allocated": tracemalloc.get_traced_memory()[0] / given.waiting}
    looks, cpu, at = site.ask("/_count")["count"], time.process_time(), lapse.real()
    await asyncio.sleep(given.seconds * given.speed)
    cpu, at = time.process_time() - cpu, lapse.real() - at
    looks = site.ask("/_count")["count"] - looks
    if not looks:
        raise RuntimeError(f"nobody looked in {at:.1f} s")
    return {**seen, "us": cpu / looks * 1e6, "per_second": looks / at, "busy": cpu / at, "looks": looks}


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure one way and print what was seen."""
    name, given = sys.argv[1], Given(**json.loads(sys.argv[2]))
    random.seed(1)
    lapse.quicken(given.speed)
    if name not in ("floor", "bare aiohttp"):
        prepare()

    async def measured() -> None:
        print(json.dumps(await measure(WAYS[name], given)), flush=True)
        os._exit(0)  # thousands of tasks would otherwise be cancelled one by one

    lapse.run(measured(), given.speed)


if __name__ == "__main__":
    main()
