"""Fill the parts of the documentation that are taken from the code, or check that they are what the code says.

``python -m tests.docs_parts`` lists the pages whose parts are stale and exits with 1; with ``--write`` it refreshes them.

Two kinds of parts. A cut is the code block that follows the comment; its text stands in the file between
``[START name]`` and ``[END name]``::

    <!-- cut: example_dags/example_coze_quickstart.py howto_coze_chat -->

A table stands between two comments; a function of this module makes it::

    <!-- table: codes -->
    <!-- end of table -->
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_coze import errors
from airflow_provider_coze.protocol import codes, policy
from airflow_provider_coze.protocol.pacing import CHAT_POLLS, RUN_POLLS, PollSchedule
from tests.docs_chinese import in_chinese
from tests.docs_site.names import fields_table, names_table
from tests.versions import table as compatibility

ROOT = Path(__file__).parents[1]

_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash"}
_CUT = re.compile(r"(?P<head><!-- cut: (?P<path>\S+) (?P<name>\S+) -->\n)(?P<block>```.*?\n```\n)?", re.DOTALL)
_TABLE = re.compile(r"(?P<head><!-- table: (?P<name>\S+) -->\n)(?P<body>.*?)(?P<tail><!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return every page, the ones at the root of the repository first."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def refreshed(text: str) -> str:
    """Return a page with all its parts as the code has them."""
    text = _CUT.sub(lambda found: found["head"] + _block(found["path"], found["name"]), text)
    return _TABLE.sub(lambda found: found["head"] + "\n" + TABLES[found["name"]]() + "\n" + found["tail"], text)


def cut(path: str, name: str) -> str:
    """Return what stands between the markers *name* of a file, without its indentation."""
    text = (ROOT / path).read_text(encoding="utf-8")
    marked = rf"^[ \t]*# \[START {re.escape(name)}\]\n(.*?)^[ \t]*# \[END {re.escape(name)}\]$"
    found = re.findall(marked, text, re.DOTALL | re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"{path} has {len(found)} places marked {name!r}, not one")
    return _spaced(textwrap.dedent(found[0]).strip("\n"))


def _spaced(text: str) -> str:
    """Return code with two blank lines around its functions, as the formatter wants it of code that is not indented."""
    found: list[str] = []
    in_function = False
    for line in text.split("\n"):
        if line[:1] not in ("", " ", ")", "}", "]"):
            begins_function = line.startswith(("def ", "class ", "@"))
            decorated = bool(found) and found[-1].startswith("@")
            if found and found[-1] == "" and (in_function or begins_function) and not decorated:
                while found[-1] == "":
                    found.pop()
                found += ["", ""]
            in_function = begins_function or (line.startswith("#") and in_function)
        found.append(line)
    return "\n".join(found)


def _block(path: str, name: str) -> str:
    return f"```{_LANGUAGES[Path(path).suffix]}\n{cut(path, name)}\n```\n"


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_MEANING = ("Error", "Asked again in the call", "A retry of the task", "Why", "Billed", "What you do")
_OAUTH = "OAuth: once, with a new token"


def _meaning_cells(row: codes.Meaning, again: str | None = None, later: str | None = None) -> list[str]:
    whom = "" if row.started is False else "reads: "
    asked = {
        codes.Again.SOON: f"{whom}yes",
        codes.Again.SLOWLY: f"{whom}yes, from 30 s",
        codes.Again.NO: "no",
    }[row.again]
    billed = "no" if row.started is False else "not known"
    fate = [later or _later(row.fate), row.fate.why]
    return [row.meaning, f"`{row.error.__name__}`", again or asked, *fate, billed, row.advice]


def _later(fate: codes.Fate) -> str:
    words = {codes.Later.RETRY: "yes", codes.Later.TOMORROW: "on the next day", codes.Later.NEVER: "**none**"}
    return words.get(fate.later) or f"after {policy.WAITS[fate.later]:.0f} s"


def codes_table() -> str:
    """Return one row per code that the provider knows."""
    again = {**dict.fromkeys(codes.EXPIRED_TOKEN_CODES, _OAUTH), codes.NOT_VISIBLE_YET: "within 30 s of the start: yes"}
    later = {codes.NOT_VISIBLE_YET: "**none**; yes, if the task has started the run"}
    rows = (
        [str(code), *_meaning_cells(row, again.get(code), later.get(code))]
        for code, row in sorted(codes.BY_CODE.items())
    )
    return _rows(("Code", "What Coze means", *_MEANING), rows)


def statuses_table() -> str:
    """Return one row per HTTP status that has a meaning of its own, and one for what is left."""
    named = [(str(status), row) for status, row in sorted(codes.BY_STATUS.items())]
    left = [("other 3xx", codes.REDIRECT), ("5xx", codes.FAILED), ("any other", codes.UNKNOWN)]
    rows = ([status, *_meaning_cells(row, _OAUTH if status == "401" else None)] for status, row in [*named, *left])
    return _rows(("HTTP status", "What it means", *_MEANING), rows)


def fates_table() -> str:
    """Return one row per class of errors that are no answer of Coze's API."""
    rows = (
        [f"`{kind.__name__}`", _later(fate), fate.why]
        for kind, fate in policy.BY_ERROR.items()
        if not issubclass(kind, errors.CozeAPIError)
    )
    return _rows(("Class", "A retry of the task", "Why"), rows)


