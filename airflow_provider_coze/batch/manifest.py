"""The end of a batch: its results in files that people read, and the manifest that says where they are and how it went.

Everything is made from the journal, in two passes over it and with a bounded part of it in memory. Each file appears whole or not at
all, under a name that holds the generation of the attempt that wrote it; the manifest comes after the files, and those of earlier
generations go after that. So whoever reads what a manifest names reads what belongs together.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_coze.batch import files, owner
from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.owner import Claim
from airflow_provider_coze.batch.past import Known, scan
from airflow_provider_coze.batch.results import BUCKETS, RESULT_PREFIX
from airflow_provider_coze.batch.segments import Segments, at_hand
from airflow_provider_coze.errors import CozeError, CozeStateError
from airflow_provider_coze.protocol.models import Usage

__all__ = ["MANIFEST", "MAX_PART_ROWS", "Manifest", "finish"]

#: Of the manifest; that of common.ai's LLM batches, whose keys it has, is 1 as well.
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
#: A part ends with whichever comes first. It is put whole, so as much is in memory, twice.
MAX_PART_ROWS = 10_000
_MAX_PART_BYTES = 24 * 2**20
_RESULTS, _FAILED = "results", "failed"
_PART = re.compile(rf"(?:{_RESULTS}|{_FAILED})-(\d+)-\d{{5,}}\.jsonl")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a batch came to. Small: it is the task's XCom, and ``manifest.json`` beside the results.

    ``result_uri`` is one file as long as that holds at most 10,000 rows and some 24 MB; else a glob, ``…/results-1-*.jsonl``. DuckDB,
    Polars, Spark and ``inputs=`` of our batches take both as they are; pandas takes files, so a glob is expanded first. Files in the
    order of their names have the rows in order.
    """

    batch_id: str
    attempt: str  # whose manifest it is
    result_uri: str  # one line for each row that has an outcome, see RowResult
    failed_uri: str | None  # those that failed, with their input, as ``inputs`` of another batch. None: none did
    result_parts: int  # how many files
    failed_parts: int
    request_count: int  # rows of the input
    counts: dict[str, int]  # by BUCKETS, and "missing": rows without an outcome. Their sum is request_count
    usage: Usage  # of all that was paid for, also where a row was asked again
    ordered: bool  # False: in the order of completion
    terminal_reason: str
    submitted_at: float = 0.0  # Unix seconds: when the first attempt began
    completed_at: float = 0.0  # Unix seconds

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types. Keys that common.ai's manifest has as well mean the same here."""
        usage = self.usage
        return {
            "schema_version": SCHEMA_VERSION,
            "batch_id": self.batch_id,
            "attempt": self.attempt,
            "result_uri": self.result_uri,
            "failed_uri": self.failed_uri,
            "result_parts": self.result_parts,
            "failed_parts": self.failed_parts,
            "request_count": self.request_count,
            "counts": dict(self.counts),
            "usage": {
                "token_count": usage.token_count,
                "input_count": usage.input_count,
                "output_count": usage.output_count,
            },
            "ordered": self.ordered,
            "rejoin_key": "index",
            "terminal_reason": self.terminal_reason,
            "submitted_at": _in_words(self.submitted_at),
            "completed_at": _in_words(self.completed_at),
            "seconds": round(self.completed_at - self.submitted_at, 1),
        }


