"""Build sdist and wheel from the files that git tracks, so that the same commit gives the same bytes anywhere.

What is in them is looked at by ``contents``; whether the wheel works, by ``installed``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.env.bootstrap import ROOT


@dataclass(frozen=True)
class Built:
    """Two files of one version."""

    sdist: Path
    wheel: Path


def project(root: Path = ROOT) -> dict[str, Any]:
    """Return the table ``project`` of pyproject.toml. Its ``version`` is the only place that has it."""
    found: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def git(*arguments: str) -> str:
    """Return what git says about this checkout."""
    # CI may check out as another user than it runs as, which git refuses to read unless told.
    return subprocess.check_output(["git", "-c", f"safe.directory={ROOT}", *arguments], cwd=ROOT, text=True)


def tracked() -> list[str]:
    """Return the files that git tracks and that are there, as paths from the root."""
    listed = git("ls-files", "-z").split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def epoch() -> int:
    """Return the Unix seconds that stand in everything built: of the commit, unless ``SOURCE_DATE_EPOCH`` says others."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))


def build(out: Path, work: Path, names: Sequence[str], seconds: int) -> Built:
    """Build both into *out*; build both once more, from the sdist, and compare.

    :param work: an empty directory for copies.
    :param names: what to build from, as of :func:`tracked`. Whatever else lies in a checkout gets into neither.
    :raises ValueError: the sdist does not give the same two files again.
    """
    source = _copied(names, work / "source")
    first = Built(_built("sdist", source, out, seconds), _built("wheel", source, out, seconds))
    with tarfile.open(first.sdist) as archive:
        archive.extractall(work / "unpacked", filter="data")
    [unpacked] = (work / "unpacked").iterdir()
    again = Built(_built("sdist", unpacked, work, seconds), _built("wheel", unpacked, work, seconds))
    for one, other in ((first.sdist, again.sdist), (first.wheel, again.wheel)):
        if digest(one) != digest(other):
            raise ValueError(f"{one.name} built from the sdist differs from the one built from the repository")
    return first


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _copied(names: Sequence[str], place: Path) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    return place


def _built(kind: str, source: Path, out: Path, seconds: int) -> Path:
    """Build one of the two with what is installed beside this interpreter, all of it locked."""
    before = set(out.iterdir()) if out.exists() else set()
    command = [
        str(Path(sys.executable).parent / "pyproject-build"),
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        str(out),
    ]
    done = subprocess.run(
        [*command, str(source)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(seconds), "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(f"the {kind} could not be built:\n{done.stdout[-3000:]}")
    [made] = set(out.iterdir()) - before
    return made
