"""Interrupts of workflows and answers to them: whatever comes in becomes a question that people can answer, or a typed error."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeInputError, CozeProtocolError, CozeTriggerEventError
from airflow_provider_coze.operators.asked import Asked
from airflow_provider_coze.operators.question_form import answer_in, body_of, form_of, number_in, subject_of
from airflow_provider_coze.protocol.answers import answer_problems, resume_data
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.questions import Question, QuestionField
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, json_values, kept_values, texts

_EVENT = "7513000000000000003/2700000000000000001"
_TYPES = st.sampled_from(["string", "Integer", "float", "bool", "list", "object", "file", "", "number"])
_FIELD = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "type": _TYPES | json_values,
        "required": st.booleans() | json_values,
        "description": json_values,
        "options": st.lists(texts | json_values, max_size=3),
        "default": json_values,
    },
)
_CONTENT = st.one_of(
    texts,
    st.lists(_FIELD, max_size=3),
    st.fixed_dictionaries({"question": json_values, "options": st.lists(texts | json_values, max_size=3)}),
    json_values,
)
_DATA = st.one_of(
    _CONTENT,
    st.fixed_dictionaries({"content_type": json_values, "content": _CONTENT | _CONTENT.map(json.dumps)}),
    st.fixed_dictionaries(
        {"messages": st.lists(st.fixed_dictionaries({"type": json_values, "content": _CONTENT}), max_size=2)}
    ),
)
_INTERRUPTS = st.fixed_dictionaries(
    {"event_id": st.just(_EVENT) | json_values, "type": st.sampled_from([2, 5, "7"]) | json_values},
    optional={
        "data": _DATA | _DATA.map(json.dumps),
        "required_parameters": st.dictionaries(texts, _FIELD | json_values, max_size=3) | json_values,
    },
)
_QUESTIONS = st.builds(
    Question,
    event_id=st.just(_EVENT),
    interrupt_type=st.just(5),
    execute_id=st.just("7513000000000000003"),
    text=st.text(max_size=5),
    fields=st.lists(
        st.builds(
            QuestionField,
            name=st.sampled_from(["city", "days", "answer", "question_number", "_options"]),
            type=st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "file", ""]),
            required=st.booleans(),
            options=st.just(()) | st.just(("a", "b")),
        ),
        max_size=3,
        unique_by=lambda field: field.name,
    ).map(tuple),
    options=st.just(()) | st.just(("a", "b")),
)


@EXAMPLES
@given(interrupt=_INTERRUPTS, title=st.none() | st.text(max_size=5), said=st.text(max_size=5))
def test_an_interrupt_is_a_question_or_a_typed_error(interrupt: dict[str, Any], title: str | None, said: str) -> None:
    received = read_json(json.dumps(interrupt))  # as every answer of Coze is read
    try:
        question = Question.from_interrupt(received, node_title=title, said=said)
    except CozeProtocolError as error:
        assert_sound(error)
        assert received.get("event_id") != _EVENT or received.get("type") not in (2, 5, "7")
        return
    assert question.text.strip()
    payload = question.to_payload()
    assert_storable(payload)
    assert len(json.dumps(payload)) < 100_000
    assert Question.from_payload(json.loads(json.dumps(payload))).to_payload() == payload
    assert_storable(form_of(question, 1))
    assert_storable([subject_of(question, 1, "7"), body_of(question, 1, "/xcom")])
    assert "\0" not in subject_of(question, 1, "7") + body_of(question, 1, "/xcom")


@EXAMPLES
@given(question=_QUESTIONS, answer=anything | st.dictionaries(st.sampled_from(["city", "days"]), anything, max_size=2))
def test_an_answer_is_sent_as_text_or_refused(question: Question, answer: Any) -> None:
    problems = answer_problems(question, answer)
    try:
        data = resume_data(question, answer)
    except CozeInputError as error:
        assert problems
        assert_sound(error)
        return
    assert not problems
    data.encode()
    if question.fields:
        assert isinstance(json.loads(data), dict)


@EXAMPLES
@given(
    question=_QUESTIONS,
    params=st.dictionaries(
        st.sampled_from(["city", "days", "answer", "answer_", "choice", "question_number"]), kept_values, max_size=4
    ),
)
def test_whatever_a_form_sends_is_an_answer_or_has_problems(question: Question, params: dict[str, Any]) -> None:
    number, answer = number_in(params), answer_in(question, params)
    assert number is None or type(number) is int
    if answer is not None and not answer_problems(question, answer):
        resume_data(question, answer).encode()


@EXAMPLES
@given(
    payload=kept_values | st.dictionaries(st.sampled_from([*Question(_EVENT, 2).to_payload(), "asked_at"]), kept_values)
)
def test_what_comes_back_from_a_deferral_is_a_question_or_refused(payload: Any) -> None:
    try:
        asked = Asked.from_payload(payload)
    except CozeTriggerEventError as error:
        assert_sound(error)
        return
    assert asked.number > 0
    assert asked.question.event_id
