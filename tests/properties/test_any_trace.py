"""Chats whose reply was lost: whatever Coze's lists show, a second one is sent only where no trace of the first can be."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol import recovery
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.messages import Flow, Send
from airflow_provider_coze.protocol.models import Chat, Conversation
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, Search, marked
from airflow_provider_coze.protocol.retry import RetryPolicy
from tests.driving import NOON, VirtualTime
from tests.properties.judging import assert_sound
from tests.properties.performing import driven, ends_well, several
from tests.properties.profiles import EXAMPLES

_MARKER = "key/1/print"
_START = create_chat(
    bot_id="1",
    user_id="u",
    conversation_id="100",
    additional_messages=marked([{"role": "user", "content_type": "text", "content": "hello"}], _MARKER),
    options={"meta_data": {MARKER_FIELD: _MARKER}},
)
_RETRY = RetryPolicy(base_seconds=0.0)
_ENDS = st.sampled_from(["cloud", "studio"])


def searched(time: VirtualTime, dedicated: bool) -> Search:
    return Search("100", _MARKER, dedicated, NOON, time, until=NOON + 60)


def counted(flow: Flow[Any], sent: list[str]) -> Generator[Any, Any, Any]:
    """Perform *flow*, and note the requests that it sends."""
    answer, failure = None, None
    try:
        while True:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
            answer = failure = None
            if isinstance(effect, Send):
                sent.append(f"{effect.request.method} {effect.request.path}")
            try:
                answer = yield effect
            except CozeError as error:
                failure = error
    except StopIteration as done:
        return done.value


@EXAMPLES
@given(several("conversation_messages", "chat_create", "chat_retrieve"), st.booleans(), st.booleans(), _ENDS)
def test_a_chat_that_may_have_been_sent_is_found_or_sent_or_ends_in_our_error(
    responses: list[Any], dedicated: bool, in_doubt: bool, dialect: str
) -> None:
    time = VirtualTime()
    flow = recovery.send_chat(_START, searched(time, dedicated), _RETRY, in_doubt=in_doubt)
    ends_well(flow, responses, time, dialect)


@EXAMPLES
@given(several("conversation_messages", "chat_create", "chat_retrieve"), st.booleans(), st.booleans())
def test_no_chat_is_sent_before_its_conversation_was_read_when_it_may_be_there(
    responses: list[Any], dedicated: bool, in_doubt: bool
) -> None:
    time, sent = VirtualTime(), list[str]()
    flow = recovery.send_chat(_START, searched(time, dedicated), _RETRY, in_doubt=in_doubt)
    try:
        found = driven(counted(flow, sent), responses, time)
    except CozeError as error:
        assert_sound(error)
    else:
        assert found is None or (isinstance(found, Chat) and found.id)
    starts = [number for number, request in enumerate(sent) if request == "POST /v3/chat"]
    if in_doubt and starts:
        assert "POST /v1/conversation/message/list" in sent[: starts[0]]
    assert len(starts) <= _RETRY.attempts * _RETRY.attempts


@EXAMPLES
@given(several("conversation_messages", "chat_retrieve"), st.booleans(), st.booleans(), _ENDS)
def test_looking_for_a_chat_comes_to_an_end(responses: list[Any], dedicated: bool, alive: bool, dialect: str) -> None:
    time = VirtualTime()
    flow = recovery.find_chat(searched(time, dedicated), replace(_RETRY, attempts=2), alive=alive)
    ends_well(flow, responses, time, dialect)


@EXAMPLES
@given(
    several("conversation_list", "conversation_create"), st.none() | st.just(NOON), st.sampled_from(["key", "7", ""])
)
def test_looking_for_a_conversation_comes_to_an_end(responses: list[Any], since: float | None, key: str) -> None:
    time = VirtualTime()
    try:
        found = driven(recovery.find_conversation(bot_id="1", key=key, since=since, retry=_RETRY), responses, time)
    except CozeError as error:
        assert_sound(error)
        return
    if found is not None:
        conversation, marker = found
        assert isinstance(conversation, Conversation)
        assert marker.startswith(f"{key}/")


@EXAMPLES
@given(several("conversation_messages"), st.sampled_from(["key", ""]), _ENDS)
def test_looking_for_a_question_among_others_comes_to_an_end(responses: list[Any], key: str, dialect: str) -> None:
    time = VirtualTime()
    flow = recovery.find_question(conversation_id="100", key=key, since=NOON, retry=_RETRY)
    ends_well(flow, responses, time, dialect)


@EXAMPLES
@given(several("conversation_create"), _ENDS)
def test_opening_a_conversation_ends_in_one_or_in_our_error(responses: list[Any], dialect: str) -> None:
    time = VirtualTime()
    flow = recovery.open_conversation(bot_id="1", meta_data={MARKER_FIELD: _MARKER}, retry=_RETRY)
    ends_well(flow, responses, time, dialect)
