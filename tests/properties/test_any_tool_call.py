"""Calls of tools: whatever a bot asks for is answered with texts that can be sent, or the task fails with an error of ours."""

from __future__ import annotations

import datetime as dt
import json
import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from airflow_provider_coze.errors import CozeToolError
from airflow_provider_coze.operators.tools import ToolBox
from airflow_provider_coze.protocol.endpoints.chat import submit_tool_outputs
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.transports.wire import content_of
from tests.driving import VirtualTime
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, json_values, kept_values, texts, written


class Place(BaseModel):
    """A place."""

    name: str
    at: dt.datetime | None = None


def visit(place: Place, days: int = 1, *tags: str, note: str | None = None) -> Any:
    return [place, days, note]


def echo(**arguments: Any) -> Any:
    return arguments


def fail(value: Any = None) -> Any:
    raise ValueError(value)


TOOLS = {"visit": visit, "echo": echo, "fail": fail, "": len, "len": lambda obj=(): len(obj)}

_ARGUMENTS = st.one_of(
    st.fixed_dictionaries({}, optional={"place": json_values, "days": json_values, "value": json_values}).map(
        lambda value: written(value).decode("utf-8", "replace")
    ),
    json_values.map(lambda value: written(value).decode("utf-8", "replace")),
    texts,
    json_values,
)
_FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(list(TOOLS)) | texts | json_values, "arguments": _ARGUMENTS}
)
_CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "id": texts | json_values,
            "type": st.sampled_from(["function", "function", "reply_message"]) | json_values,
            "function": _FUNCTIONS | json_values,
        },
    ),
    max_size=4,
)


def _answered(calls: list[dict[str, Any]], on_error: str, tools: Any = TOOLS) -> list[dict[str, str]] | None:
    box = ToolBox(tools, on_error=on_error, log=logging.getLogger("tests.any_tool"), clock=VirtualTime())
    try:
        return box.answers(calls)
    except CozeToolError:
        return None


@EXAMPLES
@given(_CALLS, st.sampled_from(["output", "fail"]))
def test_any_round_of_calls_is_answered_in_full_or_fails(calls: list[dict[str, Any]], on_error: str) -> None:
    answers = _answered(calls, on_error)
    if answers is None:
        return
    ids = [call["id"] for call in calls if call.get("type") != "reply_message"]
    assert [answer["tool_call_id"] for answer in answers] == list(dict.fromkeys(ids))
    assert all(isinstance(answer["output"], str) for answer in answers)
    sent = submit_tool_outputs(conversation_id="1", chat_id="2", tool_outputs=answers).request
    outputs = json.loads(content_of(sent)[0] or b"")["tool_outputs"]
    assert [output["output"] for output in outputs] == [answer["output"] for answer in answers]


@EXAMPLES
@given(_ARGUMENTS)
def test_any_arguments_of_a_call_become_an_output(arguments: Any) -> None:
    for name in ("visit", "echo", "fail"):
        call = {"id": "A", "type": "function", "function": {"name": name, "arguments": arguments}}
        assert _answered([call], "output") is not None


@EXAMPLES
@given(anything)
def test_any_result_of_a_tool_becomes_an_output(result: Any) -> None:
    call = {"id": "A", "type": "function", "function": {"name": "tool", "arguments": ""}}
    answers = _answered([call], "output", {"tool": lambda: result})
    assert answers is not None
    answers[0]["output"].encode()


@EXAMPLES
@given(kept_values)
def test_any_required_action_of_an_answer_can_be_answered(action: Any) -> None:
    body = {"data": {"id": "1", "conversation_id": "2", "required_action": action}}
    chat = Chat.from_body(body)
    ToolBox.questions(chat.tool_calls)
    _answered([dict(call) for call in chat.tool_calls], "output")


_KEYS = texts | st.integers() | st.none() | st.sampled_from([500, 5000]).map(lambda digits: 10**digits)


@EXAMPLES
@given(st.dictionaries(_KEYS, anything | st.sampled_from([len, int, print, dict.get]), max_size=3) | anything, anything)
def test_anything_that_is_given_as_tools_is_judged_in_sentences(tools: Any, on_error: Any) -> None:
    box = ToolBox(tools, on_error=on_error, log=logging.getLogger("tests.any_tool"), clock=VirtualTime())
    assert all(isinstance(problem, str) for problem in box.problems())
