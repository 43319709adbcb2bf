"""JSON of any origin becomes values that Airflow can keep: strict JSON, integers of 64 bits, whole characters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze.protocol.json_text import MAX_DEPTH, read_json
from airflow_provider_coze.protocol.outputs import history_output, run_output


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize(
    "text",
    ['{"a":[1,-2.5,true,null,"星期三 😀 \\ud83d\\ude00"]}', "[]", '"a"', "1e3", "-0", '{"a":1,"a":2}', " [1] \n"],
)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    assert read_json(text) == read_json(text.encode()) == json.loads(text)


def test_a_byte_order_mark_and_the_other_encodings_of_json_are_no_trouble() -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32-le"):
        assert read_json('{"a":"星期三"}'.encode(encoding)) == {"a": "星期三"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("-1.5e400", "-1.5e400"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", "-9223372036854775809"),
        ("9" * 5000, "9" * 5000),
    ],
    ids=lambda value: str(value)[:22],
)
def test_a_number_that_cannot_be_kept_becomes_the_text_that_was_written(written: str, read: Any) -> None:
    assert read_json(f'{{"a":[{written}]}}') == {"a": [read]}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"half \\ud83d"', "half \ufffd"),
        ('"\\uDE00 half"', "\ufffd half"),
        ('"\\ud83d\\ud83d\\ude00"', "\ufffd😀"),
        ('"\\ude00\\ud83d"', "\ufffd\ufffd"),
        ('"\\\\ud83d"', "\\ud83d"),
        ('{"\\ud83d":"\\ud83d"}', {"\ufffd": "\ufffd"}),
        ('"\ud83d"', "\ufffd"),
        (b'"\xed\xa0\xbd"', "\ufffd"),
    ],
)
def test_half_of_a_character_becomes_a_replacement_character(written: str | bytes, read: Any) -> None:
    assert read_json(written) == read


@pytest.mark.parametrize("text", ["", "x", "{", "[1,]", '{"a"}', '"\x00"', b"\xff", b"\xfe\xff\xd8", "'a'", "01"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 1_000, 100_000])
def test_nesting_that_others_could_not_follow_is_a_value_error(opening: str, closing: str, depth: int) -> None:
    with pytest.raises(ValueError, match="nested"):
        read_json(nested(depth, opening, closing))


def test_the_levels_are_counted_and_not_the_brackets() -> None:
    assert read_json(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    many = f"[{','.join([nested(MAX_DEPTH - 1), '{}'] * 300)}]"
    assert len(read_json(many)) == 600
    assert read_json('["' + "[" * 1000 + '"]') == ["[" * 1000]


# --- why: a paid result


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        ('{"title":"cut \\ud83d"}', {"title": "cut \ufffd"}),
        ('{"mean":NaN}', {"mean": "NaN"}),
        ('{"id":123456789012345678901234567890}', {"id": "123456789012345678901234567890"}),
        (nested(101), nested(101)),
    ],
    ids=["emoji", "NaN", "long", "deep"],
)
def test_a_result_that_airflow_would_refuse_is_made_fit_to_be_kept(output: str, kept: Any) -> None:
    assert run_output(output) == kept
    assert history_output(json.dumps({"Output": output})) == kept
