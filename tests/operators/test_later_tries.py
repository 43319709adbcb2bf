"""What later tries make of what earlier ones left behind: outages, kills by people and machines, broken records, other identities."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import Failure, Seconds
from tests import tries
from tests.tasks import NOON, Airflow, Coze, TaskInstance, fire
from tests.tries import CHAT, OF_A_CHAT, RUN, Deaths, Killed, Task

#: Real HTTP, some hundred times: `make test` runs them, and `make unit` does without.
pytestmark = pytest.mark.matrix

defers, chat, run, either, kept, deaths = tries.defers, tries.chat, tries.run, tries.either, tries.kept, tries.deaths

CREATE, LIST, MESSAGES = "POST /v1/conversation/create", "GET /v1/conversations", "POST /v1/conversation/message/list"
RENAME = "PUT /v1/conversations/*"
KEEP = {"cancel_on_timeout": False}


def gives_up(task: Task, seconds: float, **arguments: Any) -> None:
    """Run one try that is over before its work, and leaves it running."""
    keep = KEEP if task.kind == "chat" else {}
    with pytest.raises((e.CozeChatTimeoutError, e.CozeRunTimeoutError)):
        task.attempt(timeout=seconds, **keep, **arguments)


# --- what a durable task asks of Coze


def test_a_chats_conversation_the_chat_and_its_question_carry_one_marker(chat: Task) -> None:
    question = {"content": "sleep 20: rested", "meta_data": {"mine": "1"}}
    chat.attempt(message=None, additional_messages=[{"content": "before"}, question], meta_data={"run": "42"})
    [made], [sent] = chat.coze.bodies(CREATE), chat.coze.bodies(CHAT)
    marker = made["meta_data"]["airflow"]
    assert re.fullmatch(r"[0-9a-f]{40}/\d+/[0-9a-f]{40}", marker)
    assert made == {"bot_id": SLEEPER_BOT, "meta_data": {"airflow": marker}}
    assert sent["meta_data"] == {"run": "42", "airflow": marker}
    before, asked = sent["additional_messages"]
    assert "meta_data" not in before
    assert asked["meta_data"] == {"mine": "1", "airflow": marker}
    assert chat.coze.queries(CHAT) == [{"conversation_id": chat.coze.ledger[0].conversation_id}]


def test_a_first_try_looks_for_nothing(chat: Task) -> None:
    chat.attempt()
    assert (chat.coze.asked(LIST), chat.coze.asked(MESSAGES)) == (0, 0)


def test_coze_is_told_ids_and_delivery_where_nobody_else_keeps_them(coze: Coze, defers: bool) -> None:
    chat = Task(coze, "chat", "coze", defers)
    chat.attempt()
    [billed] = coze.ledger
    notes = coze.bodies(f"PUT /v1/conversations/{billed.conversation_id}")
    assert [note["name"] for note in notes] == [f"airflow: chat {billed.id}", f"airflow: chat {billed.id}, delivered 3"]


@pytest.mark.parametrize("kind", ["chat", "run"])
def test_who_is_not_durable_keeps_no_record_and_buys_with_every_try(coze: Coze, kind: str, defers: bool) -> None:
    task = Task(coze, kind, "task_state_store", defers)
    assert task.state is not None
    task.state.broken = {"get", "set", "delete"}
    for billed in (1, 2):
        assert task.attempt(durable=False) == task.right
        assert task.billed == billed
    assert not any("conversation" in name for name, _, _ in coze.seen)
    assert all("airflow" not in str(entry.marker) for entry in coze.ledger)


# --- deaths upon deaths


LOOKING: dict[str, Callable[[Deaths], None]] = {
    "before its conversation is read": lambda d: d.sending(MESSAGES, after=False),
    "when its conversation is read": lambda d: d.sending(MESSAGES, after=True),
    "when the chat is found": lambda d: d.sending("GET /v3/chat/retrieve", after=True),
    "ids saved": OF_A_CHAT["ids saved"],
    "before delivery": OF_A_CHAT["before delivery"],
    "delivered": OF_A_CHAT["delivered"],
}


@pytest.mark.parametrize("point", LOOKING)
def test_a_try_that_looks_for_a_lost_chat_may_die_as_well(chat: Task, deaths: Deaths, point: str) -> None:
    deaths.sending(CHAT, after=True)
    chat.killed()
    LOOKING[point](deaths)
    chat.killed()
    assert chat.attempt() == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("point", ["its id is noted", "its delivery is noted"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "when"])
def test_a_death_around_a_note_in_coze_loses_nothing(
    coze: Coze, defers: bool, deaths: Deaths, point: str, after: bool
) -> None:
    if point == "its delivery is noted":
        deaths.once(tries.ConversationStore, "deliver", after=after)
    else:
        deaths.sending(RENAME, after=after)
    chat = Task(coze, "chat", "coze", defers)
    chat.killed()
    assert chat.attempt() == chat.right
    assert chat.billed == 1
    chat.clear()
    assert chat.attempt() == chat.right
    assert chat.billed == 2


def test_a_chat_that_never_left_is_sent_by_the_next_try(chat: Task, deaths: Deaths) -> None:
    deaths.sending(CHAT, after=False)
    chat.killed()
    assert chat.billed == 0
    assert chat.attempt() == chat.right
    assert chat.billed == 1
    assert chat.coze.asked(CREATE) == 1, "into the conversation that is there already"


def test_the_chat_after_a_failed_one_is_found_and_not_the_failed_one(chat: Task, deaths: Deaths) -> None:
    bot = chat.coze.world.add_bot(duration=Seconds(20), answer="rested", failure=Failure(5000))
    arguments = {"bot_id": bot.id, "message": "hello"}
    with pytest.raises(e.CozeChatFailedError):
        chat.attempt(**arguments)
    bot.failure = None
    deaths.sending(CHAT, after=True)
    chat.killed(**arguments)
    assert chat.attempt(**arguments) == "rested"
    assert chat.billed == 2


def test_the_run_after_a_failed_one_is_gone_on_with(run: Task, deaths: Deaths) -> None:
    workflow = run.coze.world.add_workflow(duration=Seconds(20), output="rested", failure=Failure(720701002))
    arguments = {"workflow_id": workflow.id, "parameters": {}}
    with pytest.raises(e.CozeRunFailedError):
        run.attempt(**arguments)
    workflow.failure = None
    tries.OF_A_RUN["ids saved"](deaths)
    run.killed(**arguments)
    assert run.attempt(**arguments) == "rested"
    assert run.billed == 2


def test_a_chat_that_runs_longer_than_a_try_looks_for_it_is_found_by_the_next(chat: Task, deaths: Deaths) -> None:
    arguments = {"message": "sleep 120: rested"}
    deaths.sending(CHAT, after=True)
    chat.killed(**arguments)
    with pytest.raises(e.CozeOutcomeUnknownError, match="Nothing more was sent") as caught:
        chat.attempt(timeout=30, **arguments)
    assert not isinstance(caught.value, AirflowFailException), "a retry can find it"
    assert chat.coze.time.now < NOON + 60
    assert chat.attempt(**arguments) == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("ends", ["failed", "canceled"])
def test_a_lost_chat_that_ended_without_an_answer_is_bought_anew_where_its_question_names_it(
    chat: Task, deaths: Deaths, ends: str
) -> None:
    coze = chat.coze
    coze.world.question_carries_chat_id = True
    bot = coze.world.add_bot(duration=Seconds(20), answer="rested", failure=Failure(5000) if ends == "failed" else None)
    deaths.sending(CHAT, after=True)
    chat.killed(bot_id=bot.id)
    [lost] = coze.emulator.store.chats.values()
    if ends == "canceled":
        lost.cancel()
    coze.time.sleep(30)
    bot.failure = None
    assert chat.attempt(bot_id=bot.id) == chat.right
    assert (lost.status, chat.billed) == (ends, 2)
    assert chat.ti.xcoms["chat_id"] == coze.ledger[1].id


# --- Coze away


def test_an_outage_that_outlasts_a_try_is_no_reason_to_buy_again(either: Task) -> None:
    script = either.coze.script(scenarios.bad_gateway(), on="GET /v*", times=None)
    with pytest.raises(e.CozeUnavailableError, match="may go on in Coze, and is billed"):
        either.attempt(timeout=None)
    script.times = 0
    assert either.attempt() == either.right
    assert either.billed == 1


def test_a_try_that_cannot_see_what_is_recorded_buys_nothing(either: Task) -> None:
    gives_up(either, 5)
    script = either.coze.script(scenarios.error(4101), on="GET /v*", times=None)
    with pytest.raises(e.CozePermissionError):
        either.attempt()
    assert either.billed == 1
    script.times = 0
    assert either.attempt() == either.right
    assert either.billed == 1


@pytest.mark.parametrize("on", [LIST, MESSAGES])
def test_a_try_that_cannot_look_for_a_lost_chat_buys_nothing(coze: Coze, defers: bool, deaths: Deaths, on: str) -> None:
    chat = Task(coze, "chat", "coze", defers)
    deaths.sending(CHAT, after=True)
    chat.killed()
    script = coze.script(scenarios.error(4101), on=on, times=None)
    with pytest.raises(e.CozePermissionError):
        chat.attempt()
    assert (chat.billed, coze.asked(CHAT)) == (1, 1)
    script.times = 0
    assert chat.attempt() == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("seconds", [3, 60])
@pytest.mark.parametrize("dies", [False, True], ids=["reply lost", "process lost"])
def test_a_running_chat_is_found_though_its_messages_are_listed_late(
    chat: Task, deaths: Deaths, seconds: float, dies: bool
) -> None:
    """Sent a second time into the conversation where the first one runs, it is refused with 4016."""
    chat.coze.world.message_list_delay_seconds = seconds
    if dies:
        deaths.sending(CHAT, after=True)
        chat.killed()
    else:
        chat.coze.script(scenarios.reset(after_commit=True), on=CHAT)
    assert chat.attempt() == chat.right
    assert chat.billed == 1


@pytest.mark.parametrize("delay", [0, 3])
def test_a_chat_that_is_over_before_anybody_looks_is_found(chat: Task, delay: float) -> None:
    chat.coze.world.message_list_delay_seconds = delay
    chat.coze.script(scenarios.reset(after_commit=True), on=CHAT)
    assert chat.attempt(bot_id=ECHO_BOT, message="hello") == "You said: hello"
    assert chat.billed == 1


def test_a_chat_that_was_deleted_in_coze_is_unknown(kept: Task) -> None:
    gives_up(kept, 5)
    kept.coze.emulator.store.chats.clear()
    kept.coze.emulator.store.conversations.clear()
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not know"):
        kept.attempt()
    assert kept.billed == 1
    assert kept.attempt(on_unknown="resend") == kept.right
    assert kept.billed == 2


def test_a_conversation_that_was_deleted_before_its_chat_was_found_is_unknown(kept: Task, deaths: Deaths) -> None:
    deaths.sending(CHAT, after=True)
    kept.killed()
    kept.coze.emulator.store.conversations.clear()
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not exist any more"):
        kept.attempt()
    assert kept.billed == 1
    assert kept.attempt(on_unknown="resend") == kept.right
    assert kept.billed == 2


def test_a_run_whose_record_does_not_show_yet_is_gone_on_with(run: Task, deaths: Deaths) -> None:
    run.coze.world.history_delay_seconds = 15
    tries.OF_A_RUN["ids saved"](deaths)
    run.killed()
    assert run.attempt() == run.right
    assert run.billed == 1


def test_a_run_whose_record_never_shows_is_unknown_to_later_tries(run: Task, deaths: Deaths) -> None:
    run.coze.world.history_delay_seconds = 5000
    tries.OF_A_RUN["ids saved"](deaths)
    run.killed()
    run.coze.time.sleep(60)
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not know"):
        run.attempt()
    assert run.billed == 1


# --- tasks that are ended


def killed_at(task: Task, seconds: float) -> None:
    """Run a try that gets a SIGTERM while its worker waits: Airflow calls on_kill, and the process is gone."""

    def terminated() -> None:
        task.worker.on_kill()
        raise Killed

    task.coze.time.after(seconds, terminated)
    task.killed(deferral_grace=10)


@pytest.mark.parametrize("wanted", [True, None], ids=["a worker is stopped", "nobody knows"])
def test_a_try_whose_worker_is_stopped_is_gone_on_with(either: Task, airflow: Airflow, wanted: bool | None) -> None:
    airflow.wanted = wanted
    killed_at(either, 3)
    assert either.attempt() == either.right
    assert either.billed == 1


def test_a_chat_that_a_person_ended_is_cancelled_and_a_later_clear_asks_anew(chat: Task, airflow: Airflow) -> None:
    killed_at(chat, 3)
    [billed] = chat.coze.ledger
    assert chat.coze.emulator.store.chats[billed.id].status == "canceled"
    chat.clear()
    assert chat.attempt() == chat.right
    assert chat.billed == 2


def test_a_run_that_a_person_ended_goes_on_and_a_later_clear_goes_on_with_it(run: Task, airflow: Airflow) -> None:
    killed_at(run, 3)
    run.clear()
    assert run.attempt() == run.right
    assert run.billed == 1


def test_a_chat_that_waits_for_tools_is_not_bought_again_by_a_clear(chat: Task) -> None:
    for _ in range(2):
        with pytest.raises(e.CozeChatRequiresActionError):
            chat.attempt(bot_id=TOOL_BOT)
        chat.clear()
    assert chat.billed == 1


# --- synchronous runs


SYNC: dict[str, Any] = {"execution_mode": "sync", "parameters": {"seconds": 0, "value": "rested"}}


@pytest.mark.parametrize("point", ["ids saved", "before delivery", "delivered"])
def test_a_sync_run_is_billed_once_when_its_process_dies_after_its_reply(run: Task, deaths: Deaths, point: str) -> None:
    tries.OF_A_RUN[point](deaths)
    run.killed(**SYNC)
    assert run.attempt(**SYNC) == run.right
    assert run.billed == 1


def test_a_sync_run_whose_reply_is_lost_is_not_started_again_by_any_try(run: Task) -> None:
    run.coze.script(scenarios.reset(after_commit=True), on=RUN)
    for _ in range(2):
        with pytest.raises(e.CozeOutcomeUnknownError):
            run.attempt(**SYNC)
    assert (run.billed, run.coze.asked(RUN)) == (1, 1)


@pytest.mark.parametrize("code", [720701002, 4013, 5000, 720702222])
def test_a_sync_run_that_failed_is_bought_anew_by_the_next_try_and_not_by_its_own(run: Task, code: int) -> None:
    """Whatever its code says of a request: an answer about a run that exists has a debug_url."""
    workflow = run.coze.world.add_workflow(failure=Failure(code))
    for billed in (1, 2):
        with pytest.raises(e.CozeAPIError, match="was started, and is billed") as caught:
            run.attempt(workflow_id=workflow.id, parameters={}, execution_mode="sync")
        assert caught.value.code == code
        assert (run.billed, run.coze.asked(RUN)) == (billed, billed)


# --- whose record it is


#: Two task instances that differ in one part of their identity only. Airflow's own store knows for itself whose state it is.
TWO = pytest.mark.parametrize(
    ("part", "values"),
    [("dag_id", ("a", "b")), ("run_id", ("a", "b")), ("task_id", ("a", "b")), ("map_index", (0, 1))],
    ids=["dag_id", "run_id", "task_id", "map_index"],
)


@TWO
@pytest.mark.parametrize("place", tries.PLACES[1:])
def test_task_instances_find_each_its_own_lost_chat(
    coze: Coze,
    defers: bool,
    deaths: Deaths,
    place: str,
    part: str,
    values: tuple[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = Task(coze, "chat", tries.kept_in(place, tmp_path, monkeypatch), defers)
    sent = []
    for value in values:
        chat.identity, chat.tries = {part: value}, 0
        deaths.sending(CHAT, after=True)
        chat.killed()
        sent.append(coze.ledger[-1].id)
    for value, expected in zip(values, sent, strict=True):
        chat.identity, chat.tries = {part: value}, 1
        assert chat.attempt() == chat.right
        assert chat.ti.xcoms["chat_id"] == expected
    assert chat.billed == 2


@TWO
def test_task_instances_go_on_each_with_its_own_run(
    coze: Coze, defers: bool, part: str, values: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Task(coze, "run", tries.kept_in("state_path", tmp_path, monkeypatch), defers)
    started = []
    for value in values:
        run.identity, run.tries = {part: value}, 0
        gives_up(run, 5)
        started.append(coze.ledger[-1].id)
    for value, expected in zip(values, started, strict=True):
        run.identity, run.tries = {part: value}, 1
        assert run.attempt() == run.right
        assert run.ti.xcoms["execute_id"] == expected
    assert run.billed == 2


def test_what_does_not_change_the_work_does_not_make_it_other_work(either: Task) -> None:
    gives_up(either, 5)
    assert either.attempt(timeout=200, poll_interval=3, on_unknown="resend", do_xcom_push=False) == either.right
    assert either.billed == 1


# --- the user's own conversation


@pytest.mark.parametrize("listed_at_once", [True, False])
@pytest.mark.parametrize("dies", [False, True], ids=["reply lost", "process lost"])
def test_in_the_users_own_conversation_a_lost_chat_is_found_while_it_runs(
    chat: Task, deaths: Deaths, listed_at_once: bool, dies: bool
) -> None:
    own = chat.coze.hook().create_conversation(bot_id=SLEEPER_BOT).id
    chat.coze.world.question_listed_at_once = listed_at_once
    if dies:
        deaths.sending(CHAT, after=True)
        chat.killed(conversation_id=own)
    else:
        chat.coze.script(scenarios.reset(after_commit=True), on=CHAT)
    if dies and not listed_at_once and chat.place == "coze":
        # Coze is the only record, and does not show it yet; what it says of the running chat is true of anybody's.
        with pytest.raises(e.CozeConversationBusyError):
            chat.attempt(conversation_id=own, on_busy="fail")
    assert chat.attempt(conversation_id=own) == chat.right
    assert chat.billed == 1
    assert chat.coze.asked(CREATE) == 1, "that of the user"


def test_in_the_users_own_conversation_somebody_elses_chat_is_busy_and_not_ours(chat: Task) -> None:
    hook = chat.coze.hook()
    own = hook.create_conversation(bot_id=SLEEPER_BOT).id
    asked = [{"role": "user", "content_type": "text", "content": "sleep 100: theirs"}]
    hook.create_chat(bot_id=SLEEPER_BOT, user_id="u", additional_messages=asked, conversation_id=own)
    for _ in range(2):
        with pytest.raises(e.CozeConversationBusyError):
            chat.attempt(conversation_id=own, timeout=20)
    chat.coze.time.sleep(100)
    assert chat.attempt(conversation_id=own) == chat.right
    assert chat.billed == 2


# --- records that cannot be read or written


def spoilt(task: Task, tmp_path: Path) -> None:
    """Leave half a record where the record is."""
    if task.state is not None:
        task.state.values["coze"] = '{"version": 1, "phase": "sub"}'
    else:
        [path] = (path for path in (tmp_path / "state").glob("*.json") if "usage" not in path.name)
        path.write_text(path.read_text(encoding="utf-8")[:20], encoding="utf-8")


@pytest.mark.parametrize("place", tries.PLACES[:2])
@pytest.mark.parametrize("kind", ["chat", "run"])
def test_a_spoilt_record_stops_every_try_but_one_that_never_reuses(
    coze: Coze, kind: str, defers: bool, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(coze, kind, tries.kept_in(place, tmp_path, monkeypatch), defers)
    task.attempt()
    spoilt(task, tmp_path)
    seen = len(coze.seen)
    for reuse in ("unfinished", "always"):
        with pytest.raises(e.CozeStateError):
            task.attempt(reuse=reuse)
    assert len(coze.seen) == seen, "nothing is asked of Coze"
    assert task.attempt(reuse="never") == task.right
    assert task.attempt() == task.right, "its record is sound again"
    assert task.billed == 2


def unwritable(task: Task, tmp_path: Path) -> Callable[[], None]:
    """Make it impossible to write records from now on; return what makes it possible again."""
    folder, away = tmp_path / "state", tmp_path / "away"
    if task.state is not None:
        task.state.broken.add("set")
        return task.state.broken.clear
    if task.place == "coze":
        script = task.coze.script(scenarios.error(4101), on=RENAME, times=None)
        return lambda: setattr(script, "times", 0)
    shutil.move(folder, away)
    folder.write_text("no folder any more", encoding="utf-8")

    def mended() -> None:
        folder.unlink()
        shutil.move(away, folder)

    return mended


def test_a_chat_whose_ids_cannot_be_stored_goes_on_and_is_found_by_the_next_try(
    chat: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mended: list[Callable[[], None]] = []
    chat.coze.before(CHAT, lambda: mended.append(unwritable(chat, tmp_path)))
    assert chat.attempt() == chat.right
    assert f"The chat goes on: conversation_id {chat.coze.ledger[0].conversation_id}, chat_id" in caplog.text
    mended.pop()()
    assert chat.attempt() == chat.right
    assert chat.billed == 1


def test_a_run_whose_id_cannot_be_stored_goes_on_and_only_its_own_try_knows_it(
    run: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mended: list[Callable[[], None]] = []
    run.coze.before(RUN, lambda: mended.append(unwritable(run, tmp_path)))
    assert run.attempt() == run.right
    assert f"The run goes on: execute_id {run.coze.ledger[0].id}" in caplog.text
    mended.pop()()
    with pytest.raises(e.CozeOutcomeUnknownError):
        run.attempt()
    assert run.billed == 1


def test_a_delivery_that_cannot_be_noted_is_made(either: Task, tmp_path: Path) -> None:
    last = "GET /v3/chat/message/list" if either.kind == "chat" else f"GET {_record_path(either)}"
    either.coze.before(last, lambda: unwritable(either, tmp_path))
    assert either.attempt() == either.right
    assert either.billed == 1


def _record_path(task: Task) -> str:
    workflow = task.operator().workflow_id
    return f"/v1/workflows/{workflow}/run_histories/"


# --- events that are lost


@pytest.mark.parametrize("place", tries.PLACES)
@pytest.mark.parametrize("event", [None, {"status": "success"}], ids=["none", "foreign"])
def test_a_chat_whose_event_is_lost_is_waited_for_wherever_its_ids_are(
    coze: Coze, place: str, event: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(coze, "chat", tries.kept_in(place, tmp_path, monkeypatch), defers=True)
    context = task.begin()
    with pytest.raises(TaskDeferred):
        task.worker.execute(context)
    coze.time.sleep(30)
    assert task.operator().execute_complete(context, event) == task.right
    assert task.billed == 1
    task.clear()
    assert task.attempt() == task.right, "its delivery was noted"
    assert task.billed == 2


@pytest.mark.parametrize("kind", ["chat", "run"])
def test_a_record_is_enough_for_a_task_that_pushes_nothing(coze: Coze, kind: str) -> None:
    task = Task(coze, kind, "task_state_store", defers=True)
    context = task.begin(do_xcom_push=False)
    with pytest.raises(TaskDeferred):
        task.worker.execute(context)
    assert task.ti.xcoms == {}
    coze.time.sleep(30)
    assert task.operator(do_xcom_push=False).execute_complete(context, None) == task.right
    assert task.billed == 1


@pytest.mark.parametrize("kind", ["chat", "run"])
def test_without_record_and_xcoms_an_event_that_is_lost_is_an_error_that_a_retry_can_heal(
    coze: Coze, kind: str
) -> None:
    task = Task(coze, kind, "task_state_store", defers=True)
    context = task.begin(do_xcom_push=False)
    with pytest.raises(TaskDeferred):
        task.worker.execute(context)
    with pytest.raises(e.CozeTriggerEventError) as caught:
        task.operator(do_xcom_push=False).execute_complete({"ti": task.ti}, None)
    assert not isinstance(caught.value, AirflowFailException)
    assert task.attempt(do_xcom_push=False) == task.right
    assert task.billed == 1


def test_the_ids_of_an_event_are_believed_before_those_of_a_record(coze: Coze) -> None:
    task = Task(coze, "chat", "task_state_store", defers=True)
    assert task.state is not None
    context = task.begin()
    with pytest.raises(TaskDeferred) as deferral:
        task.worker.execute(context)
    event = fire(coze, deferral.value.trigger)
    task.state.broken = {"get", "set"}
    assert task.operator().execute_complete(context, event) == task.right


# --- time limits


@pytest.mark.parametrize(
    ("timeout", "limit", "ends"),
    [(50, 1000, (50, 50)), (500, 100, (89, 100)), (None, 100, (89, 100)), (None, 1000, (969, 1000))],
)
def test_the_wait_ends_with_timeout_or_in_time_before_execution_timeout(
    kept: Task, timeout: float | None, limit: float, ends: tuple[float, float]
) -> None:
    given = {"message": "sleep 5000: late", "timeout": timeout, "execution_timeout": timedelta(seconds=limit)}
    with pytest.raises(e.CozeChatTimeoutError, match="It has been cancelled"):
        kept.attempt(**given)
    assert NOON + ends[0] <= kept.coze.time.now <= NOON + ends[1]
    assert kept.coze.emulator.store.chats[kept.coze.ledger[0].id].status == "canceled"


def test_execution_timeout_counts_from_the_start_of_the_try(kept: Task) -> None:
    """Rendering and queueing inside of the try are Airflow's time too."""
    given = {"message": "sleep 900: late", "timeout": None, "execution_timeout": timedelta(seconds=100)}
    context = kept.begin(**given)
    context["ti"] = TaskInstance(1, 3, start_date=datetime.fromtimestamp(NOON - 40, tz=UTC))
    with pytest.raises((e.CozeChatTimeoutError, TaskDeferred)) as caught:
        kept.worker.execute(context)
    if isinstance(caught.value, TaskDeferred):
        event = fire(kept.coze, caught.value.trigger)
        with pytest.raises(e.CozeChatTimeoutError):
            kept.operator(**given).execute_complete(context, event=event)
    assert NOON + 49 <= kept.coze.time.now <= NOON + 60


