"""Folds: any events in any order have an outcome that Airflow can keep, or an error of ours; success only if Coze says so."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError, CozeProtocolError
from airflow_provider_coze.protocol.outcomes import run_error
from airflow_provider_coze.protocol.run_streams import RunFold
from airflow_provider_coze.protocol.sse import Event
from airflow_provider_coze.protocol.statuses import Phase, chat_phase, run_phase
from airflow_provider_coze.protocol.streams import ChatflowFold, ChatFold, Fold, is_whole
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import deep, json_values, texts, written

_CHAT_STEPS = ["created", "in_progress", "completed", "failed", "requires_action", "canceled", "cancelled", "odd", ""]
_NAMES = [
    *(f"conversation.chat.{step}" for step in _CHAT_STEPS),
    *("conversation.message.delta", "conversation.message.completed", "conversation.audio.delta"),
    *("conversation.stream.done", "done", "error", "Message", "Interrupt", "Error", "PING", "Done"),
]
#: What Coze writes in the fields of its events, beside anything else.
_FIELDS: dict[str, list[Any]] = {
    **{key: ["1", "2"] for key in ["id", "conversation_id", "chat_id", "bot_id"]},
    "status": [step for step in _CHAT_STEPS if step],
    "type": ["answer", "follow_up", "verbose"],
    "role": ["assistant"],
    **{key: ["one\ntwo", '{"x":1}', ""] for key in ["content", "msg", "error_message"]},
    **{key: [0, "5000", 4013] for key in ["code", "error_code", "token"]},
    "last_error": [{"code": 5000, "msg": "no"}],
    "required_action": [{"submit_tool_outputs": {"tool_calls": [{"id": "c", "function": {"name": "f"}}]}}],
    "usage": [{"token_count": 3}, {}],
    "debug_url": ["https://www.coze.cn/work_flow?execute_id=75"],
    "interrupt_data": [{"event_id": "75/27", "type": 2, "data": ""}],
    "node_title": ["A", "B", "", "End"],
    "node_type": ["Message", "End"],
    "node_seq_id": ["0", "1", 2],
    "node_is_finish": [True, False],
    "node_execute_uuid": ["x", "y"],
}
_objects = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) | json_values for name, values in _FIELDS.items()}
)
events = st.builds(
    Event,
    st.sampled_from(_NAMES) | texts,
    (_objects | json_values | deep).map(lambda value: written(value).decode("utf-8", "replace")) | texts,
    st.none() | st.integers(-1, 5).map(str) | texts,
)
streams = st.lists(events, max_size=10)


def _fed(fold: Fold, told: list[Event]) -> list[Event]:
    """Feed all that can be understood, and return it."""
    understood = []
    for event in told:
        try:
            lines = fold.feed(event)
        except CozeProtocolError as error:
            assert_sound(error)
        else:
            assert_storable(lines)
            assert all("\n" not in line for line in lines)
            understood.append(event)
    return understood


@EXAMPLES
@given(streams, st.sampled_from([ChatFold, ChatflowFold]), st.sampled_from(["", "2"]))
def test_any_events_of_a_chat_have_an_outcome_or_none(told: list[Event], kind: type[ChatFold], given_id: str) -> None:
    fold = kind(conversation_id=given_id)
    ends = [
        phase
        for event in _fed(fold, told)
        if event.event.startswith("conversation.chat.")
        and (phase := chat_phase(event.event.rpartition(".")[2])) not in (Phase.ACTIVE, Phase.UNKNOWN)
    ]
    # An error before the chat has a name is the other way to end.
    assert fold.ended is bool(ends) or (fold.ended and fold.error is not None)
    if fold.ended and fold.chat is not None and chat_phase(fold.chat.status) is Phase.DONE:
        assert Phase.DONE in ends
    assert_storable([fold.chat, fold.messages, fold.usage, fold.last_error, fold.ids(), fold.answer().text])
    assert_sound(fold.failure(waited=1))


@EXAMPLES
@given(streams)
def test_any_events_of_a_run_have_an_outcome_or_none(told: list[Event]) -> None:
    fold = RunFold()
    names = {event.event for event in _fed(fold, told)}
    assert not fold.ended or names & {"Done", "done", "Interrupt", "Error", "error"}
    record = fold.record()
    if run_phase(record.execute_status, interrupted=record.interrupt is not None) is Phase.DONE:
        assert names & {"Done", "done"}
    assert_storable([record, fold.output(), fold.usage, fold.ids(), fold.question])
    assert_sound(run_error(record, workflow_id="44", waited=1))
    assert fold.lost >= 0


@EXAMPLES
@given(events, st.sampled_from([ChatFold, ChatflowFold, RunFold]))
def test_what_is_left_of_an_event_never_ends_a_stream(cut: Event, kind: Any) -> None:
    fold: Fold = kind()
    fold.rescue(cut)
    assert (fold.ended, fold.done) == (False, False)
    with contextlib.suppress(CozeError):
        if is_whole(cut):
            fold.feed(cut)
