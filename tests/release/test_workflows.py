"""The workflow files: they call what exists, pin what is foreign, and give the token to one step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.env.bootstrap import ROOT
from tests.release import building, changes
from tests.release.tags import tag_problems

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
SECRET = "${{ secrets.PACKAGE_INDEX_TOKEN }}"


def _jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _jobs(path).values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_calls_what_is_in_the_repository(path: Path) -> None:
    commands = " ".join(step.get("run", "") for step in _steps(path))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= targets
    files = re.findall(r"(?<!\S)((?:\.ci|tests)/\S+)", commands)
    assert files
    assert all((ROOT / name).exists() for name in files)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_foreign_steps_are_pinned_to_a_commit(path: Path) -> None:
    foreign = [step["uses"] for step in _steps(path) if "uses" in step]
    assert foreign
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name) for name in foreign)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_names_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "permissions" not in [key for job in _jobs(path).values() for key in job]
    assert "://" not in text
    # What a branch or a tag is called may not become part of a command.
    assert not [step for step in _steps(path) if "${{" in step.get("run", "")]


def test_ci_is_the_script_that_everybody_runs() -> None:
    assert ".ci/run" in [step.get("run") for step in _steps(FOLDER / "ci.yml")]


def test_a_tag_is_built_and_tested_before_it_is_published() -> None:
    path = FOLDER / "publish.yml"
    # YAML 1.1 reads the key `on` as true.
    assert yaml.safe_load(path.read_text(encoding="utf-8"))[True] == {"push": {"tags": ["v*"]}}
    jobs = _jobs(path)
    assert list(jobs) == ["build", "publish"]
    assert jobs["publish"]["needs"] == "build"
    commands = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any(re.match(r'make dist TAG="\$GITHUB_REF_NAME"', command) for command in commands)
    assert ".ci/run" in commands


def test_only_the_upload_gets_the_token_and_nothing_else_is_secret() -> None:
    uses = [
        (step["run"].split()[:2], name)
        for path in FILES
        for step in _steps(path)
        for name, value in step.get("env", {}).items()
        if value == SECRET
    ]
    assert uses == [([".venv-release/bin/twine", "upload"], "TWINE_PASSWORD")]
    assert [path.read_text(encoding="utf-8").count("secrets.") for path in FILES] == [0, 1]


def test_a_tag_that_is_not_this_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "git", lambda *_: "")
    version = building.project()["version"]
    assert any(f"its tag is v{version}" in problem for problem in tag_problems("v0.0.0"))
    assert not any("its tag is" in problem for problem in tag_problems(f"v{version}"))


def test_a_version_is_not_released_before_its_section_is_written_and_committed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = building.project()["version"]
    monkeypatch.setattr(building, "git", lambda *_: " M CHANGELOG.md\n")
    monkeypatch.setattr(changes, "notes", lambda: [Path("sensor.added.md")])
    monkeypatch.setattr(changes, "CHANGELOG", tmp_path / "CHANGELOG.md")
    changes.CHANGELOG.write_text("# Changelog\n")
    said = " ".join(tag_problems(f"v{version}"))
    assert "run `make changelog`" in said
    assert f"does not begin with {version}" in said
    assert "1 tracked files are not as committed" in said
    monkeypatch.setattr(building, "git", lambda *_: "")
    monkeypatch.setattr(changes, "notes", list)
    changes.CHANGELOG.write_text(f"# Changelog\n\n## [{version}] - 2026-12-01\n")
    assert tag_problems(f"v{version}") == []
