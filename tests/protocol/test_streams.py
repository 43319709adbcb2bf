"""Folds: what became of a chat or a run, told from its events, and told honestly when the stream does not say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Failure, Interrupt, OutputNode, Tokens
from airflow_provider_coze.emulator.scenarios import pings
from airflow_provider_coze.protocol import outputs
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.endpoints import workflow as workflows
from airflow_provider_coze.protocol.messages import Call, Replay, Request, streamed
from airflow_provider_coze.protocol.models import Chat, LastError
from airflow_provider_coze.protocol.outcomes import run_error
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.sse import Decoder, Event
from airflow_provider_coze.protocol.streams import ChatflowFold, ChatFold, Fold, Lines, is_whole
from tests.driving import sample

CHAT, CONVERSATION = "7382159487131697202", "7381473525342978089"


def fed(fold: Fold, stream: bytes | Iterable[Event]) -> list[str]:
    """Feed a whole stream, and return what a person could read of it."""
    events = Decoder().feed(stream) if isinstance(stream, bytes) else stream
    return [line for event in events for line in fold.feed(event)]


def told(name: str, data: Any = None, id: int | None = None) -> Event:
    text = data if isinstance(data, str) else json.dumps(data or {}, ensure_ascii=False)
    return Event(name, text, None if id is None else str(id))


def chat_event(status: str, **more: Any) -> Event:
    return told(f"conversation.chat.{status}", {"id": "1", "conversation_id": "2", "status": status, **more})


def message(kind: str, content: str, step: str = "completed", id: str = "9", **more: Any) -> Event:
    data = {"id": id, "chat_id": "1", "conversation_id": "2", "role": "assistant", "type": kind, "content": content}
    return told(f"conversation.message.{step}", {**data, **more})


def said(
    content: str, title: str = "", seq: int = 0, *, last: bool = True, id: int | None = None, **more: Any
) -> Event:
    data = {"content": content, "node_title": title, "node_seq_id": str(seq), "node_is_finish": last, **more}
    return told("Message", data, id)


# --- a chat


def test_a_recorded_chat_is_completed_with_its_answer_ids_and_usage() -> None:
    fold = ChatFold(logid="20260101")
    assert fed(fold, sample("chat_stream", "text").body) == ["2024 年 10 月 1 日是星期三。"]
    assert (fold.ended, fold.done, fold.is_whole) == (True, True, True)
    assert fold.chat is not None
    assert (fold.chat.id, fold.chat.conversation_id, fold.chat.status) == (CHAT, CONVERSATION, "completed")
    assert fold.chat.bot_id == "7379462189365198898"
    assert fold.chat.logid == "20260101"
    assert fold.usage is not None
    assert fold.usage.to_dict() == {"token_count": 633, "input_count": 614, "output_count": 19}
    answer = fold.answer()
    assert (answer.text, answer.follow_ups) == ("2024 年 10 月 1 日是星期三。", [])
    assert not fold.unknown


def test_the_ids_of_a_chat_are_known_with_its_first_event() -> None:
    fold = ChatFold()
    assert fold.ids() == {"conversation_id": None}
    fold.feed(chat_event("created"))
    assert fold.ids() == {"chat_id": "1", "conversation_id": "2"}
    assert not fold.ended


def test_the_ids_of_a_chat_are_known_from_a_message_when_its_first_event_got_lost() -> None:
    fold = ChatFold()
    fold.feed(message("answer", "a", "delta"))
    assert fold.chat == Chat("1", "2", "in_progress")


def test_an_answer_is_shown_line_by_line_as_it_grows_and_its_rest_when_it_is_completed() -> None:
    fold = ChatFold()
    shown = [
        fold.feed(message("answer", piece, "delta")) for piece in ("One", " line\nTwo", "", " lines\n\nthree ", "🌏")
    ]
    assert shown == [[], ["One line"], [], ["Two lines", ""], []]
    assert not fold.is_whole
    assert fold.feed(message("answer", "One line\nTwo lines\n\nthree 🌏")) == ["three 🌏"]
    assert fold.is_whole


def test_an_answer_whose_pieces_got_lost_is_shown_whole() -> None:
    fold = ChatFold()
    fold.feed(message("answer", "line\n", "delta"))
    assert fold.feed(message("answer", "a line\nand another\n")) == ["a line", "and another"]
    assert fold.answer().text == "a line\nand another\n"


def test_only_text_that_the_bot_says_is_shown() -> None:
    fold = ChatFold()
    shown = fed(
        fold,
        [
            message("function_call", "{}", id="3"),
            message("verbose", "{}", id="4"),
            message("follow_up", "And now?", id="5"),
            message("answer", "{card}", "delta", id="6", content_type="card"),
            message("answer", "{card}", id="6", content_type="card"),
            told("conversation.audio.delta", {"content": "UklGRg=="}),
            message("answer", "text", id="7"),
        ],
    )
    assert shown == ["text"]
    assert fold.answer().follow_ups == ["And now?"]
    assert [kept.type for kept in fold.messages] == ["function_call", "verbose", "follow_up", "answer", "answer"]


def test_the_messages_of_a_stream_are_those_that_can_be_read_afterwards(emulator: Emulator) -> None:
    bot = emulator.add_bot(answer="One\ntwo", follow_ups=["Three?"])
    fold = ChatFold()
    fed(fold, over(emulator, chats.stream_chat(bot_id=bot.id, user_id="u", additional_messages=[QUESTION])))
    assert fold.chat is not None
    read = asked(emulator, chats.chat_messages(conversation_id=fold.chat.conversation_id, chat_id=fold.chat.id))
    assert outputs.answer_text(read) == fold.answer().text == "One\ntwo"
    assert outputs.follow_ups(read) == fold.answer().follow_ups == ["Three?"]
    assert {(one.id, one.type, one.content) for one in read} == {
        (one.id, one.type, one.content) for one in fold.messages
    }


def test_a_chat_that_failed_says_why() -> None:
    fold = ChatFold()
    fed(fold, sample("chat_stream", "failed").body)
    assert fold.ended
    assert fold.last_error == LastError(5000, "event interval error")
    error = fold.failure(waited=1)
    assert isinstance(error, e.CozeChatFailedError)
    assert (error.code, error.chat_id) == (5000, "7390342853760696354")


@pytest.mark.parametrize("code", [701231, "701231"])
def test_a_failure_may_be_a_code_and_a_message_only(code: Any) -> None:
    fold = ChatFold()
    fed(fold, [chat_event("created"), told("conversation.chat.failed", {"code": code, "msg": "error"})])
    assert fold.ended
    assert fold.chat == Chat("1", "2", "failed", last_error=LastError(701231, "error"))
    assert fold.failure(waited=1).code == 701231


def test_a_failure_before_the_chat_has_a_name_is_told_without_one() -> None:
    fold = ChatFold(conversation_id="2", logid="L1")
    fed(fold, [told("conversation.chat.failed", {"code": "720702204", "msg": "missing"})])
    assert (fold.ended, fold.chat) == (True, None)
    error = fold.failure(waited=0)
    assert isinstance(error, e.CozeChatFailedError)
    assert (error.code, error.msg, error.conversation_id, error.logid) == (720702204, "missing", "2", "L1")


def test_a_chat_that_wants_tools_says_which_and_goes_on_in_a_second_stream() -> None:
    first = ChatFold()
    fed(first, sample("chat_stream", "requires_action").body)
    assert (first.ended, first.done) == (True, True)
    assert [call["function"]["name"] for call in first.tool_calls] == ["read_sensor"]
    assert isinstance(first.failure(waited=1), e.CozeChatRequiresActionError)

    second = ChatFold(first.chat, messages=first.messages)
    assert (second.ended, second.tool_calls) == (False, ())
    assert second.ids() == first.ids()
    fed(second, [message("answer", "21"), told("conversation.chat.completed", {"status": "completed"})])
    assert second.chat is not None
    assert (second.chat.id, second.chat.status, second.answer().text) == ("7512000000000000201", "completed", "21")


@pytest.mark.parametrize("name", ["canceled", "cancelled"])
def test_a_cancelled_chat_has_ended(name: str) -> None:
    fold = ChatFold()
    fed(fold, [chat_event("created"), told(f"conversation.chat.{name}", {})])
    assert fold.ended
    assert isinstance(fold.failure(waited=1), e.CozeChatCanceledError)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [chat_event("created"), chat_event("in_progress")],
        [chat_event("created"), message("answer", "whole")],
        [chat_event("created"), told("done", '"[DONE]"')],
        [chat_event("created"), told("conversation.stream.done", "")],
        [chat_event("created"), told("conversation.chat.surprised", {"status": "completed"})],
        [chat_event("created"), told("error", {})],
        [chat_event("created"), told("error", {"code": 4013, "msg": "later"})],
    ],
    ids=lambda events: ", ".join(event.event.rpartition(".")[2] for event in events) or "nothing",
)
def test_a_stream_that_does_not_say_how_the_chat_ended_leaves_that_open(events: list[Event]) -> None:
    fold = ChatFold()
    fed(fold, events)
    assert not fold.ended


@pytest.mark.parametrize("data", ['"[DONE]"', "[DONE]", "", "{}"])
def test_an_end_may_be_written_in_any_way(data: str) -> None:
    fold = ChatFold()
    fed(fold, [chat_event("completed"), Event("done", data)])
    assert (fold.ended, fold.done) == (True, True)


def test_studio_ends_a_stream_in_a_word_of_its_own() -> None:
    fold = ChatFold()
    fed(fold, Decoder().feed(b'event:conversation.chat.completed\ndata:{"id":"1","conversation_id":"2"}\n\n'))
    fed(fold, Decoder().feed(b"event:conversation.stream.done\ndata:\n\n"))
    assert (fold.ended, fold.done) == (True, True)


def test_studio_refuses_a_chat_in_its_stream_before_it_has_a_name() -> None:
    fold = ChatFold()
    fold.feed(told("error", {"code": 103100001, "msg": "code=103100002 message=agent not exists"}))
    assert (fold.ended, fold.chat) == (True, None)
    error = fold.failure(waited=0)
    assert error.code == 103100001
    assert "agent not exists" in str(error)


def test_the_reason_that_only_the_stream_gave_is_kept_for_a_chat_that_is_read_afterwards() -> None:
    fold = ChatFold()
    fed(fold, [chat_event("created"), told("error", {"code": "5000", "msg": "broke"})])
    assert fold.explained(Chat("1", "2", "failed")).last_error == LastError(5000, "broke")
    own = Chat("1", "2", "failed", last_error=LastError(7, "own"))
    assert fold.explained(own) is own
    assert fold.explained(Chat("1", "2", "completed")).last_error is None


def test_an_error_in_words_only_is_not_a_crash() -> None:
    fold = ChatFold()
    fold.feed(told("error", "stream broke"))
    assert (fold.error, fold.ended) == (LastError(0, "stream broke"), False)


def test_events_that_nobody_knows_are_counted_and_do_nothing() -> None:
    fold = ChatFold()
    fed(fold, [told("conversation.chat.surprised"), told("message", "hi"), told("message", "hi")])
    assert fold.unknown == {"conversation.chat.surprised": 1, "message": 2}


@pytest.mark.parametrize("data", ["", "{", '{"id":"1"', "[]", "null", "7", '"text"', "<html>", "[" * 500])
@pytest.mark.parametrize("name", ["conversation.chat.completed", "conversation.message.completed", "Message", "Error"])
def test_an_event_that_holds_no_object_is_an_error_that_names_the_work_and_not_the_data(name: str, data: str) -> None:
    fold: ChatFold | RunFold
    if name.startswith("conversation"):
        fold = ChatFold()
        fold.feed(chat_event("created"))
    else:
        fold = RunFold(execute_id="75")
    with pytest.raises(e.CozeProtocolError) as caught:
        fold.feed(Event(name, data))
    assert name in str(caught.value)
    assert f"holds {len(data)} characters" in str(caught.value)
    assert (caught.value.chat_id, caught.value.execute_id) in [("1", None), (None, "75")]
    if data not in ("", "7", "{"):
        assert data not in str(caught.value)
    assert not fold.ended


# --- a chatflow


def test_a_recorded_chatflow_is_a_chat_that_says_where_its_run_can_be_seen() -> None:
    fold = ChatflowFold()
    assert fed(fold, sample("chatflow_stream", "text").body) == ["I'm fine, thank you. How about you?"]
    assert (fold.ended, fold.done) == (True, True)
    assert fold.debug_url is not None
    assert fold.debug_url.startswith("https://www.coze.cn/work_flow?execute_id=execute_1111&space_id=")
    assert fold.ids() == {
        "chat_id": "id_1111",
        "conversation_id": "conv_111111111",
        "execute_id": "execute_1111",
        "debug_url": fold.debug_url,
    }
    assert fold.answer().text == "I'm fine, thank you. How about you?"


def test_a_failed_chatflow_has_its_code_in_a_string() -> None:
    fold = ChatflowFold()
    fed(fold, sample("chatflow_stream", "failed").body)
    error = fold.failure(waited=1)
    assert (error.code, error.chat_id) == (720702204, "7512000000000000201")
    assert fold.execute_id == "7513000000000000002"


# --- a run


def test_a_recorded_run_returns_what_its_end_node_says_and_shows_what_the_others_say() -> None:
    fold = RunFold(logid="L1")
    joke = "为什么小明要带一把尺子去看电影因为他听说电影很长，怕坐不下！"
    assert fed(fold, sample("workflow_stream", "text").body) == [f"msg{joke}"]
    assert (fold.ended, fold.done, fold.is_whole) == (True, True, True)
    assert fold.output() == {"output": "为什么小明要带一把尺子去看电影？因为他听说电影很长，怕坐不下！"}
    assert (fold.execute_id, fold.debug_url, fold.result().logid) == ("", None, "L1")


@pytest.mark.parametrize(
    ("output", "nodes"),
    [
        ({"rows": 42, "名": "行"}, []),
        ("plain text", [OutputNode("Half", ["way", "\n", "there"])]),
        ('{"content_type":1,"data":"text","original_result":null,"type_for_model":2}', []),
        ("", [OutputNode("Half", ["way"])]),
        ([1, 2], []),
    ],
    ids=str,
)
def test_the_output_of_a_stream_is_the_one_of_the_record(
    emulator: Emulator, output: Any, nodes: list[OutputNode]
) -> None:
    workflow = emulator.add_workflow(output=output, nodes=nodes)
    fold = RunFold()
    fed(fold, over(emulator, workflows.stream_run(workflow_id=workflow.id, parameters={})))
    assert (fold.ended, fold.is_whole) == (True, True)
    record = asked(emulator, workflows.run_history(workflow_id=workflow.id, execute_id=fold.execute_id))
    assert fold.output() == outputs.history_output(record.output or "")
    assert outputs.history_output(fold.record().output or "") == fold.output()
    assert fold.record().execute_status == record.execute_status == "Success"
    assert fold.record().debug_url == record.debug_url


def test_the_end_is_the_node_of_that_type_where_types_are_named() -> None:
    fold = RunFold()
    shown = fed(
        fold,
        [
            said("half\nway", "Note", node_type="Message", node_id="1"),
            said('{"x":1}', "End", node_type="End", node_id="900001"),
            said("a line after the end", "Note", node_type="Message", node_id="3"),
            told("Done", {"debug_url": "https://www.coze.cn/work_flow?execute_id=75&space_id=1"}),
        ],
    )
    assert fold.output() == {"x": 1}
    assert shown == ["half", "way", "a line after the end"]
    assert fold.execute_id == "75"
    assert json.loads(fold.record().output or "") == {"Note": "a line after the end", "Output": '{"x":1}'}


def test_without_types_the_end_is_what_has_a_cost_or_no_title_else_the_last_that_finished() -> None:
    for last in (said("end", ""), said("end", "End", cost="0.00"), said("end", "Reply", token=0)):
        fold = RunFold()
        fed(fold, [last, said("later", "Note"), told("Done")])
        assert fold.output() == "end"
    fold = RunFold()
    fed(fold, [said("first", "A"), said("second", "B"), said("half", "C", last=False), told("Done")])
    assert fold.output() == "second"


def test_where_only_output_nodes_spoke_the_output_is_an_object_of_them() -> None:
    fold = RunFold()
    fed(fold, [said('{"x":1}', "A", node_type="Message"), said("text", "B", node_type="Message"), told("Done")])
    assert fold.output() == {"A": {"x": 1}, "B": "text"}
    assert outputs.history_output(fold.record().output or "") == fold.output()


def test_a_node_that_speaks_again_in_a_loop_begins_anew() -> None:
    fold = RunFold()
    shown = fed(
        fold,
        [
            said("row ", "Row", 0, last=False),
            said("one", "Row", 1),
            said("row two", "Row", 0),
            said("twins ", "Twin", 0, last=False, node_execute_uuid="a"),
            said("x", "Twin", 0, last=False, node_execute_uuid="b"),
            said("here", "Twin", 1, node_execute_uuid="a"),
            said("y", "Twin", 1, node_execute_uuid="b"),
            said("end", ""),
        ],
    )
    assert shown == ["row one", "row two", "twins here", "xy"]
    assert fold.is_whole


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([said("a", "A", 0, last=False, id=0), said("c", "A", 2, id=1)], 1),
        ([said("b", "A", 1, id=0)], 1),
        ([said("a", "A", id=0), told("Done", id=3)], 2),
        ([said("a", "A", id=1), told("Done", id=2)], 1),
        ([said("a", "A", id=0), told("PING", {"content": "{}"}, 1), told("Done", id=2)], 0),
        ([said("a", "A", id=0), told("PING", {"content": "{}"}, 0), told("Done", id=1)], 0),
        ([said("a", "A", id=0), told("PING", "no JSON"), told("Done", id=1)], 0),
        ([said("a", "A"), Event("Done", "{}", "no number")], 0),
    ],
)
def test_what_the_numbers_say_is_missing_is_noticed(events: list[Event], lost: int) -> None:
    fold = RunFold()
    fed(fold, events)
    assert fold.lost == lost
    assert fold.is_whole is (lost == 0)


def test_a_question_is_an_end_with_the_runs_id_and_the_words_that_came_before() -> None:
    fold = RunFold()
    assert fed(fold, sample("workflow_stream", "interrupted").body) == ["请问你想查看哪个城市、哪一天的天气呢"]
    assert (fold.ended, fold.done, fold.execute_id) == (True, True, "7404830425073352713")
    assert fold.interrupt == {
        "data": "",
        "event_id": "7404830425073352713/2769808280134765896",
        "type": 2,
        "node_title": "问答",
    }
    assert fold.question == "请问你想查看哪个城市、哪一天的天气呢"
    error = run_error(fold.record(), workflow_id="44", waited=1)
    assert isinstance(error, e.CozeRunInterruptedError)
    assert error.interrupt == fold.interrupt


def test_a_run_that_failed_says_why() -> None:
    fold = RunFold()
    fed(fold, sample("workflow_stream", "error").body)
    assert (fold.ended, fold.error) == (True, LastError(4000, "Request parameter error"))
    error = run_error(fold.record(), workflow_id="44", waited=1)
    assert isinstance(error, e.CozeRunFailedError)
    assert (error.code, error.msg) == (4000, "Request parameter error")


def test_studio_fails_with_a_place_to_look_at() -> None:
    fold = RunFold()
    fold.feed(told("Error", {"debug_url": "http://h/work_flow?execute_id=75", "error_code": 1, "error_message": "no"}))
    assert (fold.execute_id, fold.record().execute_status) == ("75", "Fail")


@pytest.mark.parametrize(
    ("data", "ended"),
    [({"error_code": 4000, "error_message": "no"}, True), ({"code": "5000", "msg": "no"}, True), ("no", False)],
    ids=str,
)
def test_an_error_in_small_letters_is_of_the_run_only_if_it_has_a_code(data: Any, ended: bool) -> None:
    fold = RunFold()
    fold.feed(told("error", data))
    assert fold.ended is ended
    assert fold.error is not None
    assert fold.error.msg == "no"


@pytest.mark.parametrize(
    "events", [[], [said("a", "A")], [told("PING", {"content": "{}"})], [told("Surprise")], [told("error", "x")]]
)
def test_a_stream_that_does_not_say_how_the_run_ended_leaves_that_open(events: list[Event]) -> None:
    fold = RunFold()
    fed(fold, events)
    assert not fold.ended
    assert fold.record().execute_status == "Running"
    assert fold.record().output is None


def test_what_comes_after_a_failure_does_not_make_it_a_success() -> None:
    fold = RunFold()
    fed(fold, [told("Error", {"error_code": 1, "error_message": "no"}), told("Done", {})])
    assert fold.record().execute_status == "Fail"


def test_tokens_are_read_from_where_coze_puts_them() -> None:
    usage = {"token_count": 3, "input_count": 2, "output_count": 1}
    old, new = RunFold(), RunFold()
    fed(old, [said("x", token=7)])
    fed(new, [said("x", usage=usage, token=7)])
    assert old.usage is not None
    assert old.usage.token_count == 7
    assert new.usage is not None
    assert new.usage.to_dict() == usage


def test_pings_of_a_long_run_are_no_losses_and_no_output(emulator: Emulator) -> None:
    workflow = emulator.add_workflow(output={"x": 1}, nodes=[OutputNode("N", ["a", "b", "c"])])
    emulator.script(pings(every_events=1), on="POST /v1/workflow/stream_run")
    fold = RunFold()
    assert fed(fold, over(emulator, workflows.stream_run(workflow_id=workflow.id, parameters={}))) == ["abc"]
    assert (fold.output(), fold.lost, fold.unknown) == ({"x": 1}, 0, {})


def test_a_question_is_answered_in_a_second_stream_of_the_same_run(emulator: Emulator) -> None:
    workflow = emulator.add_workflow(output="sunny", interrupt=Interrupt("Which city?"), tokens=Tokens(1, 2))
    first, second = RunFold(), RunFold()
    fed(first, over(emulator, workflows.stream_run(workflow_id=workflow.id, parameters={})))
    assert first.interrupt is not None
    assert first.question == "Which city?"
    answer = workflows.stream_resume(
        workflow_id=workflow.id,
        event_id=first.interrupt["event_id"],
        interrupt_type=first.interrupt["type"],
        resume_data="Hangzhou",
    )
    fed(second, over(emulator, answer))
    assert (second.output(), second.execute_id) == ("sunny", first.execute_id)


def test_a_failing_workflow_fails_in_its_stream(emulator: Emulator) -> None:
    workflow = emulator.add_workflow(failure=Failure(720701002, "broke"))
    fold = RunFold()
    fed(fold, over(emulator, workflows.stream_run(workflow_id=workflow.id, parameters={})))
    assert (fold.ended, fold.error) == (True, LastError(720701002, "broke"))


# --- what the end of a stream cuts off


@pytest.mark.parametrize(
    ("operation", "case"),
    [
        ("chat_stream", "text"),
        pytest.param("chatflow_stream", "text", marks=pytest.mark.matrix),
        ("workflow_stream", "interrupted"),
        ("workflow_stream", "text"),
    ],
)
def test_a_stream_that_ends_anywhere_is_never_a_success_too_early_and_never_a_crash(operation: str, case: str) -> None:
    body = sample(operation, case).body
    terminal = body.index(
        {
            "chat_stream": b"event:conversation.chat.completed",
            "chatflow_stream": b"event: conversation.chat.completed",
        }.get(operation, b"event: Interrupt" if case == "interrupted" else b"event: Done")
    )
    for end in range(len(body)):
        fold: Fold = {"chat_stream": ChatFold, "chatflow_stream": ChatflowFold}.get(operation, RunFold)()
        decoder = Decoder()
        fed(fold, decoder.feed(body[:end]))
        cut = decoder.close()
        if cut is not None and is_whole(cut):
            fold.feed(cut)
        elif cut is not None:
            fold.rescue(cut)
        if end <= terminal:
            assert not fold.ended


def test_ids_are_rescued_from_the_event_that_was_cut() -> None:
    body = sample("chat_stream", "text").body
    for end in range(body.index(b'"bot_id"'), body.index(b"\n\n")):
        fold, decoder = ChatFold(), Decoder()
        assert decoder.feed(body[:end]) == []
        cut = decoder.close()
        assert cut is not None
        fold.rescue(cut)
        assert fold.ids() == {"chat_id": CHAT, "conversation_id": CONVERSATION}
        assert not fold.ended


def test_half_an_id_is_none() -> None:
    fold = ChatFold(conversation_id="2")
    fold.rescue(Event("conversation.chat.created", '{"id":"738215'))
    assert fold.chat is None
    fold.rescue(Event("conversation.message.delta", '{"id":"9","chat_id":"1","content":"not the "chat'))
    assert fold.chat == Chat("1", "2", "in_progress")
    fold.rescue(Event("conversation.chat.created", '{"id":"7"'))
    assert fold.ids()["chat_id"] == "1"


@pytest.mark.parametrize(
    ("data", "execute_id"),
    [
        ('{"interrupt_data":{"event_id":"75/27', "75"),
        ('{"debug_url":"https://www.coze.cn/work_flow?execute_id=75\\u0026sp', "75"),
        ('{"debug_url":"http://h/work_flow?space_id=1&execute_id=75"', "75"),
        ('{"debug_url":"https://www.coze.cn/work_flow?execute_id=7', ""),
        ('{"content":"75', ""),
    ],
)
def test_the_id_of_a_run_is_rescued_too(data: str, execute_id: str) -> None:
    fold = RunFold()
    fold.rescue(Event("Done", data))
    assert (fold.execute_id, fold.ended) == (execute_id, False)


@pytest.mark.parametrize(
    ("event", "whole"),
    [
        (Event("Done", "{}"), True),
        (Event("done", '"[DONE]"'), True),
        (Event("done", "[DONE]"), True),
        (Event("conversation.stream.done", ""), True),
        (Event("Done", '{"debug_url":"x"'), False),
        (Event("done", '"[DON'), False),
        (Event("Done", ""), False),
        (Event("Message", "7"), False),
    ],
)
def test_only_a_last_event_that_is_whole_counts_without_its_blank_line(event: Event, whole: bool) -> None:
    assert is_whole(event) is whole


# --- and


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_text_comes_out_whole_however_the_bytes_are_cut(size: int) -> None:
    text = "年🌏👩‍👩‍👧é\nx" * 3
    body = "".join(
        f"event:{event.event}\ndata:{event.data}\n\n"
        for event in [
            chat_event("created"),
            *(message("answer", piece, "delta") for piece in text),
            message("answer", text),
            chat_event("completed"),
        ]
    ).encode()
    fold, decoder = ChatFold(), Decoder()
    shown = [
        line
        for start in range(0, len(body), size)
        for event in decoder.feed(body[start : start + size])
        for line in fold.feed(event)
    ]
    assert shown == text.split("\n")
    assert fold.answer().text == text


def test_a_long_line_in_many_pieces_takes_no_time() -> None:
    lines = Lines()
    for _ in range(200_000):
        assert lines.add("abc") == []
    assert lines.end() == ["abc" * 200_000]


QUESTION: dict[str, Any] = {"role": "user", "content": "hello", "content_type": "text"}


def asked(emulator: Emulator, call: Call[Any]) -> Any:
    return call.parse(json.loads(answered(emulator, call.request)))


def over(emulator: Emulator, call: Call[None]) -> bytes:
    return answered(emulator, call.request)


def answered(emulator: Emulator, request: Request) -> bytes:
    headers: Mapping[str, str] = {"Authorization": f"Bearer {emulator.token}"}
    return emulator.respond(
        Request(request.method, request.path, query=request.query, headers=headers, json=request.json)
    ).body


@pytest.mark.parametrize(
    ("call", "path", "query", "body", "permission", "budget"),
    [
        (
            chats.stream_chat(bot_id="11", user_id="u", additional_messages=[QUESTION], conversation_id="22", options={"bot_version": "3"}),
            "/v3/chat",
            {"conversation_id": "22"},
            {
                "bot_id": "11",
                "user_id": "u",
                "stream": True,
                "auto_save_history": True,
                "additional_messages": [QUESTION],
                "bot_version": "3",
            },
            "chat",
            "chat",
        ),
        (
            chats.stream_tool_outputs(conversation_id="22", chat_id="33", tool_outputs=[{"tool_call_id": "c", "output": "21"}]),
            "/v3/chat/submit_tool_outputs",
            {"conversation_id": "22", "chat_id": "33"},
            {"tool_outputs": [{"tool_call_id": "c", "output": "21"}], "stream": True},
            "submitToolChat",
            "chat",
        ),
        (
            workflows.stream_run(workflow_id="44", parameters={"n": 1}, options={"app_id": None, "bot_id": "11"}),
            "/v1/workflow/stream_run",
            {},
            {"workflow_id": "44", "parameters": {"n": 1}, "bot_id": "11"},
            "run",
            "workflow",
        ),
        (
            workflows.stream_resume(workflow_id="44", event_id="1/2", interrupt_type=5, resume_data="x"),
            "/v1/workflow/stream_resume",
            {},
            {"workflow_id": "44", "event_id": "1/2", "interrupt_type": 5, "resume_data": "x"},
            "run",
            "workflow",
        ),
        (
            workflows.stream_chatflow(workflow_id="44", additional_messages=[QUESTION], conversation_id="22", options={"app_id": "9"}),
            "/v1/workflows/chat",
            {},
            {
                "workflow_id": "44",
                "additional_messages": [QUESTION],
                "parameters": {},
                "conversation_id": "22",
                "app_id": "9",
            },
            "run",
            "workflow",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "",
)  # fmt: skip
def test_an_operation_that_is_answered_with_events_is_asked_as_documented_and_never_sent_twice(
    call: Call[None], path: str, query: Any, body: Any, permission: str, budget: str
) -> None:
    request = call.request
    assert (request.method, request.path, request.query, request.json) == ("POST", path, query, body)
    assert request.stream
    assert (call.replay, call.permission, request.budget) == (Replay.IF_NEVER_SENT, permission, budget)
    assert call.parse is streamed


def test_resuming_a_run_that_was_not_streamed_gives_its_handle_or_result() -> None:
    call = workflows.resume_workflow(workflow_id="44", event_id="1/2", interrupt_type=2, resume_data="x")
    assert (call.request.path, call.request.stream, call.replay) == (
        "/v1/workflows/resume",
        False,
        Replay.IF_NEVER_SENT,
    )
    assert call.request.json == {"workflow_id": "44", "event_id": "1/2", "interrupt_type": 2, "resume_data": "x"}
    assert call.parse(json.loads(sample("workflow_resume", "sync").body)).data is not None
    assert call.parse(json.loads(sample("workflow_resume", "async").body)).execute_id
