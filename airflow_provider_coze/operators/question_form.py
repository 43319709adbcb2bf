"""A question as a form of Airflow, and what comes back from the form as an answer.

A task instance has one form, which up to Airflow 3.3 keeps its first question for good. So every form says which question it shows,
takes the number of the one that is answered, and has a field for an answer to any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.protocol.answers import Answer
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.questions import Question, QuestionField

__all__ = [
    "ANSWER",
    "CHOICE",
    "NUMBER",
    "SEND",
    "answer_in",
    "body_of",
    "form_of",
    "number_in",
    "shown_number",
    "subject_of",
]

#: The form's one button.
SEND = "Send"
#: Fields of the form that are not the question's own.
NUMBER, CHOICE, ANSWER = "question_number", "choice", "answer"
#: Further names that Airflow's page has a use of its own for.
_RESERVED = frozenset({NUMBER, CHOICE, ANSWER, "chosen_options", "_options"})
#: What Markdown and HTML make links, pictures and tags of: a question may be a model's words, and is shown to people as text.
_ACTIVE = re.compile(r"([\\\[\]<>!`*_#|~])")
_MAX_BODY = 8_000
_JSON = ("integer", "number", "boolean", "array", "object")


def subject_of(question: Question, number: int, who: str) -> str:
    """Return the headline: which question, of which workflow."""
    node = f": {question.node_title[:80]}" if question.node_title else ""
    return f"Question {number} of Coze {who}{node}"


def body_of(question: Question, number: int, link: str) -> str:
    """Return what is asked, in Markdown, and where later questions are.

    :param link: of the XCom that always holds the question that waits.
    """
    text = question.text[:_MAX_BODY]
    asked = "\n".join(f"> {_ACTIVE.sub(_escaped, line)}" for line in text.splitlines() or [""])
    return (
        f"**Question {number}**\n\n{asked}\n\n---\n\n"
        f"A workflow can ask again, and Airflow up to 3.3 goes on showing the question above. The one that waits is the XCom "
        f"[`question`]({link}) of this task. If its number is not {number}, put that number into `{NUMBER}` and the answer into "
        f"`{ANSWER}`."
    )


def form_of(question: Question, number: int) -> dict[str, Any]:
    """Return the fields of the form, as parameters of Airflow.

    None of them is required by the page, because a later question may have to be answered through them: answers are checked when they
    have come in, and asked for again if they do not fit.
    """
    form: dict[str, Any] = {
        _own_name(each): _param(each.default, each.type, _description(each), each.options) for each in question.fields
    }
    if question.options:
        form[CHOICE] = _param(None, "string", "One of the answers that the workflow offers.", question.options)
    if question.fields:
        other = "In place of the fields above: a JSON object, or the answer to another question."
    elif question.options:
        other = "In place of a choice: the answer in your own words, or to another question."
    else:
        other = "The answer."
    form[ANSWER] = _param(None, "string", other)
    form[ANSWER]["schema"]["format"] = "multiline"
    form[NUMBER] = _param(number, "integer", f"Which question this answers. The one shown above is number {number}.")
    return form


def number_in(params: Mapping[str, Any]) -> int | None:
    """Return the number of the question that is answered; None: the answer does not say."""
    value = params.get(NUMBER)
    if isinstance(value, str):
        digits = value.strip()
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def shown_number(params: Mapping[str, Any]) -> int | None:
    """Return the number of the question that a form was made for, out of its parameters."""
    made = params.get(NUMBER)
    return number_in({NUMBER: made.get("value")}) if isinstance(made, Mapping) else None


def answer_in(question: Question, params: Mapping[str, Any]) -> Answer | None:
    """Return the answer in what the form sent; None: it is empty. Whether it fits the question is not looked at."""
    words = params.get(ANSWER)
    if isinstance(words, str) and words.strip():
        return words
    if isinstance(words, Mapping):  # of a program, or of a page that makes an object of a text that looks like one
        return dict(words)
    if not question.fields:
        choice = params.get(CHOICE)
        return choice if question.options and isinstance(choice, str) and choice.strip() else None
    values = {each.name: _value(each, params.get(_own_name(each))) for each in question.fields}
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _own_name(each: QuestionField) -> str:
    return f"{each.name}_" if each.name.rstrip("_") in _RESERVED or each.name in _RESERVED else each.name


def _description(each: QuestionField) -> str:
    kind = f" ({each.type})" if each.type and each.type not in ("string", *_JSON) else ""
    return " ".join(
        part for part in (each.description + kind, "Required." if each.required else "") if part.strip()
    ).strip()


def _param(value: Any, kind: str, description: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [kind if kind in _JSON else "string", "null"]}
    if options:
        schema["enum"] = list(options)
    return {"value": value, "description": description, "schema": schema}


def _value(each: QuestionField, value: Any) -> Any:
    """Return a value of the form as the field's type, where the page or a person wrote it as text."""
    if not isinstance(value, str) or each.type not in _JSON:
        return value
    try:
        return read_json(value)
    except ValueError:
        return value


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found.group(1)}"
