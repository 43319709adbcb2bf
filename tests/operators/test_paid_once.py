"""A task over several tries, killed wherever a process can die: one right answer, and one execution on Coze's bill."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKE_BOT, BROKEN, ECHO, ECHO_BOT, SLEEPER, SLEEPER_BOT
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.conversation_store import ConversationStore
from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.state import stores
from airflow_provider_coze.state.record import Intent, Submitted
from airflow_provider_coze.transports.sync import SyncTransport
from tests.tasks import NOON, Coze, TaskInstance, fire

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
        self.state = StateStore() if place == "task_state_store" else None
        self.tries, self.max_tries, self.map_index = 0, 3, -1
        self.context: dict[str, Any] = {}

    def operator(self, **arguments: Any) -> Any:
        mode = {"deferrable": True, "deferral_grace": 0} if self.defers else {"deferrable": False}
        if self.kind == "chat":
            given = {"task_id": "ask", "bot_id": SLEEPER_BOT, "message": "sleep 20: rested", **mode, **arguments}
            return self.coze.prepared(CozeChatOperator(**given))
        parameters = {"seconds": 20, "value": "rested"}
        given = {"task_id": "ask", "workflow_id": SLEEPER, "parameters": parameters, **mode, **arguments}
        return self.coze.prepared(CozeWorkflowOperator(**given))

    def attempt(self, **arguments: Any) -> Any:
        """Run one try, to its end."""
        self.tries += 1
        ti = TaskInstance(self.tries, self.max_tries)
        ti.map_index = self.map_index  # type: ignore[misc]
        self.context = {"ti": ti, **({"task_state_store": self.state} if self.state else {})}
        try:
            return self.operator(**arguments).execute(self.context)
        except TaskDeferred as deferral:
            event = fire(self.coze, deferral.trigger)
            return getattr(self.operator(**arguments), deferral.method_name)(self.context, event=event)

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
    kind, place = request.param
    return Task(coze, kind, kept_in(place, tmp_path, monkeypatch), defers)


class Deaths:
    """Where a process can die, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def once(
        self, owner: Any, name: str, dies: Callable[..., bool] = lambda *_, **__: True, *, after: bool = False
    ) -> None:
        """Die at the first call of *owner.name* that *dies* is true of: before it, or when it has done its work."""
        original, over = getattr(owner, name), []

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
        """Die around the exchange of a request."""
        self.once(SyncTransport, "send", lambda _, request: f"{request.method} {request.path}" == name, after=after)


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Deaths:
    return Deaths(monkeypatch)


