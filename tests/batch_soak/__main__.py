"""``make batch-soak``: batches whose worker is killed ten times, and once together with the triggerer; what they came to, as a table."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from tests.batch_soak.cases import Case
from tests.batch_soak.checking import Report, check
from tests.batch_soak.conductor import conduct
from tests.batch_soak.processes import Child, Coze, Line

HEADER = (
    "batch | killed | tries, legs | right | unknown | billed once / 2 / 0 | in doubt, resent, of those billed | s | peak MiB | "
    "CPU s worker, Coze | requests"
)


def soak(case: Case, folder: Path) -> Report:
    """Run one batch against a Coze of its own, in a process that has no threads."""
    folder.mkdir(parents=True)
    case.write_rows(folder)
    coze = Coze(case)
    try:
        ending = conduct(case, folder, coze)
        report = check(case, folder, ending, coze.ledger())
        report.requests = sum(coze.requests().values())
    finally:
        coze.process.kill()
    report.coze_seconds = coze.process.cpu_seconds
    return report


def row(report: Report) -> str:
    """Return the figures of one batch, as a line of the table."""
    ending, billed = report.ending, report.billed
    killed = ", ".join(f"{times} {what}" for what, times in sorted(ending.killed.items()))
    doubts = f"{report.in_doubt}, {report.resent}, {report.resent_arrived}"
    cells = [report.case.name, killed, f"{ending.tries}, {ending.legs}", report.right, report.unknown]
    cells += [" / ".join(str(billed.get(times, 0)) for times in (1, 2, 0)), doubts, f"{ending.seconds:.0f}"]
    cells += [f"{ending.peak_mib:.0f}", f"{ending.worker_seconds:.0f}, {report.coze_seconds:.0f}", report.requests]
    more = f"; tries that failed: {dict(ending.errors)}" if ending.errors else ""
    return " | ".join(map(str, cells)) + more + ("" if not report.problems else f"  WRONG, seed {report.case.seed}")


def the_whole_set(base: Case) -> list[Case]:
    """Return the batches that are run when nobody says which."""
    cases = []
    for kind in ("chat", "run"):
        for deferred in (False, True):
            cases.append(replace(base, kind=kind, deferred=deferred, faults=True))
    cases += [
        replace(base, kind="chat", listed=True, faults=True),
        replace(base, kind="chat", deferred=True, listed=True),
    ]
    cases += [replace(base, kind=kind, store=True) for kind in ("chat", "run")]
    cases += [replace(base, kind="run", resend=True, faults=True), replace(base, kind="run", deferred=True)]
    return cases


def main() -> int:
    """Run batches and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--lost", type=int, default=0, help="workers that go on while another try begins")
    parser.add_argument(
        "--kind", choices=["chat", "run"], help="one batch of chats or of runs, instead of the whole set"
    )
    parser.add_argument("--mode", choices=["plain", "deferred"], default="plain")
    for name, meaning in (
        ("faults", "Coze and the network misbehave"),
        ("listed", "Coze lists the conversations that it makes itself"),
        ("resend", 'on_unknown="resend"'),
        ("store", "keep the batch in an object store"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--in-flight", type=int, default=400)
    parser.add_argument("--cases", help="JSON: a list of fields of batches that are run at once; prints JSON")
    parser.add_argument("--keep", help="a folder that gets journals and results, and keeps them")
    given = parser.parse_args()
    os.environ["AIRFLOW__COZE__MIN_DEFERRAL_SECONDS"] = "0"
    logging.disable(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    base = Case(rows=given.rows, kills=given.kills, lost=given.lost, seed=given.seed, in_flight=given.in_flight)
    if given.cases:
        return _at_once([Case(**fields) for fields in json.loads(given.cases)])
    if given.kind:
        chosen = {name: getattr(given, name) for name in ("faults", "listed", "resend", "store")}
        cases = [replace(base, kind=given.kind, deferred=given.mode == "deferred", **chosen)]
    else:
        cases = the_whole_set(base)
    print(f"seed {given.seed}\n{HEADER}", flush=True)
    wrong = 0
    with _kept(given.keep) as root:
        for number, case in enumerate(cases):
            report = soak(case, root / f"{number}-{case.name.replace(' ', '-')}-{case.seed}")
            print(row(report), flush=True)
            for problem in report.problems:
                print(f"    {problem}", flush=True)
            wrong += bool(report.problems)
    return 1 if wrong else 0


def _at_once(cases: list[Case]) -> int:
    """Run batches side by side, each conducted by a process of its own, and print what they came to as JSON."""
    with tempfile.TemporaryDirectory(prefix="coze-batch-soak-") as root:
        children = [Child(_tell, case, Path(root, str(number))) for number, case in enumerate(cases)]
        print(json.dumps([child.line.hear() for child in children]))
        for child in children:
            child.wait()
    return 0


def _tell(line: Line, case: Case, folder: Path) -> None:
    line.say(soak(case, folder).to_dict())


@contextlib.contextmanager
def _kept(keep: str | None) -> Iterator[Path]:
    if keep:
        yield Path(keep)
    else:
        with tempfile.TemporaryDirectory(prefix="coze-batch-soak-") as root:
            yield Path(root)


if __name__ == "__main__":
    sys.exit(main())
