"""What a batch came to, held against its input, its journal and Coze's ledger."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from tests.batch_soak.cases import Case
from tests.batch_soak.conductor import Ending

__all__ = ["Report", "check"]

_MOST_PROBLEMS = 20


@dataclass
class Report:
    """The figures of one batch, and everything that must not be: one line each."""

    case: Case
    ending: Ending
    right: int = 0
    unknown: int = 0
    failed: int = 0
    billed: dict[int, int] = field(default_factory=dict)  # executions → rows that have so many
    resent: int = 0  # requests whose reply was lost, and that were sent again without knowing
    resent_arrived: int = 0  # of those: that were billed
    in_doubt: int = 0  # requests whose reply was not noted down, whatever came of it
    probes: int = 0  # chats without a conversation of their own, where Coze does not list those that it makes
    requests: int = 0
    coze_seconds: float = 0.0  # of CPU of the emulator
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(self, default=vars))
        return {"name": self.case.name, **plain}


def check(case: Case, folder: Path, ending: Ending, ledger: list[dict[str, Any]]) -> Report:
    """Find out what is right, and what is not."""
    return _Check(case, folder, ending, ledger).report()


class _Check:
    def __init__(self, case: Case, folder: Path, ending: Ending, ledger: list[dict[str, Any]]) -> None:
        self._case, self._folder, self._ending, self._ledger = case, folder, ending, ledger
        self._report = Report(case, ending)
        self._executions: dict[int, list[str]] = defaultdict(list)  # row → ids of what is billed for it
        for entry in ledger:
            self._executions[self._row_of(entry)].append(entry["id"])
        self._in_doubt: Counter[int] = (
            Counter()
        )  # row → requests that were never known to have started anything, or not to
        self._resent: Counter[int] = Counter()
        self._probes: set[int] = set()  # rows whose chat had no conversation of its own

    def report(self) -> Report:
        report, case = self._report, self._case
        if self._ending.manifest is None:
            self._wrong(f"the task ended with {self._ending.error or 'nothing'}")
            return report
        self._read_journal()
        rows = list(self._results())
        self._check_rows(rows)
        self._check_manifest(self._ending.manifest)
        report.billed = dict(sorted(Counter(len(self._executions[number]) for number in range(case.rows)).items()))
        if strange := self._executions.keys() - set(range(case.rows)):
            self._wrong(f"executions of rows that there are not: {sorted(strange)[:5]}")
        report.in_doubt, report.resent = self._in_doubt.total(), self._resent.total()
        if case.kind == "chat" and report.billed != {1: case.rows}:
            self._wrong(f"billed executions of a chat, and rows that have so many: {report.billed}")
        if case.kind == "chat" and not case.listed:
            report.probes = len(self._probes)
            if report.probes > 1 + self._ending.killed.total():  # a lost one is followed by another
                self._wrong(f"{report.probes} chats had no conversation of their own")
        if case.kind == "run" and not case.faults and report.in_doubt > self._ending.killed.total() * case.in_flight:
            self._wrong(f"{report.in_doubt} requests are in doubt, more than can have been in flight")
        if len(report.problems) > _MOST_PROBLEMS:
            report.problems[_MOST_PROBLEMS:] = [f"… {len(report.problems)} problems"]
        return report

    def _check_rows(self, rows: list[dict[str, Any]]) -> None:
        numbers = [row["index"] for row in rows]
        if numbers != list(range(self._case.rows)):
            missing = sorted(set(range(self._case.rows)) - set(numbers))
            twice = [number for number, times in Counter(numbers).items() if times > 1]
            self._wrong(f"results out of order, or missing: {missing[:5]}, or twice: {twice[:5]}")
        named: set[str] = set()
        for row in rows:
            id_ = row["ids"].get("chat_id" if self._case.kind == "chat" else "execute_id")
            if id_ is not None:
                if id_ in named:
                    self._wrong(f"row {row['index']} has the execution {id_} of another row")
                named.add(id_)
            self._check_row(row, id_)

    def _check_row(self, row: dict[str, Any], id_: str | None) -> None:
        report, number = self._report, row["index"]
        billed = self._executions[number]
        if row["error"] is None:
            report.right += 1
            if row["output"] != self._case.output(number):
                self._wrong(f"row {number} is answered with {row['output']!r}")
            if id_ not in billed:
                self._wrong(f"row {number} names the execution {id_}; billed are {billed}")
            more = len(billed) - 1
            report.resent_arrived += more
            if more > (self._resent[number] if self._case.resend else 0):
                self._wrong(f"row {number} is right, and billed {len(billed)} times")
        elif row["error"]["type"] == "CozeOutcomeUnknownError":
            report.unknown += 1
            # Whether Coze lists what it makes itself is found out by a chat that could be lost, should it not.
            if self._case.resend or (self._case.kind == "chat" and (self._case.listed or number not in self._probes)):
                self._wrong(f"row {number} is unknown: {row['error']['msg']}")
            if len(billed) > 1:
                self._wrong(f"row {number} is unknown, and billed {len(billed)} times")
            if not self._in_doubt[number]:
                self._wrong(f"row {number} is unknown, and no reply of it was lost")
        else:
            report.failed += 1
            self._wrong(f"row {number} has failed: {row['error']}")

    def _check_manifest(self, manifest: dict[str, Any]) -> None:
        report = self._report
        counts = {name: count for name, count in manifest["counts"].items() if count}
        expected = {name: count for name, count in (("succeeded", report.right), ("unknown", report.unknown)) if count}
        if counts != expected or manifest["request_count"] != self._case.rows:
            self._wrong(f"the manifest counts {counts} of {manifest['request_count']}, where there are {expected}")
        failed = list(_lines(self._local(manifest["failed_uri"]))) if manifest["failed_uri"] else []
        if len(failed) != report.unknown + report.failed:
            self._wrong(f"{len(failed)} rows are among those that failed")

    def _read_journal(self) -> None:
        """Find requests of which no process knew what became of them."""
        sent: dict[str, int] = {}  # marker → row
        known: set[str] = set()
        given_up: set[str] = set()
        for path in sorted((self._folder / "batches").glob("*/_journal/*.jsonl")):
            for event in _lines(path):
                match event["t"]:
                    case "intent":
                        (sent[event["marker"]],) = event["rows"]
                        if "conversation_id" not in event:
                            self._probes.add(event["rows"][0])
                    case "bought" | "nothing":
                        known.add(event["marker"])
                    case "over":
                        given_up.add(event["marker"])
        for marker in sent.keys() - known:
            self._in_doubt[sent[marker]] += 1
            self._resent[sent[marker]] += marker in given_up

    def _results(self) -> Iterator[dict[str, Any]]:
        assert self._ending.manifest is not None
        place = self._local(self._ending.manifest["result_uri"])
        for path in sorted(place.parent.glob(place.name)):
            yield from _lines(path)
        others = sorted(path.name for path in place.parent.glob("results-*") if not path.match(place.name))
        if others:
            self._wrong(f"results of earlier tries are left behind: {others}")

    def _local(self, uri: str) -> Path:
        return Path(uri.removeprefix("bucket://"))

    def _row_of(self, entry: dict[str, Any]) -> int:
        if entry["kind"] == "workflow":
            return int(entry["marker"]["parameters"]["value"].removeprefix("answer "))
        return int(entry["marker"]["meta_data"][MARKER_FIELD].split(".")[1])

    def _wrong(self, problem: str) -> None:
        self._report.problems.append(problem)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):  # else its writer was killed in the midst of it
            yield json.loads(line)
