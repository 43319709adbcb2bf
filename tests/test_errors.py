"""Errors as data: what they carry, and that nothing is lost between the triggerer and the worker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from airflow_provider_coze import errors
from airflow_provider_coze.errors import CozeAPIError, CozeError, CozeRunInterruptedError, CozeTransportError

FACTS = {
    "code": 4013,
    "msg": "Too many 请求",
    "logid": "20260101000000ABCDEF",
    "status": 429,
    "debug_url": "https://www.coze.cn/work_flow?execute_id=7513",
    "origin": "https://api.coze.cn",
    "never_sent": False,
    "retry_after": 7.5,
    "bot_id": "7511",
    "chat_id": "7512",
    "conversation_id": "7513",
    "workflow_id": "7514",
    "execute_id": "7515",
}
OWN_FACTS = {
    "CozeChatRequiresActionError": {"tool_calls": [{"id": "CALL-1", "function": {"name": "read", "arguments": "{}"}}]},
    "CozeRunInterruptedError": {"interrupt": {"event_id": "1/2", "type": 5}},
}


def _tree(kind: type[CozeError], depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, kind.__name__
    own = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    for child in sorted(own, key=_order_in_file):
        yield from _tree(child, depth + 1)


def _order_in_file(kind: type) -> int:
    return list(vars(errors)).index(kind.__name__)


KINDS = [name for _, name in _tree(CozeError)]


def test_the_tree_on_top_of_the_module_is_the_tree() -> None:
    lines = (errors.__doc__ or "").splitlines()
    drawn = [(len(found[1]) // 2, found[2]) for line in lines if (found := re.match(r"( *)(Coze\w*Error)\b", line))]
    assert drawn == list(_tree(CozeError))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_a_deferral_with_its_kind_its_words_and_every_fact(kind: str) -> None:
    facts = FACTS | OWN_FACTS.get(kind, {})
    sent = getattr(errors, kind)("Coze said no. A retry asks again.", **facts)
    back = CozeError.from_payload(json.loads(json.dumps(sent.to_payload())))
    assert type(back) is type(sent)
    assert str(back) == "Coze said no. A retry asks again."
    assert back.facts() == facts


def test_a_class_derived_elsewhere_under_the_same_name_crosses_as_the_class_itself() -> None:
    double = type("CozePlanError", (errors.CozePlanError,), {})
    back = CozeError.from_payload(double("no", code=6003).to_payload())
    assert type(back) is errors.CozePlanError
    assert back.facts() == {"code": 6003}


def test_what_is_not_known_is_none_and_is_not_among_the_facts() -> None:
    error = CozeAPIError("no", code=4000)
    assert error.facts() == {"code": 4000}
    assert {name: getattr(error, name) for name in FACTS if name != "code"} == dict.fromkeys(FACTS.keys() - {"code"})


def test_never_sent_false_is_a_fact() -> None:
    assert CozeTransportError("lost", never_sent=False).facts() == {"never_sent": False}


def test_a_misspelt_fact_is_a_mistake_of_ours_and_not_swallowed() -> None:
    with pytest.raises(TypeError, match="log_id"):
        CozeAPIError("no", log_id="x")


def test_an_error_does_not_take_the_facts_of_another_kind() -> None:
    with pytest.raises(TypeError, match="interrupt"):
        CozeAPIError("no", interrupt={})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": "CozeErrorOfTheFuture", "message": "new", "facts": {"code": 1, "colour": "red"}}, "new"),
        ({"error": "SystemExit", "message": "bye"}, "bye"),
        ({}, "Coze failed, and no message came with it."),
        ({"facts": "junk"}, "Coze failed, and no message came with it."),
    ],
)
def test_a_payload_of_another_version_becomes_a_plain_error(payload: dict[str, object], message: str) -> None:
    back = CozeError.from_payload(payload)
    assert type(back) is CozeError
    assert str(back) == message


def test_facts_that_this_version_does_not_know_are_dropped_and_the_others_kept() -> None:
    back = CozeError.from_payload({"error": "CozeAuthError", "message": "x", "facts": {"code": 4100, "colour": "red"}})
    assert type(back) is errors.CozeAuthError
    assert back.facts() == {"code": 4100}


def test_an_error_learns_where_the_work_stands_and_keeps_what_it_knew() -> None:
    error = CozeTransportError("No answer.", chat_id="of the error")
    assert error.located("The chat goes on.", chat_id="of the caller", conversation_id="c", debug_url=None) is error
    assert str(error) == "No answer. The chat goes on."
    assert error.facts() == {"chat_id": "of the error", "conversation_id": "c"}


def test_wrong_fields_and_arguments_are_value_errors_too() -> None:
    assert issubclass(errors.CozeConnectionConfigError, ValueError)
    assert issubclass(errors.CozeInputError, ValueError)


def test_the_question_of_a_run_is_an_attribute_of_its_error_only() -> None:
    assert CozeRunInterruptedError("asks").interrupt is None
    assert not hasattr(CozeError("x"), "interrupt")
