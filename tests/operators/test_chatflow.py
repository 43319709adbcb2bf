"""Chatflows: what is sent, what comes out, and that a stream which breaks off is never an answer, and never paid for unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pydantic import BaseModel

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import CHATFLOW, DRAFT, ECHO_BOT
from airflow_provider_coze.emulator.definitions import Failure, Interrupt, Seconds, Template, Tokens
from airflow_provider_coze.operators.chatflow import CozeChatflowOperator
from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.state.record import Intent, Submitted
from tests import tries
from tests.tasks import NOON, TOKEN, Coze, Run, is_kind
from tests.tries import Deaths, Task, kept_in

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

deaths = tries.deaths

POST, GET, LIST = "POST /v1/workflows/chat", "GET /v3/chat/retrieve", "GET /v3/chat/message/list"
SAID = "You said: hello"


class Flow(Task):
    """One task instance that runs a chatflow, over its tries."""

    def __init__(self, coze: Coze, place: str = "task_state_store") -> None:
        super().__init__(coze, "chatflow", place, defers=False)

    def operator(self, **arguments: Any) -> Any:
        given = {"task_id": "ask", "workflow_id": CHATFLOW, "bot_id": ECHO_BOT, "message": "hello", **arguments}
        return self.coze.prepared(CozeChatflowOperator(**given))

    @property
    def right(self) -> str:
        return SAID


@pytest.fixture
def flow(coze: Coze) -> Flow:
    """A task instance whose record Airflow itself keeps."""
    return Flow(coze)


@pytest.fixture
def plain(coze: Coze) -> Run:
    return Run(coze, defers=False)


def ask(run: Run, **arguments: Any) -> Any:
    given = {"workflow_id": CHATFLOW, "bot_id": ECHO_BOT, "message": "hello", **arguments}
    return run(CozeChatflowOperator, **given)


# --- an answer


def test_a_chatflow_answers_and_tells_what_it_was(coze: Coze, run: Run) -> None:
    made = coze.emulator.add_workflow(mode="chatflow", output=Template("You said: {message}"), tokens=Tokens(30, 12))
    assert ask(run, workflow_id=made.id) == SAID
    [billed] = coze.ledger
    [chat] = coze.emulator.store.chats.values()
    assert run.deferrals == 0, "it is answered in a stream, which the worker reads"
    assert run.xcoms.keys() == {
        "chat_id",
        "conversation_id",
        "execute_id",
        "debug_url",
        "usage",
        "follow_ups",
        "logid",
    }
    assert (run.xcoms["chat_id"], run.xcoms["conversation_id"]) == (chat.id, billed.conversation_id)
    assert (run.xcoms["execute_id"], billed.kind) == (billed.id, "workflow")
    assert f"execute_id={billed.id}" in run.xcoms["debug_url"]
    used = {name: run.xcoms["usage"][name] for name in ("token_count", "input_count", "output_count")}
    assert used == {"token_count": 42, "input_count": 30, "output_count": 12}
    assert run.xcoms["follow_ups"] == []
    assert (coze.asked(POST), coze.asked(GET), coze.asked(LIST)) == (1, 0, 0)


def test_the_follow_ups_of_the_stream_are_an_xcom(coze: Coze, plain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_coze.emulator.cloud import chatflow

    player = chatflow._player

    def suggesting(*given: Any) -> Any:
        bot, question = player(*given)
        bot.follow_ups = ("And then?", "Why?")
        return bot, question

    monkeypatch.setattr(chatflow, "_player", suggesting)
    assert ask(plain) == SAID
    assert plain.xcoms["follow_ups"] == ["And then?", "Why?"]


def test_the_log_grows_with_the_answer_by_whole_lines_and_shows_neither_question_nor_token(
    coze: Coze, plain: Run, caplog: pytest.LogCaptureFixture
) -> None:
    made = coze.emulator.add_workflow(
        mode="chatflow",
        output="第一行\nsecond\nthird",
        pieces=["第", "一行\nsec", "ond\nthi", "rd"],
        duration=Seconds(60),
    )
    assert ask(plain, workflow_id=made.id, message="confidential question") == "第一行\nsecond\nthird"
    said = [record.getMessage() for record in caplog.records if "says" in record.getMessage()]
    assert said == ["The bot says: 第一行", "The bot says: second\nthird"], "at most one entry in two seconds"
    assert f"answered in chat {plain.xcoms['chat_id']}" in caplog.text
    assert "confidential question" not in caplog.text
    assert TOKEN not in caplog.text


def test_nothing_is_pushed_where_pushing_is_off(plain: Run) -> None:
    assert ask(plain, do_xcom_push=False) == SAID
    assert plain.xcoms == {}


def test_every_argument_reaches_coze_under_its_own_name(coze: Coze, plain: Run) -> None:
    own = coze.hook().create_conversation(bot_id=ECHO_BOT).id
    given: dict[str, Any] = {
        "parameters": {"depth": 2, "tags": ["a"]},
        "bot_id": ECHO_BOT,
        "conversation_id": own,
        "ext": {"latitude": "59.9", "longitude": "10.7", "user_id": "u1"},
        "workflow_version": "v0.0.5",
        "connector_id": "1024",
    }
    messages = [{"role": "assistant", "content": "Good day."}, {"content": "hello"}]
    assert ask(plain, message=None, additional_messages=messages, **given) == SAID
    assert coze.bodies(POST) == [
        {
            **given,
            "workflow_id": CHATFLOW,
            "additional_messages": [
                {"role": "assistant", "content": "Good day.", "content_type": "text"},
                {"role": "user", "content": "hello", "content_type": "text"},
            ],
        }
    ]
    assert plain.xcoms["conversation_id"] == own


def test_what_is_not_given_is_not_sent(coze: Coze, plain: Run) -> None:
    ask(plain)
    [body] = coze.bodies(POST)
    assert body.keys() == {"workflow_id", "additional_messages", "parameters", "bot_id"}


def test_a_chatflow_of_an_app_is_asked_in_a_conversation_that_is_named(coze: Coze, plain: Run) -> None:
    app = {"bot_id": None, "app_id": "7511900000000000001"}
    assert ask(plain, **app, parameters={"CONVERSATION_NAME": "daily"}) == SAID
    [body] = coze.bodies(POST)
    assert (body["app_id"], "bot_id" in body) == ("7511900000000000001", False)


# --- before anything is sent


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workflow_id": 44}, "workflow_id must be a string"),
        ({"bot_id": None}, "one of bot_id and app_id is needed"),
        ({"app_id": "7"}, "bot_id and app_id exclude each other"),
        ({"message": None}, "neither given"),
        ({"additional_messages": [{"content": "x"}]}, "both given"),
        ({"message": " "}, "message is ' '"),
        ({"message": None, "additional_messages": []}, "additional_messages"),
        ({"message": None, "additional_messages": [{"content": "x"}] * 51}, "51 messages; a chatflow takes at most 50"),
        (
            {"message": None, "additional_messages": [{"content": "[]", "content_type": "object_string"}]},
            "texts only, not 'object_string'",
        ),
        ({"message": None, "additional_messages": [{"role": "assistant", "content": "x"}]}, "role must be user"),
        ({"parameters": "{}"}, "parameters must be a mapping"),
        ({"parameters": {"at": {1, 2}}}, "parameters['at'] is set, which JSON cannot hold"),
        ({"conversation_id": ""}, "conversation_id is ''"),
        ({"ext": {"city": "Oslo"}}, "ext knows only"),
        ({"timeout": 0}, "timeout must be a number of seconds over 0"),
        ({"on_unknown": "ignore"}, "on_unknown must be one of"),
        ({"output_type": object()}, "output_type is nothing that pydantic can check"),
        ({"token_budget": 0}, "token_budget must be a whole number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    coze: Coze, plain: Run, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(e.CozeInputError) as caught:
        ask(plain, **arguments)
    assert says in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert coze.seen == []


def test_everything_that_is_wrong_is_said_at_once(coze: Coze, plain: Run) -> None:
    with pytest.raises(e.CozeInputError) as caught:
        ask(plain, bot_id=None, message=None, parameters=[], reuse="sometimes")
    for words in ("bot_id", "neither given", "parameters", "reuse"):
        assert words in str(caught.value)
    assert coze.seen == []


def test_50_messages_are_not_too_many(plain: Run) -> None:
    assert ask(plain, message=None, additional_messages=[{"content": "x"}] * 49 + [{"content": "hello"}]) == SAID


# --- ends that are no answers


def test_a_chatflow_that_is_refused_is_not_billed_and_leaves_no_doubt(flow: Flow) -> None:
    for _ in range(2):
        with pytest.raises(e.CozeNotFoundError, match="4200"):
            flow.attempt(workflow_id=DRAFT)
    assert (flow.billed, flow.coze.asked(POST)) == (0, 2)
    assert flow.attempt() == SAID


def test_a_failure_whose_code_is_a_text_is_understood(coze: Coze, plain: Run) -> None:
    with pytest.raises(e.CozeChatFailedError) as caught:
        ask(plain, bot_id=None, app_id="7511900000000000001")  # without a conversation
    error, [chat] = caught.value, coze.emulator.store.chats.values()
    assert (error.code, error.msg) == (720702204, "The conversation name or conversation id is missing.")
    assert (error.chat_id, error.conversation_id) == (chat.id, chat.conversation.id)
    assert error.logid
    for words in ("720702204", chat.id, error.logid, "billed", "new chat"):
        assert words in str(error)


def test_a_failure_that_names_no_chat_is_understood_too(flow: Flow) -> None:
    bare = 'event: conversation.chat.failed\ndata: {"code":"720702204","msg":"no name"}\n\n'
    flow.coze.script(scenarios.answer(200, bare, content_type="text/event-stream"), on=POST)
    with pytest.raises(e.CozeChatFailedError) as caught:
        flow.attempt()
    assert (caught.value.code, caught.value.msg, caught.value.chat_id) == (720702204, "no name", None)
    assert flow.attempt() == SAID, "it ended, so a retry asks anew"
    assert flow.billed == 1


def test_a_chatflow_that_failed_is_asked_anew_by_a_retry(flow: Flow) -> None:
    broken = flow.coze.emulator.add_workflow(mode="chatflow", failure=Failure(720701002, "division by zero"))
    for billed in (1, 2):
        with pytest.raises(e.CozeChatFailedError, match="division by zero"):
            flow.attempt(workflow_id=broken.id)
        assert flow.billed == billed


def slow(coze: Coze, seconds: float = 600, **options: Any) -> str:
    made = coze.emulator.add_workflow(
        mode="chatflow", output=Template("You said: {message}"), duration=Seconds(seconds), **options
    )
    return str(made.id)


@pytest.mark.parametrize("stream", ["is still open", "broke off"])
def test_a_chatflow_that_takes_too_long_goes_on_and_a_retry_waits_for_it(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    if stream == "broke off":
        flow.coze.script(scenarios.stream_cut(after_events=2), on=POST)
    else:  # time passes for the task while nothing more comes
        bought = Purchase.bought
        monkeypatch.setattr(Purchase, "bought", lambda *a, **k: (bought(*a, **k), flow.coze.time.sleep(46))[0])
    given = {"workflow_id": slow(flow.coze)}
    with pytest.raises(e.CozeChatTimeoutError, match="Coze goes on with it and charges for it") as caught:
        flow.attempt(timeout=45, **given)
    [chat] = flow.coze.emulator.store.chats.values()
    assert caught.value.chat_id == chat.id
    assert NOON + 45 <= flow.coze.time.now <= NOON + 50
    assert flow.attempt(**given) == SAID
    assert (flow.billed, flow.coze.asked(POST)) == (1, 1)
    assert flow.ti.xcoms["chat_id"] == chat.id


def test_when_the_time_is_up_before_it_has_a_name_nothing_more_is_sent(flow: Flow) -> None:
    flow.coze.before(POST, lambda: flow.coze.time.sleep(46))
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt(timeout=45, on_unknown="resend")
    assert (flow.billed, flow.coze.asked(POST)) == (1, 1)


def test_a_token_budget_that_is_used_up_sends_nothing(flow: Flow) -> None:
    broken = flow.coze.emulator.add_workflow(mode="chatflow", failure=Failure(5000, "x"), tokens=Tokens(5, 5))
    with pytest.raises(e.CozeChatFailedError):
        flow.attempt(workflow_id=broken.id, token_budget=10)
    # Coze reports the tokens of a failed chat to nobody, so what counts is what was reported.
    assert flow.attempt(token_budget=10) == SAID
    with pytest.raises(e.CozeTokenBudgetError, match="message to the chatflow was not sent"):
        flow.attempt(token_budget=1, message="more")
    assert flow.billed == 2


# --- streams that break off

CUTS: dict[str, Callable[[int], scenarios.Fault]] = {
    "end": lambda events: scenarios.stream_cut(after_events=events, how="end"),
    "close": lambda events: scenarios.stream_cut(after_events=events, how="close"),
    "reset": lambda events: scenarios.stream_cut(after_events=events, how="reset"),
}


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("events", [1, 3])
def test_a_stream_that_breaks_off_after_it_named_its_chat_is_found_again(
    coze: Coze, plain: Run, events: int, how: str
) -> None:
    coze.script(CUTS[how](events), on=POST)
    assert ask(plain) == SAID
    assert (len(coze.ledger), coze.asked(POST), coze.asked(LIST)) == (1, 1, 1)
    assert plain.xcoms["chat_id"] == next(iter(coze.emulator.store.chats))
    assert plain.xcoms["usage"]["token_count"] == coze.ledger[0].tokens


def test_a_chat_that_outlasts_its_broken_stream_is_waited_for(coze: Coze, plain: Run) -> None:
    coze.script(scenarios.stream_cut(after_events=2), on=POST)
    assert ask(plain, workflow_id=slow(coze, 100)) == SAID
    assert coze.asked(GET) > 1
    assert len(coze.ledger) == 1


@pytest.mark.parametrize("how", CUTS)
def test_a_stream_that_breaks_off_before_it_names_its_chat_is_never_a_success(flow: Flow, how: str) -> None:
    flow.coze.script(CUTS[how](0), on=POST)
    with pytest.raises(e.CozeOutcomeUnknownError, match="before it named the chat") as caught:
        flow.attempt()
    assert isinstance(caught.value, AirflowFailException), "no retry can find it"
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt()
    assert (flow.billed, flow.coze.asked(POST)) == (1, 1)
    assert flow.attempt(on_unknown="resend") == SAID
    assert flow.billed == 2


def test_an_event_that_nobody_can_read_is_no_answer_and_the_chat_is_looked_up(coze: Coze, plain: Run) -> None:
    real = coze.emulator.handle

    def garbled(request: Any) -> Any:
        reply = real(request)
        if request.path == "/v1/workflows/chat" and reply.frames:
            half = reply.frames[2]
            reply.frames[2] = type(half)(half.at, b"event: conversation.message.delta\ndata: {broken\n\n")
        return reply

    coze.emulator.handle = garbled  # type: ignore[method-assign]
    try:
        assert ask(plain) == SAID
    finally:
        coze.emulator.handle = real  # type: ignore[method-assign]
    assert (len(coze.ledger), coze.asked(LIST)) == (1, 1)


@pytest.mark.parametrize(
    "refusal", [scenarios.error(4200), scenarios.error(4101)], ids=["not there", "not for this token"]
)
@pytest.mark.parametrize("place", ["stream cut", "error event"])
def test_where_coze_does_not_show_the_chat_its_outcome_is_unknown_and_no_try_sends_anything(
    flow: Flow, refusal: scenarios.Fault, place: str
) -> None:
    if place == "stream cut":
        flow.coze.script(scenarios.stream_cut(after_events=3), on=POST)
    else:
        broke = (
            'event: conversation.chat.created\ndata: {"id":"11","conversation_id":"22","status":"created"}\n\n'
            'event: error\ndata: {"code":5000,"msg":"broke"}\n\n'
        )
        flow.coze.script(scenarios.answer(200, broke, after_commit=True, content_type="text/event-stream"), on=POST)
    flow.coze.script(refusal, on=GET, times=None)
    with pytest.raises(e.CozeError) as caught:
        flow.attempt()
    assert caught.value.chat_id
    for _ in range(2):
        with pytest.raises(e.CozeOutcomeUnknownError, match="does not know the recorded one") as again:
            flow.attempt()
        assert again.value.chat_id == caught.value.chat_id
    assert (flow.billed, flow.coze.asked(POST)) == (1, 1)
    assert flow.attempt(on_unknown="resend") == SAID
    assert flow.billed == 2


def test_a_chat_that_coze_does_not_show_is_unknown_at_once(flow: Flow) -> None:
    flow.coze.script(scenarios.stream_cut(after_events=3), on=POST)
    flow.coze.script(scenarios.error(4200), on=GET, times=None)
    with pytest.raises(e.CozeOutcomeUnknownError, match="does not show the chat") as caught:
        flow.attempt()
    assert (caught.value.workflow_id, caught.value.logid is not None) == (CHATFLOW, True)


def test_a_chat_that_coze_does_not_show_is_asked_again_by_who_may_pay_twice(flow: Flow) -> None:
    flow.coze.script(scenarios.stream_cut(after_events=3), on=POST)
    flow.coze.script(scenarios.error(4200), on=GET)
    assert flow.attempt(on_unknown="resend") == SAID
    assert (flow.billed, flow.coze.asked(POST)) == (2, 2)
    _, second = flow.coze.emulator.store.chats
    assert flow.ti.xcoms["chat_id"] == second


def test_a_second_request_that_is_refused_does_not_make_the_first_forgotten(flow: Flow) -> None:
    flow.coze.script(scenarios.reset(after_commit=True), on=POST)
    flow.coze.script(scenarios.error(4101), on=POST)
    with pytest.raises(e.CozePermissionError):
        flow.attempt(on_unknown="resend")
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt()
    assert (flow.billed, flow.coze.asked(POST)) == (1, 2)


def test_a_status_that_nobody_knows_is_logged_and_waited_on(
    coze: Coze, plain: Run, caplog: pytest.LogCaptureFixture
) -> None:
    coze.script(scenarios.stream_cut(after_events=2), on=POST)
    odd = {"code": 0, "msg": "", "data": {"status": "contemplating"}}
    coze.script(scenarios.answer(200, odd), on=GET, times=3)
    assert ask(plain) == SAID
    assert caplog.text.count("contemplating") == 1


def test_a_stream_that_breaks_off_after_the_end_of_the_chat_is_an_answer(coze: Coze, plain: Run) -> None:
    whole = len(coze.emulator.handle(_request(coze)).frames or ())
    coze.emulator.reset()
    coze.script(scenarios.stream_cut(after_events=whole - 1, how="close"), on=POST)
    assert ask(plain) == SAID
    assert (coze.asked(GET), coze.asked(LIST)) == (0, 0)
    assert "execute_id" not in plain.xcoms, "only the last event has it"


def _request(coze: Coze) -> Any:
    from airflow_provider_coze.protocol.messages import Request

    body = {
        "workflow_id": CHATFLOW,
        "bot_id": ECHO_BOT,
        "additional_messages": [{"role": "user", "content": "hello", "content_type": "text"}],
    }
    return Request("POST", "/v1/workflows/chat", headers={"Authorization": f"Bearer {TOKEN}"}, json=body)


# --- replies that are lost

LOST = {
    "reset before": scenarios.reset(after_commit=False),
    "reset after": scenarios.reset(after_commit=True),
    "502 before": scenarios.bad_gateway(),
    "500 after": scenarios.server_error(after_commit=True),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_reply_is_what_on_unknown_says(flow: Flow, name: str) -> None:
    flow.coze.script(LOST[name], on=POST)
    lost = int(LOST[name].after_commit)
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt()
    assert (flow.billed, flow.coze.asked(POST)) == (lost, 1)
    flow.coze.fresh()
    flow.coze.script(LOST[name], on=POST)
    resending = Flow(flow.coze)
    assert resending.attempt(on_unknown="resend") == SAID
    assert (resending.billed, flow.coze.asked(POST)) == (lost + 1, 2)


def test_who_may_pay_twice_does_not_pay_for_ever(flow: Flow) -> None:
    flow.coze.script(scenarios.reset(after_commit=True), on=POST, times=None)
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt(on_unknown="resend")
    assert flow.billed == 2


def test_a_connection_that_is_refused_sends_nothing_and_leaves_no_doubt(flow: Flow) -> None:
    flow.coze.script(scenarios.refused())
    with pytest.raises(e.CozeTransportError) as caught:
        flow.attempt()
    assert caught.value.never_sent
    flow.coze.emulator.clear_faults()
    assert flow.attempt() == SAID
    assert flow.billed == 1


def test_a_rate_limit_is_waited_for(coze: Coze, plain: Run) -> None:
    coze.script(scenarios.rate_limited(retry_after=7), on=POST, times=2)
    assert ask(plain) == SAID
    assert coze.times(POST) == [0.0, 7.0, 14.0]
    assert len(coze.ledger) == 1


# --- deaths

#: Where the process dies: before the chat has a name, nobody can tell; from then on it is found.
BEFORE_A_NAME: dict[str, Callable[[Deaths], None]] = {
    "intent stored": lambda d: d.writing(Intent, lambda r: True, after=True),
    "sent": lambda d: d.sending(POST, after=True),
    "before the name is stored": lambda d: d.writing(Submitted, lambda r: r.delivered is None, after=False),
}
NAMED: dict[str, Callable[[Deaths], None]] = {
    "before the intent": lambda d: d.writing(Intent, lambda r: True, after=False),
    "name stored": lambda d: d.writing(Submitted, lambda r: r.delivered is None, after=True),
    "ended": lambda d: d.once(CozeChatflowOperator, "_finish"),
    "before delivery": lambda d: d.once(Purchase, "delivered"),
    "delivered": lambda d: d.once(Purchase, "delivered", after=True),
}
places = pytest.mark.parametrize(
    "place", ["task_state_store", pytest.param("state_path", marks=pytest.mark.matrix)], ids=str
)


@places
@pytest.mark.parametrize("point", NAMED)
def test_a_chatflow_is_billed_once_wherever_its_process_dies_but_before_it_has_a_name(
    coze: Coze, deaths: Deaths, point: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(coze, kept_in(place, tmp_path, monkeypatch))
    NAMED[point](deaths)
    flow.killed()
    assert flow.attempt() == SAID
    assert (flow.billed, coze.asked(POST)) == (1, 1)


@places
@pytest.mark.parametrize("point", BEFORE_A_NAME)
def test_a_death_before_it_has_a_name_is_told_to_a_person_and_no_retry_pays(
    coze: Coze, deaths: Deaths, point: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(coze, kept_in(place, tmp_path, monkeypatch))
    BEFORE_A_NAME[point](deaths)
    flow.killed()
    billed = flow.billed
    for _ in range(2):
        with pytest.raises(e.CozeOutcomeUnknownError, match="no retry sends anything"):
            flow.attempt()
        assert flow.billed == billed <= 1
    flow.clear()
    assert flow.attempt(on_unknown="resend") == SAID
    assert flow.billed == billed + 1


@pytest.mark.matrix
@pytest.mark.parametrize("first", ["name stored", "ended", "before delivery"])
@pytest.mark.parametrize("second", ["ended", "before delivery", "delivered"])
def test_two_deaths_in_a_row_change_nothing(coze: Coze, deaths: Deaths, first: str, second: str) -> None:
    flow = Flow(coze)
    for point in (first, second):
        NAMED[point](deaths)
        flow.killed(workflow_id=CHATFLOW)
    assert flow.attempt() == SAID
    assert flow.billed == 1


def test_a_killed_worker_says_that_the_chat_goes_on(
    coze: Coze, deaths: Deaths, caplog: pytest.LogCaptureFixture
) -> None:
    flow = Flow(coze)
    given = {"workflow_id": slow(coze)}
    NAMED["name stored"](deaths)
    flow.killed(**given)
    flow.worker.on_kill()
    [chat] = coze.emulator.store.chats
    assert f"Chat {chat} of chatflow {given['workflow_id']} goes on and is billed" in caplog.text
    # and so does one that goes on with it
    caplog.clear()
    deaths.once(CozeChatflowOperator, "_watched", after=False)
    flow.killed(**given)
    flow.worker.on_kill()
    assert f"Chat {chat} of chatflow {given['workflow_id']} goes on and is billed" in caplog.text


def test_a_worker_that_is_killed_after_the_answer_says_nothing_of_a_chat_that_goes_on(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    flow.attempt()
    flow.worker.on_kill()
    assert "goes on" not in caplog.text


# --- what a later try goes on with


def test_a_clear_after_success_asks_anew_and_a_retry_does_not(flow: Flow) -> None:
    assert flow.attempt() == SAID
    assert flow.attempt() == SAID
    assert flow.billed == 1
    flow.clear()
    assert flow.attempt() == SAID
    assert flow.billed == 2


def test_the_same_operator_object_may_run_again(flow: Flow) -> None:
    # as dag.test() and Airflow's own retries in one process may have it
    assert flow.attempt() == SAID
    task, context = flow.worker, {"ti": flow.ti, "task_state_store": flow.state}
    flow.coze.script(scenarios.error(4101), on=LIST, times=None)
    with pytest.raises(e.CozePermissionError):
        task.execute(context)  # what it says comes from Coze, not from what the object remembers
    assert flow.billed == 1


@pytest.mark.parametrize(("reuse", "billed"), [("always", 1), ("never", 2)])
def test_reuse_decides_after_a_clear(flow: Flow, reuse: str, billed: int) -> None:
    flow.attempt(reuse=reuse)
    flow.clear()
    assert flow.attempt(reuse=reuse) == SAID
    assert flow.billed == billed


def test_another_input_is_another_chat(flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
    flow.attempt()
    assert flow.attempt(message="other") == "You said: other"
    assert flow.billed == 2
    assert "the rendered input is not the recorded one's" in caplog.text


def test_mapped_tasks_do_not_share(flow: Flow) -> None:
    for index in (0, 1):
        flow.identity, flow.tries = {"map_index": index}, 0
        assert flow.attempt() == SAID
    assert flow.billed == 2


def test_a_task_that_is_not_durable_keeps_nothing_and_asks_anew(flow: Flow, deaths: Deaths) -> None:
    NAMED["ended"](deaths)
    flow.killed(durable=False)
    assert flow.attempt(durable=False) == SAID
    assert flow.billed == 2
    assert flow.state is not None
    assert flow.state.values == {}


def test_a_record_holds_ids_and_neither_question_nor_answer_nor_token(flow: Flow) -> None:
    flow.attempt(message="hello")
    assert flow.state is not None
    kept = json.dumps(flow.state.values)
    assert next(iter(flow.coze.emulator.store.chats)) in kept
    for secret in ("hello", SAID, TOKEN):
        assert secret not in kept


@pytest.mark.parametrize("broken", ["get", "set"])
def test_a_store_that_fails_before_the_start_stops_it(flow: Flow, broken: str) -> None:
    assert flow.state is not None
    flow.state.broken = {broken}
    with pytest.raises(e.CozeStateError):
        flow.attempt()
    assert flow.billed == 0


def test_a_store_that_fails_after_the_start_does_not_stop_the_work(flow: Flow) -> None:
    assert flow.state is not None
    state = flow.state
    flow.coze.before(POST, lambda: state.broken.add("set"))
    assert flow.attempt() == SAID
    state.broken.clear()
    with pytest.raises(e.CozeOutcomeUnknownError):
        flow.attempt()
    assert flow.billed == 1


# --- outputs


class City(BaseModel):
    name: str
    inhabitants: int


def test_a_typed_answer_is_plain_json(coze: Coze, plain: Run) -> None:
    made = coze.emulator.add_workflow(mode="chatflow", output='Here:\n```json\n{"name": "杭州", "inhabitants": 9}\n```')
    assert ask(plain, workflow_id=made.id, output_type=City) == {"name": "杭州", "inhabitants": 9}


def test_an_answer_of_another_type_is_an_error_that_quotes_nothing_and_is_not_paid_for_again(flow: Flow) -> None:
    made = flow.coze.emulator.add_workflow(mode="chatflow", output='{"name": "杭州", "inhabitants": "s3cret"}')
    for _ in range(2):
        with pytest.raises(e.CozeOutputTypeError, match="inhabitants") as caught:
            flow.attempt(workflow_id=made.id, output_type=City)
        assert "s3cret" not in str(caught.value)
        assert caught.value.chat_id == next(iter(flow.coze.emulator.store.chats))
        assert caught.value.workflow_id == made.id
        assert isinstance(caught.value, AirflowFailException)
    assert (flow.billed, flow.coze.asked(POST)) == (1, 1)


def test_an_answer_can_be_written_to_object_storage(plain: Run, tmp_path: Path) -> None:
    uri = ask(plain, output_path=f"file://{tmp_path}/answer.txt")
    assert uri == f"file://{tmp_path}/answer.txt"
    assert (tmp_path / "answer.txt").read_text(encoding="utf-8") == SAID


# --- questions


def test_a_chatflow_that_asks_is_answered_by_a_further_task_in_the_same_conversation(
    coze: Coze, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    asking = coze.emulator.add_workflow(
        mode="chatflow", interrupt=Interrupt("Which city?"), output=Template("{message} {answer}")
    )
    with pytest.raises(e.CozeChatRequiresActionError, match="asks a question") as caught:
        ask(run, workflow_id=asking.id, message="weather in")
    assert is_kind(caught.value, e.CozeChatRequiresActionError)
    assert isinstance(caught.value, AirflowFailException)
    assert "The bot says: Which city?" in caplog.text
    conversation = run.xcoms["conversation_id"]
    assert ask(run, workflow_id=asking.id, message="杭州", conversation_id=conversation) == "weather in 杭州"
    [billed] = coze.ledger
    assert (billed.continued, run.xcoms["execute_id"]) == (1, billed.id)


def test_a_retry_of_a_chatflow_that_asks_finds_it_asking_and_pays_for_nothing(flow: Flow) -> None:
    asking = flow.coze.emulator.add_workflow(mode="chatflow", interrupt=Interrupt("Which city?"))
    for _ in range(2):
        with pytest.raises(e.CozeChatRequiresActionError):
            flow.attempt(workflow_id=asking.id)
    assert flow.coze.asked(POST) == 1


# --- Coze Studio


def test_on_studio_a_chat_is_found_again_and_what_has_no_name_is_unknown(studio: Coze) -> None:
    own = studio.hook().create_conversation(bot_id=ECHO_BOT).id
    for events, billed in ((3, 1), (0, 2)):
        flow = Flow(studio)
        studio.script(scenarios.stream_cut(after_events=events), on=POST)
        if events:
            assert flow.attempt(conversation_id=own) == SAID
        else:
            with pytest.raises(e.CozeOutcomeUnknownError):
                flow.attempt(conversation_id=own)
        assert flow.billed == billed
