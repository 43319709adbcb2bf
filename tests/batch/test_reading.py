"""What an answer says to each of its rows."""

from __future__ import annotations

from typing import Literal

from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.protocol.typed_output import OutputType

PACKED = '[{"index": 4, "output": "good"}, {"index": 7, "output": "bad"}]'


def test_the_whole_answer_is_the_output_of_a_single_row() -> None:
    assert Reader().read(PACKED, [4]) == ({4: PACKED}, {})


def test_of_several_each_has_its_part() -> None:
    assert Reader().read(PACKED, [4, 7]) == ({4: "good", 7: "bad"}, {})


def test_an_answer_that_cannot_be_taken_apart_is_none_for_any_of_them() -> None:
    outputs, invalid = Reader().read(PACKED, [4, 8])
    assert outputs == {}
    assert set(invalid) == {4, 8}


def test_each_output_is_read_as_the_type_that_was_asked_for() -> None:
    reader = Reader(OutputType(dict[str, int]))
    assert reader.read('Here you are: {"stars": "5"}', [0]) == ({0: {"stars": 5}}, {})


def test_what_is_not_of_that_type_is_named_without_being_quoted() -> None:
    reader = Reader(OutputType(Literal["good", "mixed"]))
    outputs, invalid = reader.read(PACKED, [4, 7])
    assert outputs == {4: "good"}
    assert list(invalid) == [7]
    assert "bad" not in invalid[7]
