"""The notes about changes: of one form, of which a section can be made; and the change log that the sections go into."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from tests.env.bootstrap import ROOT
from tests.release import building, changes

NOTES = changes.notes()


def test_every_note_is_well_formed() -> None:
    found = {path.name: list(changes.problems(path, path.read_text(encoding="utf-8"))) for path in NOTES}
    assert not {name: said for name, said in found.items() if said}


def test_no_two_notes_say_the_same() -> None:
    texts = [path.read_text(encoding="utf-8") for path in NOTES]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sensor.improved.md", "It looks once.\n", "its name is not"),
        ("Sensor.added.md", "It looks once.\n", "its name is not"),
        ("sensor.added.txt", "It looks once.\n", "its name is not"),
        ("sensor.added.md", "", "one paragraph"),
        ("sensor.added.md", "It looks once.", "one paragraph"),
        ("sensor.added.md", "It looks once.\n\nIt looks twice.\n", "one paragraph"),
        ("sensor.added.md", "- It looks once.\n", "mark of a list"),
        ("sensor.added.md", "## Sensors look once.\n", "mark of a list"),
        ("sensor.added.md", "It looks once\n", "like a sentence"),
        ("sensor.added.md", "It looks [once](docs/once.md).\n", "links to docs/once.md"),
    ],
)
def test_a_note_that_is_not_is_told_why(name: str, text: str, said: str) -> None:
    [problem] = changes.problems(Path(name), text)
    assert said in problem


def test_a_note_may_link_to_a_part_of_a_page_and_to_another_site() -> None:
    text = "See [connections](docs/howto/connect.md#steps) and [Airflow](https://airflow.apache.org/).\n"
    assert not list(changes.problems(Path("sensor.fixed.md"), text))


def test_the_folder_says_what_each_kind_is_for() -> None:
    text = (changes.FOLDER / "README.md").read_text(encoding="utf-8")
    assert [kind for kind in changes.kinds() if f"| `{kind}` |" not in text] == []


def test_sections_go_below_the_mark_of_the_change_log() -> None:
    assert changes.settings()["start_string"] == f"{changes.MARKER}\n"
    assert changes.CHANGELOG.read_text(encoding="utf-8").count(f"{changes.MARKER}\n") == 1
    assert {name for name in changes.OTHERS if not (changes.FOLDER / name).exists()} == set()


def test_released_versions_descend_to_what_is_checked_out() -> None:
    sections = changes.released(changes.CHANGELOG.read_text(encoding="utf-8"))
    versions = [Version(building.project()["version"]), *(Version(version) for version, _ in sections)]
    assert versions == sorted(versions, reverse=True)
    assert len(set(versions[1:])) == len(versions[1:])


def test_the_version_is_in_one_place() -> None:
    version = building.project()["version"]
    others = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "airflow_provider_coze").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if f'"{version}"' in line and "version_added" not in line  # that one stays what it is
    ]
    assert not others
