"""The Coze Studio dialect: what a self-hosted server does differently."""

from __future__ import annotations

import json

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Failure, Interrupt
from airflow_provider_coze.protocol.messages import FilePart
from tests.emulator.conftest import NOON, Coze, chat_body, ids

ECHO, DRAFT, BROKE, SLEEPER = (f"751100000000000000{n}" for n in (2, 3, 4, 6))
SUMMARY, ECHO_FLOW, DRAFT_FLOW, BROKEN, ASKING, _, SLEEPER_FLOW, CHATFLOW = (
    f"751150000000000000{n}" for n in range(1, 9)
)


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(dialect="studio", clock=lambda: NOON)


def _chat(coze: Coze, bot_id: str, text: str) -> dict[str, str]:
    return dict(coze.data("POST", "/v3/chat", chat_body(bot_id, text, stream=False)))


def test_a_chat_that_is_not_streamed_must_say_so_and_starts_as_created(coze: Coze) -> None:
    assert _chat(coze, ECHO, "x")["status"] == "created"
    stream = coze.send("POST", "/v3/chat", chat_body(ECHO, "x"))
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.body.endswith(b"event:conversation.stream.done\ndata:\n\n")
    assert b"event:conversation.message.delta\ndata:{" in stream.body


def test_retrieve_is_get_only(coze: Coze) -> None:
    chat = _chat(coze, ECHO, "x")
    response = coze.send("POST", "/v3/chat/retrieve", query=ids(chat))
    assert (response.status, json.loads(response.body)) == (404, {"code": 404, "msg": "not found"})
    data = coze.data("GET", "/v3/chat/retrieve", query=ids(chat))
    assert (data["status"], data["completed_at"], data["failed_at"]) == ("completed", NOON, 0)
    assert not {"last_error", "meta_data", "required_action"} & data.keys()


def test_the_messages_are_under_another_key_and_include_the_question(coze: Coze) -> None:
    chat = _chat(coze, ECHO, "x")
    body = coze.body("GET", "/v3/chat/message/list", query=ids(chat))
    assert "data" not in body
    assert [message["type"] for message in body["Messages"]][:1] == ["question"]
    assert {message["chat_id"] for message in body["Messages"]} == {chat["id"]}


def test_lists_can_be_late_there_too(coze: Coze) -> None:
    coze.emulator.world.conversation_list_delay_seconds = coze.emulator.world.message_list_delay_seconds = 3
    made = coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO})
    where = {"conversation_id": made["id"]}
    coze.data("POST", "/v3/chat", chat_body(ECHO, "x", stream=False), where)
    for late, seen in ((True, 0), (False, 1)):
        assert len(coze.data("GET", "/v1/conversations", query={"bot_id": ECHO})["conversations"]) == seen
        assert bool(coze.data("POST", "/v1/conversation/message/list", {}, where)) is not late
        coze.emulator.advance(3)


def test_cancelling_writes_a_word_and_stops_nothing(coze: Coze) -> None:
    chat = _chat(coze, SLEEPER, "sleep 5: x")
    body = coze.body("POST", "/v3/chat/cancel", ids(chat))
    assert body["ChatV3ChatDetail"]["status"] == "conversation.chat.cancelled"
    assert "code" not in body
    coze.emulator.advance(5)
    assert coze.data("GET", "/v3/chat/retrieve", query=ids(chat))["status"] == "completed"
    again = coze.send("POST", "/v3/chat/cancel", ids(chat))
    assert (again.status, json.loads(again.body)["code"]) == (400, 400)
    assert "103200005" in json.loads(again.body)["msg"]


def test_a_conversation_may_run_two_chats(coze: Coze) -> None:
    chat = _chat(coze, SLEEPER, "sleep 5: x")
    query = {"conversation_id": chat["conversation_id"]}
    assert coze.code("POST", "/v3/chat", chat_body(ECHO, "y", stream=False), query) == 0


def test_an_unknown_conversation_is_replaced_by_a_new_one(coze: Coze) -> None:
    chat = coze.data("POST", "/v3/chat", chat_body(ECHO, "y", stream=False), {"conversation_id": "7512000000000000001"})
    assert chat["conversation_id"] != "7512000000000000001"


