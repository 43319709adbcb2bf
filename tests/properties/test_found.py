"""What the properties have found, by example: each of these once raised something else, or lost or told what it must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.errors import CozeConnectionConfigError, CozeError, CozeTriggerEventError
from airflow_provider_coze.protocol import auth, outcomes
from airflow_provider_coze.protocol.dialects import dialect_of, spoken
from airflow_provider_coze.protocol.endpoints import chat, workflow
from airflow_provider_coze.protocol.envelope import open_envelope
from airflow_provider_coze.protocol.flows import call
from airflow_provider_coze.protocol.inputs import chat_problems, id_problems, run_problems
from airflow_provider_coze.protocol.messages import Flow, Response
from airflow_provider_coze.protocol.models import Chat, Message, integer
from airflow_provider_coze.protocol.outputs import run_output
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import OAuthJWT, parse
from airflow_provider_coze.transports.wire import content_of
from airflow_provider_coze.triggers.events import ChatEvent
from tests.driving import NOON, answer
from tests.properties.judging import assert_sound, assert_storable

READ = chat.retrieve_chat(conversation_id="1", chat_id="2")
DEEP = "[" * 950 + "]" * 950


def refused(response: Response) -> CozeError:
    with pytest.raises(CozeError) as caught:
        READ.parse(open_envelope(response, READ))
    assert_sound(caught.value)
    return caught.value


def first_answer(flow: Flow[Any], response: Response) -> Any:
    next(flow)
    try:
        flow.send(response)
    except StopIteration as done:
        return done.value
    raise AssertionError("the flow asks for more")


# --- answers


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"]
)
def test_a_retry_after_that_no_calendar_has_is_none(date: str) -> None:
    assert refused(answer({"code": 4013}, retry_after=date)).retry_after is None


@pytest.mark.parametrize("seconds", ["1e300", "9223372036854775808", "1e400", "nan"])
def test_a_retry_after_longer_than_any_wait_is_none_before_a_deferral_as_after_it(seconds: str) -> None:
    assert refused(answer({"code": 4013}, retry_after=seconds)).retry_after is None


def test_a_code_longer_than_airflow_can_keep_is_a_code_in_words() -> None:
    assert refused(answer('{"code":1e300,"msg":"no"}')).code is None


def test_a_logid_in_bytes_that_are_no_utf8_is_readable() -> None:
    assert refused(answer({"code": 4013}, x_tt_logid="20\udcff")).logid == "20?"


@pytest.mark.parametrize("value", [{"a": 1}, ["x"], 5])
def test_a_debug_url_that_is_no_text_is_none(value: Any) -> None:
    error = refused(answer({"code": 4000, "debug_url": value}))
    assert error.debug_url is None


@pytest.mark.parametrize("field", ["id", "status", "bot_id"])
def test_a_field_that_nests_as_deep_as_the_stack_is_not_followed(field: str) -> None:
    rest = {"id": '"1"', "conversation_id": '"2"', "status": '"completed"'} | {field: DEEP}
    refused(answer('{"code":0,"data":{' + ",".join(f'"{name}":{value}' for name, value in rest.items()) + "}}"))


def test_what_nests_too_deep_is_not_translated_for_studio_but_left_to_the_envelope() -> None:
    flow = spoken(call(READ, RetryPolicy(attempts=1)), dialect_of("studio"))
    with pytest.raises(CozeError):
        first_answer(flow, answer('{"code":0,"data":' + DEEP + "}"))


@pytest.mark.parametrize("digits", ["9" * 4300, "9" * 400, "18446744073709551616", "-9223372036854775809"])
def test_a_count_over_64_bits_is_none(digits: str) -> None:
    assert integer(digits) == 0


@pytest.mark.parametrize("function", ["x", ["x"], 5])
def test_a_tool_call_whose_function_is_no_object_is_still_told_of(function: Any) -> None:
    waiting = Chat("1", "2", "requires_action", tool_calls=({"type": "function", "function": function},))
    assert "['function']" in str(outcomes.chat_error(waiting, waited=1.0))


@pytest.mark.parametrize(
    "output", ['{"a":"\\ud83d"}', '{"a":NaN}', '{"a":1e999}', '{"a":36893488147419103232}', f'{{"a":{DEEP}}}']
)
def test_a_paid_result_is_in_a_form_that_airflow_keeps(output: str) -> None:
    assert_storable(run_output(output))


@pytest.mark.parametrize("content", ['"half \\ud83d"', '"\\ude00"'])
def test_half_an_emoji_in_an_answer_does_not_cost_the_answer(content: str) -> None:
    what = chat.chat_messages(conversation_id="1", chat_id="2")
    response = answer('{"code":0,"data":[{"role":"assistant","type":"answer","content":' + content + "}]}")
    (message,) = what.parse(open_envelope(response, what))
    assert isinstance(message, Message)
    message.content.encode()


# --- tokens


@pytest.fixture
def minting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Flow[str]]:
    monkeypatch.setattr(auth, "_jwt", lambda *_: "a.signed.token")
    return lambda: auth.TokenCache(OAuthJWT("client", "print", "key"), "https://api.coze.cn").token(lambda: NOON)


def test_a_page_of_brackets_in_a_tokens_place_is_our_error(minting: Callable[[], Flow[str]]) -> None:
    with pytest.raises(CozeError):
        first_answer(minting(), answer("[" * 100_000))


def test_an_expiry_that_no_float_can_hold_is_replaced_by_what_was_asked_for(minting: Callable[[], Flow[str]]) -> None:
    body = '{"access_token":"czs_1","expires_in":' + "9" * 400 + "}"
    assert first_answer(minting(), answer(body)) == "czs_1"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"access_token":"czs_secret"}', 302),
        ('{"access_token":"czs_secret","expires_in":1}', 403),
        ('{"code":4000,"access_token":"czs_secret"}', 200),
        ('{"access_token":"czs_secr', 200),
        ('["access_token","czs_secret"]', 200),
    ],
)
def test_a_token_in_an_answer_that_is_refused_is_not_quoted(
    minting: Callable[[], Flow[str]], body: str, status: int
) -> None:
    with pytest.raises(CozeError) as caught:
        first_answer(minting(), answer(body, status))
    assert "czs_secr" not in f"{caught.value!r} {caught.value.to_payload()} {caught.value.__cause__}"


# --- connections


def test_an_extra_that_nests_as_deep_as_the_stack_is_the_one_error() -> None:
    with pytest.raises(CozeConnectionConfigError, match="`extra` is a text that is not JSON"):
        parse(host=None, password="pat_x", extra="[" * 100_000)


def test_an_id_that_is_an_endless_number_is_the_one_error() -> None:
    with pytest.raises(CozeConnectionConfigError, match="`client_id`"):
        parse(host=None, password="pat_x", extra={"client_id": 10**5000})


# --- events


@pytest.mark.parametrize("started_at", [10**400, float("nan"), float("inf"), -1.0, 1e12])
def test_an_event_of_a_time_that_no_wait_can_be_measured_from_is_refused(started_at: float) -> None:
    payload = {"chat_id": "1", "conversation_id": "2", "status": "completed", "started_at": started_at}
    with pytest.raises(CozeTriggerEventError, match="started_at"):
        ChatEvent.from_payload(payload)


def test_ids_of_an_event_that_are_no_texts_are_none() -> None:
    payload = {"chat_id": "1", "conversation_id": "2", "status": "", "started_at": 1, "logid": {"a": 1}, "bot_id": [1]}
    found = ChatEvent.from_payload(payload).chat
    assert (found.logid, found.bot_id) == (None, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("code", value) for value in ("4016", True, [1], {})),
        *(("retry_after", value) for value in ("7", -1, float("nan"), float("inf"), 10**400)),
        *(("never_sent", value) for value in (1, "true")),
        *(("msg", value) for value in (5, ["x"])),
    ],
)
def test_a_fact_of_the_wrong_type_does_not_come_back(name: str, value: Any) -> None:
    payload = {"error": "CozeRateLimitedError", "message": "no", "facts": {name: value, "logid": "1"}}
    back = CozeError.from_payload(json.loads(json.dumps(payload)))
    assert (type(back).__name__, back.facts()) == ("CozeRateLimitedError", {"logid": "1"})


# --- arguments


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


def nest(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        (circle(), "parameters['a'][0] is what it stands in, which JSON cannot hold"),
        (nest(5000), "parameters has more than 100 levels"),
        ({10**5000: 1}, "parameters[int] is int, which JSON cannot hold"),
        ({"a": 10**5000}, "parameters['a'] is int, which JSON cannot hold"),
    ],
    ids=["in itself", "deep", "long key", "long number"],
)
def test_parameters_that_json_cannot_hold_are_a_problem(parameters: Any, problem: str) -> None:
    assert run_problems(workflow_id="1", parameters=parameters, options={}) == [problem]


def test_the_same_list_twice_is_no_circle() -> None:
    row = [1, 2]
    assert run_problems(workflow_id="1", parameters={"rows": [row, row], "again": {"row": row}}, options={}) == []


@pytest.mark.parametrize("value", ["7511\ud83d", "7511\u200b", "\ufeff7511", "75\x0011"])
def test_an_id_with_a_character_that_nobody_sees_or_no_address_holds_is_a_problem(value: str) -> None:
    assert id_problems("bot_id", value) == [f"bot_id {value!r} has a character in it that cannot be printed"]


def test_an_endless_number_for_an_id_is_a_problem() -> None:
    assert id_problems("bot_id", 10**5000) == ["bot_id must be a string, not int"]


@pytest.mark.parametrize("value", [10**5000, nest(5000), [10**5000]], ids=["int", "dict", "list"])
def test_an_option_that_cannot_be_shown_is_named_by_its_type(value: Any) -> None:
    problems = chat_problems(
        bot_id="1",
        user_id="u",
        message=None,
        additional_messages=[{"content": "x", "role": value, "content_type": value}],
        conversation_id=None,
        auto_save_history=True,
        options={"publish_status": value},
    )
    assert [problem.rpartition(", ")[2] for problem in problems] == [f"not {type(value).__name__}"] * 3


def test_a_hundred_levels_are_no_problem_and_can_be_sent() -> None:
    assert run_problems(workflow_id="1", parameters=nest(99), options={}) == []
    content, _ = content_of(workflow.run_workflow(workflow_id="1", parameters=nest(99), is_async=True).request)
    assert content is not None
    assert content.count(b'"a"') == 99
