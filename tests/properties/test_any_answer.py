"""Whatever answers, in Coze's place or on its behalf: a value that Airflow can keep, or one of our errors."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol import auth, endpoints, flows, listings, outcomes
from airflow_provider_coze.protocol.envelope import is_expired_token, open_envelope
from airflow_provider_coze.protocol.messages import Flow, Replay, Response
from airflow_provider_coze.protocol.models import Chat, RunHistory, WorkflowRun
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS, PollSchedule
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.settings import OAuthJWT
from tests.driving import NOON, VirtualTime
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.performing import driven, ends_well, several
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import CALLS, answers, headers, json_values, of_operation, texts, written

operations = st.sampled_from(sorted(CALLS))


def test_every_operation_of_the_endpoints_is_among_those_that_are_tried() -> None:
    modules = [
        importlib.import_module(f"{endpoints.__name__}.{found.name}")
        for found in pkgutil.iter_modules(endpoints.__path__)
    ]
    made = [
        function for module in modules for function in vars(module).values() if _returns_call(function, module.__name__)
    ]
    assert len(made) == len(CALLS), sorted(function.__name__ for function in made)


def _returns_call(function: Any, module: str) -> bool:
    is_own = inspect.isfunction(function) and function.__module__ == module
    return is_own and str(function.__annotations__.get("return")).startswith("Call[")


@EXAMPLES
@given(answers, operations)
def test_an_envelope_is_opened_or_refused_with_an_error_that_can_be_stored(response: Response, operation: str) -> None:
    assert is_expired_token(response) in (True, False)
    try:
        body = open_envelope(response, CALLS[operation])
    except CozeError as error:
        assert_sound(error)
        for replay in Replay:
            wait = RetryPolicy().next_wait(error, 1, replay)
            assert wait is None or 0 <= wait <= 120
    else:
        assert isinstance(body, Mapping)
        assert response.status < 300


@EXAMPLES
@given(operations.flatmap(lambda name: st.tuples(st.just(name), of_operation(name) | answers)))
def test_every_operation_reads_something_storable_or_raises_our_error(drawn: tuple[str, Response]) -> None:
    operation, response = drawn
    call = CALLS[operation]
    try:
        found = call.parse(open_envelope(response, call))
    except CozeError as error:
        assert_sound(error)
        return
    repr(found)
    assert_storable(found)
    for item in found if isinstance(found, tuple) else [found]:
        getattr(item, "created", None)
    if isinstance(found, Chat):
        assert_sound(outcomes.chat_error(found, waited=1.0))
    if isinstance(found, RunHistory):
        assert_sound(outcomes.run_error(found, workflow_id="1", waited=1.0))


# --- whole flows


def watching(time: VirtualTime, polls: PollSchedule) -> flows.Watch:
    return flows.Watch(polls=polls, since=NOON, until=NOON + 90, clock=time, chance=lambda: 0.5)


def chat_to_its_end(time: VirtualTime) -> Flow[Any]:
    chat = yield from flows.call(CALLS["chat_create"], RetryPolicy())
    chat = yield from flows.watch_chat(chat, watching(time, CHAT_POLLS))
    assert_storable(chat)
    return (yield from flows.chat_answer(chat, RetryPolicy(), waited=1.0))


def run_to_its_end(time: VirtualTime) -> Flow[Any]:
    run: WorkflowRun = yield from flows.call(CALLS["workflow_run"], RetryPolicy())
    if run.data is not None:
        return flows.direct_result(run, workflow_id="1", waited=1.0)
    history = RunHistory(execute_id=run.execute_id, execute_status="", debug_url=run.debug_url)
    history = yield from flows.watch_run(history, watching(time, RUN_POLLS), workflow_id="1")
    assert_storable(history)
    return flows.run_result(history, workflow_id="1", waited=1.0)


@EXAMPLES
@given(several("chat_create", "chat_retrieve", "chat_messages"), st.sampled_from(["cloud", "studio"]))
def test_a_chat_ends_in_an_answer_or_in_our_error(responses: list[Any], dialect: str) -> None:
    time = VirtualTime()
    ends_well(chat_to_its_end(time), responses, time, dialect)


@EXAMPLES
@given(several("workflow_run", "workflow_history"), st.sampled_from(["cloud", "studio"]))
def test_a_run_ends_in_a_result_or_in_our_error(responses: list[Any], dialect: str) -> None:
    time = VirtualTime()
    ends_well(run_to_its_end(time), responses, time, dialect)


@EXAMPLES
@given(several("conversation_messages"), st.none() | st.just("7512000000000000201"))
def test_the_pages_of_a_conversation_come_to_an_end(responses: list[Any], chat_id: str | None) -> None:
    time = VirtualTime()
    ends_well(listings.messages_of("1", RetryPolicy(), chat_id=chat_id), responses, time, "cloud")


# --- tokens

_KEY = "-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgkqhkiG\n-----END PRIVATE KEY-----\n"
_TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=30).map("czs_{}".format)


@pytest.fixture(scope="module", autouse=True)
def _signing_is_tested_elsewhere() -> Iterator[None]:
    """Parsing a key and signing take 50 ms."""
    with patch.object(auth, "_jwt", return_value="a.signed.token"):
        yield


@EXAMPLES
@given(st.data(), _TOKENS)
def test_no_answer_of_the_token_endpoint_gets_a_secret_into_an_error(data: st.DataObject, token: str) -> None:
    answer = {
        "access_token": st.just(token) | json_values,
        "expires_in": json_values,
        "error_code": texts | st.sampled_from(["invalid_request", ""]),
        "error_message": texts,
        "code": json_values,
        "msg": texts,
    }
    bodies = st.fixed_dictionaries({}, optional=answer).map(written)
    one = st.builds(Response, st.integers(200, 599), headers, bodies, st.just("https://api.coze.cn")) | answers
    time = VirtualTime()
    cache = auth.TokenCache(OAuthJWT("client", "print", _KEY), "https://api.coze.cn")
    try:
        found = driven(cache.token(time), data.draw(st.lists(one, min_size=1, max_size=3)), time)
    except CozeError as error:
        assert_sound(error)
        shown = f"{error!r} {error} {error.to_payload()}"
        assert token not in shown
        assert _KEY.splitlines()[1] not in shown
    else:
        assert found is None or (found.isascii() and found.isprintable() and " " not in found)
