"""The table of what works where: what becomes of results, and that the page has what the last run has found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import needs
from tests.versions import table
from tests.versions.features import FEATURES, Feature
from tests.versions.table import COLUMNS, Result, cell, read

SENSORS = Feature("Sensors", r"tests\.sensors\.", but=r"slow")
POLICIES = Feature("Policies", r"tests\.policies", since="3.3")


@pytest.mark.parametrize(
    ("feature", "version", "results", "said"),
    [
        (SENSORS, "3.0.6", [], "**not tested**"),
        (SENSORS, "3.0.6", [Result("tests.sensors.x::slow", "passed")], "**not tested**"),
        (SENSORS, "3.0.6", [Result("tests.sensors.x::a", "skipped", "root may write")], "**not tested**"),
        (SENSORS, "3.0.6", [Result("tests.sensors.x::a", "passed"), Result("tests.other::b", "failed")], "yes (1)"),
        (SENSORS, "3.0.6", [Result("tests.sensors.x::a", "passed"), Result("tests.sensors.x::b", "failed")], "**1 of 2 fail**"),
        (SENSORS, "3.0.6", [Result("tests.sensors.x::a", "skipped", "needs Airflow 3.1: forms")], "from 3.1"),
        (
            SENSORS,
            "3.0.6",
            [Result("tests.sensors.x::a", "passed"), Result("tests.sensors.x::b", "skipped", "needs Airflow 3.1: forms")],
            "yes (1; 1 need 3.1)",
        ),
        (POLICIES, "3.2.2", [Result("tests.policies::a", "passed")], "from 3.3"),
        (POLICIES, "3.3.2", [Result("tests.policies::a", "passed")], "yes (1)"),
    ],
)  # fmt: skip
def test_a_cell_says_what_became_of_the_tests_of_its_row(
    feature: Feature, version: str, results: Sequence[Result], said: str
) -> None:
    assert cell(feature, version, results) == said


def test_a_report_of_pytest_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.a" name="one[plain]"/>'
        '<testcase classname="tests.a" name="two"><failure message="x">y</failure></testcase>'
        '<testcase classname="tests.a" name="three"><error message="x">y</error></testcase>'
        '<testcase classname="tests.a" name="four"><skipped message="needs Airflow 3.3: retry policies"/></testcase>'
        "</testsuite></testsuites>"
    )
    one, two, three, four = read(report)
    assert one == Result("tests.a::one[plain]", "passed")
    assert (two.outcome, three.outcome) == ("failed", "failed")
    assert four.since == "3.3"
    assert read(tmp_path / "none.xml") == []


def test_what_a_row_needs_is_what_tests_need() -> None:
    assert {each.since for each in FEATURES} - {None} <= {need.since for need in needs.ALL.values()}


def test_the_last_run_has_found_every_feature_on_every_version() -> None:
    """``make compat`` has to run again when a row or a version is new."""
    columns = table.kept()
    assert list(columns) == list(COLUMNS)
    for version, said in columns.items():
        assert list(said) == [feature.name for feature in FEATURES], version
        assert {each for each in said.values() if each.startswith("**")} == set(), version
