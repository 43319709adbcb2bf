"""Bytes become events: as the recordings have them, as the standard has them, and however the network cuts them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.errors import CozeProtocolError
from airflow_provider_coze.protocol import sse
from airflow_provider_coze.protocol.sse import Decoder, Event
from airflow_provider_coze.transports import wire
from tests.driving import NOON, SAMPLES, sample
from tests.emulator.conftest import Coze, chat_body

RECORDED = [
    (operation, path.stem)
    for operation in ("chat_stream", "workflow_stream", "chatflow_stream")
    for path in sorted((SAMPLES / operation).glob("*.json"))
]


def decoded(chunks: Iterable[bytes]) -> list[Event]:
    """Return the events of a stream that ends between two of them."""
    decoder = Decoder()
    events = fed(decoder, chunks)
    assert decoder.close() is None
    return events


def fed(decoder: Decoder, chunks: Iterable[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def of(text: str) -> list[Event]:
    return decoded([text.encode()])


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


# --- what Coze sends


def test_a_chat_is_read_without_blanks_and_ids_and_with_a_quoted_end() -> None:
    events = decoded([sample("chat_stream", "text").body])
    assert [event.event for event in events] == [
        "conversation.chat.created",
        "conversation.chat.in_progress",
        *["conversation.message.delta"] * 4,
        "conversation.message.completed",
        "conversation.chat.completed",
        "done",
    ]
    assert "".join(json.loads(event.data)["content"] for event in events[2:6]) == "20星期三。"
    assert events[-1] == Event("done", '"[DONE]"')
    assert {event.id for event in events} == {None}


def test_an_unquoted_end_is_data_like_any_other() -> None:
    assert of("event: done\ndata: [DONE]\n\n") == [Event("done", "[DONE]")]


def test_a_workflow_is_read_with_a_blank_after_the_colon_and_an_id_for_each_event() -> None:
    events = decoded([sample("workflow_stream", "text").body])
    assert [event.id for event in events] == ["0", "1", "2", "3", "4", "5", "6"]
    assert [event.event for event in events] == ["Message"] * 6 + ["Done"]
    assert events[-1].data == "{}"
    assert json.loads(events[1].data)["content"] == "为"


@pytest.mark.parametrize(
    ("case", "last"),
    [
        ("error", Event("Error", '{"error_code":4000,"error_message":"Request parameter error"}', "0")),
        ("ping", Event("Done", "{}", "2")),
    ],
)
def test_a_workflow_may_end_in_other_ways(case: str, last: Event) -> None:
    assert decoded([sample("workflow_stream", case).body])[-1] == last


def test_an_interrupted_workflow_names_its_event_id() -> None:
    *_, interrupt = decoded([sample("workflow_stream", "interrupted").body])
    assert (interrupt.event, interrupt.id) == ("Interrupt", "1")
    assert json.loads(interrupt.data)["interrupt_data"]["event_id"] == "7404830425073352713/2769808280134765896"


def test_a_chatflow_is_read_with_blanks_and_without_ids() -> None:
    events = decoded([sample("chatflow_stream", "text").body])
    assert [event.event for event in events][-2:] == ["conversation.chat.completed", "done"]
    assert json.loads(events[-1].data)["debug_url"].endswith("workflow_id=workflow_1111")
    assert {event.id for event in events} == {None}


def test_the_end_of_coze_studios_chats_has_a_data_line_with_nothing_in_it() -> None:
    # coze-studio backend/api/handler/coze/agent_run_service.go
    assert of("event:conversation.stream.done\ndata:\n\n") == [Event("conversation.stream.done", "")]


@pytest.mark.parametrize(("operation", "case"), RECORDED)
def test_a_recording_gives_the_same_events_wherever_it_is_cut(operation: str, case: str) -> None:
    stream = sample(operation, case).body
    whole = decoded([stream])
    assert len(whole) == stream.count(b"\n\n")
    assert decoded(bytewise(stream)) == whole
    for cut in range(len(stream) + 1):
        assert decoded([stream[:cut], stream[cut:]]) == whole


@pytest.mark.parametrize(("operation", "case"), RECORDED)
def test_wherever_a_recording_breaks_off_the_whole_events_are_there_and_the_cut_is_told(
    operation: str, case: str
) -> None:
    stream = sample(operation, case).body
    whole = decoded([stream])
    for length in range(len(stream)):
        decoder = Decoder()
        events = decoder.feed(stream[:length])
        assert events == whole[: stream[:length].count(b"\n\n")]
        between = length == 0 or stream[:length].endswith(b"\n\n")
        assert (decoder.close() is None) == between


@pytest.mark.parametrize("dialect", ["cloud", "studio"])
def test_the_streams_of_the_emulator_are_read(dialect: Literal["cloud", "studio"]) -> None:
    emulator = Emulator(dialect=dialect, clock=lambda: NOON)
    coze = Coze(emulator)
    bot = emulator.add_bot(answer="42 rows", pieces=["42", " rows"])
    stream = coze.send("POST", "/v3/chat", chat_body(bot.id, "?", stream=True)).body
    events = decoded(bytewise(stream))
    said = [json.loads(event.data)["content"] for event in events if event.event == "conversation.message.delta"]
    assert "".join(said) == "42 rows"
    assert events[-1] == (Event("done", '"[DONE]"') if dialect == "cloud" else Event("conversation.stream.done", ""))
    workflow = emulator.add_workflow(output='{"rows":42}')
    (first, *_, last) = decoded(
        bytewise(coze.send("POST", "/v1/workflow/stream_run", {"workflow_id": workflow.id}).body)
    )
    assert (first.event, first.id, last.event) == ("Message", "0", "Done")


# --- what the standard says, with its own examples


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [Event("message", "YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [
                Event("message", "first event", "1"),
                Event("message", "second event", ""),
                Event("message", " third event"),
            ],
        ),
        ("data\n\ndata\ndata\n\n", [Event("message", ""), Event("message", "\n")]),
        ("data:test\n\ndata: test\n\n", [Event("message", "test"), Event("message", "test")]),
        (
            "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
            [Event("add", "73857293"), Event("remove", "2153")],
        ),
    ],
    ids=["lines of data", "comment, ids", "no colon", "one blank", "names"],
)
def test_the_examples_of_the_standard_are_read_as_it_says(stream: str, events: list[Event]) -> None:
    assert of(stream) == events


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_any_line_end_will_do_and_may_be_cut_in_half(end: str) -> None:
    stream = f"id: 1{end}event: a{end}data: x{end}data: y{end}{end}data: z{end}{end}".encode()
    assert decoded([stream]) == [Event("a", "x\ny", "1"), Event("message", "z")]
    assert decoded(bytewise(stream)) == decoded([stream])


def test_an_event_that_ends_in_a_carriage_return_does_not_wait_for_what_comes_next() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: x\r\r") == [Event("message", "x")]
    assert decoder.feed(b"") == []  # says nothing about what comes next
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: y\r\n\r") == [Event("message", "y")]


def test_line_ends_may_be_mixed() -> None:
    assert of("data: a\r\ndata: b\rdata: c\n\r\n") == [Event("message", "a\nb\nc")]


def test_other_characters_that_python_takes_for_line_ends_are_data() -> None:
    assert of("data: a\x0bb\x0cc\x85d\u2028e\n\n") == [Event("message", "a\x0bb\x0cc\x85d\u2028e")]


def test_comments_are_skipped_inside_of_events_too() -> None:
    assert of(": hello\ndata: a\n:\n:data: no\ndata: b\n\n: bye\n") == [Event("message", "a\nb")]


def test_only_one_blank_after_the_colon_goes() -> None:
    assert of("event:  a\ndata:\tb \n\n") == [Event(" a", "\tb ")]


@pytest.mark.parametrize("line", ["retry: 3000", "colour: red", "colour", "DATA: x", " data: x", "data : x"])
def test_other_fields_are_ignored(line: str) -> None:
    assert of(f"{line}\ndata: a\n\n") == [Event("message", "a")]


def test_an_event_without_a_data_line_is_none_and_leaves_nothing_to_the_next() -> None:
    assert of("event: a\nid: 1\n\ndata: b\n\n") == [Event("message", "b")]


def test_an_id_is_not_inherited_because_a_missing_number_is_a_lost_event() -> None:
    assert [event.id for event in of("id: 7\ndata: a\n\ndata: b\n\nid: 9\ndata: c\n\n")] == ["7", None, "9"]


def test_an_id_with_a_null_in_it_is_ignored() -> None:
    assert of("id: 1\nid: 2\0\ndata: a\n\n") == [Event("message", "a", "1")]


def test_the_last_name_counts() -> None:
    assert of("event: a\nevent: b\nevent:\ndata: x\n\nevent: a\nevent: b\ndata: y\n\n") == [
        Event("message", "x"),
        Event("b", "y"),
    ]


def test_a_byte_order_mark_is_skipped_at_the_start_only() -> None:
    mark = "\ufeff".encode()
    stream = mark + b"data: a\n\n" + mark + b"data: b\n\ndata: " + mark + b"c\n\n"
    assert decoded([stream]) == decoded(bytewise(stream)) == [Event("message", "a"), Event("message", "\ufeffc")]


def test_characters_that_are_cut_in_two_are_put_together() -> None:
    stream = "event: 完成\ndata: 星期三😀\n\n".encode()
    assert decoded(bytewise(stream)) == [Event("完成", "星期三😀")]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    stream = b"event: \xff\ndata: a\xe6\x98\ndata: \x9fb\nid: \xed\xa0\x80\n\n"
    assert decoded([stream]) == decoded(bytewise(stream)) == [Event("�", "a�\n�b", "���")]


# --- the end


@pytest.mark.parametrize(
    ("stream", "cut"),
    [
        (b"", None),
        (b"\n\n\n", None),
        (b"data: a\n\n", None),
        (b"data: a\n\n: still here", None),
        (b"data: a\n\n: still here\n", None),
        (b"event: done\ndata: [DONE]\n", Event("done", "[DONE]")),
        (b"event: done\ndata: [DONE]", Event("done", "[DONE]")),
        (b'event: conversation.chat.created\ndata: {"id":"1"', Event("conversation.chat.created", '{"id":"1"')),
        (b"id: 3\nevent: Mess", Event("Mess", "", "3")),
        (b"id: 3\n\nid: 4\n", Event("message", "", "4")),
        (b'{"code":4100}', Event("message", "")),
        (b"data: \xe6\x98", Event("message", "�")),
    ],
)
def test_what_the_end_cuts_off_is_handed_out_as_far_as_it_came(stream: bytes, cut: Event | None) -> None:
    decoder = Decoder()
    decoder.feed(stream)
    assert decoder.close() == cut
    assert decoder.close() is None


# --- bounds and secrecy


def test_an_event_may_be_as_large_as_an_answer() -> None:
    assert sse.MAX_EVENT_BYTES == wire.MAX_BODY_BYTES


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 100,
        b"event: a\n" + b"data: xxxx\n" * 20,
        b"id: a\n" * 40,
        b"colour: red\n" * 40,
        b": " + b"x" * 100,
        b"data: a\r\n: " + b"x" * 100,
        b"x" * 100,
    ],
    ids=["a line", "data", "ids", "unknown fields", "a comment", "a comment in an event", "no field"],
)
def test_an_event_that_grows_too_large_is_refused_before_it_ends_wherever_it_is_cut(stream: bytes) -> None:
    for chunks in ([stream], bytewise(stream)):
        decoder = Decoder(max_event_bytes=64)
        with pytest.raises(CozeProtocolError, match=r"larger than 64 bytes.*charges for it"):
            fed(decoder, chunks)
        with pytest.raises(CozeProtocolError, match="larger than 64 bytes"):
            decoder.feed(b"\n\ndata: a\n\n")
        with pytest.raises(CozeProtocolError, match="larger than 64 bytes"):
            decoder.close()


def test_what_was_complete_before_the_event_that_is_too_large_is_returned_first() -> None:
    decoder = Decoder(max_event_bytes=64)
    assert decoder.feed(b"data: a\n\ndata: b\n\ndata: " + b"x" * 100) == [Event("message", "a"), Event("message", "b")]
    with pytest.raises(CozeProtocolError):
        decoder.close()


def test_the_bound_is_of_one_event_and_counts_no_comments_that_are_over() -> None:
    event = b"data: " + b"x" * 57
    assert len(event) == 63
    decoder = Decoder(max_event_bytes=64)
    for _ in range(10):
        assert decoder.feed(b": ping\n" * 30) == []
        assert decoder.feed(event + b"\n\n") == [Event("message", "x" * 57)]
    with pytest.raises(CozeProtocolError):
        decoder.feed(b"data: " + b"x" * 58 + b"\n\n")


def test_what_was_said_is_in_no_repr() -> None:
    assert "secret" not in repr(of("event: a\ndata: secret\n\n"))
