"""A task over several tries, killed wherever a process can die: one right answer, and one execution on Coze's bill."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKE_BOT, BROKEN, ECHO, ECHO_BOT, SLEEPER_BOT
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.state.record import Intent, Submitted
from tests import tries
from tests.tasks import NOON, Coze, TaskInstance, fire
from tests.tries import CHAT, OF_A_CHAT, OF_A_RUN, ONLY_DEFERRED, RUN, Deaths, Killed, Task

#: Real HTTP, some hundred times: `make test` runs them, and `make unit` does without.
pytestmark = pytest.mark.matrix

defers, chat, run, either, kept, deaths = tries.defers, tries.chat, tries.run, tries.either, tries.kept, tries.deaths


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
    run.coze.time.sleep(300)
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
        either.identity, either.tries = {"map_index": index}, 0
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
    coze.time.sleep(10)
    with pytest.raises(TaskDeferred) as again:
        task.operator().execute_complete(context, event)
    assert again.value.trigger.started_at == NOON, "the wait is counted from the start"
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
