"""Answers are whatever a model writes: read as the type that was asked for, or refused with a place and without a word of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from typing import Any, Literal, NotRequired, TypedDict

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from airflow_provider_coze.errors import CozeError, CozeOutputTypeError
from airflow_provider_coze.operators.outputs import checked_output, path_problems
from airflow_provider_coze.protocol.json_in_text import blocks, found_in
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.trimmed import assembled_output
from airflow_provider_coze.protocol.typed_output import Mismatch, OutputType
from tests.driving import VirtualTime
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.performing import driven, several
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, deep, json_values, texts, written


class Row(BaseModel):
    name: str
    price: float = 0.0
    tags: dict[str, int] = Field(default_factory=dict, alias="Tags")


class Ticket(TypedDict):
    id: int
    note: NotRequired[str | None]


@dataclasses.dataclass
class Order:
    rows: list[Row]
    due: date | None = None


TYPES = [
    str,
    int,
    float,
    bool,
    dict,
    list,
    Row,
    list[Row],
    Ticket,
    list[Ticket],
    Order,
    dict[str, Row],
    Row | None,
    Row | str,
]
TYPES += [Literal["退款", "投诉", 1], list[float], dict[str, Any], str | None]
KINDS = [OutputType(kind) for kind in TYPES]
kinds = st.sampled_from(KINDS)

_JSON = (json_values | deep).map(lambda value: written(value).decode())
_ROWS = st.fixed_dictionaries(
    {"name": texts}, optional={"price": st.floats() | json_values, "Tags": json_values, "id": st.integers() | texts}
)
_NEAR = st.one_of(_ROWS, st.lists(_ROWS, max_size=3), st.fixed_dictionaries({"rows": st.lists(_ROWS, max_size=2)}))
_NEAR_JSON = _NEAR.map(lambda value: written(value).decode())
_WORDS = (
    st.text(max_size=10)
    | texts
    | st.sampled_from(["```", "\n```json\n", "\n~~~\n", "{", "[", '"', "：", "退款", "\\", "{'"])
)
_PIECES = st.lists(_WORDS | _JSON | _NEAR_JSON, max_size=6).map("".join)
_CUT = st.tuples(_NEAR_JSON, st.integers(0, 60)).map(lambda drawn: drawn[0][: drawn[1]])
answers = st.one_of(_PIECES, _CUT, _NEAR_JSON.map(lambda text: f"好的：\n```json\n{text}\n```\n请查收"))
values = st.one_of(answers, json_values, _NEAR, _NEAR_JSON.map(lambda text: {"output": text}))


def assert_told(mismatch: Mismatch, kind: OutputType) -> None:
    assert mismatch.problem
    for said in (str(mismatch), mismatch.path, mismatch.repair):
        said.encode()
    assert kind.schema_text() in mismatch.repair
    assert len(mismatch.repair) < 10_000


def read(kind: OutputType, value: Any) -> Any:
    """Return what is read, after looking whether it is sound; None where nothing is."""
    try:
        found = kind.read(value)
    except Mismatch as mismatch:
        assert_told(mismatch, kind)
        return None
    assert_storable(found)
    assert json.loads(json.dumps(found)) == found
    return found


@EXAMPLES
@given(kinds, values)
def test_any_answer_is_read_or_refused(kind: OutputType, value: Any) -> None:
    found = read(kind, value)
    if found is not None:
        TypeAdapter(kind.output_type if kind.output_type not in (Ticket, list[Ticket]) else Any).validate_json(
            json.dumps(found)
        )


@EXAMPLES
@given(kinds, anything)
def test_anything_else_that_python_can_hold_is_read_or_refused_as_well(kind: OutputType, value: Any) -> None:
    read(kind, value)


@EXAMPLES
@given(anything)
def test_any_type_is_one_or_has_a_problem_in_words(output_type: Any) -> None:
    for problem in OutputType(output_type).problems():
        problem.encode("utf-8", "surrogatepass")
        assert len(problem) < 500


@EXAMPLES
@given(values, kinds)
def test_an_operators_error_of_it_can_be_stored(value: Any, kind: OutputType) -> None:
    try:
        checked_output(value, kind, what="Run '1' of workflow '2'", execute_id="1", debug_url=None)
    except CozeOutputTypeError as error:
        assert_sound(error)


_PROPER = st.fixed_dictionaries(
    {"name": st.text(max_size=8), "price": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"Tags": st.dictionaries(st.text(max_size=4), st.integers(-(2**63), 2**63 - 1), max_size=2)},
)


@EXAMPLES
@given(
    _PROPER,
    st.sampled_from(["{}", "```json\n{}\n```", "好的，如下：{} 请查收。", "> ~~~\n{}\n~~~", "\ufeff{}\n"]),
    st.booleans(),
)
def test_a_proper_answer_comes_out_as_it_was_whatever_stands_around_it(
    row: dict[str, Any], around: str, ascii: bool
) -> None:
    text = around.replace("{}", json.dumps(row, ensure_ascii=ascii), 1)
    assert read(OutputType(Row), text) == {"Tags": {}, **row}
    assert read(OutputType(Row), {"output": json.dumps({"result": text})}) == {"Tags": {}, **row}


@EXAMPLES
@given(_PROPER, st.integers(1, 200))
def test_an_answer_that_was_cut_off_is_never_taken_for_a_whole_one(row: dict[str, Any], cut: int) -> None:
    whole = json.dumps({"first": row, "second": row})
    part = whole[: -min(cut, len(whole) - 1)]
    for kind in (OutputType(dict), OutputType(Row)):
        assert read(kind, part) is None
        assert read(kind, f"好的：\n```json\n{part}") is None


@EXAMPLES
@given(answers)
def test_the_pieces_of_a_text_are_pieces_of_it_in_their_order(text: str) -> None:
    inside, outside = blocks(text)
    assert all(part in text for part in [*inside, *outside])
    place = 0
    for found in found_in(text):
        place = text.index(found.text, place) + len(found.text)
        if not found.problem:
            json.loads(found.text, parse_int=str)


# --- trimmed


@EXAMPLES
@given(
    st.none() | answers | json_values.map(lambda value: written({"Output": value, "a": value}).decode()) | _CUT,
    st.dictionaries(st.sampled_from(["a", "Output", "Rows"]), st.dictionaries(st.just("node_execute_uuid"), texts, max_size=1)),
    several("workflow_node"),
)  # fmt: skip
def test_a_trimmed_output_is_put_together_of_whatever_there_is(output: Any, nodes: Any, responses: list[Any]) -> None:
    history = RunHistory("1", "Success", output=output, is_output_trimmed=True, nodes=nodes)
    try:
        found = driven(assembled_output(history, RetryPolicy(), workflow_id="2"), responses, VirtualTime())
    except CozeError as error:
        assert_sound(error)
        return
    if found is not None:
        assert_storable(found.output)
        " ".join(found.missing).encode()


@EXAMPLES
@given(anything | st.sampled_from(["nowhere://a/b", "file://", "://", "/", "/dev/null/x"]))
def test_any_output_path_is_judged_in_sentences(output_path: Any) -> None:
    if not (isinstance(output_path, str) and output_path.startswith(("/tmp", "http"))):  # noqa: S108 - not written to
        for problem in path_problems(output_path):
            assert problem.startswith("output_path ")
