"""Streams: the bytes of the recordings, the order and times of events, and what a stream leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator import sse
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Failure, Interrupt, OutputNode, Seconds, Tokens
from airflow_provider_coze.protocol.messages import Request
from tests.emulator.conftest import NOON, Coze, chat_body, ids

SAMPLES = Path(__file__).parents[1] / "samples"
ECHO, TOOLS, SLEEPER = "7511000000000000002", "7511000000000000005", "7511000000000000006"
ASKING, CHATFLOW = "7511500000000000005", "7511500000000000008"


def _recorded(operation: str, case: str) -> str:
    return str(json.loads((SAMPLES / operation / f"{case}.json").read_text(encoding="utf-8"))["body"])


def _anonymous(stream: str) -> str:
    """Replace ids by the order in which they appear, and times by their distance to the first."""
    seen: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return seen.setdefault(match[0], f"<id {len(seen)}>")

    stream = re.sub(r"\b\d{17,19}\b|\b(?:id|conv|execute|space|workflow)_\d+\b", named, stream)
    times = sorted(int(time) for time in re.findall(r"_at\":(\d{10})", stream))
    return re.sub(r"_at\":(\d{10})", lambda match: f'_at":+{int(match[1]) - times[0]}', stream)


def _stream(coze: Coze, path: str, body: dict[str, Any]) -> str:
    response = coze.send("POST", path, body)
    assert response.headers["content-type"] == "text/event-stream"
    return response.body.decode()


def test_a_chat_stream_is_the_recorded_one_byte_for_byte(coze: Coze) -> None:
    recorded = _recorded("chat_stream", "text")
    pieces = [json.loads(data)["content"] for data in re.findall(r"message\.delta\ndata:(.*)", recorded)]
    answer = re.findall(r"message\.completed\ndata:(.*)", recorded)
    bot = coze.emulator.add_bot(
        answer=json.loads(answer[0])["content"], pieces=pieces, finish_message=False, tokens=Tokens(614, 19)
    )
    assert _anonymous(_stream(coze, "/v3/chat", chat_body(bot.id, "?", stream=True))) == _anonymous(recorded)


def test_a_failed_chat_stream_ends_with_the_recorded_bytes(coze: Coze) -> None:
    bot = coze.emulator.add_bot(failure=Failure(5000, "event interval error"), duration=Seconds(1))
    stream = _stream(coze, "/v3/chat", chat_body(bot.id, "?", stream=True))
    recorded = _recorded("chat_stream", "failed")
    frames = stream.split("\n\n")
    assert frames[3] == 'event:done\ndata:"[DONE]"'
    # The recording starts with this event, so its first time is completed_at, a second before failed_at: as here.
    assert _anonymous(frames[2] + "\n\n") == _anonymous(recorded)


def test_a_workflow_stream_is_the_recorded_one_byte_for_byte(coze: Coze) -> None:
    coze.emulator.world.done_carries_debug_url = False
    recorded = _recorded("workflow_stream", "text")
    said = [json.loads(data)["content"] for data in re.findall(r"data: (.*)", recorded)[:-1]]
    workflow = coze.emulator.add_workflow(output=said[-1], nodes=[OutputNode("Message", said[:-1])])
    assert _stream(coze, "/v1/workflow/stream_run", {"workflow_id": workflow.id}) == recorded


def test_a_failed_workflow_stream_is_the_recorded_one_byte_for_byte(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(failure=Failure(4000, "Request parameter error"))
    stream = _stream(coze, "/v1/workflow/stream_run", {"workflow_id": workflow.id})
    assert stream == _recorded("workflow_stream", "error")


def test_an_interrupted_workflow_stream_is_the_recorded_one_byte_for_byte(coze: Coze) -> None:
    recorded = _recorded("workflow_stream", "interrupted")
    question = json.loads(re.findall(r"data: (.*)", recorded)[0])["content"]
    workflow = coze.emulator.add_workflow(interrupt=Interrupt(question, node_title="问答"))
    stream = _stream(coze, "/v1/workflow/stream_run", {"workflow_id": workflow.id})
    assert _anonymous(stream) == _anonymous(recorded)


def test_a_chatflow_stream_is_the_recorded_one_byte_for_byte(coze: Coze) -> None:
    recorded = _recorded("chatflow_stream", "text")
    pieces = [json.loads(data)["content"] for data in re.findall(r"message\.delta\ndata: (.*)", recorded)]
    workflow = coze.emulator.add_workflow(
        mode="chatflow", output="".join(pieces), pieces=pieces, tokens=Tokens(21, 11), duration=Seconds(1)
    )
    # A conversation whose first section has the conversation's own id, as the recorded one had.
    conversation = coze.emulator.store.new_conversation(owner="3901000000000000/")
    conversation.section_id = conversation.id
    body = {
        "workflow_id": workflow.id,
        "bot_id": ECHO,
        "conversation_id": conversation.id,
        "additional_messages": chat_body(ECHO, "How are you?")["additional_messages"],
    }
    assert _anonymous(_stream(coze, "/v1/workflows/chat", body)) == _anonymous(
        recorded.replace("space_111", "7510000000000000001")
    )


@pytest.mark.parametrize(
    ("operation", "case", "write"),
    [
        ("chat_stream", "text", lambda fields: sse.chat_event(fields["event"], json.loads(fields["data"]))),
        ("chat_stream", "failed", lambda fields: sse.chat_event(fields["event"], json.loads(fields["data"]))),
        *(
            (
                "workflow_stream",
                case,
                lambda fields: sse.workflow_event(
                    int(fields["id"]), fields["event"].strip(), json.loads(fields["data"])
                ),
            )
            for case in ("text", "error", "interrupted", "ping")
        ),
        *(
            (
                "chatflow_stream",
                case,
                lambda fields: sse.chatflow_event(fields["event"].strip(), json.loads(fields["data"])),
            )
            for case in ("text", "failed")
        ),
    ],
)
def test_every_recorded_event_is_written_as_it_was_read(operation: str, case: str, write: Any) -> None:
    recorded = _recorded(operation, case)
    events = [dict(line.split(":", 1) for line in block.splitlines()) for block in recorded.strip().split("\n\n")]
    assert b"".join(write(fields) for fields in events).decode() == recorded


def test_a_chat_stream_tells_its_story_in_order(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(ECHO, "hello there", stream=True))
    assert [name for name, _ in events] == [
        "conversation.chat.created",
        "conversation.chat.in_progress",
        *["conversation.message.delta"] * 4,
        *["conversation.message.completed"] * 3,
        "conversation.chat.completed",
        "done",
    ]
    assert [data["type"] for name, data in events if name == "conversation.message.completed"] == [
        "answer",
        "verbose",
        "follow_up",
    ]
    whole = "".join(data["content"] for name, data in events if name == "conversation.message.delta")
    assert whole == "You said: hello there"
    assert events[-1][1] == "[DONE]"


def test_what_was_streamed_can_be_read_afterwards(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(ECHO, "hello", stream=True))
    chat = events[0][1]
    assert coze.retrieve(chat)["status"] == "completed"
    streamed = [data["id"] for name, data in events if name == "conversation.message.completed"]
    listed = [message["id"] for message in coze.data("GET", "/v3/chat/message/list", query=ids(chat))]
    assert sorted(streamed) == sorted(listed)
    assert len(coze.emulator.ledger) == 1


def test_events_are_spread_over_the_time_a_chat_takes(emulator: Emulator) -> None:
    headers = {"Authorization": f"Bearer {emulator.token}"}
    body = chat_body(SLEEPER, "sleep 10: a b c d e", stream=True)
    reply = emulator.handle(Request("POST", "/v3/chat", headers=headers, json=body))
    assert reply.frames is not None
    times = [frame.at - NOON for frame in reply.frames]
    assert times[:7] == [0, 0, 2, 4, 6, 8, 10]
    assert times == sorted(times)


def test_a_cancelled_stream_keeps_flowing(emulator: Emulator, coze: Coze) -> None:
    headers = {"Authorization": f"Bearer {emulator.token}"}
    body = chat_body(SLEEPER, "sleep 10: a b", stream=True)
    reply = emulator.handle(Request("POST", "/v3/chat", headers=headers, json=body))
    assert reply.frames is not None
    chat = json.loads(reply.frames[0].data.partition(b"data:")[2])
    assert coze.data("POST", "/v3/chat/cancel", ids(chat))["status"] == "canceled"
    assert b"conversation.chat.completed" in reply.frames[-2].data
    emulator.advance(10)
    assert coze.retrieve(chat)["status"] == "canceled"


def test_a_stream_that_wants_a_tool_ends_and_goes_on_in_another(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(TOOLS, "?", stream=True))
    assert [name for name, _ in events][-2:] == ["conversation.chat.requires_action", "done"]
    chat = events[-2][1]
    (call,) = chat["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "21"}], "stream": True}
    rest = coze.events("POST", "/v3/chat/submit_tool_outputs", outputs, ids(chat))
    assert rest[0][1]["id"] == chat["id"]
    completed = [data["type"] for name, data in rest if name == "conversation.message.completed"]
    assert completed == ["function_call", "tool_response", "answer", "verbose"]


def test_errors_before_a_stream_are_ordinary_json(coze: Coze) -> None:
    response = coze.send("POST", "/v3/chat", chat_body("1", "x", stream=True))
    assert response.headers["content-type"].startswith("application/json")
    assert response.status == 200
    assert json.loads(response.body)["code"] == 4200


def test_a_streamed_run_has_numbered_events_and_a_history(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(output={"a": 1}, nodes=[OutputNode("Message", ["x", "y"])])
    stream = _stream(coze, "/v1/workflow/stream_run", {"workflow_id": workflow.id})
    assert re.findall(r"^id: (\d+)", stream, re.M) == ["0", "1", "2", "3"]
    debug_url = json.loads(stream.rpartition("data: ")[2])["debug_url"]
    execute_id = coze.emulator.ledger[0].id
    assert f"execute_id={execute_id}" in debug_url
    assert coze.history(workflow.id, execute_id)["run_mode"] == 1


def test_a_streamed_question_is_answered_at_stream_resume(coze: Coze) -> None:
    events = coze.events("POST", "/v1/workflow/stream_run", {"workflow_id": ASKING})
    assert [name for name, _ in events] == ["Message", "Interrupt"]
    interrupt = events[-1][1]["interrupt_data"]
    body = {
        "workflow_id": ASKING,
        "event_id": interrupt["event_id"],
        "interrupt_type": interrupt["type"],
        "resume_data": "Hangzhou",
    }
    rest = coze.events("POST", "/v1/workflow/stream_resume", body)
    assert json.loads(rest[0][1]["content"]) == {"output": "Hangzhou"}
    assert rest[-1][0] == "Done"
    assert coze.code("POST", "/v1/workflow/stream_resume", body) == 4315


def test_an_asynchronous_stream_run_does_not_exist(coze: Coze) -> None:
    assert coze.code("POST", "/v1/workflow/stream_run", {"workflow_id": ASKING, "is_async": True}) == 4000


def test_a_chatflow_needs_exactly_one_of_bot_and_app(coze: Coze) -> None:
    body = {"workflow_id": CHATFLOW, "additional_messages": chat_body(ECHO, "x")["additional_messages"]}
    assert coze.code("POST", "/v1/workflows/chat", body) == 4000
    assert coze.code("POST", "/v1/workflows/chat", {**body, "bot_id": ECHO, "app_id": "1"}) == 4000
    assert coze.code("POST", "/v1/workflows/chat", {**body, "bot_id": ECHO, "workflow_id": ASKING}) == 4000
    assert coze.code("POST", "/v1/workflows/chat", {**body, "bot_id": ECHO, "additional_messages": []}) == 4000


def test_a_chatflow_of_an_app_needs_to_know_its_conversation(coze: Coze) -> None:
    body = {
        "workflow_id": CHATFLOW,
        "app_id": "7511900000000000001",
        "additional_messages": chat_body(ECHO, "x")["additional_messages"],
    }
    events = coze.events("POST", "/v1/workflows/chat", body)
    assert events[-2] == (
        "conversation.chat.failed",
        {"code": "720702204", "msg": "The conversation name or conversation id is missing."},
    )
    body["parameters"] = {"CONVERSATION_NAME": "default"}
    assert coze.events("POST", "/v1/workflows/chat", body)[-2][0] == "conversation.chat.completed"


def test_a_chatflow_is_in_the_ledger_as_a_run(coze: Coze) -> None:
    body = {
        "workflow_id": CHATFLOW,
        "bot_id": ECHO,
        "parameters": {"marker": "m"},
        "additional_messages": chat_body(ECHO, "x")["additional_messages"],
    }
    events = coze.events("POST", "/v1/workflows/chat", body)
    (entry,) = coze.emulator.ledger
    assert (entry.kind, entry.workflow_id, entry.marker["parameters"]) == ("workflow", CHATFLOW, {"marker": "m"})
    assert f"execute_id={entry.id}" in events[-1][1]["debug_url"]
