"""Run tasks in tests as Airflow does: on a worker to the end, or over the triggerer and back, while time stands still.

Built on a served emulator and real HTTP in both directions; what is missing of Airflow is its database and its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.scenarios import Fault, Script
from airflow_provider_coze.emulator.server import serve
from airflow_provider_coze.emulator.store import LedgerEntry
from airflow_provider_coze.emulator.wire import Reply
from airflow_provider_coze.emulator.world import World
from airflow_provider_coze.hooks import coze as hooks
from airflow_provider_coze.hooks import gate
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators import file_inputs, run_start
from airflow_provider_coze.operators.parameter_check import ParameterCheck
from airflow_provider_coze.protocol.auth import TokenCaches
from airflow_provider_coze.protocol.messages import Request
from tests.driving import NOON, VirtualTime

__all__ = [
    "NOON",
    "TOKEN",
    "Airflow",
    "Coze",
    "Run",
    "TaskInstance",
    "airflow",
    "coze",
    "coze_site",
    "fire",
    "is_kind",
    "run",
    "studio",
]

TOKEN = "pat_FULLYRECOGNISABLETOKEN"
LOGGER = "tests.tasks"


class EventfulTime(VirtualTime):
    """Time that stands still until somebody sleeps, and in which things happen."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[tuple[float, Callable[[], object]]] = []
        self.moved: Callable[[], object] = lambda: None  # a server's way of looking whether its port may open again

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have something happen so long after noon, in whoever's sleep that is."""
        self.plans.append((NOON + seconds, action))

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        target = self.now + seconds
        while due := [plan for plan in self.plans if plan[0] <= target]:
            plan = min(due, key=lambda plan: plan[0])
            self.plans.remove(plan)
            self.now = max(self.now, plan[0])
            plan[1]()
        self.now = max(self.now, target)
        self.moved()


class Coze:
    """The Coze of one test: a served emulator, the time it shares with the tasks, and what was asked of it."""

    def __init__(self, emulator: Emulator, base_url: str, time: EventfulTime) -> None:
        self.emulator = emulator
        self.base_url = base_url
        self.time = time
        self.seen: list[tuple[str, Request, float]] = []  # "POST /v3/chat", the request, when
        self._before: dict[str, Callable[[], object]] = {}
        self._handle = emulator.handle
        emulator.handle = self._recorded  # type: ignore[method-assign]

    def _recorded(self, request: Request) -> Reply:
        name = f"{request.method} {urlsplit(request.path).path}"
        self.seen.append((name, request, self.time()))
        action = self._before.pop(name, None)
        if action is not None:
            action()
        return self._handle(request)

    def fresh(self) -> Self:
        """Forget everything."""
        self.time.now = NOON
        self.time.slept.clear()
        self.time.plans.clear()
        self.seen.clear()
        self._before.clear()
        self.emulator.world = default_world()
        self.emulator.world.rate_limits = False  # of the emulator: its seconds do not pass by themselves here
        self.emulator.reset()
        return self

    # --- what it is and does

    @property
    def world(self) -> World:
        return self.emulator.world

    @property
    def ledger(self) -> list[LedgerEntry]:
        """What was started, and so is billed."""
        return self.emulator.ledger

    def script(self, fault: Fault, **when: Any) -> Script:
        return self.emulator.script(fault, **when)

    def before(self, name: str, action: Callable[[], object]) -> None:
        """Have something happen when the next such request comes in, before it is carried out."""
        self._before[name] = action

    def connection(self, *, password: str | None = TOKEN, host: str | None = None, **extra: Any) -> str:
        """Return the value of an ``AIRFLOW_CONN_…`` variable."""
        if self.emulator.dialect_name != "cloud":
            extra.setdefault("dialect", self.emulator.dialect_name)
        return json.dumps(
            {"conn_type": "coze", "host": host or self.base_url, "password": password, "extra": json.dumps(extra)}
        )

    # --- what was asked of it

    def asked(self, name: str) -> int:
        """How often."""
        return sum(seen == name for seen, _, _ in self.seen)

    def times(self, name: str) -> list[float]:
        """When, in seconds after noon."""
        return [at - NOON for seen, _, at in self.seen if seen == name]

    def bodies(self, name: str) -> list[Any]:
        """With which JSON."""
        return [json.loads(request.body or b"null") for seen, request, _ in self.seen if seen == name]

    def queries(self, name: str) -> list[Mapping[str, str]]:
        return [request.query for seen, request, _ in self.seen if seen == name]

    # --- who shares its time

    def hook(self, conn_id: str = "coze_default", **options: Any) -> CozeHook:
        return self.timed(CozeHook(conn_id, **options))

    def timed(self, hook: CozeHook) -> CozeHook:
        hook.clock, hook.sleep, hook.asleep = self.time, self.time.sleep, self.time.asleep
        return hook

    def prepared(self, task_or_trigger: Any) -> Any:
        """Give an operator or trigger this Coze's time, and a log that pytest can read."""
        self.timed(task_or_trigger.hook)
        task_or_trigger._log = task_or_trigger._cached_logger = logging.getLogger(LOGGER)
        return task_or_trigger


