"""What needs an answer before it goes on, and what comes with a file: tools in rounds, questions in a row, chatflows that ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Failure, Inputs, Interrupt, Parameter, Template, ToolCall, Turn
from airflow_provider_coze.emulator.worldfile import read_world
from airflow_provider_coze.protocol.messages import FilePart
from tests.emulator.conftest import NOON, Coze, chat_body, ids

CITY, NIGHTS = Interrupt("Which city?"), Interrupt("How many nights?", type=5, parameters={"nights": "integer"})


def next_tool(turn: Turn) -> list[ToolCall]:
    if "find" not in turn.tool_outputs:
        return [ToolCall("find", {"name": str(turn)})]
    return [ToolCall("read", {"id": turn.tool_outputs["find"]})] if "read" not in turn.tool_outputs else []


def next_question(inputs: Inputs) -> Interrupt | None:
    return None if inputs.answer == "enough" else Interrupt(f"Question {len(inputs.answers) + 1}?")


def _submit(coze: Coze, chat: dict[str, Any], output: str) -> str:
    (call,) = coze.retrieve(chat)["required_action"]["submit_tool_outputs"]["tool_calls"]
    given = {"tool_outputs": [{"tool_call_id": call["id"], "output": output}]}
    coze.data("POST", "/v3/chat/submit_tool_outputs", given, ids(chat))
    return str(call["function"]["name"])


def _resume(coze: Coze, workflow_id: str, asked: dict[str, Any], answer: str) -> dict[str, Any]:
    interrupt = asked["interrupt_data"]
    body = {
        "workflow_id": workflow_id,
        "event_id": interrupt["event_id"],
        "interrupt_type": interrupt["type"],
        "resume_data": answer,
    }
    return dict(coze.body("POST", "/v1/workflows/resume", body))


def _image(coze: Coze, token: str | None = None) -> str:
    files = (FilePart("file", "p.png", b"png"),)
    return str(coze.data("POST", "/v1/files/upload", files=files, token=token)["id"])


@pytest.fixture
def studio() -> Coze:
    return Coze(Emulator(dialect="studio", clock=lambda: NOON))


# --- tools


def test_a_bot_calls_tools_in_rounds_and_chooses_by_what_it_has_learnt(coze: Coze) -> None:
    bot = coze.emulator.add_bot(tool_calls=next_tool, answer=Template("{tool_outputs[find]}: {tool_outputs[read]}"))
    chat = coze.chat(bot.id, "B2")
    assert [_submit(coze, chat, "7"), _submit(coze, chat, "21 °C")] == ["find", "read"]
    assert coze.answer(chat) == "7: 21 °C"
    assert [entry.continued for entry in coze.emulator.ledger] == [2]


def test_a_bot_that_breaks_while_it_chooses_a_tool_fails_its_chat(coze: Coze) -> None:
    def breaks(turn: Turn) -> list[ToolCall]:
        raise Failure(4028, "used up")

    chat = coze.chat(coze.emulator.add_bot(tool_calls=breaks).id, "x")
    assert coze.retrieve(chat)["last_error"]["code"] == 4028


def test_a_chain_of_thought_is_streamed_before_the_answer_and_kept_with_it(coze: Coze) -> None:
    bot = coze.emulator.add_bot(reasoning="Let me see.", answer="42")
    events = coze.events("POST", "/v3/chat", chat_body(bot.id, "x", stream=True))
    deltas = [data for name, data in events if name == "conversation.message.delta"]
    assert "".join(data.get("reasoning_content", "") for data in deltas) == "Let me see."
    assert "".join(data["content"] for data in deltas) == "42"
    (said,) = [m for m in coze.data("GET", "/v3/chat/message/list", query=ids(events[0][1])) if m["type"] == "answer"]
    assert (said["content"], said["reasoning_content"]) == ("42", "Let me see.")


# --- questions


@pytest.mark.parametrize("is_async", [False, True])
def test_a_workflow_asks_one_question_after_another(coze: Coze, is_async: bool) -> None:
    workflow = coze.emulator.add_workflow(interrupt=[CITY, NIGHTS], output=lambda inputs: {"all": inputs.answers})
    reply = coze.run(workflow.id, is_async=is_async)
    execute_id = coze.emulator.ledger[0].id
    events = []
    for answer, kind in (("杭州", 2), ('{"nights": 2}', 5)):
        asked = coze.history(workflow.id, execute_id) if is_async else reply
        assert asked["interrupt_data"]["type"] == kind
        events.append(asked["interrupt_data"]["event_id"])
        reply = _resume(coze, workflow.id, asked, answer)
    assert len(set(events)) == 2
    output = json.loads(json.loads(coze.history(workflow.id, execute_id)["output"])["Output"])
    assert output == {"all": ["杭州", '{"nights": 2}']}
    assert [entry.continued for entry in coze.emulator.ledger] == [2]


def test_wrong_answers_are_counted_for_each_question(coze: Coze) -> None:
    strict = Interrupt("yes?", accepts=["yes"])
    workflow = coze.emulator.add_workflow(interrupt=[strict, strict], output="done")
    asked = coze.run(workflow.id)
    for answer in ("no", "no", "yes", "no", "no"):
        asked = _resume(coze, workflow.id, asked, answer)
    assert _resume(coze, workflow.id, asked, "yes")["data"] == "done"


def test_a_workflow_may_work_out_what_to_ask_next(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(interrupt=next_question, output=lambda inputs: str(len(inputs.answers)))
    asked = coze.run(workflow.id)
    for answer in ("a", "b"):
        asked = _resume(coze, workflow.id, asked, answer)
    assert "Question 3?" in asked["interrupt_data"]["data"]
    assert _resume(coze, workflow.id, asked, "enough")["data"] == "3"


def _say(coze: Coze, body: dict[str, Any], text: str) -> list[tuple[str, Any]]:
    messages = chat_body("", text)["additional_messages"]
    return coze.events("POST", "/v1/workflows/chat", {**body, "additional_messages": messages})


def test_a_chatflow_asks_in_the_conversation_and_goes_on_with_what_is_said_next(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(mode="chatflow", interrupt=CITY, output=Template("{message} {answer}"))
    body = {"workflow_id": workflow.id, "bot_id": coze.emulator.world.bots[1].id}
    asked = _say(coze, body, "weather in")
    contents = [data["content"] for name, data in asked if name == "conversation.message.completed"]
    assert contents[0] == "Which city?"
    assert [json.loads(content)["msg_type"] for content in contents[1:]] == ["interrupt", "generate_answer_finish"]
    assert [name for name, _ in asked[-2:]] == ["conversation.chat.requires_action", "done"]
    told = _say(coze, {**body, "conversation_id": asked[0][1]["conversation_id"]}, "Hangzhou")
    assert next(d["content"] for n, d in told if n == "conversation.message.completed") == "weather in Hangzhou"
    assert told[-2][0] == "conversation.chat.completed"
    assert told[-1][1] == asked[-1][1]  # the same run, under the same debug_url
    assert [entry.continued for entry in coze.emulator.ledger] == [1]


def test_a_chatflow_of_studio_asks_in_words_or_on_a_card(studio: Coze) -> None:
    workflow = studio.emulator.add_workflow(
        mode="chatflow", interrupt=[CITY, NIGHTS], output=lambda inputs: " ".join(inputs.answers)
    )
    body = {"workflow_id": workflow.id, "bot_id": studio.emulator.world.bots[1].id}
    body["conversation_id"] = studio.data("POST", "/v1/conversation/create", {})["id"]
    asked = _say(studio, body, "x")
    assert [name for name, _ in asked[2:]] == [
        "conversation.message.delta",
        "conversation.message.completed",
        "conversation.chat.requires_action",
        "done",
    ]
    card = _say(studio, body, "Hangzhou")[2]
    assert (card[0], card[1]["content_type"]) == ("conversation.message.completed", "card")
    info = json.loads(json.loads(card[1]["content"])["x_properties"]["workflow_card_info"])
    assert info["input_card_data"] == [{"type": "integer", "name": "nights", "required": True}]
    told = _say(studio, body, '{"nights": 2}')
    assert told[-3][1]["content"] == 'Hangzhou {"nights": 2}'
    assert {data["execute_id"] for _, data in (asked[0], told[-2])} == {studio.emulator.ledger[0].id}


def test_a_chatflow_fails_at_the_third_answer_it_does_not_accept(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(mode="chatflow", interrupt=Interrupt("yes?", accepts=["yes"]), output="ok")
    body = {"workflow_id": workflow.id, "bot_id": coze.emulator.world.bots[1].id}
    body["conversation_id"] = _say(coze, body, "no")[0][1]["conversation_id"]
    ends = [_say(coze, body, "no")[-2][0] for _ in range(3)]
    assert ends == [*["conversation.chat.requires_action"] * 2, "conversation.chat.failed"]


# --- files


def test_a_bot_sees_the_names_of_the_files_it_is_sent(coze: Coze) -> None:
    bot = coze.emulator.add_bot(answer=Template("{message} {files[0]} {files[1]}"))
    parts = [
        {"type": "text", "text": "read"},
        {"type": "image", "file_id": _image(coze)},
        {"type": "file", "file_url": "https://example.com/a.pdf"},
    ]
    message = {"role": "user", "content": json.dumps(parts), "content_type": "object_string"}
    chat = coze.data("POST", "/v3/chat", {"bot_id": bot.id, "user_id": "u", "additional_messages": [message]})
    assert coze.answer(chat) == "read p.png https://example.com/a.pdf"


def test_a_file_of_nobody_or_of_another_account_is_refused_before_anything_is_billed(coze: Coze) -> None:
    from airflow_provider_coze.emulator.definitions import AccessToken

    coze.emulator.world.tokens.append(AccessToken("pat_other", user_id="3901000000000009"))
    workflow = coze.emulator.add_workflow(
        parameters={"pictures": Parameter("array", items=Parameter("image"))}, output="seen"
    )
    for file_id in ("7", _image(coze, "pat_other")):
        parts = [{"type": "text", "text": "?"}, {"type": "image", "file_id": file_id}]
        message = {"role": "user", "content": json.dumps(parts), "content_type": "object_string"}
        body = {"bot_id": coze.emulator.world.bots[1].id, "user_id": "u", "additional_messages": [message]}
        assert coze.code("POST", "/v3/chat", body) == 4000
        assert coze.run(workflow.id, {"pictures": [json.dumps({"file_id": file_id})]})["code"] == 4000
    assert coze.emulator.ledger == []
    own = [json.dumps({"file_id": _image(coze)}), "https://example.com/p.png"]
    assert coze.run(workflow.id, {"pictures": own})["data"] == "seen"


def test_a_message_of_nothing_but_files_needs_a_text_beside_it(coze: Coze) -> None:
    content = json.dumps([{"type": "image", "file_id": _image(coze)}])
    alone = {"role": "user", "content": content, "content_type": "object_string"}
    body = {"bot_id": coze.emulator.world.bots[1].id, "user_id": "u", "additional_messages": [alone]}
    assert coze.code("POST", "/v3/chat", body) == 4000
    body["additional_messages"] = [alone, *chat_body("", "what is it?")["additional_messages"]]
    assert coze.code("POST", "/v3/chat", body) == 0


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"picture": "not an address"}, "picture"),
        ({"picture": {"file_id": "7"}}, "picture"),
        ({"rows": [{"n": 1}, {"n": "2"}]}, "rows[1].n"),
        ({"rows": [{}]}, "rows[0].n"),
    ],
)
def test_parameters_are_checked_as_deeply_as_they_are_declared(coze: Coze, given: dict[str, Any], wrong: str) -> None:
    row = Parameter("object", properties={"n": Parameter("integer", required=True)})
    declared = {"picture": Parameter("image"), "rows": Parameter("array", items=row)}
    answer = coze.run(coze.emulator.add_workflow(parameters=declared).id, given)
    assert (answer["code"], wrong in answer["msg"]) == (4000, True)


def test_a_world_file_can_say_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(
        "bots: [{tool_calls: {call: 'tests.emulator.test_emulated_asking:next_tool'}, reasoning: hm}]\n"
        "workflows:\n"
        "  - interrupt: ['Which city?', {question: 'Sure?', type: 5}]\n"
        "    parameters: {rows: {type: array, items: {type: object, properties: {n: integer}}, default: '[]'}}\n"
        "  - interrupt: {call: 'tests.emulator.test_emulated_asking:next_question'}\n"
    )
    world = read_world(path)
    assert world.bots[0].calls_for(Turn("x"))[0].name == "find"
    first, second = world.workflows
    assert isinstance(first.interrupt, list)
    assert [question.type for question in first.interrupt] == [2, 5]
    assert first.parameters is not None
    item = first.parameters["rows"].items
    assert item is not None
    assert item.properties == {"n": Parameter("integer")}
    assert second.question_for(Inputs(answer="enough")) is None
