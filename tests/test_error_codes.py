"""The table of codes on docs/reference/errors.md is whole: each code once, and with it what it means, what is done, what to do."""

from __future__ import annotations

import re

import pytest

from airflow_provider_coze.protocol import codes
from tests import docs_parts

PAGE = (docs_parts.ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| (?:\d{3,9}|other 3xx|5xx|any other) \|", line)
]


def test_every_code_and_status_stands_there_once() -> None:
    numbers = [int(row[0]) for row in ROWS if row[0].isdigit()]
    assert sorted(numbers) == sorted([*codes.BY_CODE, *codes.BY_STATUS])
    assert [row[0] for row in ROWS if not row[0].isdigit()] == ["other 3xx", "5xx", "any other"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_it_means_what_is_done_and_what_to_do(row: list[str]) -> None:
    assert len(row) == 8
    assert all(row)
    assert row[-1].endswith(".")


def test_codes_that_pages_name_are_in_the_table() -> None:
    known = {row[0] for row in ROWS}
    named = {
        (page.name, code)
        for page in docs_parts.pages()
        for code in re.findall(r"\bcodes? (\d{4,9})\b", page.read_text(encoding="utf-8"))
    }
    assert {(page, code) for page, code in named if code not in known} == set()