@pytest.mark.parametrize("bot_id", ["1", DRAFT])
def test_what_a_chat_refuses_is_http_400_or_an_event(coze: Coze, bot_id: str) -> None:
    response = coze.send("POST", "/v3/chat", chat_body(bot_id, "x", stream=False))
    assert (response.status, json.loads(response.body)) == (
        400,
        {"code": 400, "msg": "code=103100002 message=agent not exists"},
    )
    ((event, data),) = coze.events("POST", "/v3/chat", chat_body(bot_id, "x"))
    assert (event, data["code"]) == ("error", 103100001)
    assert coze.emulator.ledger == []


def test_a_failed_stream_is_an_error_event_without_chat_failed(coze: Coze) -> None:
    events = coze.events("POST", "/v3/chat", chat_body(BROKE, "x"))
    assert [name for name, _ in events] == ["conversation.chat.created", "conversation.chat.in_progress", "error"]


@pytest.mark.parametrize("body", [{"user_id": 7}, {"parameters": "{}"}, {"colour": "red"}, {"bot_id": ""}])
def test_bad_input_is_http_400_with_code_400(coze: Coze, body: dict[str, object]) -> None:
    response = coze.send("POST", "/v3/chat", {**chat_body(ECHO, "x"), **body})
    assert (response.status, json.loads(response.body)["code"]) == (400, 400)


def test_an_unknown_chat_is_http_500_with_plain_text(coze: Coze) -> None:
    chat = _chat(coze, ECHO, "x")
    response = coze.send("GET", "/v3/chat/retrieve", query={**ids(chat), "chat_id": "1"})
    assert (response.status, response.body) == (500, b"record not found")


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        ("", "missing authorization in header"),
        ("Bearer ", "missing api_key in request"),
        ("Bearer pat_wrong", "api key invalid"),
    ],
)
def test_a_bad_token_is_http_200_with_700012006(coze: Coze, authorization: str, said: str) -> None:
    response = coze.send("GET", "/v1/conversations", query={"bot_id": ECHO}, headers={"Authorization": authorization})
    assert response.status == 200
    assert json.loads(response.body) == {"code": 700012006, "msg": f"authentication failed: {said}"}


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/workspaces", "/v3/chat/submit_tool_outputs", "/v1/workflows"])
def test_what_studio_does_not_have_wants_a_session_of_the_web_interface(coze: Coze, path: str) -> None:
    response = coze.send("GET", path)
    assert (response.status, json.loads(response.body)["msg"]) == (401, "missing session_key in cookie")


def test_the_log_id_is_a_uuid_in_another_header_and_in_no_body(coze: Coze) -> None:
    response = coze.send("GET", "/v1/conversations", query={"bot_id": ECHO})
    assert len(response.headers["x-log-id"]) == 36
    assert "x-tt-logid" not in response.headers
    assert "detail" not in json.loads(response.body)


def test_conversations_have_studios_keys(coze: Coze) -> None:
    made = coze.data("POST", "/v1/conversation/create", {"bot_id": ECHO, "meta_data": {"k": "v"}})
    assert made["creator_d"] == coze.emulator.world.user_id
    found = coze.body("GET", "/v1/conversation/retrieve", query={"conversation_id": made["id"]})
    assert found["ConversationData"] == made
    listed = coze.data("GET", "/v1/conversations", query={"bot_id": ECHO})
    assert listed["conversations"] == [made]
    path = f"/v1/conversations/{made['id']}"
    assert coze.data("PUT", path, {"name": "new"})["name"] == "new"
    assert coze.data("POST", f"{path}/clear")["conversation_id"] == made["id"]
    assert coze.body("DELETE", path)["code"] == 0
    assert coze.code("GET", "/v1/conversation/retrieve", query={"conversation_id": made["id"]}) == 103000002
    assert (
        coze.data("POST", "/v1/workflow/conversation/create", {"app_id": "1", "conversation_name": "c"})["name"] == "c"
    )


def test_the_messages_of_a_conversation_have_numbers_for_times(coze: Coze) -> None:
    chat = _chat(coze, ECHO, "x")
    body = coze.body("POST", "/v1/conversation/message/list", {}, {"conversation_id": chat["conversation_id"]})
    assert [message["content"] for message in body["data"]] == ["You said: x", "x"]
    assert isinstance(body["data"][0]["updated_at"], int)
    assert (body["first_id"], body["has_more"]) == (body["data"][0]["id"], False)


