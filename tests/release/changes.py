"""Notes about changes: one small file each in ``changes/``, of which towncrier makes the section of a release.

``changes/README.md`` says how to write one. Standard library only, for the unit suite checks the notes without towncrier.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.env.bootstrap import ROOT

FOLDER = ROOT / "changes"
CHANGELOG = ROOT / "CHANGELOG.md"
#: What is in the folder besides notes.
OTHERS = ("README.md", "template.jinja")
#: towncrier adds a section below it.
MARKER = "<!-- the newest release comes next -->"


@functools.cache
def settings() -> dict[str, Any]:
    """Return what pyproject.toml tells towncrier."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    return found


def kinds() -> list[str]:
    """Return the kinds of notes, in the order of a section."""
    return [kind["directory"] for kind in settings()["type"]]


def notes(folder: Path = FOLDER) -> list[Path]:
    """Return the notes of what is not released yet."""
    return sorted(path for path in folder.iterdir() if path.name not in OTHERS)


def problems(path: Path, text: str) -> Iterator[str]:
    """Yield what is wrong with a note, in words."""
    if not re.fullmatch(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(kinds())})\.md", path.name):
        yield f"its name is not <subject>.<kind>.md with one of {', '.join(kinds())}"
    if text != text.strip() + "\n" or "\n\n" in text:
        yield "it is not one paragraph with an end of line"
    if re.match(r"[-*#]", text):
        yield "it begins with a mark of a list or heading: towncrier sets those"
    if text.strip() and not text.strip().endswith((".", ".)")):
        yield "it does not end like a sentence"
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        if not (ROOT / link).exists():
            yield f"it links to {link}, which is not there; links begin at the root, as in CHANGELOG.md"


def released(text: str) -> list[tuple[str, str]]:
    """Return version and day of every section of CHANGELOG.md, the newest first."""
    return re.findall(r"^## \[([^]]+)\] - (\S+)$", text, re.MULTILINE)


def write_section(version: str, *, is_draft: bool) -> int:
    """Have towncrier write the section of *version* into CHANGELOG.md and remove the notes; as a draft, only print it."""
    command = [str(Path(sys.executable).parent / "towncrier"), "build", "--version", version]
    return subprocess.run([*command, "--draft" if is_draft else "--yes"], cwd=ROOT, check=False).returncode
