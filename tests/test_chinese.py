"""The Chinese pages say what the English ones say: as many headings, rows and steps, the same code, the same names, the same links."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

import pytest

from tests import docs_chinese, docs_parts
from tests.test_docs import ROOT, _blocks, _headings, _links, _prose, _read, _section, _tables

#: English pages by the Chinese ones. A page of docs/zh stands where its English one stands, but for these.
PAIRS = {
    path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix().replace("docs/zh/", "docs/")
    for path in (ROOT / "docs" / "zh").rglob("*.md")
} | {"README.zh-CN.md": "README.md", "docs/zh/reference/error-codes.md": "docs/reference/errors.md"}
#: What of an English page has a Chinese one, if it is not all.
PARTS = {"docs/reference/errors.md": ("The codes", "HTTP statuses")}


def _english(page: str) -> str:
    text, titles = _read(page), PARTS.get(page)
    return (
        text if titles is None else "\n".join(["# Part", *(f"## {title}\n{_section(text, title)}" for title in titles)])
    )


def _targets(page: str, text: str) -> list[str]:
    """Return where a page leads, without the page itself and its twin; a Chinese page counts as its English one."""
    found = []
    for link in _links(text):
        target, hash_, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            found.append(link)
        elif target:
            path = PurePosixPath(os.path.normpath(PurePosixPath(page).parent / target)).as_posix()
            english = PAIRS.get(path, path)
            # Anchors are made of headings, which differ where there is a Chinese page.
            found.append(english if english in PAIRS.values() else path + hash_ + anchor)
    return sorted(target for target in found if target != PAIRS.get(page, page))


def _items(text: str) -> int:
    return len(re.findall(r"^ *(?:-|\d\.) ", _prose(text), re.MULTILINE))


def _names(text: str) -> set[str]:
    return set(re.findall(r"`[^`]+`", _prose(text)))


@pytest.fixture(params=sorted(PAIRS))
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A Chinese page and its English one."""
    return request.param, PAIRS[request.param]


def test_it_has_the_headings_code_tables_and_lists_of_its_english_page(pair: tuple[str, str]) -> None:
    chinese, english = _read(pair[0]), _english(pair[1])
    assert [level for level, _ in _headings(chinese)] == [level for level, _ in _headings(english)]
    assert _blocks(chinese) == _blocks(english)
    shapes = [[(len(table), len(table[0])) for table in _tables(text)] for text in (chinese, english)]
    assert shapes[0] == shapes[1]
    assert _items(chinese) == _items(english)


def test_it_leads_where_its_english_page_leads_and_to_chinese_pages_where_there_are(pair: tuple[str, str]) -> None:
    chinese = _read(pair[0])
    assert _targets(pair[0], chinese) == _targets(pair[1], _english(pair[1]))
    here = PurePosixPath(pair[0]).parent
    leads = {PurePosixPath(os.path.normpath(here / link.partition("#")[0])).as_posix() for link in _links(chinese)}
    assert not (leads & set(PAIRS.values())) - {pair[1]}


def test_it_names_what_its_english_page_names(pair: tuple[str, str]) -> None:
    assert _names(_read(pair[0])) == _names(_english(pair[1]))


def test_its_headings_are_chinese(pair: tuple[str, str]) -> None:
    assert [
        title
        for _, title in _headings(_read(pair[0]))
        if not re.search(r"[\u4e00-\u9fff]|^airflow-provider-coze$", title)
    ] == []


def test_a_cell_without_its_chinese_is_an_error_that_names_it() -> None:
    with pytest.raises(LookupError, match="a new meaning"):
        docs_chinese.in_chinese("| Code | What Coze means |\n| --- | --- |\n| 4999 | a new meaning |\n")


def test_no_chinese_is_left_over_from_what_the_code_no_longer_says() -> None:
    tables = docs_parts.codes_table() + docs_parts.statuses_table()
    cells = {cell.strip() for line in tables.splitlines() for cell in line.split("|")}
    assert set(docs_chinese.texts()) - cells == set()
