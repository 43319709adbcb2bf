"""One task instance over several tries: where its record is kept, and where its process dies."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_coze.emulator.default_world import SLEEPER, SLEEPER_BOT
from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.conversation_store import ConversationStore
from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.state import stores
from airflow_provider_coze.state.record import Intent, Submitted
from airflow_provider_coze.transports.sync import SyncTransport
from tests.tasks import Coze, TaskInstance, fire

__all__ = [
    "CHAT",
    "OF_A_CHAT",
    "OF_A_RUN",
    "ONLY_DEFERRED",
    "RUN",
    "Deaths",
    "Killed",
    "StateStore",
    "Task",
    "chat",
    "deaths",
    "defers",
    "either",
    "kept",
    "run",
]

CHAT, RUN = "POST /v3/chat", "POST /v1/workflow/run"


class Killed(BaseException):
    """The process is gone: nothing of the package may catch this and go on."""


class StateStore:
    """Airflow 3.3's ``task_state_store`` of one task instance; outlives tries and clears."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.broken: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self._check("get")
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._check("set")
        self.values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self._check("delete")
        self.values.pop(key, None)

    def _check(self, what: str) -> None:
        if what in self.broken:
            raise RuntimeError("the API server is away")


class Task:
    """One task instance: its tries, and where its record is kept."""

    def __init__(self, coze: Coze, kind: str, place: str, defers: bool) -> None:
        self.coze, self.kind, self.place, self.defers = coze, kind, place, defers
        self.tries, self.max_tries = 0, 3
        self.identity: dict[str, Any] = {}  # where it differs from TaskInstance's
        self.ti = TaskInstance()
        self.worker: Any = None  # the operator of the try that goes on
        self._states: dict[str, StateStore] = {}

    @property
    def state(self) -> StateStore | None:
        """Airflow's own store of this task instance, where it has one."""
        if self.place != "task_state_store":
            return None
        return self._states.setdefault(json.dumps(self.identity, sort_keys=True), StateStore())

    def operator(self, **arguments: Any) -> Any:
        mode = {"deferrable": True, "deferral_grace": 0} if self.defers else {"deferrable": False}
        if self.kind == "chat":
            given = {"task_id": "ask", "bot_id": SLEEPER_BOT, "message": "sleep 20: rested", **mode, **arguments}
            return self.coze.prepared(CozeChatOperator(**given))
        parameters = {"seconds": 20, "value": "rested"}
        given = {"task_id": "ask", "workflow_id": SLEEPER, "parameters": parameters, **mode, **arguments}
        return self.coze.prepared(CozeWorkflowOperator(**given))

    def begin(self, **arguments: Any) -> dict[str, Any]:
        """Begin a try: return its context."""
        self.tries += 1
        self.ti = TaskInstance(self.tries, self.max_tries)
        for name, value in self.identity.items():
            setattr(self.ti, name, value)
        self.worker = self.operator(**arguments)
        return {"ti": self.ti, **({"task_state_store": self.state} if self.state else {})}

    def attempt(self, **arguments: Any) -> Any:
        """Run one try, to its end."""
        context = self.begin(**arguments)
        method, event = "execute", None
        while True:
            try:
                return getattr(self.worker, method)(context, **({"event": event} if event else {}))
            except TaskDeferred as deferral:
                method, event = deferral.method_name, fire(self.coze, deferral.trigger)
                self.worker = self.operator(**arguments)

    def killed(self, **arguments: Any) -> None:
        """Run one try, which has to die on the way."""
        with pytest.raises(Killed):
            self.attempt(**arguments)

    def clear(self) -> None:
        """Do what a clear by hand does: the next try is no automatic retry."""
        self.max_tries = self.tries + 3

    @property
    def right(self) -> Any:
        return "rested" if self.kind == "chat" else {"output": "rested"}

    @property
    def billed(self) -> int:
        return len(self.coze.ledger)


@pytest.fixture(params=["plain", "deferred"])
def defers(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "deferred")


#: Where a record can be kept. Coze itself keeps one of a chat, and none of a run.
PLACES = ("task_state_store", "state_path", "coze")


