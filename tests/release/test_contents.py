"""What is wrong with a wheel, an sdist or a list of materials is told, whatever it is."""

from __future__ import annotations

import copy
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.release.contents import NEEDED, sdist_problems, wheel_problems
from tests.release.installed import bill_problems

INFO = "airflow_provider_coze-1.2.3.dist-info"
TRACKED = [*NEEDED, "airflow_provider_coze/__init__.py", "tests/test_docs.py", "README.md"]
PROJECT = {
    "name": "airflow-provider-coze",
    "version": "1.2.3",
    "description": "Run Coze (扣子).",
    "requires-python": ">=3.11",
    "license": "Apache-2.0",
    "urls": {"Source": "https://example.org/source"},
    "classifiers": ["Typing :: Typed"],
    "dependencies": ["aiohttp>=3.10", "pyjwt[crypto]>=2.4.0"],
    "optional-dependencies": {"emulator": ["pyyaml>=6.0.1"]},
    "entry-points": {"pytest11": {"coze_emulator": "airflow_provider_coze.emulator.pytest_plugin"}},
}
METADATA = """\
Metadata-Version: 2.4
Name: airflow-provider-coze
Version: 1.2.3
Summary: Run Coze (扣子).
Project-URL: Source, https://example.org/source
License-Expression: Apache-2.0
Classifier: Typing :: Typed
Requires-Python: >=3.11
Requires-Dist: aiohttp>=3.10
Requires-Dist: pyjwt[crypto]>=2.4.0
Provides-Extra: emulator
Requires-Dist: pyyaml>=6.0.1; extra == 'emulator'
Description-Content-Type: text/markdown

# Coze
"""
FILES = {
    **{name: "x" for name in TRACKED if name.startswith("airflow_provider_coze/")},
    f"{INFO}/METADATA": METADATA,
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/RECORD": "",
    f"{INFO}/entry_points.txt": "[pytest11]\ncoze_emulator = airflow_provider_coze.emulator.pytest_plugin\n",
    f"{INFO}/licenses/LICENSE": "Apache",
}


def wheel(place: Path, files: dict[str, str], dates: dict[str, int] | None = None) -> Path:
    path = place / "some.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, (dates or {}).get(name, 1), 0, 0, 0)), text)
    return path


def test_a_wheel_of_the_tracked_package_is_right(tmp_path: Path) -> None:
    assert wheel_problems(wheel(tmp_path, FILES), TRACKED, PROJECT, [tmp_path]) == []


@pytest.mark.parametrize("name", [*NEEDED, f"{INFO}/licenses/LICENSE", f"{INFO}/METADATA"])
def test_what_a_wheel_lacks_is_named(tmp_path: Path, name: str) -> None:
    files = {other: text for other, text in FILES.items() if other != name}
    assert wheel_problems(wheel(tmp_path, files), TRACKED, PROJECT) == [f"{name} is missing"]


def test_what_is_needed_is_missed_even_if_the_repository_lost_it(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name != NEEDED[0]}
    tracked = [name for name in TRACKED if name != NEEDED[0]]
    assert wheel_problems(wheel(tmp_path, files), tracked, PROJECT) == [f"{NEEDED[0]} is missing"]


@pytest.mark.parametrize("name", ["tests/test_docs.py", "airflow_provider_coze/.env", "airflow_provider_coze/x.pyc"])
def test_what_does_not_belong_in_a_wheel_is_named(tmp_path: Path, name: str) -> None:
    found = wheel_problems(wheel(tmp_path, {**FILES, name: ""}), TRACKED, PROJECT)
    assert found == [f"{name} does not belong in it"]


def test_a_wheel_with_the_times_of_a_checkout_is_refused(tmp_path: Path) -> None:
    [problem] = wheel_problems(wheel(tmp_path, FILES, {NEEDED[0]: 2}), TRACKED, PROJECT)
    assert "2 times" in problem


