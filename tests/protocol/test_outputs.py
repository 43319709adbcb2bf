"""The answer in what Coze returns: which words, in which order, and how many wrappings come off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_coze.protocol.endpoints import chat, workflow
from airflow_provider_coze.protocol.envelope import open_envelope
from airflow_provider_coze.protocol.models import Message
from airflow_provider_coze.protocol.outputs import answer_text, follow_ups, history_output, run_output
from tests.driving import sample


def said(content: str, *, id: str = "1", at: int = 0, type: str = "answer", role: str = "assistant") -> Message:
    return Message(id=id, role=role, type=type, content=content, created_at=at)


def text_answer(data: Any) -> dict[str, Any]:
    """Wrap it as Coze wraps the text of an end node."""
    return {"content_type": 1, "data": data, "original_result": None, "type_for_model": 2}


# --- chats


def test_several_answers_are_put_in_the_order_they_were_given() -> None:
    messages = [
        said("third", id="10", at=5),
        said("second", id="9", at=5),  # ids decide within one second, as numbers: 9 before 10
        said("fourth", id="1", at=6),
        said("first", id="99", at=4),
    ]
    assert answer_text(messages) == "first\nsecond\nthird\nfourth"


@pytest.mark.parametrize(
    "other",
    [
        said("the question", type="question", role="user"),
        said("the user's words", type="answer", role="user"),
        said('{"msg_type":"generate_answer_finish"}', type="verbose"),
        said("{}", type="function_call"),
        said("{}", type="tool_output"),
        said("{}", type="tool_response"),
        said("recalled", type="knowledge"),
        said("More?", type="follow_up"),
        said("untyped", type=""),
    ],
    ids=lambda message: message.type or "untyped",
)
def test_only_answers_of_the_bot_are_its_answer(other: Message) -> None:
    assert answer_text([other, said("the answer"), other]) == "the answer"


def test_a_bot_that_said_nothing_answered_nothing() -> None:
    assert answer_text([]) == ""
    assert follow_ups([]) == []


def test_suggested_questions_are_a_list_in_order() -> None:
    messages = [said("B?", id="2", at=1, type="follow_up"), said("A?", at=1, type="follow_up"), said("the answer")]
    assert follow_ups(messages) == ["A?", "B?"]


def test_the_documented_answer_is_found_among_its_verbose_company() -> None:
    call = chat.chat_messages(conversation_id="c", chat_id="7")
    messages = call.parse(open_envelope(sample("chat_messages", "completed"), call))
    assert messages[0].type == "verbose"
    assert answer_text(messages) == "Run 42 succeeded."


# --- workflows

TEXTS = [
    "All 42 rows are fine.",
    "42",
    "4.2",
    "null",
    "true",
    '"quoted"',
    "",
    " ",
    "{half",
    "[1,",
    "NaN",
    "第一行",
    "[" * 100_000,
    "9" * 5000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:14])
def test_text_stays_text_even_in_jsons_clothes(text: str) -> None:
    assert run_output(text) == text
    assert history_output(text) == text
    assert history_output(json.dumps({"Output": text})) == text
    assert history_output(json.dumps({"node": text})) == {"node": text}


OBJECTS: list[Any] = [{"output": "42 rows"}, {}, [], [1, "two", None], {"a": {"b": [1.5, None, "第"]}}]


@pytest.mark.parametrize("value", OBJECTS, ids=str)
def test_an_object_or_list_is_unwrapped_from_each_way_of_writing_it(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert run_output(text) == value
    assert history_output(json.dumps({"Output": text})) == value  # JSON in JSON, as Coze writes it
    assert history_output(json.dumps({"Output": value})) == value
    assert history_output(json.dumps({"node": text})) == {"node": value}
    assert history_output(json.dumps({"node": value})) == {"node": value}


@pytest.mark.parametrize("value", ["Done.", "42", '{"a":1}', {"a": 1}, ["x"], "", None], ids=repr)
def test_the_envelope_of_a_text_answer_comes_off_and_what_is_in_it_stays_as_it_is(value: Any) -> None:
    text = json.dumps(text_answer(value))
    assert run_output(text) == value
    assert history_output(json.dumps({"Output": text})) == value
    assert history_output(json.dumps({"Output": text_answer(value)})) == value
    assert history_output(json.dumps({"node": text})) == {"node": value}


def test_the_shortest_envelope_is_one_too() -> None:
    assert run_output('{"content_type":1,"data":"Done."}') == "Done."


@pytest.mark.parametrize(
    "value",
    [
        {"data": "x"},
        {"content_type": 1},
        {"content_type": 1, "data": "x", "rows": 42},
        {"data": "x", "original_result": None, "type_for_model": 2},
    ],
    ids=str,
)
def test_an_output_that_only_resembles_the_envelope_is_kept_whole(value: dict[str, Any]) -> None:
    assert run_output(json.dumps(value)) == value
    assert history_output(json.dumps({"Output": json.dumps(value)})) == value


def test_with_an_end_node_the_output_nodes_are_left_aside() -> None:
    output = {"Output": '{"output":"the end"}', "halfway": "so far so good"}
    assert history_output(json.dumps(output)) == {"output": "the end"}


def test_without_an_end_node_the_output_nodes_are_the_result_by_name() -> None:
    output = {"first": '{"rows":42}', "second": "plain", "third": 3}
    assert history_output(json.dumps(output)) == {"first": {"rows": 42}, "second": "plain", "third": 3}


@pytest.mark.parametrize(("end", "expected"), [("null", None), ("42", 42), ("true", True)])
def test_an_end_node_that_is_no_string_is_taken_as_it_is(end: str, expected: Any) -> None:
    assert history_output('{"Output":' + end + "}") == expected


def test_a_list_for_a_whole_record_is_kept() -> None:
    assert history_output('[{"Output":"x"}]') == [{"Output": "x"}]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60)
@given(json_values)
def test_no_output_is_ever_an_error(value: Any) -> None:
    for text in (json.dumps(value), json.dumps({"Output": json.dumps(value)}), str(value)):
        run_output(text)
        history_output(text)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("success", {"output": "42 rows"}),
        ("running", None),
    ],
)
def test_recorded_histories_are_unwrapped(case: str, expected: Any) -> None:
    call = workflow.run_history(workflow_id="w", execute_id="e")
    record = call.parse(open_envelope(sample("workflow_history", case), call))
    assert (history_output(record.output) if record.output else None) == expected