def test_a_synchronous_run_tells_its_execute_id_and_is_never_cut_off(coze: Coze) -> None:
    answer = coze.run(SLEEPER_FLOW, {"seconds": 200, "value": 1})
    assert (answer["data"], answer["cost"], answer["msg"]) == ('{"output":1}', "0.00000", None)
    assert answer["execute_id"] == coze.emulator.ledger[0].id
    assert coze.emulator.now() == NOON + 200


def test_parameters_may_be_text(coze: Coze) -> None:
    answer = coze.body("POST", "/v1/workflow/run", {"workflow_id": ECHO_FLOW, "parameters": '{"a": 1}'})
    assert json.loads(answer["data"]) == {"output": {"a": 1}}


def test_a_history_has_numbers_other_keys_and_no_code(coze: Coze) -> None:
    started = coze.run(ECHO_FLOW, {"a": 1}, is_async=True)
    body = coze.body(
        "GET",
        "/v1/workflow/get_run_history",
        query={"workflow_id": ECHO_FLOW, "execute_id": started["execute_id"]},
    )
    assert "code" not in body
    (history,) = body["data"]
    assert (history["execute_id"], history["connector_id"]) == (int(started["execute_id"]), 1024)
    assert (history["execute_status"], history["output"], history["input"]) == (
        "Success",
        '{"output":{"a":1}}',
        '{"a":1}',
    )
    assert {"log_id", "error_msg"} <= history.keys()
    response = coze.send("GET", f"/v1/workflows/{ECHO_FLOW}/run_histories/{started['execute_id']}")
    assert response.status == 401


@pytest.mark.parametrize(
    ("workflow_id", "code"),
    [(DRAFT_FLOW, 6031), (ASKING, 6039), (BROKEN, 720701002), (SUMMARY, 4000), ("1", 720702004)],
)
def test_what_a_run_refuses_has_studios_codes_and_http_200(coze: Coze, workflow_id: str, code: int) -> None:
    response = coze.send("POST", "/v1/workflow/run", {"workflow_id": workflow_id})
    assert (response.status, json.loads(response.body)["code"]) == (200, code)


def test_an_interrupted_history_has_no_word_for_it(coze: Coze) -> None:
    started = coze.run(ASKING, is_async=True)
    query = {"workflow_id": ASKING, "execute_id": started["execute_id"]}
    (history,) = coze.body("GET", "/v1/workflow/get_run_history", query=query)["data"]
    assert history["execute_status"] == "<UNSET>"
    missing = coze.body("GET", "/v1/workflow/get_run_history", query={**query, "execute_id": "1"})
    assert missing["code"] == 777777775


def test_a_streamed_run_has_debug_urls_and_node_ids(coze: Coze) -> None:
    events = coze.events("POST", "/v1/workflow/stream_run", {"workflow_id": ECHO_FLOW})
    assert [name for name, _ in events] == ["Message", "Done"]
    assert events[0][1]["node_type"] == "End"
    assert "execute_mode=2" in events[1][1]["debug_url"]
    (failed,) = coze.events("POST", "/v1/workflow/stream_run", {"workflow_id": BROKEN})
    assert (failed[0], failed[1]["error_code"]) == ("Error", 720701002)
    (asked,) = coze.events("POST", "/v1/workflow/stream_run", {"workflow_id": ASKING})
    interrupt = asked[1]["interrupt_data"]
    body = {
        "workflow_id": ASKING,
        "event_id": interrupt["event_id"],
        "interrupt_type": interrupt["type"],
        "resume_data": "Hangzhou",
    }
    assert coze.events("POST", "/v1/workflow/stream_resume", body)[-1][0] == "Done"


@pytest.fixture
def chatflow_body(coze: Coze) -> dict[str, object]:
    messages = chat_body(ECHO, "x y")["additional_messages"]
    return {"workflow_id": CHATFLOW, "bot_id": ECHO, "additional_messages": messages}