class TaskInstance:
    """As much of a task instance as tasks touch: the first of its tries, unless told otherwise."""

    dag_id, run_id, task_id, map_index = "tests", "scheduled__2025-12-04", "ask", -1

    def __init__(self, try_number: int = 1, max_tries: int = 2, start_date: datetime | None = None) -> None:
        self.try_number = try_number
        self.max_tries = max_tries
        self.start_date = start_date
        self.xcoms: dict[str, Any] = {}
        self.links: dict[str, str] = {}  # where they lead, by their class: XComs too, but nobody's business

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        return self.xcoms.get(key)

    def xcom_push(self, key: str, value: Any) -> None:
        if key.startswith("_link_"):
            self.links[key.removeprefix("_link_")] = value
        else:
            self.xcoms[key] = json.loads(json.dumps(value))

    def get_first_reschedule_date(self, context: Any) -> Any:
        return None


def fire(coze: Coze, trigger: Any) -> dict[str, Any]:
    """Do with a trigger what Airflow does between the two halves of a task: store it, run it elsewhere, pass its event on."""
    return asyncio.run(afire(coze, trigger))


async def afire(coze: Coze, trigger: Any) -> dict[str, Any]:
    events = [event async for event in stored(coze, trigger).run()]
    assert len(events) == 1, "a trigger reports once"
    payload: dict[str, Any] = json.loads(json.dumps(events[0].payload))
    return payload


def stored(coze: Coze, trigger: Any) -> Any:
    """Return the trigger as another process gets it out of the database."""
    path, arguments = trigger.serialize()
    return coze.prepared(import_string(path)(**json.loads(json.dumps(arguments))))


class Run:
    """Run an operator to its end, in one of the two modes; afterwards tell what it left behind."""

    def __init__(self, coze: Coze, *, defers: bool) -> None:
        self.coze = coze
        self.defers = defers
        self.ti = TaskInstance()
        self.deferrals = 0

    def __call__(self, kind: type, *, try_number: int = 1, **arguments: Any) -> Any:
        self.ti = TaskInstance(try_number)
        task = self.task(kind, **arguments)
        method, event = "execute", None
        while True:
            try:
                return getattr(task, method)({"ti": self.ti, "task": task}, **({"event": event} if event else {}))
            except TaskDeferred as deferral:
                self.deferrals += 1
                method, event = deferral.method_name, fire(self.coze, deferral.trigger)
                # A new instance, and no kwargs of defer(): dag.test() drops them, and so it must do without.
                task = self.task(kind, **arguments)

    def task(self, kind: type, **arguments: Any) -> Any:
        mode = {"deferrable": True, "deferral_grace": 0} if self.defers else {"deferrable": False}
        return self.coze.prepared(kind(**{"task_id": "ask", **mode, **arguments}))

    @property
    def xcoms(self) -> dict[str, Any]:
        return self.ti.xcoms

    @property
    def links(self) -> dict[str, str]:
        return self.ti.links


@contextlib.contextmanager
def _site(**options: Any) -> Iterator[Coze]:
    time = EventfulTime()
    emulator = Emulator(clock=time, token=TOKEN, **options)
    with serve(emulator) as server:
        time.moved = server.keep_up
        yield Coze(emulator, server.base_url, time)


@pytest.fixture(scope="module")
def coze_site() -> Iterator[Coze]:
    with _site() as site:
        yield site


def _connected(site: Coze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Coze:
    site.fresh()
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", site.connection())
    # What hooks of one process share is of one test here.
    monkeypatch.setattr(gate, "_LINES", {})
    monkeypatch.setattr(hooks, "_TOKENS", TokenCaches(on_mint=lambda token: hooks.mask_secret(token)))
    monkeypatch.setattr(file_inputs, "_UPLOADS", OrderedDict())
    monkeypatch.setattr(run_start, "_STREAMS_ONLY", set())
    monkeypatch.setattr("airflow_provider_coze.operators.parameter_check.PARAMETER_CHECK", ParameterCheck())
    caplog.set_level(logging.DEBUG, logger=LOGGER)
    return site


@pytest.fixture
def coze(coze_site: Coze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Coze:
    """Give a Coze with the default world, reached by the connection ``coze_default``."""
    return _connected(coze_site, monkeypatch, caplog)


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Coze]:
    """Give a self-hosted Coze Studio, reached by the connection ``coze_default``."""
    with _site(dialect="studio") as site:
        yield _connected(site, monkeypatch, caplog)


def is_kind(error: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether an error is of exactly this class, or is that and one that Airflow does not retry: see operators.fate."""
    return isinstance(error, kind) and type(error).__name__ == kind.__name__


class Airflow:
    """What Airflow says when a task or trigger that is being killed asks whether its work is still wanted."""

    wanted: bool | None = None


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """Give an Airflow in which a person has ended the task, until the test says otherwise."""
    said = Airflow()
    said.wanted = False

    async def ais_wanted(ti: Any) -> bool | None:
        return said.wanted

    monkeypatch.setattr("airflow_provider_coze.operators.base.is_wanted", lambda ti: said.wanted)
    monkeypatch.setattr("airflow_provider_coze.triggers.chat.ais_wanted", ais_wanted)
    return said


@pytest.fixture(params=["plain", "deferred"])
def run(request: pytest.FixtureRequest, coze: Coze) -> Run:
    """Every test using this runs once per way of waiting. No test may ask which."""
    return Run(coze, defers=request.param == "deferred")
