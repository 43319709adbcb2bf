"""A batch that never was: 20,000 rows under a budget, with errors, a bad quarter of an hour and a slow tail; always the same.

``python -m tests.batch.sample DIRECTORY`` writes its report (``report.html``), and its lines in the log and its summary (``log.txt``).
With ``--pictures`` it takes pictures of the report as well: as the documentation shows it (``batch-report.png``), dark, and narrow. That
needs Chromium, and a font for Chinese such as Debian's fonts-wqy-zenhei. ``--docs`` renews what ``docs`` has of all this.
"""

from __future__ import annotations

import argparse
import heapq
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from airflow_provider_coze.batch.progress import Lines, progress_line, summary_table
from airflow_provider_coze.batch.report import html_report
from airflow_provider_coze.batch.results import FailedRow
from airflow_provider_coze.batch.stats import Stats

ROWS = 20_000
DOCS = Path(__file__).parents[2] / "docs"
NOON = 1_764_849_600.0  # 2025-12-04T12:00:00Z
_IN_FLIGHT, _BUDGET = 480, 60.0

#: Of 10,000 rows, so many fail like this.
_FAILURES = {
    "5000": 22,
    "template": 12,
    "CozeOutputTypeError": 11,
    "736": 9,
    "CozeChatTimeoutError": 6,
    "CozeOutcomeUnknownError": 2,
}
#: When Coze is short of capacity, and what the pacer makes of the budget then.
_HARD_TIMES = (120.0, 210.0, 24.0)

FACTS = {
    "DAG": "nightly_reviews",
    "task": "classify",
    "run": "scheduled__2025-12-04T00:00:00+00:00",
    "try": "2",
    "bot": "7511000000000000001",
    "input": "s3://reviews/2025-12-04/评论.jsonl",
    "results": "s3://reviews/2025-12-04/results/",
    "failed rows": "s3://reviews/2025-12-04/results/failed.jsonl",
}

FAILED = [
    FailedRow(
        412,
        "5000",
        "Coze had an internal error after the chat had begun",
        {"chat_id": "7512000000000000412", "logid": "20251204120112F0"},
    ),
    FailedRow(977, "template", "'dict object' has no attribute 'text'", {}),
    FailedRow(
        1_803,
        "CozeOutputTypeError",
        "The answer is not of the type Review: stars: Input should be less than or equal to 5",
        {"chat_id": "7512000000000001803"},
    ),
    FailedRow(
        2_544,
        "736",
        "内容未通过安全审核，请修改后重试",
        {"chat_id": "7512000000000002544", "logid": "20251204120203A7"},
    ),
    FailedRow(
        6_120, "CozeChatTimeoutError", "The chat was still in progress after 300 s", {"chat_id": "7512000000000006120"}
    ),
    FailedRow(9_031, "5000", "upstream said <script>alert(1)</script>", {"chat_id": "7512000000000009031"}),
]


def run(tell: Callable[[str], None] = lambda line: None, *, rows: int = ROWS, began: float = NOON) -> Stats:
    """Return the figures of the batch.

    :param tell: gets each line of the log.
    """
    chance = random.Random(20_251_204)  # noqa: S311
    stats, lines = Stats(), Lines(began)
    stats.begin(began, rows, done_before=1_500 * rows // ROWS, failed_before=11 * rows // ROWS)
    stats.recovered(37 * rows // ROWS)
    fates = [code for code, share in _FAILURES.items() for _ in range(share)]
    left, now, next_free = rows - stats.done_before, began, began
    flying: list[tuple[float, int, float, str | None]] = []  # until, number, seconds, what fails
    while left or flying:
        age = now - began
        hard = _HARD_TIMES[0] <= age < _HARD_TIMES[1]
        stats.budget = _HARD_TIMES[2] if hard else _BUDGET
        if left and len(flying) < _IN_FLIGHT and (not flying or next_free <= flying[0][0]):
            now = max(now, next_free)
            next_free = now + 1 / stats.budget
            if left > 1 and len(flying) < _IN_FLIGHT - 1:
                stats.waited_for_quota(now, next_free - now)
            if chance.random() < (0.05 if hard else 0.0008):
                stats.retried("4013" if hard else "lost")
            left -= 1
            pick = chance.randrange(10_000)
            code = fates[pick] if pick < len(fates) else None
            seconds = min(300.0, chance.lognormvariate(1.25, 0.55) * (2.2 if hard else 1) + 0.4)
            if code == "CozeChatTimeoutError":
                seconds = 60.0 + 30 * chance.random()
            elif code == "template":
                stats.answered(now, 1, False, None, code)
                continue
            heapq.heappush(flying, (now + seconds, left, seconds, code))
            stats.in_flight, stats.queue = len(flying), min(left, 1_000)
            stats.asked(now, 1)
        else:
            now, _, seconds, code = heapq.heappop(flying)
            stats.in_flight = len(flying)
            reported = code in (None, "CozeOutputTypeError")
            tokens = (chance.randrange(380, 620), chance.randrange(20, 90)) if reported else (None, None)
            stats.answered(now, 1, code is None, seconds, code, *tokens)
        if lines.due(now):
            tell(progress_line(stats, now))
    stats.end(now, "complete")
    return stats


def report(stats: Stats) -> str:
    return html_report(stats, "Reviews of 4 December 商品评论", FACTS, FAILED)


def log() -> str:
    """Return some lines of the log, and the summary."""
    lines: list[str] = []
    stats = run(lines.append)
    return "\n".join([lines[2], lines[14], lines[-1], summary_table(stats), ""])


def picture(page: Path, png: Path, *, width: int = 1_000, height: int = 1_570, dark: bool = False) -> None:
    """Have Chromium draw a page."""
    dark_mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}"]
    subprocess.run(
        ["chromium", *options, *dark_mode, f"--screenshot={png.resolve()}", page.resolve().as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--docs", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.directory
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    stats = run(lines.append)
    page = folder / "report.html"
    page.write_text(report(stats), encoding="utf-8")
    (folder / "log.txt").write_text("\n".join([*lines, summary_table(stats), ""]), encoding="utf-8")
    if arguments.pictures:
        picture(page, folder / "batch-report.png")
        picture(page, folder / "dark.png", height=2_900, dark=True)
        picture(page, folder / "narrow.png", width=390, height=4_200)
    if arguments.docs:
        picture(page, DOCS / "images" / "batch-report.png")
        (DOCS / "snippets" / "batch_log.txt").write_text(log(), encoding="utf-8")


if __name__ == "__main__":
    main()