def polls_table() -> str:
    """Return how many status reads a wait costs, worked out with the schedules themselves."""
    lengths = {"10 s": 10, "1 min": 60, "5 min": 300, "1 h": 3600, "24 h": 86_400}
    rows = (
        [label, *(f"{_reads(schedule, seconds):,}" for schedule in (CHAT_POLLS, RUN_POLLS))]
        for label, seconds in lengths.items()
    )
    return _rows(("It takes", "Reads of a chat", "Reads of a run"), rows)


def _reads(schedule: PollSchedule, seconds: float) -> int:
    age, reads = 0.0, 0
    while age < seconds:
        age += schedule.wait(age=age, left=None, chance=0.0) or 0.0
        reads += 1
    return reads


def _sizing() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "snippets" / "sizing.py"))


def plans_table() -> str:
    """Return what each plan allows, and what that is in rows of one request to a model each."""
    plans = _sizing()["PLANS"]
    lines = {
        "chats started, per second": [f"{plan.chats_per_second}" for plan in plans.values()],
        "workflows, per second: runs started, and looks at them": [f"{p.workflows_per_second}" for p in plans.values()],
        "files uploaded, per second": [f"{plan.uploads_per_second}" for plan in plans.values()],
        "requests to models, per minute and user": [f"{plan.models_per_minute:,}" for plan in plans.values()],
        "calls in all": ["500 in the life of the account", *["unlimited"] * (len(plans) - 1)],
    }
    return _rows(("", *plans), ([label, *cells] for label, cells in lines.items()))


#: The worked example of the page about limits.
EXAMPLE = {"seconds": 60.0, "model_calls": 2, "share": 0.5}
EXAMPLE_RUNS = 2_000


def sizing_table() -> str:
    """Return the worked example, for each plan that has asynchronous runs."""
    sizing = _sizing()
    plans = {name: plan for name, plan in sizing["PLANS"].items() if "free" not in name}
    sizes = [sizing["size_runs"](plan, **EXAMPLE) for plan in plans.values()]
    lines = {
        "runs started per second": [f"{size.starts_per_second:.1f}" for size in sizes],
        "under way at once": [f"{size.under_way:,}" for size in sizes],
        "slots of a pool, or `max_in_flight` of a batch": [f"{size.slots:,}" for size in sizes],
        "`requests_per_minute` of a batch": [f"{size.requests_per_minute:,}" for size in sizes],
        "`workflow_qps` of the connection": [f"{size.workflow_qps:.0f}" for size in sizes],
        "each run is looked at, on average, every": [f"{size.look_every_seconds:.1f} s" for size in sizes],
        f"{EXAMPLE_RUNS:,} runs take": [
            f"{(EXAMPLE_RUNS / size.starts_per_second + EXAMPLE['seconds']) / 60:.1f} min" for size in sizes
        ],
    }
    return _rows(("", *plans), ([label, *cells] for label, cells in lines.items()))


def examples_table() -> str:
    """Return every example DAG with the first sentence of what it says of itself."""
    rows = []
    for path in sorted((ROOT / "example_dags").glob("*.py")):
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        sentence = " ".join(told.split("\n\n")[0].split())
        rows.append([f"[`{path.stem}`](../../example_dags/{path.name})", sentence])
    return _rows(("DAG", "What it shows"), rows)


def batch_lines() -> str:
    """Return lines that a batch has written into its log."""
    return _of_log(lambda lines: lines[: _end_of_lines(lines)])


def batch_summary() -> str:
    """Return what the same batch has written at its end."""
    return _of_log(lambda lines: lines[_end_of_lines(lines) :])


def _of_log(part: Callable[[list[str]], list[str]]) -> str:
    lines = (ROOT / "docs" / "snippets" / "batch_log.txt").read_text(encoding="utf-8").splitlines()
    return "\n".join(["```text", *part(lines), "```", ""])


def _end_of_lines(lines: Sequence[str]) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith("Batch ended"))


TABLES: dict[str, Callable[[], str]] = {
    "codes": codes_table,
    "fates": fates_table,
    "statuses": statuses_table,
    "codes_zh": lambda: in_chinese(codes_table()),
    "statuses_zh": lambda: in_chinese(statuses_table()),
    "polls": polls_table,
    "plans": plans_table,
    "sizing": sizing_table,
    "examples": examples_table,
    "names": names_table,
    "fields": fields_table,
    "batch_lines": batch_lines,
    "batch_summary": batch_summary,
    "compatibility": compatibility.table,
}


def main(arguments: Sequence[str]) -> int:
    """Check or, with ``--write``, refresh every page."""
    stale = {
        page: text for page in pages() if (text := refreshed(page.read_text(encoding="utf-8"))) != page.read_text()
    }
    for page, text in stale.items():
        if "--write" in arguments:
            page.write_text(text, encoding="utf-8")
        print(f"{'refreshed' if '--write' in arguments else 'stale'}: {page.relative_to(ROOT)}")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
