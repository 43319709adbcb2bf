"""Results of tests → the table of ``docs/reference/compatibility.md``."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from tests.env.bootstrap import ROOT, VERSIONS
from tests.versions.features import FEATURES, Feature

#: Version → what it has of each row; written by a run of ``make compat``, read by ``tests.docs_parts``.
KEPT = ROOT / "docs" / "snippets" / "compatibility.json"
#: Oldest first, as people read.
COLUMNS = tuple(sorted(VERSIONS, key=Version))

_NEEDS = re.compile(r"needs Airflow (\d[\d.]*)")


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    test: str
    outcome: str  #: passed, failed or skipped
    why: str = ""

    @property
    def since(self) -> str | None:
        """The version that a skipped test needs; None: it was skipped for another reason, or not at all."""
        found = _NEEDS.search(self.why)
        return found[1] if self.outcome == "skipped" and found else None


def read(report: Path) -> list[Result]:
    """Return the results in a JUnit report of pytest; none if there is no report."""
    if not report.exists():
        return []
    return [_result(case) for case in ElementTree.parse(report).iter("testcase")]  # noqa: S314 - our own file


def _result(case: ElementTree.Element) -> Result:
    test = f"{case.get('classname')}::{case.get('name')}"
    if case.find("failure") is not None or case.find("error") is not None:
        return Result(test, "failed")
    skipped = case.find("skipped")
    return Result(test, "passed") if skipped is None else Result(test, "skipped", skipped.get("message") or "")


def cell(feature: Feature, version: str, results: Sequence[Result]) -> str:
    """Return what the table says of a feature on a version."""
    if feature.since is not None and Version(version) < Version(feature.since):
        return f"from {feature.since}"
    mine = [result for result in results if feature.has(result.test)]
    failed, passed = (sum(result.outcome == each for result in mine) for each in ("failed", "passed"))
    later = [result.since for result in mine if result.since is not None]
    if failed:
        return f"**{failed} of {len(mine)} fail**"
    if passed:
        return f"yes ({passed:,})" if not later else f"yes ({passed:,}; {len(later)} need {min(later, key=Version)})"
    return f"from {min(later, key=Version)}" if later else "**not tested**"


def column(version: str, results: Sequence[Result]) -> dict[str, str]:
    """Return a column of the table, by its rows."""
    return {feature.name: cell(feature, version, results) for feature in FEATURES}


def kept() -> dict[str, dict[str, str]]:
    """Return the columns of the last runs."""
    found: dict[str, dict[str, str]] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return found


def keep(columns: Mapping[str, Mapping[str, str]]) -> None:
    """Put columns in the place of those of earlier runs."""
    merged = {**kept(), **columns}
    ordered = {version: merged[version] for version in COLUMNS if version in merged}
    KEPT.write_text(json.dumps(ordered, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def table() -> str:
    """Return the table as Markdown."""
    columns = kept()
    head = ["", *(f"Airflow {version}" for version in COLUMNS)]
    lines = [head, ["---"] * len(head)]
    lines += [[each.name, *(columns.get(version, {}).get(each.name, "") for version in COLUMNS)] for each in FEATURES]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
