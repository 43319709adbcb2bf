"""Rows as chats: what is sent, how long it is waited for, and what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Item, Live
from airflow_provider_coze.batch.chats import Chats
from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.batch.rhythm import Rhythm
from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Seconds, Template
from airflow_provider_coze.errors import CozeChatRequiresActionError, CozeChatTimeoutError
from airflow_provider_coze.protocol.messages import Request, Send
from airflow_provider_coze.protocol.pacing import CHAT_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, Perform, VirtualTime, over_memory

ITEMS = tuple(Item(index, word, word, f"h{index}") for index, word in enumerate(("apple", "pear"), 3))


@pytest.fixture
def perform(emulator: Emulator, virtual_time: VirtualTime) -> Perform:
    return over_memory(emulator, "memory://emulator", virtual_time)


@pytest.fixture
def chats(emulator: Emulator, virtual_time: VirtualTime) -> Chats:
    bot = emulator.add_bot(answer=Template("You said: {message}"), duration=Seconds(20))
    return made(bot.id, virtual_time)


def made(bot_id: str, time: VirtualTime, **more: Any) -> Chats:
    shared: dict[str, Any] = {
        "user_id": "u",
        "options": {"meta_data": {"team": "a"}, "custom_variables": {"tone": "dry"}, "parameters": None},
        "reader": Reader(),
        "retry": RetryPolicy(),
        "rhythm": Rhythm(CHAT_POLLS),
        "clock": time,
        "row_timeout": None,
        "until": None,
    }
    return Chats(bot_id=bot_id, **{**shared, **more})


def request_of(chats: Chats, ask: Ask, conversation_id: str | None = None) -> Request:
    effect = next(chats.start(ask, "m1", conversation_id))
    assert isinstance(effect, Send)
    return effect.request


def test_the_message_and_the_chat_carry_the_marker_beside_what_was_given(chats: Chats) -> None:
    request = request_of(chats, Ask(ITEMS[:1]), "8")
    assert request.query["conversation_id"] == "8"
    body: Any = request.json
    assert body["meta_data"] == {"team": "a", "airflow": "m1"}
    assert body["custom_variables"] == {"tone": "dry"}
    [message] = body["additional_messages"]
    assert (message["content"], message["meta_data"]) == ("apple", {"airflow": "m1"})
    assert "parameters" not in body


def test_several_rows_are_one_message_with_their_indexes(virtual_time: VirtualTime) -> None:
    body: Any = request_of(made("7", virtual_time, instruction="Translate."), Ask(ITEMS)).json
    [message] = body["additional_messages"]
    assert message["content"].startswith("Translate.")
    assert json.loads(message["content"].split("Inputs:\n")[1]) == [
        {"index": 3, "input": "apple"},
        {"index": 4, "input": "pear"},
    ]


def test_one_is_sent_waited_for_and_read(chats: Chats, perform: Perform, virtual_time: VirtualTime) -> None:
    live = perform(chats.start(Ask(ITEMS[:1]), "m1", None))
    assert (live.marker, live.at, live.conversation_id) == ("m1", NOON, None)
    outcome = perform(chats.to_end(live))
    assert isinstance(outcome, Answered)
    assert outcome.outputs == {3: "You said: apple"}
    assert outcome.ids == live.ids
    assert outcome.usage is not None
    assert 20 <= virtual_time.now - NOON < 27


def test_one_of_another_process_is_looked_at_at_once(chats: Chats, perform: Perform, virtual_time: VirtualTime) -> None:
    live = perform(chats.start(Ask(ITEMS[:1]), "m1", None))
    virtual_time.sleep(1_000)
    before = virtual_time.now
    old = Live(live.ask, live.marker, live.at, live.ids, is_old=True)
    assert isinstance(perform(chats.to_end(old)), Answered)
    assert virtual_time.now == before


def test_when_the_batchs_time_is_up_it_goes_on(chats: Chats, perform: Perform, virtual_time: VirtualTime) -> None:
    limited = made(chats.bot_id, virtual_time, until=NOON + 10, row_timeout=300.0)
    assert perform(limited.to_end(perform(limited.start(Ask(ITEMS[:1]), "m1", None)))) is None
    assert virtual_time.now == NOON + 10


def test_when_its_own_time_is_up_it_is_cancelled(
    chats: Chats, perform: Perform, virtual_time: VirtualTime, emulator: Emulator
) -> None:
    limited = made(chats.bot_id, virtual_time, row_timeout=10.0)
    outcome = perform(limited.to_end(perform(limited.start(Ask(ITEMS[:1]), "m1", None))))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, CozeChatTimeoutError)
    assert "has been cancelled" in str(outcome.error)
    assert outcome.usage is not None
    assert [chat.status for chat in emulator.store.chats.values()] == ["canceled"]


def test_a_bot_that_wants_a_tool_has_failed(perform: Perform, virtual_time: VirtualTime) -> None:
    tools = made("7511000000000000005", virtual_time)
    outcome = perform(tools.to_end(perform(tools.start(Ask(ITEMS[:1]), "m1", None))))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, CozeChatRequiresActionError)


def test_no_repr_quotes_a_row_or_an_answer(chats: Chats, perform: Perform) -> None:
    live = perform(chats.start(Ask(ITEMS[:1]), "m1", None))
    outcome = perform(chats.to_end(live))
    assert "apple" not in repr((live, outcome))
