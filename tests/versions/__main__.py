"""``make compat``: run the suite on each Airflow, print one line for each, and remake the table in the documentation.

``python -m tests.versions 3.0.6`` runs one of them. ``--ci`` is what ``make test`` does: the oldest in full, a look at those between; the
newest is what the rest of ``make test`` runs on. Nothing is written then.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests import docs_parts
from tests.env.bootstrap import ROOT, VERSIONS, ensure
from tests.versions import table
from tests.versions.table import COLUMNS, Result

REPORTS = ROOT / "build" / "compat"
SUITE = ["-m", "not airflow and not matrix"]
#: What is made of this very run cannot be asked of it.
OF_LAST_RUN = ["--deselect", "tests/versions/test_table.py::test_the_last_run_has_found_every_feature_on_every_version"]
SMOKE = ["tests/versions/test_smoke.py"]
#: What the unit suite leaves out because it is long, and rows of the table stand for.
_OPERATORS = (f"tests/operators/test_{name}.py" for name in ("paid_once", "later_tries", "batch", "batch_kill"))
MORE = [
    "-m",
    "matrix and not airflow",
    "tests/sensors",
    "tests/triggers",
    *_OPERATORS,
    "tests/test_secrets.py",
    "tests/versions",
]
#: Commands of Airflow itself, in processes of their own.
COMMANDS = ["-m", "airflow and not postgres", "tests/cli", "tests/test_provider_info.py", "tests/versions"]


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", default=[], help=f"of {', '.join(COLUMNS)}; all without")
    parser.add_argument("--ci", action="store_true", help="the oldest in full, a look at those between")
    parser.add_argument("--no-quickstart", action="store_true", help="start no real Airflow")
    parser.add_argument("-n", default="auto", help="processes of pytest")
    options = parser.parse_args(arguments)
    if unknown := set(options.versions) - set(VERSIONS):
        parser.error(f"no lock for {', '.join(sorted(unknown))}")
    if options.ci:
        return _for_ci(options.n)
    columns, failed = {}, False
    for version in options.versions or COLUMNS:
        began = time.monotonic()
        results = _pytest(version, "suite", "-n", options.n, *SUITE, *OF_LAST_RUN)
        results += _pytest(version, "more", "-n", options.n, *MORE)
        results += _pytest(version, "commands", *COMMANDS)
        if not options.no_quickstart:
            # Its client and its emulator are of the newest; what they talk to is not.
            where = f"tests/airflow/test_quickstart.py -m airflow -k {version}".split()
            results += _pytest(VERSIONS[0], f"quickstart-{version}", *where)
        columns[version] = table.column(version, results)
        failed |= _said(version, results, time.monotonic() - began, columns[version])
    table.keep(columns)
    docs_parts.main(["--write"])
    return int(failed)


def _for_ci(processes: str) -> int:
    oldest, *between = COLUMNS[:-1]
    for version in (oldest, *between):
        ensure(version)
    began = time.monotonic()
    failed = _said(oldest, _pytest(oldest, "suite", "-n", processes, *SUITE), time.monotonic() - began)
    began = time.monotonic()
    # Each is one process, and mostly waits for its imports: two at once for two cores.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for version, results in zip(
            between, pool.map(lambda each: _pytest(each, "smoke", *SMOKE), between), strict=True
        ):
            failed |= _said(version, results, time.monotonic() - began)
    return int(failed)


def _pytest(version: str, name: str, *arguments: str) -> list[Result]:
    """Run tests beside one Airflow and return their results; what pytest says is kept, and shown if a test fails."""
    python = ensure(version)
    report = REPORTS / version / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    # Airflow 2 writes its home as it is imported; a home of its own for each keeps versions apart.
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    log = report.with_suffix(".log")
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, check=False)
    results = table.read(report)
    if done.returncode != 0:
        print(_tail(log), flush=True)
        if not any(result.outcome == "failed" for result in results):
            results.append(Result(f"{name}::pytest exited with {done.returncode}", "failed"))
    return results


def _tail(log: Path, lines: int = 60) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _said(version: str, results: Sequence[Result], seconds: float, column: dict[str, str] | None = None) -> bool:
    """Print the line of a version, and tell whether anything failed there."""
    counts = Counter(result.outcome for result in results)
    needed = sum(result.since is not None for result in results)
    bare = [name for name, said in (column or {}).items() if said == "**not tested**"]
    lacking = f"; nothing stands for: {', '.join(bare)}" if bare else ""
    print(
        f"Airflow {version:6}  {counts['passed']:,} passed, {counts['failed']} failed, "
        f"{needed} of a later Airflow, {counts['skipped'] - needed} skipped; {seconds:.0f} s{lacking}",
        flush=True,
    )
    return bool(counts["failed"] or bare or not counts["passed"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
