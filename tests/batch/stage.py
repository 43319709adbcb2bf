"""A batch without Airflow: an emulator in memory, a journal in a folder, and time that passes when everybody sleeps.

Threads are left out: what the code would do in one is done at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_coze.batch.asks import Item, Live
from airflow_provider_coze.batch.chats import Chats
from airflow_provider_coze.batch.engine import Engine, Limits
from airflow_provider_coze.batch.finder import Finder
from airflow_provider_coze.batch.journal import Journal
from airflow_provider_coze.batch.past import Past, read_past
from airflow_provider_coze.batch.plan import Plan
from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.batch.rhythm import Rhythm
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.batch.runner import Runner
from airflow_provider_coze.batch.runs import Runs
from airflow_provider_coze.batch.stats import Stats
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Bot, Duration, Failure, Seconds, Turn, Workflow
from airflow_provider_coze.emulator.scenarios import Fault, Script
from airflow_provider_coze.protocol.auth import FixedToken, signed
from airflow_provider_coze.protocol.messages import Flow, Request, Response
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.typed_output import OutputType
from airflow_provider_coze.transports.aio import adrive
from tests.driving import MemoryTransport, VirtualTime
from tests.loop_time import LoopTime

__all__ = ["CREATE", "LISTED", "MESSAGES", "READ", "RUN", "SEND", "Stage", "rows", "seconds_of", "without_threads"]

T = TypeVar("T")

SEND, READ, MESSAGES = "POST /v3/chat", "GET /v3/chat/retrieve", "GET /v3/chat/message/list"
CREATE, LISTED = "POST /v1/conversation/create", "GET /v1/conversations"
RUN = "POST /v1/workflow/run"
#: Nothing of a test's own is as precious as this: it must not be found anywhere but in a request.
TOKEN = "pat_FULLYRECOGNISABLETOKEN"


async def without_threads(work: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Stand in for ``asyncio.to_thread``."""
    await asyncio.sleep(0)
    return work(*args, **kwargs)


def rows(*words: object) -> list[Item]:
    """Return rows that ask for these words, or for "row 0", "row 1", … if it is a number of them."""
    if len(words) == 1 and isinstance(words[0], int):
        words = tuple(f"row {index}" for index in range(words[0]))
    return [Item(index, word, word, f"{hash(word):x}") for index, word in enumerate(words)]  # type: ignore[arg-type]


def seconds_of(text: str) -> Duration:
    """Return how long a row takes that says so: ``"sleep 30"``; others take 2 s."""
    word = str(text).split("sleep ")[-1].split()[0] if "sleep " in str(text) else "2"
    return Seconds(float(word))


def _said(turn: Turn) -> str:
    if "fail" in turn:
        raise Failure(5000, "the bot's own trouble")
    return f"You said: {turn}"


def _returned(inputs: Any) -> Any:
    if "fail" in str(inputs.get("text")):
        raise Failure(720701002, "a node's trouble")
    return {"said": inputs.get("text")}