COMMON: dict[str, Callable[[Deaths], None]] = {
    "before the intent": lambda d: d.writing(Intent, lambda r: r.sent_to is None, after=False),
    "ids saved": lambda d: d.writing(Submitted, lambda r: r.delivered is None, after=True),
    "deferring": lambda d: d.once(CozeChatOperator.__mro__[1], "defer"),
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


# --- deaths


@pytest.mark.parametrize("point", OF_A_CHAT)
def test_a_chat_is_billed_once_wherever_its_process_dies(chat: Task, deaths: Deaths, point: str) -> None:
    if point in ONLY_DEFERRED and not chat.defers:
        pytest.skip("only a deferred task comes there")
    OF_A_CHAT[point](deaths)
    chat.killed()
    assert chat.attempt() == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("point", OF_A_RUN)
def test_a_run_is_billed_once_wherever_its_process_dies_outside_of_its_window(
    run: Task, deaths: Deaths, point: str
) -> None:
    if point in ONLY_DEFERRED and not run.defers:
        pytest.skip("only a deferred task comes there")
    OF_A_RUN[point](deaths)
    run.killed()
    assert run.attempt() == run.right
    assert run.billed == 1


WINDOW: dict[str, Callable[[Deaths], None]] = {
    "intent stored": lambda d: d.writing(Intent, lambda r: True, after=True),
    "run sent": lambda d: d.sending(RUN, after=True),
    "before the id is saved": lambda d: d.writing(Submitted, lambda r: True, after=False),
}


@pytest.mark.parametrize("point", WINDOW)
def test_a_death_in_the_window_of_a_run_is_told_to_a_person_and_no_retry_buys(
    run: Task, deaths: Deaths, point: str
) -> None:
    WINDOW[point](deaths)
    run.killed()
    billed = run.billed
    for _ in range(2):
        with pytest.raises(e.CozeOutcomeUnknownError, match="on_unknown") as caught:
            run.attempt()
        assert isinstance(caught.value, AirflowFailException)
        assert run.billed == billed <= 1
    run.clear()
    assert run.attempt(on_unknown="resend") == run.right
    assert run.billed == billed + 1


@pytest.mark.parametrize("point", WINDOW)
def test_a_death_in_the_window_of_a_run_is_made_good_by_who_may_pay_twice(
    run: Task, deaths: Deaths, point: str
) -> None:
    WINDOW[point](deaths)
    run.killed(on_unknown="resend", workflow_id=ECHO, parameters={"a": 1}, marker_parameter="marker")
    value = run.attempt(on_unknown="resend", workflow_id=ECHO, parameters={"a": 1}, marker_parameter="marker")
    markers = {body["parameters"]["marker"] for body in run.coze.bodies(RUN)}
    assert markers == {value["output"]["marker"]}, "a workflow can tell that it is the same run"
    assert run.billed <= 2


def test_without_a_place_for_records_a_retry_of_a_run_says_that_it_pays_again(
    coze: Coze, defers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = Task(coze, "run", "coze", defers)
    with pytest.raises(e.CozeRunTimeoutError):
        run.attempt(timeout=5)
    assert run.attempt() == run.right
    assert run.billed == 2
    assert "state_path" in caplog.text


def test_several_deaths_in_a_row_change_nothing(chat: Task, deaths: Deaths) -> None:
    for point in ("intent stored", "conversation stored", "chat sent", "ids saved"):
        OF_A_CHAT[point](deaths)
    # With a store of its own every point is met; Coze knows no intents, so there it dies less often.
    for _ in range(4):
        try:
            value = chat.attempt()
            break
        except Killed:
            continue
    else:
        value = chat.attempt()
    assert value == chat.right
    assert chat.billed == 1


# --- lost replies


@pytest.mark.parametrize("listed_at_once", [True, False])
def test_a_chat_whose_reply_is_lost_needs_no_second_try(chat: Task, listed_at_once: bool) -> None:
    chat.coze.world.question_listed_at_once = listed_at_once
    chat.coze.script(scenarios.reset(after_commit=True), on=CHAT)
    assert chat.attempt() == chat.right
    assert chat.billed == 1


def test_a_chat_is_found_though_its_conversation_is_listed_late(coze: Coze, deaths: Deaths, defers: bool) -> None:
    coze.world.conversation_list_delay_seconds = 4
    chat = Task(coze, "chat", "coze", defers)
    deaths.sending(CHAT, after=True)
    chat.killed()
    assert chat.attempt() == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("on_unknown", ["fail", "resend"])
def test_a_chat_that_fails_without_a_trace_is_what_on_unknown_says(chat: Task, on_unknown: str) -> None:
    chat.coze.script(scenarios.reset(after_commit=True), on=CHAT)
    arguments = {"bot_id": BROKE_BOT, "timeout": 60, "on_unknown": on_unknown}
    expected = e.CozeOutcomeUnknownError if on_unknown == "fail" else e.CozeChatFailedError
    with pytest.raises(expected):
        chat.attempt(**arguments)
    assert chat.billed == (1 if on_unknown == "fail" else 2)


@pytest.mark.parametrize("on_unknown", ["fail", "resend"])
def test_a_run_whose_reply_is_lost_is_what_on_unknown_says(run: Task, on_unknown: str) -> None:
    run.coze.script(scenarios.reset(after_commit=True), on=RUN)
    if on_unknown == "fail":
        with pytest.raises(e.CozeOutcomeUnknownError, match="运行日志"):
            run.attempt()
        assert run.billed == 1
        return
    assert run.attempt(on_unknown="resend") == run.right
    assert run.billed == 2


def test_a_run_that_is_refused_leaves_no_doubt_to_the_next_try(run: Task) -> None:
    run.coze.script(scenarios.error(4101), on=RUN)
    with pytest.raises(e.CozePermissionError):
        run.attempt()
    assert run.attempt() == run.right
    assert run.billed == 1


# --- what a later try goes on with


def test_a_failed_chat_or_run_is_bought_anew(either: Task) -> None:
    broken = {"bot_id": BROKE_BOT} if either.kind == "chat" else {"workflow_id": BROKEN, "parameters": {}}
    for billed in (1, 2):
        with pytest.raises((e.CozeChatFailedError, e.CozeRunFailedError)):
            either.attempt(**broken)
        assert either.billed == billed


def test_work_that_was_given_up_is_waited_for_again(either: Task) -> None:
    keep = {"cancel_on_timeout": False} if either.kind == "chat" else {}
    with pytest.raises((e.CozeChatTimeoutError, e.CozeRunTimeoutError), match="waits for it again"):
        either.attempt(timeout=10, **keep)
    assert either.attempt(timeout=60, **keep) == either.right
    assert either.billed == 1


def test_a_chat_that_was_cancelled_at_its_timeout_is_bought_anew(chat: Task) -> None:
    with pytest.raises(e.CozeChatTimeoutError, match="pays for, a new chat"):
        chat.attempt(timeout=10)
    assert chat.attempt() == chat.right
    assert chat.billed == 2


def test_another_input_is_other_work_and_the_log_says_so(either: Task, caplog: pytest.LogCaptureFixture) -> None:
    deferred = {"message": "sleep 20: other"} if either.kind == "chat" else {"parameters": {"seconds": 20, "value": 2}}
    keep = {"cancel_on_timeout": False} if either.kind == "chat" else {}
    with pytest.raises((e.CozeChatTimeoutError, e.CozeRunTimeoutError)):
        either.attempt(timeout=5, **keep)
    either.attempt(**deferred)
    assert either.billed == 2
    assert "Starting, and paying for, a new one: the rendered input is not the recorded one's" in caplog.text
    assert either.coze.ledger[0].id in caplog.text


def test_a_clear_after_success_asks_anew_and_a_retry_does_not(either: Task) -> None:
    assert either.attempt() == either.right
    assert either.attempt() == either.right  # the process died after it had answered: an automatic retry
    assert either.billed == 1
    either.clear()
    assert either.attempt() == either.right
    assert either.billed == 2


def test_a_clear_of_a_failed_task_goes_on_with_its_work(either: Task) -> None:
    keep = {"cancel_on_timeout": False} if either.kind == "chat" else {}
    with pytest.raises((e.CozeChatTimeoutError, e.CozeRunTimeoutError)):
        either.attempt(timeout=5, **keep)
    either.clear()
    assert either.attempt() == either.right
    assert either.billed == 1


def test_who_reuses_always_gets_the_old_answer_after_a_clear(either: Task) -> None:
    either.attempt()
    either.clear()
    assert either.attempt(reuse="always") == either.right
    assert either.billed == 1


def test_who_reuses_never_buys_with_every_try(either: Task) -> None:
    for billed in (1, 2):
        assert either.attempt(reuse="never") == either.right
        assert either.billed == billed


def test_mapped_tasks_do_not_share(either: Task) -> None:
    for index in (0, 1):
        either.map_index, either.tries = index, 0
        either.state = StateStore() if either.state else None
        assert either.attempt() == either.right
    assert either.billed == 2


def test_who_waits_for_nothing_gets_the_same_ids_again(either: Task) -> None:
    ids = either.attempt(wait_for_completion=False)
    again = either.attempt(wait_for_completion=False)
    for name in ("chat_id", "conversation_id", "workflow_id", "execute_id"):
        assert again.get(name) == ids.get(name)
    assert either.billed == 1


def test_a_run_whose_record_coze_has_dropped_is_unknown(run: Task) -> None:
    with pytest.raises(e.CozeRunTimeoutError):
        run.attempt(timeout=5)
    run.coze.emulator.store.runs.clear()
    run.coze.time.now += 60
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not know"):
        run.attempt()
    assert run.attempt(on_unknown="resend") == run.right
    assert run.billed == 2


# --- the user's own conversation


def test_in_the_users_own_conversation_the_chat_is_found_among_others(chat: Task, deaths: Deaths) -> None:
    hook = chat.coze.hook()
    own = hook.create_conversation(bot_id=SLEEPER_BOT).id

    def other(text: str) -> None:
        message = {"role": "user", "content_type": "text", "content": text}
        hook.create_chat(bot_id=ECHO_BOT, user_id="u", additional_messages=[message], conversation_id=own)
        chat.coze.time.sleep(5)

    other("before")
    deaths.sending(CHAT, after=True)
    chat.killed(conversation_id=own)
    chat.coze.time.sleep(60)
    hook.chat_messages(conversation_id=own, chat_id=chat.coze.ledger[-1].id)
    other("after")
    assert chat.attempt(conversation_id=own) == chat.right
    assert chat.billed == 3


def test_in_the_users_own_conversation_a_clear_asks_anew(chat: Task) -> None:
    own = chat.coze.hook().create_conversation(bot_id=SLEEPER_BOT).id
    chat.attempt(conversation_id=own)
    assert chat.attempt(conversation_id=own) == chat.right
    assert chat.billed == 1
    chat.clear()
    assert chat.attempt(conversation_id=own) == chat.right
    assert chat.billed == 2


# --- stores that fail


@pytest.fixture
def kept(coze: Coze, defers: bool) -> Task:
    return Task(coze, "chat", "task_state_store", defers)


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_store_that_fails_before_the_start_stops_it(kept: Task, broken: str) -> None:
    assert kept.state is not None
    kept.state.broken = {broken}
    with pytest.raises(e.CozeStateError, match="does not buy"):
        kept.attempt()
    assert kept.billed == 0
    kept.state.broken = set()
    assert kept.attempt() == kept.right


def test_a_store_that_fails_after_the_start_does_not_stop_the_work(
    kept: Task, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.state is not None
    state = kept.state
    kept.coze.before(CHAT, lambda: state.broken.add("set"))
    assert kept.attempt() == kept.right
    assert kept.coze.ledger[0].id in caplog.text
    state.broken.clear()
    assert kept.attempt() == kept.right, "found again in its conversation"
    assert kept.billed == 1


def test_a_record_that_nobody_can_read_is_no_reason_to_buy_but_for_who_says_never(kept: Task) -> None:
    assert kept.state is not None
    kept.state.values["coze"] = json.dumps({"version": 99})
    with pytest.raises(e.CozeStateError, match="reuse"):
        kept.attempt()
    assert kept.billed == 0
    assert kept.attempt(reuse="never") == kept.right


# --- events that are lost


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}])
@pytest.mark.parametrize("kind", ["chat", "run"])
def test_an_event_that_is_not_ours_does_not_lose_the_work(coze: Coze, kind: str, event: Any) -> None:
    task = Task(coze, kind, "task_state_store", defers=True)
    ti = TaskInstance(1, 3)
    context: dict[str, Any] = {"ti": ti, "task_state_store": task.state}
    with pytest.raises(TaskDeferred):
        task.operator().execute(context)
    with pytest.raises(TaskDeferred) as again:
        task.operator().execute_complete(context, event)
    assert task.operator().execute_complete(context, fire(coze, again.value.trigger)) == task.right
    assert task.billed == 1


