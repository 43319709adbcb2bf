"""``make bench``: measure everything, print the tables and what was promised beside what was seen.

Each benchmark is a module with ``run(quick=…) -> Result``; ``--write`` puts what it showed into docs/explanation/performance.md, between
``<!-- bench: name -->`` and ``<!-- end of bench -->``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.children import have_peers, say
from tests.benchmarks.figures import Result, verdicts
from tests.env.bootstrap import ROOT

NAMES = ("polling", "waiting", "lag", "importing", "batch")
PAGE = ROOT / "docs" / "explanation" / "performance.md"
_PART = re.compile(r"(?P<head><!-- bench: (?P<name>\S+) -->\n)(?P<body>.*?)(?P<tail><!-- end of bench -->)", re.DOTALL)


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with *parts* in their places; the others stay as they are."""
    return _PART.sub(
        lambda found: (
            f"{found['head']}\n{parts[found['name']]}\n\n{found['tail']}" if found["name"] in parts else found[0]
        ),
        page,
    )


def updated(page: str, rows: str) -> str:
    """Return the table of verdicts that *page* has, with the rows of a new one in the place of those about the same figures."""
    known = next((found["body"].strip() for found in _PART.finditer(page) if found["name"] == "verdicts"), "")
    new = {line.split("|")[1]: line for line in rows.splitlines()}
    kept = [new.pop(line.split("|")[1], line) for line in known.splitlines()]
    return "\n".join([*kept, *new.values()])


def machine() -> str:
    """Return one sentence about where this is measured."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "apache-airflow"))
    return f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, Python {platform.python_version()}, {packages}."


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, fewer and smaller: to see that it works")
    parser.add_argument("--only", default=",".join(NAMES), help=f"some of {','.join(NAMES)}")
    parser.add_argument("--peers", action="store_true", help="beside triggers of other providers (make bench PEERS=1)")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if given.peers and not have_peers():
        parser.error("the other providers are not installed: make bench PEERS=1")
    if given.write and given.quick:
        parser.error("--quick is not for publishing")
    results: list[Result] = []
    for name in names:
        began = time.monotonic()
        options = {"peers": given.peers} if name == "polling" else {}
        results.append(importlib.import_module(f"tests.benchmarks.{name}").run(quick=given.quick, **options))
        say(f"{name}: {time.monotonic() - began:.0f} s")
    parts = {"machine": machine(), **{result.name: result.markdown() for result in results}}
    for name, text in parts.items():
        print(f"## {name}\n\n{text}\n")
    print(f"## wanted and seen\n\n{verdicts(results)}")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        parts["verdicts"] = verdicts(results) if set(names) == set(NAMES) else updated(page, verdicts(results))
        PAGE.write_text(filled(page, parts), encoding="utf-8")
    return 1 if any(check.ok is False for result in results for check in result.checks) else 0


if __name__ == "__main__":
    sys.exit(main())