def finish(
    claim: Claim,
    *,
    batch_id: str,
    attempt: str,
    request_count: int,
    now: float,
    ordered: bool = False,
    terminal_reason: str | None = None,
    belongs: Callable[[Known], bool] = lambda known: True,
) -> Manifest:
    """Write the results of a batch, from all that its journal holds, and return the manifest. Blocks; call it after ``Journal.close``.

    Called again by the same or a later attempt, it makes them anew.

    :param claim: of the attempt: ``journal.claim``.
    :param request_count: rows of the input.
    :param now: Unix seconds.
    :param ordered: rows in the order of the input, else in that of their completion.
    :param terminal_reason: why no more rows were asked. None: all were, so it is "succeeded" or "partial".
    :param belongs: tells whether an outcome is of this input. An input that has changed since an earlier attempt leaves others behind.
    :raises CozeStateError: the journal cannot be read, the results cannot be written, or another attempt has taken over.
    """
    with at_hand(claim.folder) as segments:
        past = scan(claim.folder, segments)
        rows = [known for known in past.results() if belongs(known)]
        rows.sort(key=(lambda known: known.index) if ordered else (lambda known: known.place))
        failed = [known for known in rows if not known.ok]
        results = _write(claim, _RESULTS, (_result_line(segments, known) for known in rows)) or _write_empty(claim)
        failures = _write(claim, _FAILED, (_line(segments, known) for known in failed))
    manifest = Manifest(
        batch_id=batch_id,
        attempt=attempt,
        result_uri=_address(claim, _RESULTS, results),
        failed_uri=_address(claim, _FAILED, failures) if failures else None,
        result_parts=len(results),
        failed_parts=len(failures),
        request_count=request_count,
        counts=_counts(rows, request_count),
        usage=past.usage,
        ordered=ordered,
        terminal_reason=terminal_reason or ("succeeded" if len(rows) - len(failed) == request_count else "partial"),
        submitted_at=now if past.started_at is None else past.started_at,
        completed_at=now,
    )
    _publish(claim, manifest)
    _tidy(claim, {*results, *failures})
    return manifest


def _write(claim: Claim, kind: str, lines: Iterable[bytes]) -> list[str]:
    """Write lines as parts and return the names of those."""
    names: list[str] = []
    part: list[bytes] = []
    size = 0

    def put() -> None:
        names.append(_part_name(claim, kind, len(names)))
        files.write_whole(files.joined(claim.folder, names[-1]), b"".join(part))

    for line in lines:
        if part and (len(part) >= MAX_PART_ROWS or size + len(line) > _MAX_PART_BYTES):
            put()
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        put()
    return names


def _write_empty(claim: Claim) -> list[str]:
    """Write a part without rows, so that there is one to read."""
    name = _part_name(claim, _RESULTS, 0)
    files.write_whole(files.joined(claim.folder, name), b"")
    return [name]


def _part_name(claim: Claim, kind: str, number: int) -> str:
    return f"{kind}-{claim.generation}-{number:05d}.jsonl"


def _address(claim: Claim, kind: str, names: list[str]) -> str:
    return files.joined(claim.folder, names[0] if len(names) == 1 else f"{kind}-{claim.generation}-*.jsonl")


def _line(segments: Segments, known: Known) -> bytes:
    """Return the line of a row as it was noted."""
    return b"{" + segments.read(known.place)[len(RESULT_PREFIX) :] + b"\n"


def _result_line(segments: Segments, known: Known) -> bytes:
    """Return the line of a row as it stands among the results: without the input, which may be large, and is there already."""
    line = _line(segments, known)
    if known.ok:
        return line
    row = json.loads(line)
    row.pop("input", None)
    return to_line(row) + b"\n"


def _counts(rows: list[Known], request_count: int) -> dict[str, int]:
    counts = dict.fromkeys(BUCKETS, 0)
    for known in rows:
        counts[known.bucket] += 1
    return {**counts, "missing": max(0, request_count - len(rows))}


def _publish(claim: Claim, manifest: Manifest) -> None:
    if not owner.is_owner(claim):
        raise CozeStateError(
            f"Another try of this task has taken over the batch in {files.shown(claim.folder)} while this one wrote the results. "
            "Nothing of them is lost: the other try writes them. A retry would take over in turn: let the other one end."
        )
    files.write_whole(files.joined(claim.folder, MANIFEST), to_line(manifest.to_dict()))


def _tidy(claim: Claim, current: set[str]) -> None:
    """Remove the parts of earlier manifests. What cannot be removed is in nobody's way."""
    with contextlib.suppress(CozeError):
        for place in files.list_files(claim.folder):
            name = place.rpartition("/")[2]
            found = _PART.fullmatch(name)
            if found and int(found[1]) <= claim.generation and name not in current:
                files.remove(place)


def _in_words(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
