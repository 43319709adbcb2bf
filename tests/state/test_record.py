"""What one task instance bought, as its later tries read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeStateError
from airflow_provider_coze.state.record import (
    Intent,
    Submitted,
    decode,
    delivered,
    encode,
    fingerprint,
    fingerprint_in,
    identity,
    new_marker,
)

TI = {"dag_id": "report", "run_id": "scheduled__2026-01-01", "task_id": "ask", "map_index": -1}
SUBMITTED = Submitted("print", "key/1/print", 1_764_849_600.5, {"conversation_id": "1", "chat_id": "2"}, delivered=3)
RECORDS = [
    Intent("print", "key/1/print", 1.0),
    Intent("print", "key/1/print", 1.5, sent_to="7512000000000000100"),
    SUBMITTED,
    Submitted("print", "key/2/print", 1.0, {}),
]


class TestIdentity:
    def test_it_is_the_same_for_every_try(self) -> None:
        assert identity(**TI) == identity(**TI)

    @pytest.mark.parametrize(
        "other", [{"dag_id": "r"}, {"run_id": "manual"}, {"task_id": "tell"}, {"map_index": 0}, {"map_index": 1}]
    )
    def test_another_task_instance_has_another(self, other: dict[str, Any]) -> None:
        assert identity(**{**TI, **other}) != identity(**TI)

    def test_parts_do_not_run_into_each_other(self) -> None:
        assert identity(**{**TI, "dag_id": "a", "run_id": "b_c"}) != identity(**{**TI, "dag_id": "a_b", "run_id": "c"})


class TestMarker:
    def test_it_says_whose_it_is_and_names_its_input(self) -> None:
        marker = new_marker("key", "print", 1.5)
        assert marker == "key/1500/print"
        assert fingerprint_in(marker) == "print"

    def test_every_submission_of_a_task_instance_has_one_of_its_own(self) -> None:
        assert new_marker("key", "print", 1.0) != new_marker("key", "print", 1.001)

    @pytest.mark.parametrize("foreign", ["", "key", "a/b/c/d"])
    def test_a_marker_that_is_not_ours_names_no_input(self, foreign: str) -> None:
        assert fingerprint_in(foreign) == ""

    def test_it_fits_into_cozes_meta_data(self) -> None:
        assert len(new_marker(identity(**TI), fingerprint({"message": "x" * 100_000}), 1_764_849_600.0)) <= 512


class TestFingerprint:
    def test_the_order_of_keys_does_not_matter(self) -> None:
        assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})

    @pytest.mark.parametrize("other", [{"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]}, {}])
    def test_another_input_has_another(self, other: dict[str, Any]) -> None:
        assert fingerprint(other) != fingerprint({"a": 1})

    def test_it_does_not_show_the_input(self) -> None:
        assert "secret" not in fingerprint({"message": "secret"})

    def test_half_an_emoji_has_one(self) -> None:
        assert fingerprint({"message": "\ud83d"})


class TestJson:
    @pytest.mark.parametrize("record", RECORDS, ids=repr)
    def test_a_record_survives_being_stored(self, record: Any) -> None:
        assert decode(json.loads(json.dumps(encode(record)))) == record

    @pytest.mark.parametrize(
        "stored",
        [
            None,
            "",
            [],
            {},
            {"version": 1},
            {**encode(SUBMITTED), "version": 2},
            {**encode(SUBMITTED), "phase": "done"},
            {**encode(SUBMITTED), "fingerprint": 1},
            {**encode(SUBMITTED), "marker": None},
            {**encode(SUBMITTED), "at": "noon"},
            {**encode(SUBMITTED), "at": True},
            {**encode(SUBMITTED), "at": float("nan")},
            {**encode(SUBMITTED), "at": 10**400},
            {**encode(SUBMITTED), "ids": {"chat_id": 2}},
            {**encode(SUBMITTED), "ids": ["2"]},
            {**encode(SUBMITTED), "delivered": "3"},
            {**encode(SUBMITTED), "delivered": True},
            {**encode(RECORDS[1]), "sent_to": 5},
        ],
    )
    def test_what_is_no_record_is_an_error_and_never_nothing(self, stored: Any) -> None:
        with pytest.raises(CozeStateError, match=r"Nothing was sent.*paid for.*retry"):
            decode(stored)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
        | st.dictionaries(
            st.sampled_from(["version", "phase", "fingerprint", "marker", "at", "ids", "sent_to", "delivered"]),
            st.sampled_from([1, "intent", "submitted", "x", 1.0, None, {}, {"a": "b"}]),
        )
    )
    def test_whatever_is_stored_is_a_record_or_one_error(self, stored: Any) -> None:
        try:
            record = decode(stored)
        except CozeStateError:
            return
        assert decode(encode(record)) == record


def test_a_delivery_keeps_all_else() -> None:
    assert delivered(Submitted("p", "m", 1.0, {"chat_id": "2"}), 4) == Submitted("p", "m", 1.0, {"chat_id": "2"}, 4)
