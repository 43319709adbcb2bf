"""``CozeHook.stream`` and ``astream``: the same events in both ways of waiting, with token, budget, dialect and retries of any call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, TOOL_BOT
from airflow_provider_coze.emulator.definitions import Failure, Immediate, Interrupt, OAuthApp, OutputNode, Seconds
from airflow_provider_coze.errors import CozeStreamTimeoutError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.hooks.streaming import AsyncEvents, Events
from airflow_provider_coze.protocol import sse
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.messages import Response, StreamCall
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.sse import Event
from airflow_provider_coze.protocol.streams import ChatflowFold, ChatFold, Fold
from tests import tasks
from tests.hooks.test_oauth_jwt import PEM, PUBLIC
from tests.tasks import NOON, Coze

#: Quick, but many: the unit suite has to stay under a minute.
pytestmark = pytest.mark.matrix

coze_site, coze, studio = tasks.coze_site, tasks.coze, tasks.studio

CHAT, RUN = "POST /v3/chat", "POST /v1/workflow/stream_run"
QUESTION: dict[str, Any] = {"role": "user", "content": "hello\n世界 🌏", "content_type": "text"}


def hello(bot_id: str = ECHO_BOT, **more: Any) -> StreamCall:
    return chats.stream_chat(bot_id=bot_id, user_id="u", additional_messages=[QUESTION], **more)


def blocking(hook: CozeHook, call: StreamCall, fold: Fold, **options: Any) -> list[str]:
    with hook.stream(call, **options) as events:
        return list(events.into(fold))


def on_a_loop(hook: CozeHook, call: StreamCall, fold: Fold, **options: Any) -> list[str]:
    async def read() -> list[str]:
        async with hook.astream(call, **options) as events:
            return [line async for line in events.into(fold)]

    return asyncio.run(read())


Into = Callable[..., list[str]]


@pytest.fixture(params=[blocking, on_a_loop], ids=lambda way: way.__name__)
def into(request: pytest.FixtureRequest) -> Into:
    """Every test using this runs once per way of waiting. No test may ask which."""
    way: Into = request.param
    return way


# --- what there is to read


def test_a_chat_is_read_as_it_grows_and_its_answer_is_the_one_that_stays_in_coze(coze: Coze, into: Into) -> None:
    hook, fold = coze.hook(), ChatFold()
    assert into(hook, hello(), fold) == ["You said: hello", "世界 🌏"]
    assert (fold.ended, fold.done) == (True, True)
    assert fold.chat is not None
    ids = {"conversation_id": fold.chat.conversation_id, "chat_id": fold.chat.id}
    assert hook.retrieve_chat(**ids).status == fold.chat.status == "completed"
    assert [(m.id, m.content) for m in hook.chat_messages(**ids) if m.type == "answer"] == [
        (m.id, m.content) for m in fold.messages if m.type == "answer"
    ]
    assert len(coze.ledger) == 1


def test_a_workflow_asks_and_its_answer_goes_on_in_a_second_stream(coze: Coze, into: Into) -> None:
    made = coze.emulator.add_workflow(
        output={"weather": "sunny"}, interrupt=Interrupt("Which city?"), nodes=[OutputNode("Note", "half\nway")]
    )
    first, second = RunFold(), RunFold()
    assert into(coze.hook(), workflows.stream_run(workflow_id=made.id, parameters={}), first) == ["Which city?"]
    assert first.interrupt is not None
    answer = workflows.stream_resume(
        workflow_id=made.id,
        event_id=first.interrupt["event_id"],
        interrupt_type=first.interrupt["type"],
        resume_data="Hangzhou",
    )
    assert into(coze.hook(), answer, second) == ["half", "way"]
    assert (second.output(), second.execute_id) == ({"weather": "sunny"}, first.execute_id)
    assert len(coze.ledger) == 1


def test_tools_of_a_chat_are_answered_in_a_second_stream(coze: Coze, into: Into) -> None:
    first = ChatFold()
    into(coze.hook(), hello(TOOL_BOT), first)
    assert first.chat is not None
    outputs = [{"tool_call_id": call["id"], "output": "21"} for call in first.tool_calls]
    second = ChatFold(first.chat, messages=first.messages)
    call = chats.stream_tool_outputs(
        conversation_id=first.chat.conversation_id, chat_id=first.chat.id, tool_outputs=outputs
    )
    assert into(coze.hook(), call, second) == second.answer().text.split("\n")
    assert (second.ids(), second.ended) == (first.ids(), True)
    assert second.answer().text


def test_a_chatflow_answers_in_the_conversation_that_is_named(coze: Coze, into: Into) -> None:
    made = coze.emulator.add_workflow(mode="chatflow", output="Fine.")
    conversation = coze.hook().create_conversation(bot_id=ECHO_BOT).id
    call = workflows.stream_chatflow(
        workflow_id=made.id,
        additional_messages=[QUESTION],
        conversation_id=conversation,
        options={"bot_id": ECHO_BOT},
    )
    fold = ChatflowFold()
    assert into(coze.hook(), call, fold) == ["Fine."]
    assert fold.ids()["conversation_id"] == conversation
    assert fold.execute_id


def test_the_log_id_of_the_answer_is_known_from_the_beginning(coze: Coze) -> None:
    with coze.hook().stream(hello()) as events:
        assert events.logid
        fold = ChatFold(logid=events.logid)
        list(events.into(fold))
    assert fold.chat is not None
    assert fold.chat.logid == events.logid


def test_events_can_be_read_one_by_one(coze: Coze) -> None:
    async def names() -> list[str]:
        async with coze.hook().astream(hello()) as events:
            return [event.event async for event in events]

    with coze.hook().stream(hello()) as events:
        read = [event.event for event in events]
        assert list(events) == []  # over is over
    assert read == asyncio.run(names())
    assert (read[0], read[-1]) == ("conversation.chat.created", "done")


# --- what is as with every other call


@pytest.mark.parametrize("status", [200, pytest.param(401, marks=pytest.mark.matrix)])
def test_a_token_that_is_refused_is_replaced_once_before_the_stream_begins(
    coze: Coze, into: Into, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    coze.world.oauth_apps.append(OAuthApp(client_id="1180", public_keys={"finger-print": PUBLIC}))
    extra = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "finger-print", "private_key": PEM}
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password=None, **extra))
    coze.script(scenarios.error(4100, status=status), on=CHAT)
    fold = ChatFold()
    into(coze.hook(), hello(), fold)
    assert fold.ended
    assert (coze.asked(CHAT), coze.asked("POST /api/permission/oauth2/token")) == (2, 2)
    assert len(coze.ledger) == 1


def test_streams_are_opened_in_the_rhythm_of_the_connection(
    coze: Coze, into: Into, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(chat_qps="0.5"))
    for _ in range(3):
        into(coze.hook(), hello(), ChatFold())
    assert coze.times(CHAT) == pytest.approx([0.0, 2.0, 4.0], abs=0.12)


def test_what_turns_a_stream_away_is_waited_out(coze: Coze, into: Into) -> None:
    coze.script(scenarios.rate_limited(retry_after=7), on=CHAT)
    fold = ChatFold()
    into(coze.hook(), hello(), fold)
    assert fold.ended
    assert coze.times(CHAT) == [0.0, 7.0]
    assert len(coze.ledger) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (scenarios.error(4000), e.CozeRejectedError),
        (scenarios.error(4101), e.CozePermissionError),
        (scenarios.error(4016), e.CozeConversationBusyError),
        (scenarios.server_error(after_commit=True), e.CozeUnavailableError),
        (scenarios.bad_gateway(after_commit=True), e.CozeUnavailableError),
        (scenarios.web_page(), e.CozeProtocolError),
        (scenarios.answer(200, {"code": 0, "data": {}}), e.CozeProtocolError),
        (scenarios.closed(after_commit=True), e.CozeTransportError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_answered_instead_of_a_stream_is_the_error_of_any_call_and_not_sent_again(
    coze: Coze, into: Into, fault: scenarios.Fault, kind: type[e.CozeError]
) -> None:
    coze.script(fault, on=CHAT, times=None)
    with pytest.raises(kind) as caught:
        into(coze.hook(), hello(), ChatFold())
    assert CHAT in str(caught.value)
    assert coze.asked(CHAT) == (1 if kind is not e.CozeConversationBusyError else coze.asked(CHAT))


def test_json_in_place_of_a_stream_says_what_is_not_known(coze: Coze, into: Into) -> None:
    coze.script(scenarios.answer(200, {"code": 0, "data": {}}, x_tt_logid="L1"), on=CHAT)
    with pytest.raises(e.CozeProtocolError, match="where a stream of events was asked for") as caught:
        into(coze.hook(), hello(), ChatFold())
    assert caught.value.logid
    assert "bills it, is not known" in str(caught.value)


def test_events_under_another_content_type_are_events(coze: Coze, into: Into) -> None:
    coze.script(scenarios.wrong_type(), on=CHAT)
    fold = ChatFold()
    assert into(coze.hook(), hello(), fold) == ["You said: hello", "世界 🌏"]
    assert fold.ended


# --- Coze Studio


def test_studio_streams_chats_and_runs_and_says_where_runs_can_be_seen(studio: Coze, into: Into) -> None:
    chat, run = ChatFold(), RunFold()
    assert into(studio.hook(), hello(), chat) == ["You said: hello", "世界 🌏"]
    assert (chat.ended, chat.done, chat.chat is not None) == (True, True, True)
    made = studio.emulator.add_workflow(output={"x": 1}, nodes=[OutputNode("Note", "half\nway")])
    call = workflows.stream_run(workflow_id=made.id, parameters={}, options={"workflow_version": "v1"})
    assert into(studio.hook(), call, run) == ["half", "way"]
    assert (run.ended, run.output()) == (True, {"x": 1})
    assert run.execute_id
    assert studio.bodies(RUN)[0]["version"] == "v1"


def test_studio_refuses_in_its_stream_what_the_cloud_refuses_instead_of_one(studio: Coze, into: Into) -> None:
    fold = ChatFold()
    assert into(studio.hook(), hello("7511999999999999999"), fold) == []
    assert (fold.ended, fold.chat) == (True, None)
    assert "agent not exists" in str(fold.failure(waited=0))


def test_studio_fails_without_a_failed_chat_which_is_then_looked_up(studio: Coze, into: Into) -> None:
    bot = studio.emulator.add_bot(failure=Failure(5000, "broke"), duration=Immediate())
    fold = ChatFold()
    into(studio.hook(), hello(bot.id), fold)
    assert not fold.ended
    assert fold.chat is not None
    read = studio.hook().retrieve_chat(conversation_id=fold.chat.conversation_id, chat_id=fold.chat.id)
    assert (read.status, read.last_error) == ("failed", None)
    explained = fold.explained(read).last_error
    assert explained is not None
    assert explained.code == 5000


def test_studio_takes_no_tool_outputs_and_nothing_is_sent(studio: Coze, into: Into) -> None:
    call = chats.stream_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=[])
    with pytest.raises(e.CozeInputError, match="Coze Studio has no"):
        into(studio.hook(), call, ChatFold())
    assert studio.seen == []


# --- streams that do not come to their end


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [1, 4])
def test_a_stream_that_breaks_off_is_an_error_and_the_fold_knows_where_the_chat_is(
    coze: Coze, into: Into, how: Any, after: int
) -> None:
    coze.script(scenarios.stream_cut(after_events=after, how=how), on=CHAT)
    fold = ChatFold()
    with pytest.raises(e.CozeTransportError, match="broke off") as caught:
        into(coze.hook(), hello(), fold)
    assert caught.value.never_sent is False
    assert (fold.ended, coze.asked(CHAT), len(coze.ledger)) == (False, 1, 1)
    if how == "close":  # of what is followed by a reset, a system may keep as much as it likes
        assert fold.ids()["chat_id"] == coze.ledger[0].id


def test_a_stream_that_seems_to_end_in_the_middle_is_no_success(coze: Coze, into: Into) -> None:
    coze.script(scenarios.stream_cut(after_events=3, how="end"), on=CHAT)
    fold = ChatFold()
    into(coze.hook(), hello(), fold)
    assert (fold.ended, fold.done) == (False, False)
    assert fold.chat is not None
    assert coze.hook().retrieve_chat(conversation_id=fold.chat.conversation_id, chat_id=fold.chat.id).id == fold.chat.id


def test_what_breaks_after_the_outcome_is_known_breaks_nothing(coze: Coze, into: Into) -> None:
    bot = coze.emulator.add_bot(answer="Yes", pieces=["Yes"], finish_message=False)  # five events, and done
    coze.script(scenarios.stream_cut(after_events=5, how="close"), on=CHAT)
    fold = ChatFold()
    assert into(coze.hook(), hello(bot.id), fold) == ["Yes"]
    assert (fold.ended, fold.done) == (True, False)


def test_pings_keep_a_long_run_alive_and_mean_nothing(coze: Coze, into: Into) -> None:
    made = coze.emulator.add_workflow(output="done", nodes=[OutputNode("N", list("abc"))], duration=Seconds(500))
    coze.script(scenarios.pings(), on=RUN)
    fold, begun = RunFold(), coze.emulator.now()
    assert into(coze.hook(), workflows.stream_run(workflow_id=made.id, parameters={}), fold) == ["abc"]
    assert (fold.output(), fold.is_whole, coze.emulator.now() - begun) == ("done", True, 500)


def test_the_end_of_the_callers_time_is_an_error_that_can_be_told_from_others(coze: Coze, into: Into) -> None:
    class WhileTimePasses(RunFold):
        def feed(self, event: Event) -> list[str]:
            coze.time.now += 30
            return super().feed(event)

    made = coze.emulator.add_workflow(output="x", nodes=[OutputNode("N", ["one\n", "two\n", "three\n"])])
    coze.script(scenarios.half_body(how="never"), on=RUN)
    fold = WhileTimePasses()
    with pytest.raises(CozeStreamTimeoutError) as caught:
        into(coze.hook(), workflows.stream_run(workflow_id=made.id, parameters={}), fold, until=NOON + 25)
    assert caught.value.never_sent is False
    assert (fold.ended, coze.asked(RUN)) == (False, 1)


def test_a_stream_for_which_there_is_no_time_left_is_not_begun_nor_tried_again(coze: Coze, into: Into) -> None:
    with pytest.raises(CozeStreamTimeoutError) as caught:
        into(coze.hook(), hello(), ChatFold(), until=NOON)
    assert (caught.value.never_sent, coze.seen, coze.time.slept) == (True, [], [])


def test_trying_again_ends_with_the_callers_time(coze: Coze, into: Into) -> None:
    coze.script(scenarios.rate_limited(retry_after=30), on=CHAT, times=None)
    with pytest.raises(e.CozeRateLimitedError):
        into(coze.hook(), hello(), ChatFold(), until=NOON + 40)
    assert coze.times(CHAT) == [0.0, 30.0]


def test_leaving_early_closes_the_connection_and_the_thread_goes_on(coze: Coze) -> None:
    coze.script(scenarios.half_body(how="never"), on=CHAT, times=None)
    threads = threading.active_count()

    async def leave() -> set[str]:
        async with coze.hook().astream(hello()) as events:
            async for _ in events:
                break
        return {task.get_name() for task in asyncio.all_tasks()}

    with coze.hook().stream(hello()) as events:
        next(events)
    left = asyncio.run(leave())
    assert {name for name in left if not name.startswith("Task-")} <= {"close-coze-connections"}
    assert threading.active_count() <= threads + 1  # asyncio's own pool keeps a thread until its loop is gone
    assert not coze.emulator.connections_open or _closes(coze)


def _closes(coze: Coze) -> bool:
    gone = threading.Event()
    for _ in range(500):
        if not coze.emulator.connections_open:
            return True
        gone.wait(0.002)
    return False


def test_an_event_that_cannot_be_understood_names_the_chat_it_is_about(coze: Coze, into: Into) -> None:
    first = '{"id":"1","conversation_id":"2","status":"created"}'
    events = f"event:conversation.chat.created\ndata:{first}\n\nevent:conversation.message.delta\ndata:<html>\n\n"
    coze.script(scenarios.answer(200, events, content_type="text/event-stream"), on=CHAT)
    with pytest.raises(e.CozeProtocolError, match="no JSON object") as caught:
        into(coze.hook(), hello(), ChatFold())
    assert (caught.value.chat_id, caught.value.conversation_id) == ("1", "2")
    assert "<html>" not in str(caught.value)


# --- the bytes, piece by piece


class Pieces:
    """A stream of bytes that a test hands out; the last word may be an error."""

    def __init__(self, *pieces: bytes | e.CozeTransportError) -> None:
        self._pieces = iter(pieces)
        self.closed = False

    def read(self) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, e.CozeTransportError):
            raise piece
        return piece

    def close(self) -> None:
        self.closed = True


class AsyncPieces(Pieces):
    async def read(self) -> bytes:  # type: ignore[override]
        return super().read()


async def _every(events: AsyncEvents, got: list[Event]) -> None:
    async for event in events:
        got.append(event)


@pytest.fixture(params=["blocking", "on a loop"])
def read(request: pytest.FixtureRequest) -> Callable[..., tuple[list[Event], Event | None, Exception | None]]:
    """Every test using this runs once per way of waiting. No test may ask which."""

    def reading(*pieces: bytes | e.CozeTransportError) -> tuple[list[Event], Event | None, Exception | None]:
        got: list[Event] = []
        failure: Exception | None = None
        events: Events | AsyncEvents
        try:
            if request.param == "blocking":
                events = Events(Response(200, {}, b"", stream=Pieces(*pieces)))
                for event in events:
                    got.append(event)
            else:
                events = AsyncEvents(Response(200, {}, b"", stream=AsyncPieces(*pieces)))
                asyncio.run(_every(events, got))
        except e.CozeError as error:
            failure = error
        return got, events.cut, failure

    return reading


BROKEN = e.CozeTransportError("broke", never_sent=False)


def test_a_last_event_without_its_blank_line_counts_when_it_is_whole(read: Any) -> None:
    assert read(b"event: Done\ndata: {}") == ([Event("Done", "{}")], None, None)
    assert read(b'event:done\ndata:"[DONE]"', BROKEN) == ([Event("done", '"[DONE]"')], None, BROKEN)


def test_what_is_left_of_a_last_event_is_kept_aside(read: Any) -> None:
    whole = Event("Message", "{}")
    half = b"event: Message\ndata: {}\n\nevent: Done\ndata: {"
    assert read(half) == ([whole], Event("Done", "{"), None)
    assert read(half, BROKEN) == ([whole], Event("Done", "{"), BROKEN)


def test_an_event_may_come_in_any_number_of_pieces(read: Any) -> None:
    stream = 'event: Message\ndata: {"content":"年🌏"}\n\n'.encode()
    pieces = [stream[i : i + 1] for i in range(len(stream))]
    assert read(*pieces) == ([Event("Message", '{"content":"年🌏"}')], None, None)


def test_an_event_without_an_end_is_given_up_after_those_before_it(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse.Decoder.__init__, "__defaults__", (40,))
    got, cut, failure = read(b"data: 1\n\ndata: " + b"x" * 50, b"x" * 50)
    assert (got, cut) == ([Event("message", "1")], None)
    assert isinstance(failure, e.CozeProtocolError)
    assert "larger than 40 bytes" in str(failure)


async def test_lines_reach_the_reader_while_the_stream_goes_on() -> None:
    arrived = asyncio.Event()

    class Slow(AsyncPieces):
        async def read(self) -> bytes:  # type: ignore[override]
            data = Pieces.read(self)
            if not data:
                await arrived.wait()
            return data

    message = '{"id":"9","chat_id":"1","conversation_id":"2","role":"assistant","type":"answer","content":"one\\ntwo"}'
    delta = f"event:conversation.message.delta\ndata:{message}\n\n".encode()
    events = AsyncEvents(Response(200, {}, b"", stream=Slow(delta)))
    lines: AsyncIterator[str] = events.into(ChatFold())
    assert await anext(lines) == "one"
    arrived.set()
    assert [line async for line in lines] == []
