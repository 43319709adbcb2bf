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
from typing import Any

import structlog

from tests.batch_soak.cases import Case
from tests.batch_soak.checking import Report, check
from tests.batch_soak.conductor import conduct
from tests.batch_soak.processes import Child, Coze, Line

HEADER = (
    "batch | killed | tries, legs | right | unknown | rows billed once, twice, never | in doubt, resent, billed again | s | peak MiB | "
    "CPU s of workers, of Coze | requests"
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


def row(report: dict[str, Any]) -> str:
    """Return the figures of one batch, as a line of the table."""
    ending, billed = report["ending"], report["billed"]
    killed = ", ".join(f"{times} {what}" for what, times in sorted(ending["killed"].items()))
    doubts = f"{report['in_doubt']}, {report['resent']}, {report['resent_arrived']}"
    cells = [report["name"], killed, f"{ending['tries']}, {ending['legs']}", report["right"], report["unknown"]]
    cells += [" / ".join(str(billed.get(times, 0)) for times in "120"), doubts, f"{ending['seconds']:.0f}"]
    cells += [f"{ending['peak_mib']:.0f}", f"{ending['worker_seconds']:.0f}, {report['coze_seconds']:.0f}"]
    more = f"; tries that failed: {ending['errors']}" if ending["errors"] else ""
    wrong = f"  WRONG, seed {report['case']['seed']}" if report["problems"] else ""
    return " | ".join(map(str, [*cells, report["requests"]])) + more + wrong


def the_whole_set(base: Case) -> list[Case]:
    """Return the batches that are run when nobody says which; the longest first."""
    chat, run = replace(base, kind="chat"), replace(base, kind="run")
    return [
        replace(chat, deferred=True, faults=True),
        replace(run, deferred=True, faults=True),
        replace(chat, deferred=True, listed=True),
        replace(chat, faults=True),
        replace(run, faults=True),
        replace(chat, listed=True, faults=True),
        replace(run, resend=True, faults=True),
        replace(chat, store=True),
        replace(run, store=True),
        replace(run, deferred=True),
        replace(chat, listed=True, lost=3),
        replace(run, lost=3),
    ]


def main() -> int:
    """Run batches and print what they came to."""
    given = _given()
    os.environ["AIRFLOW__COZE__MIN_DEFERRAL_SECONDS"] = "0"
    logging.disable(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    base = Case(rows=given.rows, kills=given.kills, lost=given.lost, seed=given.seed, in_flight=given.in_flight)
    if given.cases:
        cases = [Case(**fields) for fields in json.loads(given.cases)]
    elif given.kind:
        chosen = {name: getattr(given, name) for name in ("faults", "listed", "resend", "store")}
        cases = [replace(base, kind=given.kind, deferred=given.mode == "deferred", **chosen)]
    else:
        cases = the_whole_set(base)
    if given.json:
        with _kept(given.keep) as root:
            print(json.dumps([report for _, report in sorted(_reports(cases, root, len(cases)))]))
        return 0
    print(f"seed {given.seed}\n{HEADER}", flush=True)
    wrong = 0
    with _kept(given.keep) as root:
        for _, report in _reports(cases, root, given.at_once):
            print("\n    ".join([row(report), *report["problems"]]), flush=True)
            wrong += bool(report["problems"])
    return 1 if wrong else 0


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--lost", type=int, default=0, help="workers that go on while another try begins")
    parser.add_argument("--kind", choices=["chat", "run"], help="one batch of chats or runs, instead of the whole set")
    parser.add_argument("--mode", choices=["plain", "deferred"], default="plain")
    for name, meaning in (
        ("faults", "Coze and the network misbehave"),
        ("listed", "Coze lists the conversations that it makes itself"),
        ("resend", 'on_unknown="resend"'),
        ("store", "keep the batch in an object store"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=2, help="batches that are run side by side")
    parser.add_argument("--cases", help="batches, as JSON: a list of the fields of each")
    parser.add_argument("--json", action="store_true", help="all batches at once, and what they came to as JSON")
    parser.add_argument("--keep", help="a folder that gets journals and results, and keeps them")
    return parser.parse_args()


def _reports(cases: list[Case], root: Path, at_once: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run batches side by side, each conducted by a process of its own, and yield what they came to as they end, with their numbers."""
    waiting, running = list(enumerate(cases)), dict[Child, tuple[int, Case]]()
    while waiting or running:
        while waiting and len(running) < at_once:
            number, case = waiting.pop(0)
            folder = root / f"{number}-{case.name.replace(' ', '-')}-{case.seed}"
            running[Child(_tell, case, folder)] = number, case
        for child in [child for child in running if child.line.has_news(0.1)]:
            number, case = running.pop(child)
            report = child.line.hear()
            child.wait()
            if report is None:
                raise RuntimeError(f"the conductor of {case.name} died by itself, see above")
            yield number, report


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
