"""Outputs are paid for: whatever a workflow or a bot returns is handed out, in a form that Airflow can keep."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.batch.lines import plain_to_line, to_line
from airflow_provider_coze.protocol import json_text
from airflow_provider_coze.protocol.models import Message
from airflow_provider_coze.protocol.outputs import answer_text, follow_ups, history_output, run_output
from tests.properties.judging import assert_storable
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import deep, json_values, texts, written

#: Text in whatever a code node prints: JSON, JSON with changes, or no JSON.
_TEXTS = st.text() | texts.map(lambda text: text.encode("utf-8", "replace").decode())
_JSON = (json_values | deep).map(lambda value: written(value).decode())
_WRAPPED = json_values.map(lambda value: written({"Output": written(value).decode(), "other": value}).decode())
outputs = st.one_of(_TEXTS, _JSON, _WRAPPED, st.tuples(_JSON, _TEXTS).map("".join))

#: What every reader and every store of JSON agrees about.
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_OBJECTS = st.dictionaries(st.text(max_size=8), _PLAIN, max_size=3)
_WRAPPER = {"content_type", "data", "original_result", "type_for_model"}


@EXAMPLES
@given(outputs)
def test_any_output_is_handed_out_and_can_be_kept(output: str) -> None:
    assert_storable(run_output(output))
    assert_storable(history_output(output))


@EXAMPLES
@given(_OBJECTS.filter(lambda value: not value.keys() & _WRAPPER))
def test_an_object_comes_out_as_it_went_in(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    assert run_output(text) == value
    assert history_output(json.dumps({"Output": text})) == value
    assert history_output(json.dumps({"Output": json.dumps(value, ensure_ascii=False)}, ensure_ascii=False)) == value


@EXAMPLES
@given(_PLAIN, st.booleans())
def test_a_text_answer_is_taken_out_of_its_wrapper(value: Any, whole: bool) -> None:
    wrapper = {"content_type": 1, "data": value, **({"original_result": None, "type_for_model": 2} if whole else {})}
    assert run_output(json.dumps(wrapper)) == value


@EXAMPLES
@given(st.one_of(st.text(), st.integers().map(str), st.floats().map(str), st.sampled_from(["null", "true", '"a"'])))
def test_what_is_no_object_and_no_list_stays_the_text_it_is(text: str) -> None:
    if not text.strip().startswith(("{", "[")):
        assert run_output(text) == text


@EXAMPLES
@given(
    st.lists(
        st.builds(
            Message,
            id=st.integers(1, 10**19).map(str) | texts,
            role=st.sampled_from(["assistant", "user", ""]) | texts,
            type=st.sampled_from(["answer", "follow_up", "verbose"]) | texts,
            content=texts,
            created_at=st.integers(0, 3),
        ),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_a_message_list_changes_no_answer(messages: list[Message], random: Any) -> None:
    def said(of: list[Message]) -> tuple[list[str], list[str]]:
        return sorted(answer_text(of).split("\n")), sorted(follow_ups(of))

    shuffled = random.sample(messages, len(messages))
    assert said(shuffled) == said(messages)
    ages = [(message.created_at, len(message.id), message.id) for message in messages]
    if len(set(ages)) == len(ages):
        assert answer_text(shuffled) == answer_text(messages)


def _outcome(read: Any, text: Any) -> str:
    try:
        return repr(read(text))
    except ValueError:
        return "no JSON"


@EXAMPLES
@given(outputs | outputs.map(str.encode) | st.binary() | json_values.map(written))
def test_the_quick_way_to_read_json_comes_to_what_the_slow_one_comes_to(text: str | bytes) -> None:
    assert _outcome(json_text.read_json, text) == _outcome(json_text._read_slowly, text)


@EXAMPLES
@given(_OBJECTS)
def test_the_quick_way_to_write_a_line_comes_to_what_the_slow_one_comes_to(value: dict[str, Any]) -> None:
    assert json.loads(plain_to_line(value)) == json.loads(to_line(value)) == value
    assert b"\n" not in plain_to_line(value)


def test_half_of_a_surrogate_pair_is_written_the_slow_way() -> None:
    assert plain_to_line({"marker": "\ud83d"}) == to_line({"marker": "\ud83d"}) == b'{"marker":"\\ud83d"}'
