"""``CozeChatOperator``, the same whether it waits on the worker or in the triggerer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKE_BOT, ECHO_BOT, SLEEPER_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import Bot, Failure, Seconds, Tokens
from airflow_provider_coze.operators.chat import CozeChatOperator
from tests.tasks import NOON, TOKEN, Coze, Run

POST, GET, CANCEL = "POST /v3/chat", "GET /v3/chat/retrieve", "POST /v3/chat/cancel"
LIST = "GET /v3/chat/message/list"


def slow_bot(coze: Coze, seconds: float, **fields: Any) -> str:
    return coze.emulator.add_bot(Bot(duration=Seconds(seconds), **{"answer": "At last.", **fields})).id


def ask(run: Run, bot_id: str = ECHO_BOT, **arguments: Any) -> Any:
    return run(CozeChatOperator, **{"bot_id": bot_id, "message": "hello", **arguments})


# --- what comes back


def test_the_answer_of_the_bot_is_the_return_value(run: Run) -> None:
    assert ask(run, message="Is it done?") == "You said: Is it done?"


def test_the_xcoms_hold_ids_usage_of_this_try_follow_ups_and_logid(coze: Coze, run: Run) -> None:
    bot = slow_bot(coze, 12, tokens=Tokens(100, 20), follow_ups=("And then?", "Why?"))
    ask(run, bot, try_number=3)
    [chat] = coze.ledger
    logid = run.xcoms.pop("logid")
    assert len(logid) == 32
    used = {"token_count": 120, "input_count": 100, "output_count": 20}
    assert run.xcoms == {
        "chat_id": chat.id,
        "conversation_id": chat.conversation_id,
        "usage": {
            **used,
            "try_number": 3,
            "total": used,
            "attempts": [{**used, "try_number": 3, "what": "chat", "id": chat.id, "reported": True}],
            "complete": False,  # no store says what the two tries before it used
        },
        "follow_ups": ["And then?", "Why?"],
    }


def test_a_bot_without_follow_ups_leaves_an_empty_list(coze: Coze, run: Run) -> None:
    ask(run, slow_bot(coze, 1))
    assert run.xcoms["follow_ups"] == []


def test_nothing_is_pushed_where_pushing_is_off(run: Run) -> None:
    assert ask(run, do_xcom_push=False) == "You said: hello"
    assert run.xcoms == {}


def test_several_answers_come_in_the_order_they_were_given_and_nothing_else_does(coze: Coze, run: Run) -> None:
    said = [
        ("verbose", "assistant", '{"msg_type":"generate_answer_finish"}', 3),
        ("answer", "assistant", "second", 2),
        ("function_call", "assistant", "{}", 1),
        ("answer", "assistant", "first", 1),
        ("follow_up", "assistant", "next?", 3),
        ("question", "user", "hello", 0),
    ]
    data = [
        {"id": f"{at}{number}", "type": kind, "role": role, "content": text, "created_at": at}
        for number, (kind, role, text, at) in enumerate(said)
    ]
    coze.script(scenarios.answer(200, {"code": 0, "msg": "", "data": data}), on=LIST)
    assert ask(run) == "first\nsecond"
    assert run.xcoms["follow_ups"] == ["next?"]


def test_a_completed_chat_without_any_message_has_an_empty_answer(coze: Coze, run: Run) -> None:
    coze.script(scenarios.answer(200, {"code": 0, "msg": ""}), on=LIST)
    assert ask(run) == ""


def test_without_waiting_the_ids_are_the_return_value_and_nothing_is_polled(coze: Coze, run: Run) -> None:
    returned = ask(run, slow_bot(coze, 60), wait_for_completion=False)
    [chat] = coze.ledger
    assert returned == {"chat_id": chat.id, "conversation_id": chat.conversation_id}
    assert run.xcoms.keys() == {"chat_id", "conversation_id", "logid"}
    assert coze.asked(GET) == 0


# --- what Coze gets


def test_every_argument_reaches_coze_under_its_own_name(coze: Coze, run: Run) -> None:
    given: dict[str, Any] = {
        "user_id": "u1",
        "custom_variables": {"city": "Oslo"},
        "meta_data": {"run": "42"},
        "parameters": {"depth": 2, "tags": ["a"]},
        "extra_params": {"latitude": "59.9", "longitude": "10.7"},
        "shortcut_command": {"command_id": "7", "parameters": {"x": "y"}},
        "bot_version": "176454900000",
        "publish_status": "published_online",
    }
    ask(run, **given, durable=False)
    [body] = coze.bodies(POST)
    assert body == {
        **given,
        "bot_id": ECHO_BOT,
        "stream": False,
        "auto_save_history": True,
        "additional_messages": [{"role": "user", "content": "hello", "content_type": "text"}],
    }


def test_arguments_that_are_not_given_are_not_sent(coze: Coze, run: Run) -> None:
    ask(run, durable=False)
    [body] = coze.bodies(POST)
    assert body.keys() == {"bot_id", "user_id", "stream", "auto_save_history", "additional_messages"}
    assert body["user_id"].startswith("airflow:")
    assert body["user_id"].endswith(".ask")


def test_additional_messages_are_sent_as_given_with_role_and_content_type_filled_in(coze: Coze, run: Run) -> None:
    pictures = json.dumps(
        [{"type": "text", "text": "What is it?"}, {"type": "image", "file_url": "https://x.test/1.png"}]
    )
    messages = [
        {"role": "assistant", "type": "answer", "content": "Good day."},
        {"content": "hello", "meta_data": {"k": "v"}},
        {"role": "user", "content": pictures, "content_type": "object_string"},
    ]
    ask(run, message=None, additional_messages=messages, durable=False)
    [body] = coze.bodies(POST)
    assert body["additional_messages"] == [
        {"role": "assistant", "type": "answer", "content": "Good day.", "content_type": "text"},
        {"role": "user", "content": "hello", "content_type": "text", "meta_data": {"k": "v"}},
        {"role": "user", "content": pictures, "content_type": "object_string"},
    ]


def test_meta_data_is_kept_with_the_chat(coze: Coze, run: Run) -> None:
    ask(run, meta_data={"dag_run": "manual__1"})
    kept = coze.ledger[0].marker["meta_data"]
    assert kept.pop("airflow") == coze.ledger[0].marker["message_meta_data"]["airflow"]
    assert kept == {"dag_run": "manual__1"}


def test_a_task_that_is_not_durable_asks_as_little_as_can_be(coze: Coze, run: Run) -> None:
    ask(run, durable=False, wait_for_completion=False)
    assert [name for name, _, _ in coze.seen] == [POST]


def test_a_conversation_goes_on_where_it_was(coze: Coze, run: Run) -> None:
    bot = slow_bot(coze, 2, answer=lambda turn: f"{turn}, after {turn.history}")
    ask(run, bot, message="one")
    conversation = run.xcoms["conversation_id"]
    assert ask(run, bot, message="two", conversation_id=conversation) == "two, after ['one', 'one, after []']"
    assert run.xcoms["conversation_id"] == conversation
    assert coze.queries(POST)[1] == {"conversation_id": conversation}


def test_without_a_conversation_every_task_gets_its_own(coze: Coze, run: Run) -> None:
    ask(run)
    ask(run)
    first, second = coze.ledger
    assert first.conversation_id != second.conversation_id


def test_a_busy_conversation_is_its_own_error_and_nothing_is_started(coze: Coze, run: Run) -> None:
    ask(run, slow_bot(coze, 600), wait_for_completion=False)
    with pytest.raises(e.CozeConversationBusyError, match="leave conversation_id out") as caught:
        ask(run, conversation_id=run.xcoms["conversation_id"])
    assert caught.value.code == 4016
    assert len(coze.ledger) == 1


# --- ends that are no answers


def test_a_failed_chat_raises_the_chats_own_error(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatFailedError) as caught:
        ask(run, BROKE_BOT)
    error, [chat] = caught.value, coze.ledger
    assert (error.code, error.msg) == (4028, "Your free quota has been used up.")
    assert (error.chat_id, error.conversation_id, error.bot_id) == (chat.id, chat.conversation_id, BROKE_BOT)
    assert error.logid
    for words in (chat.id, "4028", "free quota", "billed", "new chat", error.logid):
        assert words in str(error)
    assert coze.asked(LIST) == 0  # it has none


def test_a_chat_that_somebody_cancelled_raises(coze: Coze, run: Run) -> None:
    coze.time.after(20, lambda: [chat.cancel() for chat in coze.emulator.store.chats.values()])
    with pytest.raises(e.CozeChatCanceledError, match="was cancelled in Coze") as caught:
        ask(run, slow_bot(coze, 60))
    assert caught.value.chat_id == coze.ledger[0].id


def test_a_chat_that_wants_tools_raises_with_the_calls(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatRequiresActionError, match="read_sensor") as caught:
        ask(run, TOOL_BOT)
    [call] = caught.value.tool_calls or []
    assert call["function"] == {"name": "read_sensor", "arguments": '{"room": "B2"}'}
    assert call["id"]
    assert caught.value.chat_id == coze.ledger[0].id
    assert coze.asked(CANCEL) == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("failed", e.CozeChatFailedError),
        ("expired", e.CozeChatFailedError),
        ("canceled", e.CozeChatCanceledError),
        ("cancelled", e.CozeChatCanceledError),
        ("conversation.chat.cancelled", e.CozeChatCanceledError),
        ("requires_action", e.CozeChatRequiresActionError),
        ("required_action", e.CozeChatRequiresActionError),
    ],
)
def test_every_word_for_an_end_ends_the_task(coze: Coze, run: Run, word: str, expected: type[Exception]) -> None:
    chat = {"id": "1", "conversation_id": "2", "status": word}
    coze.script(scenarios.answer(200, {"code": 0, "msg": "", "data": chat}), on=GET, times=None)
    with pytest.raises(expected):
        ask(run)


def test_a_status_that_nobody_knows_is_said_once_and_waited_on(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    chat = {"status": "contemplating"}
    coze.script(scenarios.answer(200, {"code": 0, "msg": "", "data": chat}), on=GET, times=3)
    assert ask(run) == "You said: hello"
    assert coze.asked(GET) == 4
    said = [r for r in caplog.records if "contemplating" in r.getMessage() and r.levelname == "WARNING"]
    assert len(said) == 1


# --- time


def test_a_chat_that_takes_too_long_is_cancelled_and_the_error_says_so(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatTimeoutError) as caught:
        ask(run, slow_bot(coze, 600), timeout=45)
    error, [chat] = caught.value, coze.ledger
    assert coze.emulator.store.chats[chat.id].status == "canceled"
    assert coze.asked(CANCEL) == 1
    assert coze.time.now == NOON + 45
    assert (error.chat_id, error.conversation_id) == (chat.id, chat.conversation_id)
    assert str(error) == (
        f"Chat {chat.id!r} in conversation {chat.conversation_id!r} had no answer after 45 s (logid {error.logid}). It has been "
        "cancelled, which does not take back what it used up to then. A retry of this task starts, and pays for, a new chat. "
        "To wait longer, raise timeout."
    )


def test_a_chat_that_takes_too_long_can_be_left_running(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatTimeoutError, match="Coze goes on with it and charges for it"):
        ask(run, slow_bot(coze, 600), timeout=45, cancel_on_timeout=False)
    assert coze.asked(CANCEL) == 0


def test_a_cancel_that_fails_is_admitted(coze: Coze, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    coze.script(scenarios.error(4101), on=CANCEL, times=None)
    with pytest.raises(e.CozeChatTimeoutError, match="could not be cancelled, so Coze may go on"):
        ask(run, slow_bot(coze, 600), timeout=45)
    assert "cancelChat" in caplog.text


def test_an_answer_that_comes_in_the_very_moment_of_the_timeout_is_not_lost(coze: Coze, run: Run) -> None:
    coze.before(CANCEL, lambda: coze.time.sleep(600))
    assert ask(run, slow_bot(coze, 600), timeout=45) == "At last."
    assert len(coze.ledger) == 1


def test_a_chat_that_fails_in_the_very_moment_of_the_timeout_has_failed(coze: Coze, run: Run) -> None:
    coze.before(CANCEL, lambda: coze.time.sleep(600))
    with pytest.raises(e.CozeChatFailedError, match="4011"):
        ask(run, slow_bot(coze, 600, failure=Failure(4011, "no tokens left")), timeout=45)


def test_without_a_timeout_there_is_no_end_to_waiting(coze: Coze, run: Run) -> None:
    assert ask(run, slow_bot(coze, 900), timeout=None) == "At last."
    assert coze.time.now >= NOON + 900


def test_the_timeout_is_five_minutes_by_default(coze: Coze, run: Run) -> None:
    with pytest.raises(e.CozeChatTimeoutError, match="300 s"):
        ask(run, slow_bot(coze, 600))


def test_looks_are_a_second_apart_at_least_and_ten_at_most(coze: Coze, run: Run) -> None:
    ask(run, slow_bot(coze, 200))
    looks = coze.times(GET)
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert min(gaps) >= 1
    assert max(gaps) <= 10
    assert 8 <= gaps[-2] <= 10
    assert len({round(gap, 3) for gap in gaps[-10:]}) > 3, "looks of tasks that began together have to drift apart"


def test_poll_interval_sets_the_ceiling_but_no_chat_is_asked_twice_a_second(coze: Coze, run: Run) -> None:
    ask(run, slow_bot(coze, 60), poll_interval=3)
    ask(run, slow_bot(coze, 20), poll_interval=0.1)
    looks = coze.times(GET)
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert max(gap for gap, at in zip(gaps, looks, strict=False) if 8 < at < 55) <= 3
    assert min(gaps) >= 1


# --- a network that is not at its best


def test_a_start_whose_answer_is_lost_is_not_sent_again_by_a_task_that_is_not_durable(coze: Coze, run: Run) -> None:
    coze.script(scenarios.reset(after_commit=True), on=POST)
    with pytest.raises(e.CozeTransportError, match="may start, and pay for, another") as caught:
        ask(run, durable=False)
    assert caught.value.never_sent is False
    assert coze.asked(POST) == 1
    assert len(coze.ledger) == 1


@pytest.mark.parametrize(
    "fault",
    [
        scenarios.reset(),
        scenarios.bad_gateway(),
        scenarios.server_error(),
        scenarios.server_trouble(),
        scenarios.rate_limited(),
    ],
    ids=["reset", "502", "500", "720702222", "429"],
)
def test_a_short_outage_fails_no_chat_that_is_paid_for(coze: Coze, run: Run, fault: scenarios.Fault) -> None:
    coze.script(fault, on=GET, times=3)
    assert ask(run, slow_bot(coze, 2), deferral_grace=5) == "At last."
    assert coze.asked(POST) == 1


def test_a_long_outage_ends_in_its_own_error_with_the_ids(coze: Coze, run: Run) -> None:
    coze.script(scenarios.bad_gateway(), on=GET, times=None)
    with pytest.raises(e.CozeUnavailableError, match="may go on in Coze, and is billed") as caught:
        ask(run, slow_bot(coze, 10), timeout=None)
    assert caught.value.chat_id == coze.ledger[0].id
    assert coze.time.now <= NOON + 700


def test_an_outage_that_outlasts_a_short_timeout_is_what_the_error_says(coze: Coze, run: Run) -> None:
    coze.script(scenarios.bad_gateway(), on=GET, times=None)
    with pytest.raises(e.CozeUnavailableError, match="may go on in Coze"):
        ask(run, slow_bot(coze, 10), timeout=1.5, deferral_grace=5)


def test_an_answer_that_cannot_be_fetched_is_said_to_be_paid_for(coze: Coze, run: Run) -> None:
    coze.script(scenarios.error(4101), on=LIST, times=None)
    with pytest.raises(e.CozePermissionError, match="completed and paid for") as caught:
        ask(run)
    assert "listMessage" in str(caught.value)
    assert caught.value.chat_id == coze.ledger[0].id


# --- what is written down


def test_the_log_has_the_ids_and_neither_token_nor_question_nor_answer(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    bot = slow_bot(coze, 30, answer="the secret recipe")
    ask(run, bot, message="confidential question")
    assert coze.ledger[0].id in caplog.text
    assert run.xcoms["conversation_id"] in caplog.text
    for secret in (TOKEN, "confidential question", "the secret recipe"):
        assert secret not in caplog.text


def test_errors_hold_neither_token_nor_question(coze: Coze, run: Run) -> None:
    for fault, on in (
        (scenarios.error(4100, status=401), POST),
        (scenarios.reset(), POST),
        (scenarios.error(4101), GET),
    ):
        coze.script(fault, on=on, times=None)
        with pytest.raises(e.CozeError) as caught:
            ask(run, slow_bot(coze, 30), message="confidential question")
        told = f"{caught.value!r} {caught.value} {caught.value.facts()}"
        assert TOKEN not in told
        assert "confidential question" not in told


def test_a_studio_server_is_spoken_to_in_its_own_words(studio: Coze) -> None:
    for defers in (False, True):
        run = Run(studio, defers=defers)
        assert ask(run, SLEEPER_BOT, message="sleep 20: rested") == "rested"
        with pytest.raises(e.CozeChatTimeoutError, match="It has been cancelled"):
            ask(run, SLEEPER_BOT, message="sleep 600: never", timeout=30)