@pytest.mark.parametrize("kind", ["chat", "run"])
def test_a_task_without_a_record_finds_its_ids_in_its_xcoms(coze: Coze, kind: str) -> None:
    task = Task(coze, kind, "task_state_store", defers=True)
    context: dict[str, Any] = {"ti": TaskInstance(1, 3)}
    with pytest.raises(TaskDeferred):
        task.operator(durable=False).execute(context)
    coze.time.sleep(30)
    assert task.operator(durable=False).execute_complete(context, None) == task.right
    assert task.billed == 1


# --- time limits


def limited(task: Task, limit: float, **arguments: Any) -> None:
    start = datetime.fromtimestamp(NOON, tz=UTC)
    ti = TaskInstance(1, 3, start_date=start)
    context = {"ti": ti, "task_state_store": task.state}
    given = {"execution_timeout": timedelta(seconds=limit), "timeout": None, **arguments}
    try:
        task.operator(**given).execute(context)
    except TaskDeferred as deferral:
        event = fire(task.coze, deferral.trigger)
        task.operator(**given).execute_complete(context, event=event)


def test_airflows_execution_timeout_ends_a_chat_like_our_own_and_in_time_to_cancel_it(kept: Task) -> None:
    with pytest.raises(e.CozeChatTimeoutError, match="has been cancelled"):
        limited(kept, 100, message="sleep 900: late")
    assert NOON + 89 <= kept.coze.time.now <= NOON + 100
    assert kept.coze.emulator.store.chats[kept.coze.ledger[0].id].status == "canceled"


