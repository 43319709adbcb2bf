"""The report of a batch: a page with all the figures, that loads nothing, runs nothing and lets nobody else's words be markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from airflow_provider_coze.batch import plots, units
from airflow_provider_coze.batch.report import html_report
from airflow_provider_coze.batch.results import MOST_EXAMPLES, FailedRow
from airflow_provider_coze.batch.stats import Stats
from tests.batch import sample

NOON = sample.NOON
#: Elements that have no end.
_EMPTY = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, words: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(words)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def stats() -> Stats:
    return sample.run(rows=4_000)


@pytest.fixture(scope="module")
def written(stats: Stats) -> str:
    return sample.report(stats)


def _plots(written: str) -> Iterator[ElementTree.Element]:
    for found in re.findall(r'<svg [^>]*role="img".*?</svg>', written, re.DOTALL):
        yield ElementTree.fromstring(found)  # noqa: S314


def test_the_page_has_the_figures_of_the_summary(stats: Stats, written: str) -> None:
    text = Page(written).text
    for figure in (
        units.count(stats.ok),
        units.count(stats.failed),
        units.count(stats.tokens_in),
        units.count(stats.tokens_out),
        units.duration(stats.elapsed()),
        units.share(stats.waiting(), 1),
        *(units.latency(stats.latencies.percentile(percent) or 0) for percent in (50, 90, 99)),
        units.latency(stats.latencies.most),
    ):
        assert figure in text
    for code, times in [*stats.errors.most_common(), *stats.retries.most_common()]:
        assert f"{code} {units.count(times)}" in text
    for name, fact in sample.FACTS.items():
        assert f"{name} {fact}" in text
    assert "Batch ended: complete" in text
    assert "2025-12-04 12:00:00 UTC" in text


def test_the_tables_beside_the_plots_end_with_the_sums(stats: Stats, written: str) -> None:
    last = [
        re.findall(r"<t[dh][^>]*>([^<]*)", table.split("<tr>")[-1])
        for table in re.findall(r"<table>.*?</table>", written)
    ]
    took = units.duration(stats.elapsed())
    assert [took, units.count(stats.ok), units.count(stats.failed)] in [row[:3] for row in last]
    assert [took, units.count(stats.tokens_in), units.count(stats.tokens_out)] in last


def test_the_page_is_one_file_that_loads_and_runs_nothing(written: str) -> None:
    page = Page(written)
    assert not {"script", "link", "img", "iframe", "object", "form", "a", "image", "use"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in ("src", "href", "xlink:href") or name.startswith("on")]
    assert "url(" not in written
    assert "@import" not in written
    assert "http://" not in written.replace("http://www.w3.org", "")
    policy = re.search(r'Policy" content="([^"]*)"', written)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_every_plot_can_be_read_aloud_and_has_a_table(written: str) -> None:
    found = list(_plots(written))
    assert len(found) == 4
    assert len(re.findall(r"<figure>", written)) == 4
    assert len(re.findall(r"</figure><table>", written)) == 4
    ids = re.findall(r'\bid="([^"]+)"', written)
    assert len(ids) == len(set(ids)) == 8
    for plot in found:
        title, description = plot[0], plot[1]
        assert (title.tag, description.tag) == ("title", "desc")
        assert plot.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"
        assert len(description.text or "") > 20


def test_nothing_is_drawn_outside_of_a_plot(written: str) -> None:
    for plot in _plots(written):
        _, _, width, height = map(float, plot.attrib["viewBox"].split())
        for shape in plot.iter("path"):
            for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", shape.attrib["d"]):
                assert -0.1 <= float(x) <= width + 0.1
                assert -0.1 <= float(y) <= height + 0.1
        for bar in plot.iter("rect"):
            assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width + 1
            assert float(bar.attrib["height"]) >= 0


EVIL = '<script>alert("x")</script>&lt;\'"><img src=x onerror=alert(1)>'


def test_words_from_outside_are_words(stats: Stats) -> None:
    told = Stats()
    told.begin(NOON, 3)
    told.answered(NOON + 1, 1, False, 1.0, EVIL)
    told.retried(EVIL)
    told.end(NOON + 2, EVIL)
    written = html_report(told, EVIL, {EVIL: EVIL}, [FailedRow(0, EVIL, EVIL, {EVIL: EVIL})])
    page = Page(written)
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count(EVIL) >= 6
    assert EVIL not in written


def test_chinese_text_stays_and_what_no_page_can_hold_does_not() -> None:
    stats = Stats()
    stats.begin(NOON, 1)
    stats.answered(NOON, 1, False, 1.0, "736")
    stats.end(NOON + 1, "complete")
    message = "内容未通过\x00安全\ud83d审核\u202e\n请修改"
    written = html_report(stats, "商品评论", {"输入": "评论.jsonl"}, [FailedRow(7, "736", message)])
    assert written.encode()
    text = Page(written).text
    assert "内容未通过�安全�审核� 请修改" in text
    assert "商品评论" in text
    assert "输入 评论.jsonl" in text


def test_long_messages_and_many_examples_are_cut() -> None:
    stats = Stats()
    stats.begin(NOON, 900)
    stats.answered(NOON, 900, False, 1.0, "5000")
    stats.end(NOON + 1, "complete")
    rows = [FailedRow(index, "5000", "x" * 10_000, {"logid": "y" * 900}) for index in range(900)]
    written = html_report(stats, "t", {}, rows)
    assert f"Failed rows, {MOST_EXAMPLES} of 900" in written
    assert written.count("<bdi>xxx") == MOST_EXAMPLES
    assert len(written) < 80_000


def _ended(total: int | None, after: float, *answers: tuple[Any, ...]) -> Stats:
    stats = Stats()
    stats.begin(NOON, total)
    for answer in answers:
        stats.answered(NOON + after, 1, *answer)
    stats.end(NOON + after, "complete")
    return stats


@pytest.mark.parametrize(
    "stats",
    [
        _ended(0, 0),
        _ended(None, 0),
        _ended(5, 3_000_000),
        _ended(1, 0, (True, 0.0)),
        _ended(1, 0, (False, None, "template")),
        _ended(1, 90_000, (True, 90_000.0, None, 1, 0)),
        Stats(),
    ],
    ids=["no rows", "no total", "none answered", "at once", "never asked", "a day", "not begun"],
)
def test_a_batch_of_nothing_or_of_one_row_has_a_page(stats: Stats) -> None:
    page = Page(html_report(stats, "t", {}, []))
    assert "nan" not in page.text.lower().split()
    assert "Rows over time" in page.text


def test_a_long_batch_makes_no_larger_page() -> None:
    stats = Stats()
    stats.begin(NOON, 50_000)
    for number in range(5_000):
        stats.answered(NOON + number * 20, 10, number % 50 > 0, 1 + number % 300, "5000", 400, 40)
    stats.end(NOON + 100_000, "complete")
    assert len(html_report(stats, "t", {}, [])) < 60_000


def test_the_page_is_made_for_dark_for_narrow_and_for_paper(written: str) -> None:
    assert "@media (prefers-color-scheme:dark)" in written
    assert "@media print" in written
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in written


@pytest.mark.parametrize(
    ("most", "ticks"), [(0, [0, 1]), (7, [0, 2, 4, 6]), (18_500, [0, 5_000, 10_000, 15_000]), (0.3, [0, 0.1, 0.2, 0.3])]
)
def test_an_axis_has_round_values(most: float, ticks: list[float]) -> None:
    assert plots._ticks(most, 4) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("number", "label"),
    [(0, "0"), (2.5, "2.5"), (200, "200"), (15_000, "15 k"), (2_500, "2.5 k"), (1e6, "1 M"), (0.1, "0.1")],
)
def test_labels_of_an_axis_are_short(number: float, label: str) -> None:
    assert units.axis(number) == label


def test_labels_in_time_do_not_touch() -> None:
    for took in (0.5, 3, 47, 400, 5_000, 90_000, 5e7):
        _, shapes = plots.over_time([plots.Panel([], "rows", 100)], took)
        times = [shape for shape in shapes if 'text-anchor="middle"' in shape or 'class="tick"' in shape]
        assert 1 <= len([shape for shape in shapes if 'class="tick"' in shape]) <= 7
        assert times
