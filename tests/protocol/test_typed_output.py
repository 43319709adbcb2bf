"""An answer becomes plain JSON of the type that was asked for, or one problem with a place; whatever a model wrote around it."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import sys
import time
import typing
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.typed_output import Mismatch, OutputType


class Row(BaseModel):
    name: str
    price: float


class Table(BaseModel):
    rows: list[Row]
    title: str = "untitled"


class Ticket(TypedDict):
    id: int
    note: NotRequired[str]


class Tickets(TypedDict, total=False):
    open: list[Ticket]


@dataclasses.dataclass
class Order:
    id: int
    due: date
    rows: list[Row] = dataclasses.field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"


Kind = Literal["退款", "投诉", "咨询"]
ROWS = '[{"name":"a","price":1},{"name":"b","price":2.5}]'
ROWS_READ = [{"name": "a", "price": 1.0}, {"name": "b", "price": 2.5}]
TABLE = '{"rows":' + ROWS + "}"
TABLE_READ = {"rows": ROWS_READ, "title": "untitled"}


def read(output_type: Any, value: Any) -> Any:
    return OutputType(output_type).read(value)


def mismatch(output_type: Any, value: Any) -> Mismatch:
    with pytest.raises(Mismatch) as caught:
        OutputType(output_type).read(value)
    return caught.value


# --- types


@pytest.mark.parametrize(
    ("output_type", "answer", "expected"),
    [
        (Table, TABLE, TABLE_READ),
        (list[Row], ROWS, ROWS_READ),
        (dict[str, Row], '{"x":{"name":"a","price":1}}', {"x": ROWS_READ[0]}),
        (Order, '{"id":"7","due":"2025-12-04"}', {"id": 7, "due": "2025-12-04", "rows": []}),
        (Ticket, '{"id":1}', {"id": 1}),
        (list[Ticket], '[{"id":1,"note":"n"}]', [{"id": 1, "note": "n"}]),
        (Tickets, '{"open":[{"id":1}]}', {"open": [{"id": 1}]}),
        (Annotated[dict[str, Ticket | None], Field(max_length=2)], '{"a":{"id":1},"b":null}', {"a": {"id": 1}, "b": None}),
        (Union[Ticket, list[Ticket]], '[{"id":1}]', [{"id": 1}]),  # noqa: UP007 - DAGs have this too
        (Optional[Row], "null", None),  # noqa: UP045
        (Colour, "red", "red"),
        (Kind, "退款", "退款"),
        (Literal[1, 2], "2", 2),
        (Literal["1", "2"], "2", "2"),
        (dict, '{"a":[1,null]}', {"a": [1, None]}),
        (list, "[]", []),
        (int, "42", 42),
        (float, "-1.5", -1.5),
        (bool, "true", True),
        (date, "2025-12-04", "2025-12-04"),
        (str, ' {"a": 1} \n', ' {"a": 1} \n'),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_of_the_type_becomes_plain_json(output_type: Any, answer: str, expected: Any) -> None:
    found = read(output_type, answer)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found)) == found


def test_what_comes_back_makes_the_model_again_under_the_names_that_json_has() -> None:
    class Aliased(BaseModel):
        model_config = ConfigDict(strict=True)
        day: date = Field(alias="Tag")

    found = read(Aliased, '{"Tag":"2025-12-04"}')
    assert found == {"Tag": "2025-12-04"}
    assert Aliased.model_validate_json(json.dumps(found)).day == date(2025, 12, 4)


def test_a_typed_dict_that_names_its_marks_itself_keeps_them() -> None:
    Marked = TypedDict("Marked", {"a": typing.Required[int], "b": NotRequired["list[Ticket]"]})  # type: ignore[misc]  # noqa: UP013
    assert read(Marked, '{"a":1}') == {"a": 1}
    assert mismatch(Marked, '{"b":[]}').path == "a"
    assert mismatch(Marked, '{"a":1,"b":[{"id":"x"}]}').path == "b[0].id"


@pytest.mark.parametrize(
    "output_type",
    [42, "Row", None, Any, object, {"a": 1}, [int], print, typing.Callable, object(), ..., type],
    ids=lambda kind: str(kind)[:20],
)
def test_what_is_no_type_is_a_problem_before_anything_is_asked(output_type: Any) -> None:
    [problem] = OutputType(output_type).problems()
    assert problem.startswith(("is ", "must be "))
    with pytest.raises(CozeInputError, match="output_type"):
        OutputType(output_type).read("{}")


@pytest.mark.parametrize("output_type", [Table, list[Ticket], Kind, str, int, dict, Order, Row | None])
def test_a_type_has_no_problems_and_a_schema(output_type: Any) -> None:
    kind = OutputType(output_type)
    assert kind.problems() == []
    assert json.loads(kind.schema_text())


def test_a_typed_dict_that_python_is_too_old_for_is_a_problem_in_words() -> None:
    Tree = TypedDict("Tree", {"inner": "Tree"})  # type: ignore[misc]  # noqa: UP013
    Tree.__annotations__["inner"] = Tree
    holder = dataclasses.make_dataclass("Holder", [("ticket", Ticket)])
    if sys.version_info < (3, 12):
        assert "typing_extensions" in OutputType(Tree).problems()[0]
        assert "typing_extensions" in OutputType(holder).problems()[0]


def test_the_module_costs_nothing_until_a_type_is_asked_for() -> None:
    code = "import sys, airflow_provider_coze.protocol.typed_output; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- words around it


@pytest.mark.parametrize(
    "answer",
    [
        "```json\n{}\n```",
        "```\n{}\n```",
        "~~~json\n{}\n~~~",
        "````JSON\n{}\n````",
        "```json {}```",
        "   ```json\n   {}\n   ```",
        "> ```json\n{}\n> ```",
        "好的，结果如下：\n\n```json\n{}\n```\n\n请查收！（共2行）",
        "结果：{}。",
        "【结果】“{}”",
        "Sure! Here it is: {} - let me know if you need more [1].",
        "I {cannot} say [more] than {}",
        "```python\nprint({{'a': 1}})\n```\nprints\n```json\n{}\n```",
        "```json\n{{\"rows\": [\n```\nSorry, again:\n```json\n{}\n```",
        "For example {{\"rows\": 1}}, so: {}",
        "\ufeff\n{}\n",
        "```json\n{}",
    ],
)  # fmt: skip
def test_the_json_is_found_among_the_words(answer: str) -> None:
    assert (
        read(Table, answer.replace("{{", "\x00").replace("{}", TABLE).replace("\x00", "{").replace("}}", "}"))
        == TABLE_READ
    )


def test_a_string_may_hold_a_fence_a_brace_and_escapes() -> None:
    value = {"code": "```py\nprint('{')\n```", "path": 'C:\\"x"', "half": "]"}
    assert read(dict, f"Here:\n{json.dumps(value, indent=1)}\nDone.") == value
    assert read(dict, f"```json\n{json.dumps(value)}\n```") == value


def test_of_several_the_first_that_fits_is_taken_and_blocks_come_before_bare_ones() -> None:
    assert read(Row, '{"a":1} {"name":"x","price":1} {"name":"y","price":2}')["name"] == "x"
    assert read(Row, '{"name":"bare","price":1}\n```json\n{"name":"fenced","price":1}\n```')["name"] == "fenced"
    assert read(Row, f'```json\n{{"name":"x"}}\n```\n```json\n{ROWS[1:24]}\n```') == ROWS_READ[0]


@pytest.mark.parametrize(
    "answer", ["退款", '"退款"', " 退款\n", "退款。", "**退款**", "`退款`", "「退款」", "“退款”", "```\n退款\n```", '{"类别": "退款"}']
)  # fmt: skip
def test_a_word_needs_no_quotes_and_may_have_some(answer: str) -> None:
    assert read(Kind, answer) == "退款"


def test_a_word_in_a_sentence_is_not_taken_for_the_answer() -> None:
    assert mismatch(Kind, "不是退款，而是投诉").problem == "Input should be '退款', '投诉' or '咨询'"


@pytest.mark.parametrize("answer", ["7", '"7"', "**7**", "7。", '{"count": 7}', "```\n7\n```", '"\\"7\\""'])
def test_a_number_may_have_quotes_and_needs_none(answer: str) -> None:
    assert read(int, answer) == 7


def test_where_any_text_fits_json_in_it_is_not_taken_apart() -> None:
    assert read(Annotated[str, Field(max_length=99)], 'see {"a": "b"}') == 'see {"a": "b"}'
    assert read(str | None, '{"a": "b"}') == '{"a": "b"}'
    assert read(Row | str, "no row") == "no row"
    assert read(Row | str, f"here: {ROWS[1:24]}") == ROWS_READ[0]


# --- what is broken stays broken


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"a": {"b": 1}, "c": ', "broken"),
        ('{"a": [1,], "b": {"c": 1}}', "broken"),
        ("{'a': {\"b\": 1}}", "broken"),
        ('{a: {"b": 1}}', "broken"),
        ('{ // so\n "a": {"b": 1}}', "broken"),
        ('{"a": "unfinished, {"b": 1}', "broken"),
        ('{"a": {"b": 1', "broken"),
        ("[" * 200_000, "nested too deep"),
        ("[" * 101 + "]" * 101, "deeper than 100"),
        ("{}" * 3 + "x", ""),
        ("no", "it holds no JSON"),
        ("", "it holds no JSON"),
        ("{数据}", "it holds no JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_nothing_is_repaired_and_no_part_of_broken_json_is_the_answer(answer: str, problem: str) -> None:
    if problem:
        assert problem in mismatch(dict if "[" * 9 not in answer else list, answer).problem
    else:
        assert read(dict, answer) == {}


def test_broken_json_is_told_by_its_line_and_not_by_its_words() -> None:
    found = mismatch(Table, '好的\n```json\n{"rows":\n [secret]}\n```')
    assert found.problem == "the JSON in it is broken: Expecting value, in line 2 of it"
    assert "secret" not in found.repair


# --- JSON inside of JSON


@pytest.mark.parametrize(
    "value",
    [
        {"rows": ROWS_READ},
        {"output": TABLE},
        {"output": {"rows": ROWS_READ}},
        {"output": f"```json\n{TABLE}\n```"},
        {"Output": json.dumps({"output": TABLE})},
        json.dumps({"output": TABLE}),
        json.dumps(TABLE),
        TABLE,
    ],
    ids=["itself", "text", "object", "fenced", "twice", "in-text", "string", "plain"],
)
def test_a_workflows_output_is_taken_out_of_its_lone_key(value: Any) -> None:
    assert read(Table, value) == TABLE_READ


def test_a_lone_key_around_a_text_or_number_is_taken_off() -> None:
    assert read(str, {"output": "hello"}) == "hello"
    assert read(Kind, {"output": "退款"}) == "退款"
    assert read(int, {"count": "7"}) == 7
    assert read(dict, {"output": "{}"}) == {"output": "{}"}


def test_a_field_of_the_type_is_no_wrapping() -> None:
    class Node(BaseModel):
        value: int
        child: Node | None = None

    Node.model_rebuild(_types_namespace={"Node": Node})
    assert mismatch(Node, '{"child": {"value": 1}}').path == "value"


def test_wrappings_come_to_an_end() -> None:
    text = TABLE
    for _ in range(8):  # each doubles the backslashes
        text = json.dumps({"output": text})
    assert isinstance(mismatch(Table, text), Mismatch)


# --- what does not fit


@pytest.mark.parametrize(
    ("output_type", "value", "path", "problem"),
    [
        (Table, '{"rows":[{"name":"a","price":1},{"name":"b","price":"x"}]}', "rows[1].price", "valid number"),
        (Table, {"output": '{"rows":[{"name":"b","price":"x"}]}'}, "rows[0].price", "valid number"),
        (Table, '{"rows":[{"price":1}]}', "rows[0].name", "Field required"),
        (list[Row], "[1]", "[0]", "Input should be an object"),
        (list[Ticket], '[{"id":"x"}]', "[0].id", "valid integer"),
        (dict[str, list[int]], '{"a":[1,"x"]}', "[*][1]", "valid integer"),
        (Row | list[Row], '[{"name":"a"}]', "name", "Field required"),
        (int, "many", "", "valid integer"),
        (dict, "[1]", "", "Input should be an object"),
    ],
    ids=str,
)
def test_the_first_problem_has_a_place_and_a_rule(output_type: Any, value: Any, path: str, problem: str) -> None:
    found = mismatch(output_type, value)
    if not isinstance(output_type, typing.types.UnionType):  # type: ignore[attr-defined]
        assert found.path == path
        assert problem in found.problem
    assert str(found) == (f"{found.path}: {found.problem}" if found.path else found.problem)


def test_a_repair_tells_the_bot_its_problems_and_the_schema() -> None:
    found = mismatch(Table, '{"rows":[{"name":"a","price":"x"},{"name":3}]}')
    assert "- rows[0].price: Input should be a valid number" in found.repair
    assert "- rows[1].name: Input should be a valid string" in found.repair
    assert "- rows[1].price: Field required" in found.repair
    assert "Answer again, with JSON only" in found.repair
    assert found.repair.endswith(OutputType(Table).schema_text())


def test_a_repair_of_a_very_wrong_answer_stays_a_message() -> None:
    found = mismatch(list[int], json.dumps(["x"] * 5_000))
    assert found.path == "[0]"
    assert "and 4995 more problems" in found.repair
    assert len(found.repair) < 2_000
    assert mismatch(dict[str, int], json.dumps({f"k{n}": "x" for n in range(5_000)})).path == "[*]"


def test_no_value_of_an_answer_is_in_what_people_read() -> None:
    class Checked(BaseModel):
        a: int = 0
        b: int = 0
        c: date | None = None
        model_config = ConfigDict(extra="forbid")

        @field_validator("b")
        @classmethod
        def small(cls, value: int) -> int:
            assert value < 3, f"{value} is too large"
            return value

    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]

    tagged = Annotated[Cat | Dog, Field(discriminator="kind")]
    cases = [
        (Checked, '{"a":"HUNTER2","b":1}'),
        (Checked, '{"b":7272}'),
        (Checked, '{"c":"2025-12-4x7272"}'),
        (Checked, '{"HUNTER2":1,"a":1}'),
        (tagged, '{"kind":"HUNTER2"}'),
        (dict[str, int], '{"HUNTER2":"7272"' + ',"x":"HUNTER2"}'),
        (Kind, "HUNTER2"),
        (Table, '{"rows": HUNTER2}'),
        (float, "7272e7272"),
    ]
    for output_type, answer in cases:
        found = mismatch(output_type, answer)
        seen: list[BaseException] = []
        error: BaseException | None = found
        while error is not None:
            seen.append(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        said = "".join(f"{one!r} {one}" for one in seen)
        assert "HUNTER2" not in said
        assert "7272" not in said
    assert "7272 is too large" in mismatch(Checked, '{"b":7272}').repair  # which is for the bot
    assert mismatch(tagged, '{"kind":"x"}').problem == "its tag must be one of 'cat', 'dog'"


def test_a_type_whose_own_code_breaks_is_a_mismatch() -> None:
    class Broken(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def fail(cls, value: int) -> int:
            raise KeyError("HUNTER2")

    class Unwritable(BaseModel):
        a: int

        @field_serializer("a")
        def fail(self, value: int) -> Any:
            raise RuntimeError("HUNTER2")

    for kind in (Broken, Unwritable):
        found = mismatch(kind, '{"a":1}')
        assert found.problem.startswith("a validator of the type ended in ")
        assert "HUNTER2" not in str(found)


# --- what Airflow could not keep


@pytest.mark.parametrize(
    ("output_type", "answer", "expected"),
    [
        (dict, '{"x":NaN,"y":-Infinity,"z":1e999}', {"x": "NaN", "y": "-Infinity", "z": "1e999"}),
        (dict, '{"x":18446744073709551616}', {"x": "18446744073709551616"}),
        (dict, '{"x":"half \\ud83d"}', {"x": "half \ufffd"}),
        (str, "half \ud83d", "half \ufffd"),
        (list[str], '["half \ud83d"]', ["half \ufffd"]),
        (int, "18446744073709551615", 2**64 - 1),
    ],
)
def test_what_cannot_be_kept_is_replaced_where_the_type_allows(output_type: Any, answer: str, expected: Any) -> None:
    assert read(output_type, answer) == expected


@pytest.mark.parametrize(
    ("output_type", "answer", "path"),
    [
        (int, "9" * 30, ""),
        (int, "9" * 5_000, ""),
        (float, "NaN", ""),
        (list[float], "[1,1e999]", "[1]"),
        (dict[str, int], '{"a":-9223372036854775809}', "[*]"),
        (Table, '{"rows":[{"name":"a","price":Infinity}]}', "rows[0].price"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_or_is_a_problem_with_a_place(output_type: Any, answer: str, path: str) -> None:
    assert mismatch(output_type, answer).path == path


def test_a_value_that_is_no_json_at_all_is_a_mismatch() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (object(), {"a": b"x"}, circle, {1: object()}):
        assert mismatch(dict, value).problem == "it is something that JSON cannot hold"


# --- size


def _times(piece: str) -> Callable[[int], str]:
    return lambda size: piece * (size // len(piece))


@pytest.mark.parametrize(
    "answer",
    [
        _times("数[x"), _times("["), _times("{"), _times("{ "), _times("{} "), _times("[1 x]"), _times('["'), _times("[[],"),
        _times("```\n"), _times('```json\n{"a":\n'), _times("> "), _times("\n"), _times('"'), _times('{"\\'), _times("`"),
        lambda size: '{"' + '\\"' * (size // 2), lambda size: "{" + "a" * size, lambda size: "[" + '{"a":1,"b":"x"},' * (size // 16),
        lambda size: json.dumps(["x"] * (size // 5)), lambda size: "好的\n```\n" + json.dumps([["x"]] * (size // 7)) + "\n```",
    ],
    ids=range(20),
)  # fmt: skip
def test_time_grows_no_faster_than_the_answer(answer: Callable[[int], str]) -> None:
    kind = OutputType(list[Row])
    kind.problems()

    def seconds(size: int) -> float:
        text, start = answer(size), time.process_time()
        with pytest.raises(Mismatch):
            kind.read(text)
        return time.process_time() - start

    # Were it quadratic, this megabyte would take minutes.
    assert seconds(200_000) < 1.0
