"""What earlier tries bought: records survive any store, markers name their input, and nothing is bought twice by a broken record."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, marked
from airflow_provider_coze.state.reattach import REUSES, Attach, Look, Reconcile, Remote, Submit, Unknown, decide
from airflow_provider_coze.state.record import (
    Intent,
    Record,
    Submitted,
    decode,
    encode,
    fingerprint,
    fingerprint_in,
    identity,
    new_marker,
)
from tests.properties.judging import assert_sound, assert_storable
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, json_values, texts, written

_WORDS = st.text(max_size=8)
_TIMES = st.floats(0, 4e9)
_INTENTS = st.builds(Intent, _WORDS, _WORDS, _TIMES, st.none() | _WORDS)
_BOUGHT = st.builds(
    Submitted, _WORDS, _WORDS, _TIMES, st.dictionaries(_WORDS, _WORDS, max_size=3), st.none() | st.integers(0, 99)
)
records: st.SearchStrategy[Record] = _INTENTS | _BOUGHT

#: Records with parts replaced, and whatever else may lie where one is expected.
_STORED = st.builds(
    lambda record, changes, gone: {k: v for k, v in {**encode(record), **changes}.items() if k not in gone},
    records,
    st.dictionaries(
        st.sampled_from(["version", "phase", "fingerprint", "marker", "at", "ids", "sent_to", "delivered"]) | texts,
        json_values | st.sampled_from(["intent", "submitted", 1, 2]),
        max_size=2,
    ),
    st.sets(st.sampled_from(["version", "phase", "marker", "at", "ids", "delivered"]), max_size=1),
)


@EXAMPLES
@given(records)
def test_a_record_comes_out_of_any_store_as_it_went_in(record: Record) -> None:
    assert_storable(encode(record))
    assert decode(json.loads(json.dumps(encode(record)))) == record
    assert decode(read_json(json.dumps(encode(record), ensure_ascii=False))) == record


@EXAMPLES
@given(_STORED | json_values | anything)
def test_whatever_lies_in_a_store_is_a_record_or_the_one_error(stored: Any) -> None:
    try:
        record = decode(stored)
    except CozeStateError as error:
        assert_sound(error)
    else:
        assert decode(encode(record)) == record
        decide(record, fingerprint="a", generation=0, needs_conversation=True)


@EXAMPLES
@given(_STORED.map(written))
def test_a_record_that_was_read_from_a_file_can_be_stored_again(content: bytes) -> None:
    try:
        record = decode(read_json(content))
    except CozeStateError as error:
        assert_sound(error)
    else:
        assert_storable(encode(record))


@EXAMPLES
@given(
    st.dictionaries(texts, json_values, max_size=3),
    st.randoms(use_true_random=False),
)
def test_equal_input_has_an_equal_fingerprint_in_whatever_order(arguments: dict[str, Any], random: Any) -> None:
    shuffled = dict(random.sample(list(arguments.items()), len(arguments)))
    assert fingerprint(shuffled) == fingerprint(arguments)


@EXAMPLES
@given(st.dictionaries(_WORDS, _WORDS, max_size=3), st.dictionaries(_WORDS, _WORDS, max_size=3))
def test_other_input_has_another_fingerprint(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


#: Airflow's ids; none can hold a NUL, which no database of Airflow takes.
_AIRFLOW_IDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6) | st.sampled_from(
    ["a", "a_b", "b", "1", "-1"]
)
_INSTANCES = st.fixed_dictionaries(
    {**dict.fromkeys(("dag_id", "run_id", "task_id"), _AIRFLOW_IDS), "map_index": st.integers(-1, 20)}
)


@EXAMPLES
@given(_INSTANCES, _INSTANCES)
def test_two_task_instances_share_a_record_only_if_they_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (identity(**one) == identity(**other)) == (one == other)


@EXAMPLES
@given(_INSTANCES, st.dictionaries(_WORDS, json_values, max_size=3), _TIMES)
def test_a_marker_names_its_owner_and_its_input_and_fits_into_meta_data(
    instance: dict[str, Any], arguments: dict[str, Any], now: float
) -> None:
    key, print_ = identity(**instance), fingerprint(arguments)
    marker = new_marker(key, print_, now)
    assert marker.startswith(f"{key}/")
    assert fingerprint_in(marker) == print_
    assert len(marker) <= 512
    assert marker.isascii()


@EXAMPLES
@given(st.lists(st.dictionaries(_WORDS, json_values, max_size=3), min_size=1, max_size=4), _WORDS)
def test_marking_a_turn_changes_its_question_alone(messages: list[dict[str, Any]], marker: str) -> None:
    before = json.dumps(messages)
    *others, question = marked(messages, marker)
    assert json.dumps(messages) == before
    assert json.dumps(others) == json.dumps(messages[:-1])
    meta_data = question.pop("meta_data")
    assert isinstance(meta_data, dict)
    assert meta_data[MARKER_FIELD] == marker
    assert json.dumps(question) == json.dumps({k: v for k, v in messages[-1].items() if k != "meta_data"})


@EXAMPLES
@given(
    record=records | st.builds(Intent, _WORDS, _WORDS, _TIMES, _WORDS),  # the ones that take a search
    fingerprint=st.sampled_from("ab"),
    is_same=st.sampled_from([True, True, True, False]),
    generation=st.integers(0, 3),
    noted=st.none() | st.integers(0, 3),
    reuse=st.sampled_from(REUSES),
    needs_conversation=st.booleans(),
)
def test_a_try_buys_beside_what_was_bought_only_for_a_reason_that_is_told(
    record: Record,
    fingerprint: str,
    is_same: bool,
    generation: int,
    noted: int | None,
    reuse: str,
    needs_conversation: bool,
) -> None:
    """A look at Coze settles it, and no record of the same input is forgotten while its work may go on."""
    changes: dict[str, Any] = {"fingerprint": fingerprint if is_same else f"not {fingerprint}"}
    changes |= {"delivered": noted} if isinstance(record, Submitted) else {}
    given_ = decode({**encode(record), **changes})

    def decided(remote: Remote | None) -> Any:
        return decide(
            given_,
            fingerprint=fingerprint,
            generation=generation,
            reuse=reuse,
            remote=remote,
            needs_conversation=needs_conversation,
        )

    first = decided(None)
    is_cleared = isinstance(given_, Submitted) and noted not in (None, generation) and reuse != "always"
    is_wanted = reuse != "never" and is_same and not is_cleared
    if not is_wanted:
        assert isinstance(first, Submit)
        assert first.reason
    elif isinstance(given_, Submitted):
        assert first == Look()
        assert {remote: type(decided(remote)) for remote in Remote} == {
            Remote.ALIVE: Attach,
            Remote.DONE: Attach,
            Remote.FAILED: Submit,
            Remote.GONE: Unknown,
        }
    elif not needs_conversation:
        assert isinstance(first, Unknown)
    else:
        assert first == (Submit() if given_.sent_to is None else Reconcile())
    if first != Look():
        assert all(decided(remote) == first for remote in Remote)
