"""Tools: what a bot asks for is checked and run, and every call gets an output, or the task fails."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from pydantic import BaseModel, Field

from airflow_provider_coze.errors import CozeToolError
from airflow_provider_coze.operators.tools import ToolBox
from tests.driving import VirtualTime


class Room(BaseModel):
    """A room."""

    floor: int
    name: str = "?"


@dataclasses.dataclass
class Reading:
    """What a sensor says."""

    room: str
    at: dt.datetime


def read_sensor(room: str, *, digits: int = 1, unit: Literal["C", "F"] = "C") -> str:
    return f"{room}/{digits}/{unit}"


def box(*, on_error: str = "output", clock: Callable[[], float] | None = None, **tools: Any) -> ToolBox:
    log = logging.getLogger("tests.tools")
    return ToolBox(tools or {"read_sensor": read_sensor}, on_error=on_error, log=log, clock=clock or VirtualTime())


def call(name: Any = "read_sensor", arguments: Any = '{"room": "B2"}', call_id: Any = "CALL-1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def output(tools: ToolBox, arguments: Any, name: str = "tool") -> str:
    (answer,) = tools.answers([call(name, arguments)])
    return answer["output"]


def error(tools: ToolBox, arguments: Any, name: str = "tool") -> str:
    said = json.loads(output(tools, arguments, name))
    assert list(said) == ["error"]
    return str(said["error"])


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"room": "B2"}', "B2/1/C"),
        ('{"room": "B2", "digits": 3, "unit": "F"}', "B2/3/F"),
        ('{"room": "B2", "digits": "3"}', "B2/3/C"),
        ('{"room": "会议室 🙂"}', "会议室 🙂/1/C"),
        ({"room": "B2"}, "B2/1/C"),
    ],
)
def test_a_tool_gets_the_arguments_that_the_bot_wrote(arguments: Any, expected: str) -> None:
    assert output(box(), arguments, "read_sensor") == expected


@pytest.mark.parametrize("arguments", ["", " ", "{}", None])
def test_a_tool_without_parameters_needs_no_arguments(arguments: Any) -> None:
    assert output(box(tool=lambda: "noon"), arguments) == "noon"


def test_arguments_are_made_into_what_the_annotations_say() -> None:
    def tool(
        day: dt.date, ids: set[uuid.UUID], room: Room, rate: Annotated[float, Field(gt=0)], free: Any = None
    ) -> str:
        return f"{day!r} {ids!r} {room!r} {rate!r} {free!r}"

    one = uuid.UUID(int=1)
    arguments = json.dumps({"day": "2025-12-04", "ids": [str(one)], "room": {"floor": "2"}, "rate": 1, "free": [1]})
    expected = f"{dt.date(2025, 12, 4)!r} { ({one})!r} {Room(floor=2)!r} 1.0 [1]"
    assert output(box(tool=tool), arguments) == expected


def test_parameters_may_be_called_what_pydantic_calls_its_own() -> None:
    def tool(model_config: str, json: int, _private: str, copy: bool, argument_0: int = 0) -> list[Any]:
        return [model_config, json, _private, copy, argument_0]

    given = '{"model_config": "a", "json": 1, "_private": "b", "copy": true, "argument_0": 5}'
    assert output(box(tool=tool), given) == '["a",1,"b",true,5]'


def test_what_is_not_given_has_the_default_of_the_function_itself() -> None:
    connection = object()

    def tool(city: str, *, db: object = connection, tags: list[str] = []) -> bool:  # noqa: B006 - the point
        return db is connection and tags is tool.__kwdefaults__["tags"]

    assert output(box(tool=tool), '{"city": "Chengdu"}') == "true"


def test_a_function_that_takes_any_names_gets_them() -> None:
    assert output(box(tool=lambda a=0, **more: [a, more]), '{"b": 1, "argument_0": 2}') == '[0,{"b":1,"argument_0":2}]'


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{}", "room: Field required"),
        ('{"room": "B2", "floor": 3}', "floor: Extra inputs are not permitted"),
        ('{"room": "B2", "digits": "many"}', "digits: Input should be a valid integer"),
        ('{"room": ["S3CRET"], "unit": "K"}', "room: Input should be a valid string; unit: Input should be 'C' or 'F'"),
        ('{"room": "B2"', "The arguments are not JSON"),
        ("[" * 5_000, "The arguments are not JSON"),
        ('["B2"]', "must be a JSON object, not list"),
        ("null", "must be a JSON object, not NoneType"),
        (7, "must be a JSON object, not int"),
    ],
)
def test_arguments_that_do_not_fit_are_what_the_bot_is_told(arguments: Any, says: str) -> None:
    said = error(box(), arguments, "read_sensor")
    assert says in said
    assert "S3CRET" not in said


def test_many_problems_are_told_in_a_few_words() -> None:
    said = error(box(), json.dumps({f"name{n}" * 100: n for n in range(500)}), "read_sensor")
    assert len(said) <= 2_000


def test_a_validator_of_the_users_that_breaks_is_a_problem_of_the_arguments() -> None:
    class Broken(dict[str, Any]):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(lambda value: 1 / 0)

    def tool(value: Broken) -> str:
        return "never"

    tool.__annotations__["value"] = Broken
    assert error(box(tool=tool), '{"value": {}}') == "The arguments do not fit: ZeroDivisionError."


def test_a_tool_that_does_not_exist_is_answered_with_those_that_do() -> None:
    said = error(box(read_sensor=read_sensor, lookup=len), "{}", "rm_rf")
    assert said == "There is no such tool. The tools are: 'read_sensor', 'lookup'."


# --- results


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("text stays text, 中文 🙂", "text stays text, 中文 🙂"),
        ("", ""),
        (None, "null"),
        ({"city": "成都", "days": [1, 2.5, True]}, '{"city":"成都","days":[1,2.5,true]}'),
        (Room(floor=2), '{"floor":2,"name":"?"}'),
        ([Reading("B2", dt.datetime(2025, 12, 4))], '[{"room":"B2","at":"2025-12-04T00:00:00"}]'),
        (float("nan"), "null"),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_a_result_becomes_text(result: Any, expected: str) -> None:
    assert output(box(tool=lambda: result), "") == expected


def test_a_result_that_json_cannot_hold_is_a_failure() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for result, kind in ((object(), "object"), (circle, "list"), (b"\xff", "bytes")):
        said = error(box(tool=lambda result=result: result), "")
        assert said == f"The tool failed: it returned what JSON cannot hold ({kind})."


def test_an_output_of_any_size_is_sent_and_one_that_coze_may_refuse_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert len(output(box(tool=lambda: "字" * 6_000_000), "")) == 6_000_000
    assert "Coze takes requests of 15728640 bytes" in caplog.text


# --- failures


def test_a_tool_that_raises_is_answered_with_the_error_and_no_traceback() -> None:
    def tool() -> None:
        raise ValueError("no such room: 🙂")

    assert output(box(tool=tool), "") == '{"error": "ValueError: no such room: 🙂"}'


def test_a_tool_that_raises_fails_the_task_where_that_is_wanted() -> None:
    def tool(key: str) -> None:
        raise ValueError(f"S3CRET {key}")

    with pytest.raises(CozeToolError) as caught:
        box(tool=tool, on_error="fail").answers([call("tool", '{"key": "K3Y"}')])
    assert "Tool 'tool', which Coze called as 'CALL-1', failed: ValueError. No outputs were submitted" in str(
        caught.value
    )
    assert "S3CRET" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(("name", "arguments"), [("tool", "["), ("tool", '{"x": 1}'), ("other", "{}"), (None, "{}")])
def test_a_call_that_cannot_be_made_fails_the_task_where_that_is_wanted(name: Any, arguments: str) -> None:
    with pytest.raises(CozeToolError, match="No outputs were submitted"):
        box(tool=lambda: "", on_error="fail").answers([call(name, arguments)])


@pytest.mark.parametrize("kind", [AirflowSkipException, AirflowFailException])
@pytest.mark.parametrize("on_error", ["output", "fail"])
def test_a_tool_may_skip_or_fail_its_task(kind: type[Exception], on_error: str) -> None:
    def tool() -> None:
        raise kind("enough")

    with pytest.raises(kind, match="enough"):
        box(tool=tool, on_error=on_error).answers([call("tool", "")])


def test_an_end_of_the_process_is_not_an_output() -> None:
    def tool() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box(tool=tool).answers([call("tool", "")])


@pytest.mark.parametrize("call_id", [None, "", 7])
def test_a_call_without_an_id_cannot_be_answered(call_id: Any) -> None:
    with pytest.raises(CozeToolError, match="has no id"):
        box().answers([call(call_id=call_id)])


# --- rounds


def test_all_calls_of_a_round_are_answered_in_their_order_whatever_becomes_of_one() -> None:
    ran: list[int] = []

    def tool(n: int) -> int:
        ran.append(n)
        return 1 // n

    calls = [call("tool", json.dumps({"n": n}), f"CALL-{n}") for n in (2, 0, 1)]
    answers = box(tool=tool).answers(calls)
    assert [answer["tool_call_id"] for answer in answers] == ["CALL-2", "CALL-0", "CALL-1"]
    assert [answer["output"][:28] for answer in answers] == ["0", '{"error": "ZeroDivisionError', "1"]
    assert ran == [2, 0, 1]


def test_a_call_that_is_known_already_is_not_made_again() -> None:
    answers = box(tool=lambda: 1 // 0).answers([call("tool", "", "A"), call("tool", "", "B")], {"A": "known"})
    assert answers[0] == {"tool_call_id": "A", "output": "known"}
    assert "ZeroDivisionError" in answers[1]["output"]


def test_a_call_that_is_listed_twice_is_made_and_answered_once() -> None:
    ran: list[int] = []
    assert len(box(tool=lambda: ran.append(1)).answers([call("tool", ""), call("tool", "")])) == 1
    assert ran == [1]


def test_a_question_of_the_bot_is_no_tool() -> None:
    question = {"id": "Q", "type": "reply_message", "function": {"name": "ask", "arguments": "{}"}}
    calls: list[Mapping[str, Any]] = [question, call()]
    assert ToolBox.questions(calls) == [question]
    assert [answer["tool_call_id"] for answer in box().answers(calls)] == ["CALL-1"]


def test_the_log_says_what_ran_for_how_long_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="tests.tools")
    time = VirtualTime()

    def tool(key: str) -> str:
        time.sleep(2.5)
        if key == "K3Y":
            raise ValueError("S3CRET")
        return "4NSWER"

    box(tool=tool, clock=time).answers([call("tool", '{"key": "x"}', "A"), call("tool", '{"key": "K3Y"}', "B")])
    assert [record.getMessage() for record in caplog.records] == [
        "Tool 'tool' answered after 2.5 s: 6 bytes",
        "Tool 'tool' failed after 2.5 s: ValueError (call 'B')",
    ]


# --- what a DAG gives


class Adder:
    """An object that can be called."""

    def __call__(self, a: int) -> int:
        return a + 1

    def method(self, a: int) -> int:
        return a + 2


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (Adder(), "2"),
        (Adder().method, "3"),
        (functools.partial(lambda b, a: a + b, 3), "4"),
        (lambda a: a + 4, "5"),
        (Room.model_construct, None),
    ],
)
def test_whatever_can_be_called_is_a_tool(tool: Any, expected: str | None) -> None:
    tools = box(tool=tool)
    assert tools.problems() == []
    assert expected is None or output(tools, '{"a": 1}') == expected


async def coroutine_function() -> str:
    return ""


class AsyncCallable:
    """A tool that cannot be one."""

    async def __call__(self) -> str:
        return ""


def positional(a: int, /) -> int:
    return a


def unresolved(a: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821 - as under TYPE_CHECKING
    pass


class Task:
    """What @task makes of a function."""

    operator_class = object

    def __call__(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ({"x": 7}, "tools['x'] must be a function, not int"),
        ({"": len}, "tools has the name ''"),
        ({7: len}, "tools has the name of type int"),
        ({"x": coroutine_function}, "tools['x'] is a coroutine function"),
        ({"x": functools.partial(coroutine_function)}, "tools['x'] is a coroutine function"),
        ({"x": AsyncCallable()}, "tools['x'] is a coroutine function"),
        ({"x": positional}, "tools['x'] has parameters without a name for the bot to use: a"),
        ({"x": unresolved}, "tools['x'] has a signature that arguments cannot be checked against (NameError"),
        ({"x": Task()}, "tools['x'] is an Airflow task"),
        ([read_sensor], "tools must be a mapping of names to functions, not list"),
    ],
)
def test_what_cannot_be_a_tool_is_named_before_anything_is_sent(tools: Any, problem: str) -> None:
    (found,) = ToolBox(tools, on_error="output", log=logging.getLogger(), clock=VirtualTime()).problems()
    assert found.startswith(problem)


def test_a_word_that_on_tool_error_does_not_know_is_named() -> None:
    assert box(on_error="ignore").problems() == ["on_tool_error must be one of ('output', 'fail'), not 'ignore'"]


def test_a_function_that_returns_a_coroutine_after_all_fails_and_leaves_nothing_behind() -> None:
    said = error(box(tool=lambda: asyncio.sleep(0)), "")
    assert "coroutine" in said