def test_a_wheel_that_names_the_machine_it_was_built_on_is_refused(tmp_path: Path) -> None:
    files = {**FILES, NEEDED[2]: f"ROOT = '{tmp_path}/package'"}
    assert wheel_problems(wheel(tmp_path, files), TRACKED, PROJECT, [tmp_path]) == [f"{NEEDED[2]} names {tmp_path}"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("METADATA", "Version: 1.2.3", "Version: 1.2.4", "Version is '1.2.4' instead of '1.2.3'"),
        ("METADATA", "aiohttp>=3.10", "aiohttp", "Requires-Dist differs"),
        ("METADATA", "Provides-Extra: emulator\n", "", "Provides-Extra differs"),
        ("METADATA", "Apache-2.0", "MIT", "License-Expression is 'MIT'"),
        ("METADATA", "# Coze\n", "", "it has no description"),
        ("METADATA", "# Coze\n", "See [docs](docs/index.md).\n", "such as docs/index.md"),
        ("WHEEL", "py3-none-any", "cp311-cp311-linux_x86_64", "not for every platform"),
        ("entry_points.txt", "coze_emulator", "emulator", "its entry points are"),
    ],
)
def test_what_a_wheel_says_wrongly_of_itself_is_named(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    name = f"{INFO}/{file}"
    assert old in FILES[name]
    [problem] = wheel_problems(wheel(tmp_path, {**FILES, name: FILES[name].replace(old, new)}), TRACKED, PROJECT)
    assert said in problem


def sdist(place: Path, names: list[str], link: str | None = None) -> Path:
    path = place / "some.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"airflow_provider_coze-1.2.3/{name}")
            if name == link:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member, io.BytesIO())
    return path


def test_an_sdist_is_the_tracked_files(tmp_path: Path) -> None:
    assert sdist_problems(sdist(tmp_path, [*TRACKED, "PKG-INFO"]), TRACKED, PROJECT) == []


def test_what_an_sdist_lacks_and_has_too_much_is_named(tmp_path: Path) -> None:
    names = [*TRACKED[1:], "PKG-INFO", ".env"]
    assert sdist_problems(sdist(tmp_path, names), TRACKED, PROJECT) == [
        f"{TRACKED[0]} is missing",
        ".env does not belong in it",
    ]


def test_an_sdist_has_no_links(tmp_path: Path) -> None:
    made = sdist(tmp_path, [*TRACKED, "PKG-INFO"], link="README.md")
    assert sdist_problems(made, TRACKED, PROJECT) == ["airflow_provider_coze-1.2.3/README.md is no plain file"]


PARTS = ("apache-airflow", "apache-airflow-providers-common-compat", "aiohttp", "requests", "pydantic")
BILL: dict[str, Any] = {
    "metadata": {"component": {"name": "airflow-provider-coze", "version": "1.2.3"}},
    "components": [{"name": name, "version": "1", "purl": f"pkg:generic/{name}@1"} for name in PARTS],
}


def test_a_list_of_materials_is_of_this_wheel_and_of_what_it_needs() -> None:
    assert list(bill_problems(BILL, "1.2.3")) == []
    assert list(bill_problems(BILL, "1.2.4")) == ["it is about airflow-provider-coze 1.2.3"]


@pytest.mark.parametrize("name", PARTS)
def test_a_list_that_misses_a_part_is_refused(name: str) -> None:
    bill = copy.deepcopy(BILL)
    bill["components"] = [part for part in bill["components"] if part["name"] != name]
    assert list(bill_problems(bill, "1.2.3")) == [f"{name} is missing"]


def test_a_list_with_tools_of_tests_or_parts_without_a_version_is_refused() -> None:
    bill = copy.deepcopy(BILL)
    bill["components"] += [{"name": "pytest", "version": "1", "purl": "pkg:generic/pytest@1"}, {"name": "loose"}]
    assert list(bill_problems(bill, "1.2.3")) == ["it has what only tests need", "no version or address of loose"]
