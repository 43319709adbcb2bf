"""One row's line: what it says, and what it never says."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.results import RowError, RowResult, bucket_of
from airflow_provider_coze.batch.rows import BadRow
from airflow_provider_coze.errors import CozeChatFailedError, CozeOutputTypeError, CozeRateLimitedError
from airflow_provider_coze.protocol.models import Usage


def test_a_row_with_an_output_has_no_error_and_not_its_input() -> None:
    row = RowResult(
        3,
        "abc",
        {"label": "好"},
        usage=Usage(10, 7, 3),
        ids={"chat_id": "2", "conversation_id": "1"},
        tries=2,
        seconds=1.23456,
        value="the row",
    )
    line = row.to_line()
    assert json.loads(line) == {
        "index": 3,
        "input_hash": "abc",
        "output": {"label": "好"},
        "error": None,
        "usage": {"token_count": 10, "input_count": 7, "output_count": 3},
        "ids": {"chat_id": "2", "conversation_id": "1"},
        "tries": 2,
        "seconds": 1.235,
    }
    assert "好".encode() in line


def test_a_row_that_failed_has_its_error_and_its_input() -> None:
    error = CozeRateLimitedError("Too many.", code=4013, msg="slow down", logid="l1", status=429)
    line = json.loads(RowResult(0, "h", None, RowError.of(error), value={"text": "a"}).to_line())
    assert line["error"] == {"type": "CozeRateLimitedError", "code": 4013, "msg": "slow down", "logid": "l1"}
    assert (line["output"], line["usage"], line["input"]) == (None, None, {"text": "a"})
    nothing = json.loads(RowResult(0, "h", None, RowError.of(error)).to_line())
    assert nothing["input"] is None


def test_our_own_words_stand_in_where_coze_has_none() -> None:
    assert RowError.of(CozeOutputTypeError("Not a number.")) == RowError("CozeOutputTypeError", None, "Not a number.")


def test_a_row_that_was_never_sent_says_why() -> None:
    bad = BadRow(7, "too_large", "row 8 has over 9 bytes", None)
    error = RowError(type(bad).__name__, bad.code, bad.msg)
    assert json.loads(RowResult(7, "", None, error, value=bad.value).to_line())["error"] == {
        "type": "BadRow",
        "code": "too_large",
        "msg": "row 8 has over 9 bytes",
        "logid": None,
    }


class FlawedError(Exception):
    code = "empty"
    msg = "there is nothing in it"


def test_of_an_error_that_nobody_knows_only_the_kind_is_told() -> None:
    assert RowError.of(FlawedError("s3cret")) == RowError("FlawedError", "empty", "there is nothing in it")
    error = RowError.of(KeyError("s3cret"))
    assert (error.type, error.code) == ("KeyError", None)
    assert "s3cret" not in error.msg


def test_a_row_is_not_shown_with_what_is_in_it() -> None:
    assert "s3cret" not in repr(RowResult(1, "h", "s3cret", value="s3cret"))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a\nb\r\u2028\x00", "a\nb\r\u2028\x00"),
        ("cut \ud83d", "cut \ud83d"),
        (float("nan"), "nan"),
        ({"x": [1.5, float("inf")]}, {"x": [1.5, "inf"]}),
        ({1: (2, [3])}, {"1": [2, [3]]}),
        ({("a", "b"): 1}, {"('a', 'b')": 1}),
        (dt.date(2025, 12, 4), "2025-12-04"),
        (2**70, 2**70),
    ],
    ids=str,
)
def test_any_value_is_one_line_of_json(value: Any, read: Any) -> None:
    line = to_line(value)
    assert b"\n" not in line
    assert json.loads(line.decode()) == read


@pytest.mark.parametrize(
    ("kind", "bucket"),
    [
        (None, "succeeded"),
        ("CozeRunFailedError", "errored"),
        ("BadRow", "errored"),
        ("CozeOutputTypeError", "invalid_output"),
        ("CozeChatTimeoutError", "expired"),
        ("CozeRunTimeoutError", "expired"),
        ("CozeChatCanceledError", "cancelled"),
        ("CozeOutcomeUnknownError", "unknown"),
    ],
)
def test_every_end_of_a_row_is_counted_under_one_name(kind: str | None, bucket: str) -> None:
    assert bucket_of(kind) == bucket


def test_a_code_that_is_not_cozes_own_is_not_made_one() -> None:
    assert RowError.of(CozeChatFailedError("Failed.")).code is None
