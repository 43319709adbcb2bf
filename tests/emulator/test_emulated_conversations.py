"""Conversations and their messages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_coze.emulator.definitions import AccessToken
from tests.emulator.conftest import Coze, chat_body

ECHO, SLEEPER = "7511000000000000002", "7511000000000000006"


def _listed(coze: Coze, conversation_id: str, **body: Any) -> list[str]:
    data = coze.data("POST", "/v1/conversation/message/list", body, {"conversation_id": conversation_id})
    return [message["content"] for message in data]


def test_a_conversation_needs_no_body(coze: Coze) -> None:
    made = coze.data("POST", "/v1/conversation/create")
    assert coze.data("GET", "/v1/conversation/retrieve", query={"conversation_id": made["id"]}) == made
    assert made["connector_id"] == "1024"


def test_only_conversations_made_for_a_bot_are_listed_newest_first(coze: Coze) -> None:
    coze.data("POST", "/v1/conversation/create", {"name": "for nobody"})
    coze.chat(ECHO, "made by a chat")
    for name in "abc":
        coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO, "name": name, "meta_data": {"key": name}})
    data = coze.data("GET", "/v1/conversations", query={"bot_id": ECHO})
    assert [(c["name"], c["meta_data"]) for c in data["conversations"]] == [(n, {"key": n}) for n in "cba"]
    first = coze.data("GET", "/v1/conversations", query={"bot_id": ECHO, "page_size": "2", "sort_order": "ASC"})
    assert ([c["name"] for c in first["conversations"]], first["has_more"]) == (["a", "b"], True)
    rest = coze.data("GET", "/v1/conversations", query={"bot_id": ECHO, "page_size": "2", "page_num": "2"})
    assert ([c["name"] for c in rest["conversations"]], rest["has_more"]) == (["a"], False)


def test_a_new_conversation_can_be_missing_from_the_list_for_a_while_and_be_read_by_its_id(coze: Coze) -> None:
    coze.emulator.world.conversation_list_delay_seconds = 2.5
    made = coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO})
    assert coze.data("GET", "/v1/conversation/retrieve", query={"conversation_id": made["id"]})["id"] == made["id"]
    coze.emulator.advance(2.4)
    assert coze.data("GET", "/v1/conversations", query={"bot_id": ECHO})["conversations"] == []
    coze.emulator.advance(0.1)
    assert coze.data("GET", "/v1/conversations", query={"bot_id": ECHO})["conversations"] == [made]


def test_new_messages_can_be_missing_from_the_list_for_a_while_each_from_its_own_birth(coze: Coze) -> None:
    coze.emulator.world.message_list_delay_seconds = 2.5
    chat = coze.chat(SLEEPER, "sleep 1: dear")
    where = chat["conversation_id"]
    assert _listed(coze, where) == []
    coze.emulator.advance(1)
    assert coze.answer(chat) == "dear"  # the chat's own list has no such delay
    coze.emulator.advance(1.5)
    assert _listed(coze, where) == ["sleep 1: dear"]
    coze.emulator.advance(1)
    assert _listed(coze, where) == ["dear", "sleep 1: dear"]


def test_page_numbers_and_sizes_have_bounds(coze: Coze) -> None:
    for query in ({"page_size": "51"}, {"page_size": "0"}, {"page_num": "x"}, {"sort_order": "up"}):
        assert coze.code("GET", "/v1/conversations", query={"bot_id": ECHO, **query}) == 4000
    assert coze.code("GET", "/v1/conversations") == 4000


def test_conversations_of_another_account_do_not_exist(coze: Coze) -> None:
    coze.emulator.world.tokens.append(AccessToken("pat_other", user_id="3901000000000777"))
    made = coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO})
    query = {"conversation_id": made["id"]}
    assert coze.code("GET", "/v1/conversation/retrieve", query=query, token="pat_other") == 4002
    assert coze.code("POST", "/v3/chat", chat_body(ECHO, "x"), query, token="pat_other") == 4002
    listed = coze.data("GET", "/v1/conversations", query={"bot_id": ECHO}, token="pat_other")
    assert listed == {"conversations": [], "has_more": False}


def test_rename_clear_and_delete(coze: Coze) -> None:
    made = coze.data("POST", "/v1/conversation/create", {"name": "old"})
    path = f"/v1/conversations/{made['id']}"
    assert coze.data("PUT", path, {"name": "new"})["name"] == "new"
    section = coze.data("POST", f"{path}/clear")
    assert section["id"] != made["last_section_id"]
    assert section["conversation_id"] == made["id"]
    assert coze.data("DELETE", path) is None
    assert coze.code("DELETE", path) == 4002
    assert coze.code("PUT", path, {"name": "x" * 101}) == 4002


def test_after_a_clear_earlier_messages_are_no_longer_context(coze: Coze) -> None:
    bot = coze.emulator.add_bot(answer=lambda turn: str(len(turn.history)))
    chat = coze.chat(bot.id, "a")
    assert coze.answer(coze.chat(bot.id, "b", chat["conversation_id"])) == "2"
    coze.data("POST", f"/v1/conversations/{chat['conversation_id']}/clear")
    assert coze.answer(coze.chat(bot.id, "c", chat["conversation_id"])) == "0"


def test_limits_of_a_new_conversation(coze: Coze) -> None:
    message = {"role": "user", "content": "x", "content_type": "text"}
    assert coze.code("POST", "/v1/conversation/create", {"messages": [message] * 17}) == 4004
    assert coze.code("POST", "/v1/conversation/create", {"name": "x" * 101}) == 4000
    assert coze.code("POST", "/v1/conversation/create", {"meta_data": {"": "x"}}) == 4003
    assert coze.code("POST", "/v1/conversation/create", {"bot_id": "1"}) == 4200
    made = coze.data("POST", "/v1/conversation/create", {"messages": [message] * 16})
    assert made["name"] == "x"


def test_questions_and_answers_are_listed_and_nothing_else(coze: Coze) -> None:
    chat = coze.chat(ECHO, "hello")
    assert _listed(coze, chat["conversation_id"]) == ["You said: hello", "hello"]
    assert _listed(coze, chat["conversation_id"], order="asc") == ["hello", "You said: hello"]


def test_messages_are_paged_by_ids_in_both_directions(coze: Coze) -> None:
    made = coze.data("POST", "/v1/conversation/create")
    query = {"conversation_id": made["id"]}
    for content in "abcde":
        coze.data(
            "POST",
            "/v1/conversation/message/create",
            {"role": "user", "content": content, "content_type": "text"},
            query,
        )
    page = coze.body("POST", "/v1/conversation/message/list", {"limit": 2, "order": "asc"}, query)
    assert ([m["content"] for m in page["data"]], page["has_more"]) == (["a", "b"], True)
    page = coze.body(
        "POST", "/v1/conversation/message/list", {"limit": 2, "order": "asc", "after_id": page["last_id"]}, query
    )
    assert ([m["content"] for m in page["data"]], page["has_more"]) == (["c", "d"], True)
    back = coze.body(
        "POST", "/v1/conversation/message/list", {"limit": 5, "order": "asc", "before_id": page["first_id"]}, query
    )
    assert ([m["content"] for m in back["data"]], back["has_more"]) == (["a", "b"], False)
    assert coze.code("POST", "/v1/conversation/message/list", {"limit": 51}, query) == 4000
    assert coze.code("POST", "/v1/conversation/message/list", {"after_id": "1"}, query) == 4005


def test_a_message_can_be_read_changed_and_deleted(coze: Coze) -> None:
    made = coze.data("POST", "/v1/conversation/create")
    query = {"conversation_id": made["id"]}
    text = {"role": "user", "content": "a", "content_type": "text", "meta_data": {"k": "v"}}
    message = coze.data("POST", "/v1/conversation/message/create", text, query)
    query = {**query, "message_id": message["id"]}
    coze.emulator.advance(5)
    changed = coze.body("POST", "/v1/conversation/message/modify", {"content": "b"}, query)
    assert "data" not in changed
    assert changed["message"]["content"] == "b"
    assert int(changed["message"]["updated_at"]) == message["created_at"] + 5
    assert coze.data("GET", "/v1/conversation/message/retrieve", query=query) == changed["message"]
    assert coze.code("POST", "/v1/conversation/message/modify", {}, query) == 4005
    assert coze.data("POST", "/v1/conversation/message/delete", query=query)["id"] == message["id"]
    assert coze.code("GET", "/v1/conversation/message/retrieve", query=query) == 4005


@pytest.mark.parametrize("at_once", [True, False])
def test_whether_a_question_shows_while_its_chat_runs_is_a_setting(coze: Coze, at_once: bool) -> None:
    coze.emulator.world.question_listed_at_once = at_once
    chat = coze.chat(SLEEPER, "sleep 5: x")
    assert _listed(coze, chat["conversation_id"]) == (["sleep 5: x"] if at_once else [])
    coze.emulator.advance(5)
    assert _listed(coze, chat["conversation_id"]) == ["x", "sleep 5: x"]


@pytest.mark.parametrize("carries", [True, False])
def test_whether_a_question_carries_the_chat_id_is_a_setting(coze: Coze, carries: bool) -> None:
    coze.emulator.world.question_carries_chat_id = carries
    chat = coze.chat(ECHO, "x")
    assert _listed(coze, chat["conversation_id"], chat_id=chat["id"]) == ["You said: x", "x"][: 1 + carries]


def test_the_markers_of_messages_are_listed_those_of_the_chat_are_not(coze: Coze) -> None:
    body = chat_body(ECHO, "x", meta_data={"key": "chat"})
    body["additional_messages"][0]["meta_data"] = {"key": "message"}
    chat = coze.data("POST", "/v3/chat", body)
    listed = coze.data("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]})
    assert [message["meta_data"] for message in listed] == [{}, {"key": "message"}]
    assert coze.retrieve(chat)["meta_data"] == {"key": "chat"}
