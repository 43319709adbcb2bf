"""Look at an answer to a workflow's question before it is paid for, and write it as Coze takes it. Pure.

``resume_data`` is a string: the text itself for a question node, JSON for an input node.
https://www.coze.cn/open/docs/developer_guides/resume_workflow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.questions import Question

__all__ = ["Answer", "answer_problems", "resume_data"]

#: A text, or a value for each field.
Answer: TypeAlias = "str | Mapping[str, JsonValue]"


def answer_problems(question: Question, answer: object) -> list[str]:
    """Return what is wrong with an answer, in sentences that do not show it; an empty list is one that may be sent."""
    if not question.fields:
        if not isinstance(answer, str | Mapping):
            return [f"the answer must be a text, not {type(answer).__name__}"]
        return _writing_problems(answer) or ([] if answer and not _is_blank(answer) else ["the answer is empty"])
    given = _by_field(question, answer)
    if given is None:
        return [f"the answer must be a JSON object with {[each.name for each in question.fields]}"]
    known = {each.name: each for each in question.fields}
    problems = _writing_problems(given)
    problems += [f"{str(name)[:80]!r} is not asked for" for name in list(given)[:20] if name not in known]
    for name, each in known.items():
        value = given.get(name)
        if value is None or value == "":
            problems += [f"{name} is missing"] if each.required else []
        elif (problem := each.problem(value)) is not None:
            problems.append(problem)
    return problems


def resume_data(question: Question, answer: object) -> str:
    """Return the answer as ``resume_data``: the text for a question node, JSON in a string for an input node.

    :raises CozeInputError: it does not fit the question; nothing was sent.
    """
    if problems := answer_problems(question, answer):
        raise CozeInputError(
            f"The answer to event {question.event_id!r} does not fit the question: {'; '.join(problems)}. It was not sent, so it is not "
            "billed, and the run goes on waiting in Coze. Correct what answers it, and clear the task: it asks again.",
            execute_id=question.execute_id or None,
        )
    value = _by_field(question, answer) if question.fields else answer
    if isinstance(value, str):
        return value
    assert isinstance(value, Mapping)  # noqa: S101 - answer_problems has looked
    return json.dumps({name: item for name, item in value.items() if item is not None}, ensure_ascii=False)


def _by_field(question: Question, answer: object) -> Mapping[str, Any] | None:
    """Return the answer to an input node by field: as it is, out of JSON in a text, or the text for the only field."""
    if isinstance(answer, Mapping):
        return answer
    if not isinstance(answer, str):
        return None
    try:
        found = read_json(answer)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    only = question.fields[0]
    takes_text = len(question.fields) == 1 and only.type not in ("integer", "number", "boolean", "array", "object")
    return {only.name: answer} if takes_text else None


def _is_blank(answer: object) -> bool:
    return isinstance(answer, str) and not answer.strip()


def _writing_problems(answer: object) -> list[str]:
    """Return why an answer cannot be written as JSON in UTF-8, if it cannot."""
    if isinstance(answer, Mapping) and not all(isinstance(name, str) for name in answer):
        return ["the names in the answer must be texts"]
    try:
        json.dumps(
            dict(answer) if isinstance(answer, Mapping) else answer, ensure_ascii=False, allow_nan=False
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return [f"the answer is nothing that JSON can hold ({type(error).__name__})"]
    return []