def test_a_retry_has_its_own_time(either: Task) -> None:
    long = (
        {"message": "sleep 100: rested"}
        if either.kind == "chat"
        else {"parameters": {"seconds": 100, "value": "rested"}}
    )
    for _ in range(3):
        gives_up(either, 500, execution_timeout=timedelta(seconds=30), **long)
    assert NOON + 75 <= either.coze.time.now <= NOON + 95
    assert either.attempt(execution_timeout=timedelta(seconds=60), **long) == either.right
    assert either.billed == 1


# --- Coze Studio


@pytest.mark.parametrize("point", ["ids saved", "before delivery", "delivered"])
def test_on_a_studio_server_a_run_is_billed_once_outside_of_its_window(
    studio: Coze, defers: bool, deaths: Deaths, point: str
) -> None:
    run = Task(studio, "run", "task_state_store", defers)
    tries.OF_A_RUN[point](deaths)
    run.killed()
    assert run.attempt() == run.right
    assert run.billed == 1


@pytest.mark.parametrize("place", ["task_state_store", "coze"])
def test_on_a_studio_server_a_chat_whose_reply_is_lost_is_found(studio: Coze, defers: bool, place: str) -> None:
    chat = Task(studio, "chat", place, defers)
    studio.script(scenarios.reset(after_commit=True), on=CHAT)
    assert chat.attempt() == chat.right
    assert chat.billed == 1
