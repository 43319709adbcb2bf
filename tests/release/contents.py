"""What has to be in an sdist and in a wheel, and what must not be; each function returns what is wrong, in words.

The expectation is the repository itself: a wheel is the tracked files of the package, an sdist all tracked files.
"""

from __future__ import annotations

import configparser
import email
import email.message
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import Requirement

PACKAGE = "airflow_provider_coze"
#: Without the first no type of ours counts for mypy; without the second the decorators have none; the third is how Airflow finds us.
NEEDED = (f"{PACKAGE}/py.typed", f"{PACKAGE}/decorators/__init__.pyi", f"{PACKAGE}/get_provider_info.py")
METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")


def wheel_problems(
    wheel: Path, tracked: Sequence[str], project: Mapping[str, Any], machine: Iterable[Path] = ()
) -> list[str]:
    """Compare a wheel with the repository.

    :param tracked: what git tracks, as paths from the root.
    :param project: the table ``project`` of pyproject.toml.
    :param machine: places whose names may stand in no file.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
        dates = {info.date_time for info in archive.infolist()}
    info = f"{PACKAGE}-{project['version']}.dist-info"
    wanted = {name for name in tracked if name.startswith(f"{PACKAGE}/")} | {f"{info}/{name}" for name in METADATA}
    problems = list(_differences(set(files), wanted | set(NEEDED)))
    if len(dates) != 1:
        problems.append(f"its files are of {len(dates)} times, so the same commit gives other bytes tomorrow")
    for place in machine:
        problems += [f"{name} names {place}" for name, body in files.items() if str(place).encode() in body]
    if not problems:
        problems += _metadata_problems(email.message_from_string(files[f"{info}/METADATA"].decode()), project)
        problems += _entry_point_problems(files[f"{info}/entry_points.txt"].decode(), project)
        tags = email.message_from_string(files[f"{info}/WHEEL"].decode())
        if (tags["Root-Is-Purelib"], tags.get_all("Tag")) != ("true", ["py3-none-any"]):
            problems.append(f"it is not for every platform: {tags.get_all('Tag')}")
    return problems


def sdist_problems(sdist: Path, tracked: Sequence[str], project: Mapping[str, Any]) -> list[str]:
    """Compare an sdist with the repository."""
    with tarfile.open(sdist) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
    top = f"{PACKAGE}-{project['version']}"
    names = {str(PurePosixPath(member.name).relative_to(top)) for member in members}
    problems = list(_differences(names, {*tracked, "PKG-INFO"}))
    problems += [f"{member.name} is no plain file" for member in members if not member.isreg()]
    return problems


def _differences(found: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in sorted(wanted - found))
    yield from (f"{name} does not belong in it" for name in sorted(found - wanted))


def _metadata_problems(said: email.message.Message, project: Mapping[str, Any]) -> Iterator[str]:
    single = {
        "Name": project["name"],
        "Version": project["version"],
        "Summary": project["description"],
        "Requires-Python": project["requires-python"],
        "License-Expression": project["license"],
        "Description-Content-Type": "text/markdown",
    }
    for field, wanted in single.items():
        if said[field] != wanted:
            yield f"{field} is {said[field]!r} instead of {wanted!r}"
    several = {
        "Project-URL": {f"{name}, {address}" for name, address in project["urls"].items()},
        "Provides-Extra": set(project["optional-dependencies"]),
        "Classifier": set(project["classifiers"]),
        "Requires-Dist": {
            *map(_requirement, project["dependencies"]),
            *(
                _requirement(f"{line}; extra == '{extra}'")
                for extra, lines in project["optional-dependencies"].items()
                for line in lines
            ),
        },
    }
    for field, wanted in several.items():
        found = set(said.get_all(field) or [])
        if field == "Requires-Dist":
            found = set(map(_requirement, found))
        if found != wanted:
            yield f"{field} differs from pyproject.toml: {sorted(found ^ wanted)}"
    text = str(said.get_payload())
    if not text:
        yield "it has no description"
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    if lost := re.findall(r"\]\((?![a-z]+:|#)([^)\s]+)\)", prose):
        yield f"its description links to files that an index does not have, such as {lost[0]}"


def _requirement(line: str) -> str:
    return str(Requirement(line))


def _entry_point_problems(text: str, project: Mapping[str, Any]) -> Iterator[str]:
    parser = configparser.ConfigParser(delimiters="=")
    parser.optionxform = str
    parser.read_string(text)
    found = {section: dict(parser[section]) for section in parser.sections()}
    wanted = dict(project["entry-points"])
    if project.get("scripts"):
        wanted["console_scripts"] = project["scripts"]
    if found != wanted:
        yield f"its entry points are {found} instead of {wanted}"