def test_a_chatflow_is_numbered_from_one_and_tells_its_run(coze: Coze, chatflow_body: dict[str, object]) -> None:
    body = {**chatflow_body, "parameters": {"CONVERSATION_NAME": "c"}}
    stream = coze.send("POST", "/v1/workflows/chat", body).body
    assert stream.startswith(b"id: 1\nevent: conversation.chat.created\ndata: {")
    events = coze.events("POST", "/v1/workflows/chat", body)
    assert [name.removeprefix("conversation.") for name, _ in events] == [
        *["chat.created", "chat.in_progress", *["message.delta"] * 4],
        *["message.completed", "chat.completed", "done"],  # and neither verbose messages nor follow-ups
    ]
    assert events[0][1]["execute_id"] == coze.emulator.ledger[1].id
    assert len({entry.conversation_id for entry in coze.emulator.ledger}) == 1  # the name is one conversation's
    assert coze.body("GET", f"/v1/workflows/{CHATFLOW}")["data"] == {"role": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "conversation name is requried"),
        ({"conversation_id": "7"}, "conversation not found"),
        ({"additional_messages": []}, "additional_messages is requird"),
        ({"app_id": "7"}, "cannot be set at the same time"),
    ],
)
def test_what_a_chatflow_refuses_has_the_code_of_a_failed_operation(
    coze: Coze, chatflow_body: dict[str, object], given: dict[str, object], said: str
) -> None:
    response = coze.send("POST", "/v1/workflows/chat", {**chatflow_body, **given})
    refused = json.loads(response.body)
    assert (response.status, refused["code"], said in refused["msg"]) == (200, 777777775, True)
    assert coze.emulator.ledger == []


def test_a_chatflow_that_fails_says_so_in_a_last_event_called_error(
    coze: Coze, chatflow_body: dict[str, object]
) -> None:
    broken = coze.emulator.add_workflow(mode="chatflow", failure=Failure(720701002, "division by zero"))
    made = coze.data("POST", "/v1/conversation/create", {})
    body = {**chatflow_body, "workflow_id": broken.id, "conversation_id": made["id"]}
    events = coze.events("POST", "/v1/workflows/chat", body)
    assert [name for name, _ in events] == ["conversation.chat.created", "conversation.chat.in_progress", "error"]
    assert (events[-1][1]["code"], "execute_id=" in events[-1][1]["debug_url"]) == ("720701002", True)


@pytest.mark.parametrize(
    ("interrupt", "told"),
    [
        (
            Interrupt("Which city?"),
            {"messages": [{"type": "question", "content_type": "text", "content": "Which city?"}]},
        ),
        (
            Interrupt("?", type=5, parameters={"n": "integer"}),
            {"content_type": "form_schema", "content": '[{"type":"integer","name":"n","required":true}]'},
        ),
    ],
)
def test_an_interrupt_tells_a_talk_or_a_form(coze: Coze, interrupt: Interrupt, told: dict[str, object]) -> None:
    workflow = coze.emulator.add_workflow(interrupt=interrupt)
    ((_, asked),) = coze.events("POST", "/v1/workflow/stream_run", {"workflow_id": workflow.id})
    data = json.loads(asked["interrupt_data"]["data"])
    for message in data.get("messages", []):
        assert asked["interrupt_data"]["event_id"].endswith(f"/{message.pop('id')}")
    assert data == told


def test_an_uploaded_file_has_a_uri_and_capital_letters(coze: Coze) -> None:
    uploaded = coze.data("POST", "/v1/files/upload", files=(FilePart("file", "a.csv", b"a"),))
    assert sorted(uploaded) == ["CreatedAt", "bytes", "file_name", "id", "uri", "url"]
    assert coze.send("GET", "/v1/files/retrieve", query={"file_id": uploaded["id"]}).status == 401


def test_bots_can_be_looked_up_and_not_listed(coze: Coze) -> None:
    assert coze.data("GET", f"/v1/bots/{ECHO}")["name"] == "echo"
    assert coze.code("GET", f"/v1/bots/{DRAFT}") == 103100002
    assert coze.send("GET", "/v1/bots").status == 401


def test_no_rate_is_limited(coze: Coze) -> None:
    coze.emulator.world.rate_limits = True
    coze.emulator.world.plan = "personal_free"
    assert {coze.run(ECHO_FLOW)["code"] for _ in range(100)} == {0}
    assert coze.run(ECHO_FLOW, is_async=True)["code"] == 0
