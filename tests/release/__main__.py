"""``python -m tests.release``, in the environment that ``tests/env/bootstrap.py release`` makes.

``dist`` builds a release into ``dist/``, checks it and tests the wheel; ``check`` does the same and keeps nothing;
``changelog`` writes the section of a release.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.env.bootstrap import MAIN, ROOT
from tests.release import building, changes, contents
from tests.release.installed import Fresh, bill_of_materials
from tests.release.tags import tag_problems

DIST = ROOT / "dist"


@contextlib.contextmanager
def _step(text: str) -> Iterator[None]:
    started = time.monotonic()
    print(f"{text} … ", end="", flush=True)
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def _refuse(what: str, problems: list[str]) -> None:
    if problems:
        raise ValueError("\n  ".join([f"{what}:", *problems]))


def _dist(versions: list[str], out: Path) -> None:
    """Build into *out* and check; what is there afterwards has passed everything."""
    project = building.project()
    with tempfile.TemporaryDirectory(prefix="coze-release-") as place:
        work, names, seconds = Path(place), building.tracked(), building.epoch()
        with _step("Building sdist and wheel, and both again from the sdist"):
            built = building.build(work / "dist", work, names, seconds)
        with _step("Comparing what is in them with the repository"):
            machine = [ROOT, work]
            _refuse(built.wheel.name, contents.wheel_problems(built.wheel, names, project, machine))
            _refuse(built.sdist.name, contents.sdist_problems(built.sdist, names, project))
        with _step("twine check --strict"):
            twine = str(Path(sys.executable).parent / "twine")
            done = subprocess.run(
                [twine, "--no-color", "check", "--strict", str(built.wheel), str(built.sdist)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            _refuse("twine", [done.stdout] if done.returncode or done.stdout.count("PASSED") != 2 else [])
        for version in versions:
            with _step(f"Installing the wheel alone beside Airflow {version}"):
                fresh = Fresh(built.wheel, work / version, version)
                fresh.look(project["version"])
            if version == versions[0]:
                with _step("Listing what came with it"):
                    bill = bill_of_materials(fresh, work / "dist", project["version"], seconds)
            with _step("Running the quickstart there"):
                fresh.quickstart()
        lines = [f"{building.digest(path)}  {path.name}\n" for path in (built.sdist, built.wheel, bill)]
        (work / "dist" / "SHA256SUMS").write_text("".join(lines))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(work / "dist", out)


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="tests.release", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    dist = commands.add_parser("dist", help="build, check, test the wheel, and put what has passed into dist/")
    dist.add_argument("--tag", default="", help="also check that everything is ready to be released as this tag")
    check = commands.add_parser("check", help="build, check and test the wheel, and keep nothing")
    for command in (dist, check):
        command.add_argument("--airflow", nargs="+", default=[MAIN], help=f"locked versions to test beside ({MAIN})")
    log = commands.add_parser("changelog", help="make the section of a release from changes/")
    log.add_argument("--draft", action="store_true", help="print it and change nothing")
    given = parser.parse_args()
    if given.command == "changelog":
        return changes.write_section(building.project()["version"], is_draft=given.draft)
    try:
        if given.command == "check":
            with tempfile.TemporaryDirectory(prefix="coze-release-") as place:
                _dist(given.airflow, Path(place) / "dist")
            return 0
        if given.tag:
            _refuse(f"{given.tag} cannot be released", tag_problems(given.tag))
        _dist(given.airflow, DIST)
        for path in sorted(DIST.iterdir()):
            print(f"dist/{path.name}  {path.stat().st_size:,} bytes")
    except (ValueError, subprocess.SubprocessError) as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