class Stage:
    """What batches of one test play on, and what they leave behind.

    :ivar tampered: told every request before it is carried out, by its name; may raise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}/results/batch"
        self.time = VirtualTime()
        self.clock = LoopTime(self.time)
        self.emulator = Emulator(clock=self.time, token=TOKEN)
        self.bot: Bot = self.emulator.add_bot(name="patient", answer=_said, duration=seconds_of)
        self.workflow: Workflow = self.emulator.add_workflow(
            name="patient", output=_returned, duration=lambda inputs: seconds_of(str(inputs.get("text")))
        )
        self.requests: list[tuple[str, float]] = []
        self.in_flight = self.most_in_flight = 0
        self.tampered: Callable[[str, Request], None] = lambda name, request: None
        self.stats = Stats()
        self.engine = Engine(Limits())
        self.plan = Plan(Past())
        self.attempts = itertools.count(1)
        self.memory = MemoryTransport(self.emulator)

    # --- what a batch needs

    async def send(self, request: Request) -> Response:
        """Stand in for a transport."""
        await asyncio.sleep(0)
        name = f"{request.method} {urlsplit(request.path).path}"
        self.requests.append((name, self.time()))
        self.tampered(name, request)
        response = self.memory.send(request)
        await asyncio.sleep(0)
        return response

    async def perform(self, flow: Flow[T]) -> T:
        flow = signed(flow, FixedToken(TOKEN), clock=self.time)
        return await adrive(flow, self, self.clock.sleep)  # type: ignore[arg-type]

    def kind(self, what: str, **options: Any) -> Any:
        shared = {
            "reader": Reader(OutputType(options["output_type"]) if "output_type" in options else None),
            "retry": RetryPolicy(),
            "clock": self.time,
            "row_timeout": options.get("row_timeout"),
            "until": options.get("until"),
        }
        if what == "chat":
            return Chats(
                bot_id=options.get("bot_id", self.bot.id), user_id="u", options={}, rhythm=Rhythm(CHAT_POLLS), **shared
            )
        mode = options.get("mode", "auto")
        return Runs(workflow_id=self.workflow.id, options={}, rhythm=Rhythm(RUN_POLLS), mode=mode, **shared)

    def finder(self, past: Past, **options: Any) -> Finder:
        return Finder(
            bot_id=self.bot.id,
            perform=self.perform,
            retry=RetryPolicy(),
            clock=self.time,
            sleep=self.clock.sleep,
            patience=options.get("patience", 300.0),
            until=options.get("until"),
            is_shown=past.notes.get("shown"),
        )

    # --- one

    def play(self, given: Iterable[Item | BadRow], what: str = "chat", **options: Any) -> list[Live]:
        """Do one leg of a batch, and return what it leaves to be waited for."""
        return asyncio.run(self.aplay(given, what, **options))

    async def aplay(self, given: Iterable[Item | BadRow], what: str = "chat", **options: Any) -> list[Live]:
        names = ("retries_per_row", "max_error_ratio", "token_budget", "until", "requests_per_minute", "resends")
        limits = {name: options[name] for name in names if name in options}
        attempt = str(next(self.attempts))
        journal = Journal(
            self.folder,
            attempt,
            clock=self.time,
            sleep=self.clock.sleep,
            commit_seconds=options.get("commit_seconds", 20.0),
        )
        numbers = itertools.count()
        async with journal:
            past = read_past(self.folder)
            self.engine = Engine(Limits(**limits), total=options.get("total"))
            self.plan = Plan(past, rows_per_call=options.get("rows_per_call", 1))
            self.stats = Stats()
            self.stats.begin(self.time(), options.get("total"))
            runner = Runner(
                kind=self.kind(what, **options),
                engine=self.engine,
                jobs=self.plan.jobs(given),
                journal=journal,
                perform=self.perform,
                stats=self.stats,
                log=logging.getLogger("tests.batch"),
                clock=self.time,
                sleep=self.clock.sleep,
                max_in_flight=options.get("max_in_flight", 50),
                new_marker=lambda ask: f"key.{attempt}.{ask.items[0].index}.{next(numbers)}",
                finder=self.finder(past, **options) if what == "chat" else None,
                waits=options.get("waits", True),
                ended=frozenset(options.get("ended", ())),
                probes=options.get("probes", False),
                most_starts=options.get("most_starts"),
            )
            window = await runner.run()
            if self.engine.stop is not None:
                journal.ended(self.engine.stop.reason.value)
            return window

    def script(self, fault: Fault, **when: Any) -> Script:
        return self.emulator.script(fault, **when)

    # --- what it leaves behind

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that was noted, in order."""
        files = sorted(Path(self.folder, "_journal").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def told(self, index: int = 0) -> list[str]:
        """Return the kinds of what was noted of one row, in order."""
        markers = [event["marker"] for event in self.events if event["t"] == "intent" and index in event["rows"]]
        return [
            event["t"] for event in self.events if event.get("marker") in markers or event.get("index", -1) == index
        ]

    @property
    def results(self) -> dict[int, dict[str, Any]]:
        """The outcomes, by row; none has two."""
        found = [event for event in self.events if event["t"] == "result"]
        assert max(Counter(event["index"] for event in found).values(), default=1) == 1
        return {event["index"]: event for event in found}

    @property
    def outputs(self) -> dict[int, Any]:
        return {index: result["output"] for index, result in sorted(self.results.items()) if result["error"] is None}

    @property
    def errors(self) -> dict[int, tuple[str, Any]]:
        return {
            index: (result["error"]["type"], result["error"]["code"])
            for index, result in sorted(self.results.items())
            if result["error"] is not None
        }

    @property
    def past(self) -> Past:
        return read_past(self.folder)

    @property
    def billed(self) -> int:
        """How many executions were started."""
        return len(self.emulator.ledger)

    def asked(self, name: str) -> int:
        return sum(seen == name for seen, _ in self.requests)

    def times(self, name: str) -> list[float]:
        """When, in seconds after the first of them."""
        found = [at for seen, at in self.requests if seen == name]
        return [round(at - found[0], 3) for at in found]

    def running(self) -> int:
        """How many chats and runs go on in Coze now."""
        store = self.emulator.store
        for chat in store.chats.values():
            chat.settle()
        return sum(chat.status == "in_progress" for chat in store.chats.values())


def broken_after(given: Iterable[Item], error: Exception) -> Iterator[Item]:
    yield from given
    raise error