def test_airflows_execution_timeout_ends_the_wait_for_a_run(coze: Coze, defers: bool) -> None:
    task = Task(coze, "run", "task_state_store", defers)
    with pytest.raises(e.CozeRunTimeoutError):
        limited(task, 1000, parameters={"seconds": 5000})
    assert NOON + 969 <= coze.time.now <= NOON + 1000


# --- Coze Studio


@pytest.mark.parametrize("point", ["conversation stored", "chat sent", "ids saved", "delivered"])
@pytest.mark.parametrize("where", ["task_state_store", "coze"])
def test_on_a_studio_server_a_chat_is_billed_once_as_well(
    studio: Coze, deaths: Deaths, defers: bool, point: str, where: str
) -> None:
    if (point, where) == ("conversation stored", "coze"):
        deaths.sending("POST /v1/conversation/create", after=True)
    else:
        OF_A_CHAT[point](deaths)
    chat = Task(studio, "chat", where, defers)
    chat.killed()
    assert chat.attempt() == chat.right
    assert chat.billed == 1


def test_records_and_markers_hold_neither_question_nor_answer(kept: Task) -> None:
    assert kept.state is not None
    kept.attempt()
    stored = json.dumps(kept.state.values) + json.dumps([entry.marker for entry in kept.coze.ledger])
    assert "rested" not in stored
    assert CozeHook().settings.auth.token not in stored  # type: ignore[union-attr]
