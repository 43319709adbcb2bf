"""What crosses from the triggerer to a worker: it comes back as it was, and anything else is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze import errors
from airflow_provider_coze.errors import CozeError, CozeTriggerEventError
from airflow_provider_coze.protocol import outcomes
from airflow_provider_coze.protocol.models import Chat, RunHistory, Usage
from airflow_provider_coze.triggers.events import ChatEvent, RunEvent
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import kept_values

_KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CozeError)]
_PROPER = st.text(max_size=12)
_IDS = st.text(min_size=1, max_size=12)
_TIMES = st.floats(0, 4e9)

_ERRORS = st.builds(
    lambda kind, message, facts: kind(message, **facts),
    st.sampled_from(_KINDS),
    _IDS.filter(str.strip),
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("msg", "logid", "debug_url", "origin", "chat_id", "execute_id"), _IDS),
            "code": st.integers(1, 10**9),
            "status": st.integers(100, 599),
            "never_sent": st.booleans(),
            "retry_after": st.floats(0, 1e6),
        },
    ),
)
_USAGES = st.builds(Usage, *[st.integers(0, 2**53)] * 3).filter(lambda usage: usage.token_count)
_CHATS = st.builds(
    Chat,
    id=_IDS,
    conversation_id=_IDS,
    status=_PROPER,
    bot_id=_PROPER,
    usage=st.none() | _USAGES,
    logid=st.none() | _IDS,
)
_HISTORIES = st.builds(
    RunHistory, execute_id=_IDS, execute_status=_PROPER, debug_url=st.none() | _IDS, logid=st.none() | _IDS
)

_FACTS = kept_values | st.dictionaries(
    st.sampled_from([*CozeError("x")._fields(), "tool_calls", "interrupt"]), kept_values | st.floats()
)
#: Events whose fields may be anything, but are mostly there.
_PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("chat_id", "conversation_id", "workflow_id", "execute_id", "status"), st.just("1") | kept_values),
        "started_at": _TIMES | st.integers() | st.floats() | st.just(10**400) | kept_values,
        **dict.fromkeys(("bot_id", "debug_url", "logid", "usage"), kept_values),
        "error": kept_values
        | st.fixed_dictionaries(
            {},
            optional={
                "error": st.sampled_from([kind.__name__ for kind in _KINDS]) | kept_values,
                "message": kept_values,
                "facts": _FACTS,
            },
        ),
    },
)  # fmt: skip


def through_airflow(payload: Mapping[str, Any]) -> Any:
    assert_storable(payload)
    return json.loads(json.dumps(payload))


def assert_came_back(back: CozeError | None, sent: CozeError | None, **ids: str) -> None:
    """Assert that an error is what it was, with the ids of what was watched where it had none of its own."""
    if sent is None:
        assert back is None
    else:
        assert (type(back), str(back)) == (type(sent), str(sent))
        assert back is not None
        assert back.facts() == {**ids, **sent.facts()}


@EXAMPLES
@given(st.builds(ChatEvent, _CHATS, _TIMES, st.none() | _ERRORS))
def test_how_a_chat_stood_comes_back_as_it_was(event: ChatEvent) -> None:
    back = ChatEvent.from_payload(through_airflow(event.to_payload()))
    assert (back.chat, back.started_at) == (event.chat, event.started_at)
    assert_came_back(back.error, event.error, chat_id=event.chat.id, conversation_id=event.chat.conversation_id)


@EXAMPLES
@given(st.builds(RunEvent, _HISTORIES, _IDS, _TIMES, st.none() | _ERRORS))
def test_how_a_run_stood_comes_back_as_it_was(event: RunEvent) -> None:
    back = RunEvent.from_payload(through_airflow(event.to_payload()))
    assert (back.history, back.workflow_id, back.started_at) == (event.history, event.workflow_id, event.started_at)
    assert_came_back(back.error, event.error, workflow_id=event.workflow_id, execute_id=event.history.execute_id)


@EXAMPLES
@given(_PAYLOADS | kept_values)
def test_anything_else_that_resumes_a_task_is_refused_or_read_soundly(payload: Any) -> None:
    for kind in (ChatEvent, RunEvent):
        try:
            event = kind.from_payload(payload)
        except CozeTriggerEventError as error:
            assert_sound(error)
            continue
        assert math.isfinite(event.started_at)
        if event.error is not None:
            assert_sound(event.error)
        through_airflow(event.to_payload())
        if isinstance(event, ChatEvent):
            assert event.chat.id
            assert event.chat.conversation_id
            assert_sound(outcomes.chat_error(event.chat, waited=1.0))
        else:
            assert event.history.execute_id
            assert event.workflow_id
            assert_sound(outcomes.run_error(event.history, workflow_id=event.workflow_id, waited=1.0))


@EXAMPLES
@given(_ERRORS)
def test_an_error_comes_back_as_it_was(error: CozeError) -> None:
    assert_sound(error)
    assert_came_back(CozeError.from_payload(through_airflow(error.to_payload())), error)


@EXAMPLES
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "error": st.sampled_from([kind.__name__ for kind in _KINDS]) | kept_values,
            "message": kept_values,
            "facts": _FACTS,
        },
    )
    | st.dictionaries(st.text(max_size=8), kept_values, max_size=3)
)
def test_an_error_is_made_of_any_payload_with_facts_of_the_right_kind(payload: dict[str, Any]) -> None:
    assert_sound(CozeError.from_payload(payload))
