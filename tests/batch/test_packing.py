"""Several rows in one request, and an answer that counts as a whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.batch.packing import halves, pack_message, pack_parameters, unpack
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import json_values, kept_values, texts

INDEXES = (3, 5, 8)
ENTRIES = [{"index": 3, "output": "三"}, {"index": 5, "output": {"label": "b"}}, {"index": 8, "output": None}]
OUTPUTS = {3: "三", 5: {"label": "b"}, 8: None}
JSON = json.dumps(ENTRIES, ensure_ascii=False)


def test_a_message_holds_each_input_with_its_index_as_json() -> None:
    message = pack_message("Classify.\n", [(3, '他说："好"\n'), (5, "two")])
    assert message.startswith("Classify.\n\n")
    assert "他说" in message
    assert "Answer with a JSON array of 2 objects and nothing else" in message
    inputs = message[message.index('[{"index": 3,') :]
    assert json.loads(inputs) == [{"index": 3, "input": '他说："好"\n'}, {"index": 5, "input": "two"}]


@pytest.mark.parametrize("instruction", [None, "", "  "])
def test_a_message_without_an_instruction_begins_with_the_inputs(instruction: str | None) -> None:
    assert pack_message(instruction, [(0, "x"), (1, "{braces}")]).startswith("Below is a JSON array of 2 inputs")


def test_parameters_are_a_list_with_indexes() -> None:
    packed = pack_parameters("rows", [(3, {"text": "a"}), (5, {"text": "b", "index": "own"})])
    assert packed == {"rows": [{"text": "a", "index": 3}, {"text": "b", "index": 5}]}


@pytest.mark.parametrize(
    "answer",
    [
        JSON,
        ENTRIES,
        {"output": ENTRIES},
        {"results": JSON, "note": "x"},
        {"data": {"output": ENTRIES}},
        json.dumps({"output": JSON}),
        f"Here you are:\n```json\n{JSON}\n```\nAnything else?",
        f"好的！{JSON} 完成。",
        "\n".join(json.dumps(entry) for entry in ENTRIES),
        json.dumps(ENTRIES[::-1]),
        json.dumps([{**ENTRIES[0], "index": "3"}, {**ENTRIES[1], "index": 5.0}, {**ENTRIES[2], "input": "x"}]),
        f'I was given [{{"index": 3, "input": "x"}}, {{"index": 5, "input": "y"}}]. My answer: {JSON}',
    ],
)
def test_outputs_are_found_however_they_are_wrapped(answer: Any) -> None:
    assert unpack(answer, INDEXES) == (OUTPUTS, {})


def test_an_output_may_stand_beside_its_index() -> None:
    answer = [{"index": 0, "label": "a", "score": 1}, {"index": 1, "label": "b", "score": 2}]
    assert unpack(answer, (0, 1)) == ({0: {"label": "a", "score": 1}, 1: {"label": "b", "score": 2}}, {})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ENTRIES[:2], "no output for 8"),
        ([*ENTRIES, ENTRIES[0]], "several for 3"),
        ([*ENTRIES, {"index": 9, "output": "x"}], "outputs for 9 that nobody asked"),
        ([{"index": i, "output": "x"} for i in (4, 5, 8)], "no output for 3; outputs for 4 that nobody asked"),
        ("I cannot do that.", "no list of objects"),
        ("", "no list of objects"),
        (None, "no list of objects"),
        (7, "no list of objects"),
        (["a", "b", "c"], "no list of objects"),
        ([{"output": "a"}, {"index": True, "output": "b"}, {"index": 1.5, "output": "c"}], "no list of objects"),
        ([{"index": 3}, {"index": 5}, {"index": 8}], "no list of objects"),
        (JSON[:-20], "its JSON cannot be read"),
        (JSON + JSON[:-20], "its JSON cannot be read"),
        (f"{JSON} or rather {JSON}", "several for 3, 5, 8"),
    ],
)
def test_an_answer_that_is_not_whole_counts_for_no_row(answer: Any, told: str) -> None:
    outputs, problems = unpack(answer, INDEXES)
    assert outputs == {}
    assert problems.keys() == set(INDEXES)
    assert all(f"the answer for 3 rows cannot be taken apart: {told}" in problem for problem in problems.values()) or (
        told in problems[3]
    )


def test_a_problem_quotes_nothing_of_the_answer_and_few_indexes() -> None:
    _, problems = unpack([{"index": n, "output": "hunter2"} for n in range(100)], (200,))
    assert "hunter2" not in problems[200]
    assert problems[200].endswith("no output for 200; outputs for 0, 1, 2, 3, 4 and 95 more that nobody asked")


@EXAMPLES
@given(st.dictionaries(st.integers(0, 10**6), kept_values, min_size=1, max_size=6), texts, texts, st.booleans())
def test_what_was_packed_is_taken_apart_again(
    outputs: dict[int, Any], before: str, after: str, is_fenced: bool
) -> None:
    answer = json.dumps([{"index": index, "output": output} for index, output in outputs.items()], ensure_ascii=False)
    assert unpack(answer, tuple(outputs)) == (outputs, {})
    if is_fenced and not any(mark in before + after for mark in "[{`~"):
        assert unpack(f"{before}\n```json\n{answer}\n```\n{after}", tuple(outputs)) == (outputs, {})


@EXAMPLES
@given(texts | json_values | st.lists(st.fixed_dictionaries({"index": st.integers(0, 4), "output": json_values})))
def test_any_answer_is_an_output_or_a_problem_for_each_row(answer: Any) -> None:
    outputs, problems = unpack(answer, (0, 1, 2))
    assert (outputs.keys(), problems.keys()) in ((set(), {0, 1, 2}), ({0, 1, 2}, set()))


@EXAMPLES
@given(st.lists(st.integers(), min_size=2, max_size=30))
def test_halves_are_all_of_it_and_neither_is_empty(items: list[int]) -> None:
    one, other = halves(items)
    assert [*one, *other] == items
    assert 0 <= len(one) - len(other) <= 1
    assert len(other) > 0


def test_one_row_has_no_halves() -> None:
    with pytest.raises(ValueError, match="no halves"):
        halves([1])
