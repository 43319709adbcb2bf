"""How a chat lives, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze.emulator.definitions import (
    Failure,
    Immediate,
    Polls,
    Seconds,
    Template,
    Tokens,
    ToolCall,
    Turn,
)
from tests.emulator.conftest import NOON, Coze, chat_body, ids

ANALYST, ECHO, DRAFT, BROKE, TOOLS, SLEEPER = (f"751100000000000000{n}" for n in range(1, 7))


def test_a_chat_answers_after_its_seconds_and_not_before(coze: Coze) -> None:
    chat = coze.chat(ANALYST, "city,sales\nA,10\nB,20.5\nC,3")
    coze.emulator.advance(6.9)
    assert coze.retrieve(chat)["status"] == "in_progress"
    assert coze.data("GET", "/v3/chat/message/list", query=ids(chat)) == []
    coze.emulator.advance(0.1)
    done = coze.retrieve(chat)
    assert done["status"] == "completed"
    assert done["completed_at"] == NOON + 7
    assert coze.answer(chat) == (
        "The table has 3 rows and sales adds up to 33.5. The largest is B with 20.5, the smallest C with 3."
    )


def test_the_create_reply_says_in_progress_even_when_the_answer_is_there_already(coze: Coze) -> None:
    chat = coze.chat(ECHO, "hello")
    assert chat["status"] == "in_progress"
    assert coze.retrieve(chat)["status"] == "completed"


def test_the_create_reply_names_the_messages_it_inserted(coze: Coze) -> None:
    chat = coze.chat(ECHO, "hello")
    listed = coze.data("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]})
    assert [message["id"] for message in chat["inserted_additional_messages"]] == [listed[-1]["id"]]


@pytest.mark.parametrize(("polls", "statuses"), [(0, ["completed"]), (2, ["in_progress", "in_progress", "completed"])])
def test_polls_are_counted_by_status_reads(coze: Coze, polls: int, statuses: list[str]) -> None:
    bot = coze.emulator.add_bot(duration=Polls(polls))
    chat = coze.chat(bot.id, "x")
    coze.data("GET", "/v1/conversation/retrieve", query={"conversation_id": chat["conversation_id"]})
    assert [coze.retrieve(chat)["status"] for _ in statuses] == statuses


def test_whoever_reads_only_the_conversation_sees_the_answer_too(coze: Coze) -> None:
    bot = coze.emulator.add_bot(duration=Polls(1))
    chat = coze.chat(bot.id, "x")
    seen = [
        coze.data("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]})
        for _ in range(2)
    ]
    assert [[message["type"] for message in messages] for messages in seen] == [["question"], ["answer", "question"]]


def test_retrieve_is_the_same_by_get_and_by_post(coze: Coze) -> None:
    chat = coze.chat(ECHO, "hello")
    assert coze.data("POST", "/v3/chat/retrieve", query=ids(chat)) == coze.retrieve(chat)


def test_the_messages_are_verbose_first_and_leave_the_question_out(coze: Coze) -> None:
    chat = coze.chat(ECHO, "hello")
    shown = coze.data("GET", "/v3/chat/message/list", query=ids(chat))
    assert [message["type"] for message in shown] == ["verbose", "answer", "follow_up"]
    assert json.loads(shown[0]["content"])["msg_type"] == "generate_answer_finish"


def test_a_failed_chat_says_why_and_lists_no_data_at_all(coze: Coze) -> None:
    chat = coze.chat(BROKE, "hello")
    assert coze.retrieve(chat)["status"] == "in_progress"
    failed = coze.retrieve(chat)
    assert (failed["status"], failed["last_error"]["code"]) == ("failed", 4028)
    assert "data" not in coze.body("GET", "/v3/chat/message/list", query=ids(chat))


def test_a_chat_waits_for_tool_outputs_and_goes_on_with_them(coze: Coze) -> None:
    chat = coze.chat(TOOLS, "how warm is it?")
    coze.emulator.advance(3600)
    waiting = coze.retrieve(chat)
    assert waiting["status"] == "requires_action"
    (call,) = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("read_sensor", {"room": "B2"})
    outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "21 °C"}]}
    assert coze.data("POST", "/v3/chat/submit_tool_outputs", outputs, ids(chat))["status"] == "in_progress"
    assert coze.retrieve(chat)["status"] == "completed"
    assert coze.answer(chat) == "Sensor B2 says: 21 °C"
    assert coze.code("POST", "/v3/chat/submit_tool_outputs", outputs, ids(chat)) == 4000


def test_tool_outputs_must_answer_every_call_and_no_other(coze: Coze) -> None:
    bot = coze.emulator.add_bot(tool_calls=(ToolCall("a"), ToolCall("b")))
    chat = coze.chat(bot.id, "x")
    first, _ = coze.retrieve(chat)["required_action"]["submit_tool_outputs"]["tool_calls"]
    one = {"tool_outputs": [{"tool_call_id": first["id"], "output": "1"}]}
    assert coze.code("POST", "/v3/chat/submit_tool_outputs", one, ids(chat)) == 4000
    assert coze.retrieve(chat)["status"] == "requires_action"


def test_tool_outputs_of_a_chat_without_history_are_an_internal_error(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(TOOLS, "x", stream=True, auto_save_history=False))
    chat = events[0][1]
    body = {"tool_outputs": [{"tool_call_id": "CALL", "output": "1"}]}
    assert coze.code("POST", "/v3/chat/submit_tool_outputs", body, ids(chat)) == 5000


def test_cancelling_flips_the_status_frees_the_conversation_and_stays_billed(coze: Coze) -> None:
    chat = coze.chat(SLEEPER, "sleep 60: x")
    tokens = coze.emulator.ledger[0].tokens
    assert coze.data("POST", "/v3/chat/cancel", ids(chat))["status"] == "canceled"
    coze.chat(ECHO, "next", chat["conversation_id"])
    coze.emulator.advance(100)
    assert coze.retrieve(chat)["status"] == "canceled"
    assert coze.data("GET", "/v3/chat/message/list", query=ids(chat)) == []
    assert coze.emulator.ledger[0].tokens == tokens > 0


def test_a_cancelled_turn_is_no_context(coze: Coze) -> None:
    bot = coze.emulator.add_bot(answer=lambda turn: "|".join(turn.history), duration=Seconds(1))
    chat = coze.chat(bot.id, "cancelled")
    coze.data("POST", "/v3/chat/cancel", ids(chat))
    second = coze.chat(bot.id, "b", chat["conversation_id"])
    coze.emulator.advance(1)
    assert coze.answer(second) == ""


@pytest.mark.parametrize("bot_id", [ECHO, TOOLS])
def test_what_is_over_or_paused_cannot_be_cancelled(coze: Coze, bot_id: str) -> None:
    assert coze.code("POST", "/v3/chat/cancel", ids(coze.chat(bot_id, "x"))) == 4104


def test_a_conversation_runs_one_chat_at_a_time(coze: Coze) -> None:
    chat = coze.chat(SLEEPER, "sleep 5: x")
    again = ("POST", "/v3/chat", chat_body(ECHO, "y"), {"conversation_id": chat["conversation_id"]})
    assert coze.code(*again) == 4016
    coze.emulator.advance(5)
    assert coze.code(*again) == 0
    assert len(coze.emulator.ledger) == 2


def test_a_chat_that_waits_for_tools_does_not_occupy_its_conversation(coze: Coze) -> None:
    chat = coze.chat(TOOLS, "x")
    coze.chat(ECHO, "y", chat["conversation_id"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"bot_id": "7511000000000009999"}, 4200),
        ({"bot_id": DRAFT}, 4015),
        ({"bot_id": 7511000000000000002}, 4000),
        ({"user_id": 42}, 4000),
        ({"user_id": ""}, 4000),
        ({"auto_save_history": False}, 4007),
        ({"stream": "false"}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "content_type": "text"}] * 101}, 4004),
        ({"additional_messages": []}, 4000),
        ({"meta_data": {str(n): "x" for n in range(17)}}, 4003),
        ({"meta_data": {"k": "x" * 513}}, 4003),
        ({"meta_data": {"k" * 65: "x"}}, 4003),
        ({"meta_data": {"k": 1}}, 4000),
        ({"publish_status": "unpublished_draft", "bot_version": "1"}, 4000),
        ({"additional_messages": [{"role": "system", "content": "x", "content_type": "text"}]}, 4000),
        (
            {"additional_messages": [{"role": "user", "type": "follow_up", "content": "x", "content_type": "text"}]},
            4000,
        ),
        ({"additional_messages": [{"role": "user", "type": "answer", "content": "x", "content_type": "text"}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "content_type": "card"}]}, 4000),
        ({"additional_messages": [{"role": "user", "content": "x", "content_type": "object_string"}]}, 4000),
        (
            {
                "additional_messages": [
                    {"role": "user", "content": '[{"type":"text","text":"x"}]', "content_type": "object_string"}
                ]
            },
            4000,
        ),
        ({"additional_messages": [{"role": "user", "content_type": "text"}]}, 4005),
    ],
)
def test_a_bad_request_is_refused_and_costs_nothing(coze: Coze, body: dict[str, Any], code: int) -> None:
    response = coze.send("POST", "/v3/chat", {**chat_body(ECHO, "x"), **body})
    assert (response.status, json.loads(response.body)["code"]) == (200, code)
    assert coze.emulator.ledger == []


def test_the_checks_come_in_a_fixed_order(coze: Coze) -> None:
    body = chat_body(ECHO, "x", auto_save_history=False, meta_data={str(n): "x" for n in range(17)})
    body["additional_messages"] *= 101
    seen = []
    for repair in (
        {"bot_id": "1"},
        {"bot_id": DRAFT},
        {"bot_id": ECHO},
        {"auto_save_history": True},
        {"additional_messages": body["additional_messages"][:1]},
        {"meta_data": {}},
    ):
        body.update(repair)
        seen.append(coze.code("POST", "/v3/chat", body, {"conversation_id": "7512000000000000001"}))
    assert seen == [4200, 4015, 4007, 4004, 4003, 4002]


def test_the_conversation_belongs_into_the_query(coze: Coze) -> None:
    message = coze.body("POST", "/v3/chat", chat_body(ECHO, "x", conversation_id="7512000000000000001"))["msg"]
    assert "body.conversation_id is not a field" in message
    assert "?conversation_id=" in message


def test_an_unknown_field_is_named_unless_the_world_is_lenient(coze: Coze) -> None:
    body = chat_body(ECHO, "x", user_name="x")
    assert "body.user_name" in coze.body("POST", "/v3/chat", body)["msg"]
    coze.emulator.world.refuse_unknown_fields = False
    assert coze.code("POST", "/v3/chat", body) == 0


def test_files_travel_as_object_string(coze: Coze) -> None:
    parts = json.dumps(
        [{"type": "text", "text": "what is it?"}, {"type": "image", "file_url": "https://example.com/a"}]
    )
    message = {"role": "user", "content": parts, "content_type": "object_string"}
    chat = coze.data("POST", "/v3/chat", {**chat_body(ECHO, ""), "additional_messages": [message]})
    assert coze.answer(chat) == "You said: what is it?"


def test_nothing_of_an_unsaved_chat_can_be_read(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(ECHO, "x", stream=True, auto_save_history=False))
    chat = events[0][1]
    assert coze.code("GET", "/v3/chat/retrieve", query=ids(chat)) == 4001
    assert coze.data("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]}) == []


def test_the_ledger_has_one_entry_per_started_chat_with_both_markers(coze: Coze) -> None:
    message = {"role": "user", "content": "x", "content_type": "text", "meta_data": {"key": "m"}}
    chat = coze.data(
        "POST", "/v3/chat", {**chat_body(ECHO, ""), "additional_messages": [message], "meta_data": {"key": "c"}}
    )
    (entry,) = coze.emulator.ledger
    assert (entry.kind, entry.id, entry.conversation_id, entry.bot_id) == (
        "chat",
        chat["id"],
        chat["conversation_id"],
        ECHO,
    )
    assert entry.marker == {"meta_data": {"key": "c"}, "message_meta_data": {"key": "m"}}
    assert entry.started_at == NOON
    coze.retrieve(chat)
    assert coze.retrieve(chat)["usage"]["token_count"] == entry.tokens


def test_ids_are_strings_of_nineteen_digits_that_a_float_cannot_hold(coze: Coze) -> None:
    chat = coze.chat(ECHO, "x")
    for value in ids(chat).values():
        assert len(value) == 19
        assert int(float(value)) != int(value)


def test_an_answer_may_be_worked_out_from_all_that_was_asked(coze: Coze) -> None:
    seen: list[Turn] = []

    def answer(turn: Turn) -> str:
        seen.append(turn)
        return turn.upper()

    bot = coze.emulator.add_bot(answer=answer, duration=lambda turn: Seconds(len(turn)), tokens=Tokens(3, 4))
    chat = coze.chat(bot.id, "abc", custom_variables={"v": "1"}, parameters={"p": 2}, meta_data={"m": "3"})
    coze.emulator.advance(3)
    assert coze.retrieve(chat)["usage"] == {"token_count": 7, "output_count": 4, "input_count": 3}
    assert coze.answer(chat) == "ABC"
    assert (seen[0].variables, seen[0].parameters, seen[0].meta_data) == ({"v": "1"}, {"p": 2}, {"m": "3"})
    coze.chat(bot.id, "d", chat["conversation_id"])
    assert seen[1].history == ["abc", "ABC"]


@pytest.mark.parametrize("answer", [Template("{nothing}"), lambda turn: 1 / 0, "unused"])
def test_an_answer_that_cannot_be_worked_out_is_a_failed_chat(coze: Coze, answer: Any) -> None:
    failure = Failure(4011) if answer == "unused" else None
    bot = coze.emulator.add_bot(answer=answer, failure=failure, duration=Immediate())
    failed = coze.retrieve(coze.chat(bot.id, "x"))
    assert failed["status"] == "failed"
    assert failed["last_error"]["code"] == (4011 if failure else 5000)


def test_the_first_status_can_be_another(coze: Coze) -> None:
    coze.emulator.world.first_chat_status = "created"
    assert coze.chat(ECHO, "x")["status"] == "created"


def test_a_chat_of_another_conversation_or_nowhere_is_not_found(coze: Coze) -> None:
    chat = coze.chat(ECHO, "x")
    other = coze.chat(ECHO, "y")
    assert coze.code("GET", "/v3/chat/retrieve", query={**ids(chat), "chat_id": other["id"]}) == 4001
    assert coze.code("GET", "/v3/chat/retrieve", query={**ids(chat), "conversation_id": "1"}) == 4002
    assert coze.code("GET", "/v3/chat/retrieve", query={"chat_id": chat["id"]}) == 4000