def kept_in(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if place == "state_path":
        monkeypatch.setenv("AIRFLOW__COZE__STATE_PATH", f"file://{tmp_path}/state")
    return place


@pytest.fixture(params=PLACES)
def chat(
    coze: Coze, defers: bool, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Task:
    """A chat, for every place of a record, plain and deferred."""
    return Task(coze, "chat", kept_in(request.param, tmp_path, monkeypatch), defers)


@pytest.fixture(params=PLACES[:2])
def run(
    coze: Coze, defers: bool, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Task:
    """A run, for every place of a record, plain and deferred."""
    return Task(coze, "run", kept_in(request.param, tmp_path, monkeypatch), defers)


@pytest.fixture(
    params=[*(("chat", place) for place in PLACES), *(("run", place) for place in PLACES[:2])], ids="-".join
)
def either(
    coze: Coze, defers: bool, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Task:
    """A chat and a run, for every place of a record, plain and deferred."""
    kind, place = request.param
    return Task(coze, kind, kept_in(place, tmp_path, monkeypatch), defers)


@pytest.fixture
def kept(coze: Coze, defers: bool) -> Task:
    """A chat whose record Airflow itself keeps, plain and deferred."""
    return Task(coze, "chat", "task_state_store", defers)


class Deaths:
    """Where a process can die, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def once(
        self, owner: Any, name: str, dies: Callable[..., bool] = lambda *_, **__: True, *, after: bool = False
    ) -> None:
        """Die at the first call of *owner.name* that *dies* is true of: before it, or when it has done its work."""
        original, over = getattr(owner, name), list[bool]()

        def dying(*args: Any, **kwargs: Any) -> Any:
            now = not over and dies(*args, **kwargs)
            if now and not after:
                over.append(True)
                raise Killed(name)
            result = original(*args, **kwargs)
            if now:
                over.append(True)
                raise Killed(name)
            return result

        self._monkeypatch.setattr(owner, name, dying)

    def writing(self, kind: type, when: Callable[[Any], bool], *, after: bool) -> None:
        """Die around the write of a record, whichever store there is."""
        for store in (stores.TaskStateStore, stores.ObjectStorage, ConversationStore):
            self.once(store, "write", lambda _, record: isinstance(record, kind) and when(record), after=after)

    def sending(self, name: str, *, after: bool) -> None:
        """Die around the exchange of a request, such as ``PUT /v1/conversations/*``."""
        self.once(
            SyncTransport,
            "send",
            lambda _, request: fnmatch.fnmatchcase(f"{request.method} {request.path}", name),
            after=after,
        )


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Deaths:
    return Deaths(monkeypatch)


COMMON: dict[str, Callable[[Deaths], None]] = {
    "before the intent": lambda d: d.writing(Intent, lambda r: r.sent_to is None, after=False),
    "ids saved": lambda d: d.writing(Submitted, lambda r: r.delivered is None, after=True),
    "deferring": lambda d: d.once(CozeOperator, "defer"),
    "before delivery": lambda d: d.once(Purchase, "delivered"),
    "delivered": lambda d: d.once(Purchase, "delivered", after=True),
}
OF_A_CHAT: dict[str, Callable[[Deaths], None]] = {
    **COMMON,
    "intent stored": lambda d: d.writing(Intent, lambda r: r.sent_to is None, after=True),
    "conversation made": lambda d: d.sending("POST /v1/conversation/create", after=True),
    "conversation stored": lambda d: d.writing(Intent, lambda r: r.sent_to is not None, after=True),
    "chat sent": lambda d: d.sending(CHAT, after=True),
    "before ids are saved": lambda d: d.writing(Submitted, lambda r: r.delivered is None, after=False),
    "resumed": lambda d: d.once(CozeChatOperator, "execute_complete"),
}
OF_A_RUN: dict[str, Callable[[Deaths], None]] = {
    **COMMON,
    "resumed": lambda d: d.once(CozeWorkflowOperator, "execute_complete"),
}
ONLY_DEFERRED = ("deferring", "resumed")
