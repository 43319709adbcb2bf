"""The stand-in answers what Coze's samples say, through our own parsers; and counts what it is asked."""

from __future__ import annotations

import asyncio
import json

import pytest

from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import chat, conversation, workflow
from airflow_provider_coze.protocol.messages import Call, Response, Send
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.benchmarks import standin
from tests.benchmarks.standin import Connection, Site, duration, per_second, worst_second


def parsed(site: Site, call: Call) -> object:
    flow = flows.call(call, RetryPolicy(attempts=1))
    request = next(flow)
    assert isinstance(request, Send)
    request = request.request
    query = "&".join(f"{name}={value}" for name, value in (request.query or {}).items())
    answer = site.answer(request.method.encode(), f"{request.path}?{query}".encode(), json.dumps(request.json).encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    headers = {
        name.decode().lower(): value.decode()
        for name, value in (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    }
    with pytest.raises(StopIteration) as done:
        flow.send(Response(int(head.split()[1]), headers, body, "http://127.0.0.1"))
    return done.value.value


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    now = [1000.0]
    monkeypatch.setattr(standin.time, "time", lambda: now[0])
    site = Site("5")
    site.now = now
    return site


def test_a_chat_goes_from_its_start_to_its_answer(site: Site) -> None:
    started = parsed(site, chat.create_chat(bot_id=standin.BOT, user_id="u", additional_messages=[]))
    ids = {"conversation_id": started.conversation_id, "chat_id": started.id}
    assert parsed(site, chat.retrieve_chat(**ids)).status == "in_progress"
    site.now[0] += 5
    ended = parsed(site, chat.retrieve_chat(**ids))
    assert (ended.id, ended.conversation_id, ended.status) == (started.id, started.conversation_id, "completed")
    answer = parsed(site, chat.chat_messages(**ids))[0]
    assert (answer.chat_id, answer.content) == (started.id, "Run 42 succeeded: positive.")
    assert site.chats[started.id].noticed == 1005


def test_a_run_goes_from_its_start_to_its_end(site: Site) -> None:
    run = parsed(site, workflow.run_workflow(workflow_id=standin.WORKFLOW, parameters={}, is_async=True))
    history = workflow.run_history(workflow_id=standin.WORKFLOW, execute_id=run.execute_id)
    assert parsed(site, history).execute_status == "Running"
    site.now[0] += 5
    ended = parsed(site, history)
    assert (ended.execute_id, ended.execute_status) == (run.execute_id, "Success")


def test_conversations_are_made(site: Site) -> None:
    made = [parsed(site, conversation.create_conversation()).id for _ in range(2)]
    assert len(set(made)) == 2


def test_the_last_chats_are_found_by_their_conversation_and_question(site: Site) -> None:
    asked = {"role": "user", "content": "Hello", "content_type": "text", "meta_data": {"airflow": "key"}}
    for number in range(60):
        site.now[0] += 1
        started = parsed(site, chat.create_chat(bot_id=standin.BOT, user_id=f"u{number}", additional_messages=[asked]))
    page = parsed(site, conversation.list_conversations(bot_id=standin.BOT))
    assert (len(page.conversations), page.has_more) == (50, True)
    assert (page.conversations[0].id, page.conversations[0].created_at) == (started.conversation_id, 1060)
    rest = parsed(site, conversation.list_conversations(bot_id=standin.BOT, page_num=2))
    assert (len(rest.conversations), rest.has_more) == (10, False)
    question = parsed(site, conversation.conversation_messages(conversation_id=started.conversation_id)).messages[0]
    assert (question.chat_id, question.meta_data) == (started.id, {"airflow": "key"})


def test_answers_are_as_long_as_coze_s(site: Site) -> None:
    body = standin.CHAT_GOES_ON(b"7" * 19, b"8" * 19).partition(b"\r\n\r\n")[2]
    assert json.loads(body)["data"]["id"] == "7" * 19
    assert 400 <= len(body) <= 900


def test_requests_are_counted_by_kind_class_and_second(site: Site) -> None:
    for at in (1000.0, 1000.9, 1001.5, 1003.0):
        site.now[0] = at
        site.answer(b"GET", b"/v3/chat/retrieve?chat_id=1&conversation_id=2")
    site.answer(b"GET", b"/v1/workflows/1/run_histories/2")
    stats = site.stats()
    assert stats["requests"]["retrieve"] == 4
    assert stats["worst"] == {"chat": 2, "workflow": 1, "other": 0}
    assert stats["per_second"]["chat"] == [2, 1, 0, 1]
    assert stats["distinct"] == {"chats": 1, "runs": 1}


def test_what_is_over_the_limit_is_refused_and_another_class_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin.time, "time", lambda: 1000.0)
    site = Site(limit=2)
    chats = [site.answer(b"POST", b"/v3/chat")[9:12] for _ in range(3)]
    assert (chats, site.answer(b"POST", b"/v1/workflow/run")[9:12]) == ([b"200", b"200", b"429"], b"200")
    assert site.stats()["refused"] == 1
    monkeypatch.setattr(standin.time, "time", lambda: 1001.0)
    assert site.answer(b"POST", b"/v3/chat")[9:12] == b"200"


def test_chats_can_be_begun_without_being_counted(site: Site) -> None:
    begun = site.begin(3, spread=6)
    assert [site.chats[id_].began for id_ in begun] == [1000, 1002, 1004]
    assert not any(site.stats()["requests"].values())


def test_a_window_slides() -> None:
    assert worst_second([]) == 0
    assert worst_second([0.0, 0.9, 1.0, 1.8, 1.9]) == 4
    assert per_second([5.0, 5.9, 7.0], 5.0) == [2, 0, 1]


@pytest.mark.parametrize("text", ["uniform:2..20", "log:2..20"])
def test_durations_are_spread_evenly_between_their_bounds(text: str) -> None:
    draw = duration(text)
    drawn = [draw() for _ in range(500)]
    assert 2 <= min(drawn) < 2.1
    assert 19.9 < max(drawn) <= 20
    # Half of them are below the middle: of the seconds, or of their logarithms.
    middle = 11 if text.startswith("uniform") else 40**0.5
    assert sum(seconds < middle for seconds in drawn) == pytest.approx(250, abs=2)


class Wire:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


async def test_requests_are_understood_however_they_are_cut(site: Site) -> None:
    wire, connection = Wire(), Connection(site, 0)
    connection.connection_made(wire)
    sent = b'POST /v3/chat HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"a":"b"}GET /v1/conversations HTTP/1.1\r\n\r\n' * 2
    for at in range(len(sent)):
        connection.data_received(sent[at : at + 1])
    byte_by_byte, wire.written = wire.written, b""
    connection.data_received(sent)
    assert byte_by_byte.count(b"HTTP/1.1 200 OK") == wire.written.count(b"HTTP/1.1 200 OK") == 4
    assert (site.stats()["requests"]["chat"], site.stats()["requests"]["conversations"]) == (4, 4)


async def test_the_latency_is_of_each_answer(site: Site) -> None:
    wire, connection = Wire(), Connection(site, 0.001)
    connection.connection_made(wire)
    connection.data_received(b"GET /v1/conversations HTTP/1.1\r\n\r\n")
    assert wire.written == b""
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 200 OK")
