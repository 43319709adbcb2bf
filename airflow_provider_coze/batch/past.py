"""What the journal says that earlier attempts did, in a form that fits into memory. Reads, and decides nothing.

Unlike an append to it, a reading of the journal is never "nothing there" when in doubt: that would mean to buy again.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_coze.batch.owner import explained
from airflow_provider_coze.batch.results import BUCKETS, bucket_of
from airflow_provider_coze.batch.segments import Place, Segments, at_hand, unreadable
from airflow_provider_coze.protocol.models import Usage

__all__ = ["Known", "OpenSubmission", "Past", "read_past", "scan"]

#: A row that no attempt has an outcome for.
_NO_BUCKET = -1
_SUCCEEDED = BUCKETS.index(bucket_of(None))
_UNKNOWN = BUCKETS.index("unknown")
#: Codes are kept as numbers of 64 bits; Coze's have ten digits.
_NO_CODE = -(2**63)


@dataclass(slots=True)
class OpenSubmission:
    """A request that may have bought something, and whose rows do not all have an outcome."""

    marker: str
    rows: tuple[int, ...]  # all that it carries, also those that have an outcome
    hash: str  # as it was given with the intent
    at: float  # Unix seconds: when it was sent, or was about to be
    conversation_id: str | None = None  # made for it before it was sent
    ids: Mapping[str, str] = field(default_factory=dict)  # {}: whether it was started is in doubt


@dataclass(frozen=True, slots=True)
class Known:
    """The outcome of one row. ``place`` is where its line is, for as long as the segments are at hand."""

    index: int
    input_hash: str
    bucket: str  # one of BUCKETS
    code: int | None
    place: Place

    @property
    def ok(self) -> bool:
        """Whether the row has an output."""
        return self.bucket == "succeeded"


class Past:
    """What all attempts so far did, row by row; some 200 bytes a row.

    Of several outcomes of a row the last one counts, in the order of the attempts; but a failure is not told of a row that has an
    output for the same input: an attempt that was taken over can still be collecting what both had seen.

    :ivar notes: facts about the batch, by name.
    :ivar conversations: those that Coze has made for chats that are known.
    :ivar usage: tokens of everything that was paid for, also where another try of the row came after it.
    :ivar attempts: how many have written anything.
    :ivar started_at: Unix seconds: when the first attempt began. None: there was none.
    :ivar ended: the reason that the last attempt gave. None: it gave none, because it was killed or goes on.
    """

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.conversations: set[str] = set()
        self.usage = Usage()
        self.attempts = 0
        self.started_at: float | None = None
        self.ended: str | None = None
        self._slots: dict[int, int] = {}  # index → place in the lists below
        self._hashes: list[str] = []
        self._tried: list[int] = []
        self._buckets, self._codes = array("b"), array("q")
        self._segments, self._offsets, self._lengths = array("i"), array("q"), array("q")
        self._open: dict[str, tuple[OpenSubmission, set[int]]] = {}  # with the rows that it is still awaited for
        self._open_of: dict[int, str] = {}  # row → marker

    def __len__(self) -> int:
        """Return how many rows have an outcome."""
        return sum(bucket != _NO_BUCKET for bucket in self._buckets)

    @property
    def open(self) -> list[OpenSubmission]:
        """What may be going on, oldest attempt first. A request whose rows were sent anew under another marker is not among it."""
        return [submission for submission, _ in self._open.values()]

    def result(self, index: int) -> Known | None:
        """Return the outcome of a row; None: it has none yet."""
        slot = self._slots.get(index)
        return None if slot is None or self._buckets[slot] == _NO_BUCKET else self._known(index, slot)

    def results(self) -> Iterator[Known]:
        """Yield the outcomes of all rows that have one, in no order."""
        return (self._known(index, slot) for index, slot in self._slots.items() if self._buckets[slot] != _NO_BUCKET)

    def tries(self, index: int) -> int:
        """Return how many requests were made for a row and may have been billed: all but those that certainly were not started."""
        slot = self._slots.get(index)
        return 0 if slot is None else self._tried[slot]

    # --- the events, in their order

    def intended(self, submission: OpenSubmission) -> None:
        """Take in that a request is about to be sent. Whatever carried its rows before is settled, or it would not be sent."""
        for row in submission.rows:
            self._settle(row)
        for row in submission.rows:
            self._tried[self._slot(row)] += 1
            self._open_of[row] = submission.marker
        self._open[submission.marker] = submission, set(submission.rows)

    def bought(self, marker: str, ids: Mapping[str, str], at: float) -> None:
        """Take in what Coze calls that which a request started."""
        if marker in self._open:
            submission = self._open[marker][0]
            submission.ids, submission.at = ids, at
            if submission.conversation_id is None and "conversation_id" in ids:
                self.conversations.add(ids["conversation_id"])

    def nothing(self, marker: str) -> None:
        """Take in that a request certainly started nothing."""
        for row in self._close(marker):
            self._tried[self._slots[row]] -= 1

    def over(self, marker: str, usage: Usage | None) -> None:
        """Take in that what a request started has ended without an outcome of its rows."""
        self._close(marker)
        self._spent(usage)

    def has_result(self, place: Place, row: Mapping[str, Any]) -> None:
        """Take in the line of a row that has an outcome."""
        index, input_hash, error = row["index"], row["input_hash"], row["error"]
        if not isinstance(index, int) or not isinstance(input_hash, str):
            raise TypeError
        code = None if error is None else error["code"]
        bucket = BUCKETS.index(bucket_of(None if error is None else error["type"]))
        self._settle(index)
        self._spent(_usage(row["usage"]))
        slot = self._slot(index)
        if self._buckets[slot] == _SUCCEEDED != bucket and self._hashes[slot] == input_hash:
            return
        if self._hashes[slot] != input_hash:
            self._hashes[slot] = input_hash
        self._buckets[slot] = bucket
        self._codes[slot] = code if isinstance(code, int) and -(2**63) < code < 2**63 else _NO_CODE
        self._segments[slot], self._offsets[slot], self._lengths[slot] = place

    def forget_failures(self, *, unknown: bool = True) -> None:
        """Take in that rows which have failed so far are asked again, as if for the first time; *unknown* ones only if it says so."""
        kept = (_NO_BUCKET, _SUCCEEDED) if unknown else (_NO_BUCKET, _SUCCEEDED, _UNKNOWN)
        for index, slot in self._slots.items():
            if self._buckets[slot] not in kept:
                self._buckets[slot] = _NO_BUCKET
                self._tried[slot] = int(index in self._open_of)

    # ---

    def _known(self, index: int, slot: int) -> Known:
        code = self._codes[slot]
        place = (self._segments[slot], self._offsets[slot], self._lengths[slot])
        bucket = BUCKETS[self._buckets[slot]]
        return Known(index, self._hashes[slot], bucket, None if code == _NO_CODE else code, place)

    def _slot(self, index: int) -> int:
        slot = self._slots.get(index)
        if slot is None:
            slot = self._slots[index] = len(self._hashes)
            self._hashes.append("")
            self._tried.append(0)
            self._buckets.append(_NO_BUCKET)
            self._codes.append(_NO_CODE)
            self._segments.append(0)
            self._offsets.append(0)
            self._lengths.append(0)
        return slot

    def _settle(self, row: int) -> None:
        marker = self._open_of.pop(row, None)
        if marker is None:
            return
        awaited = self._open[marker][1]
        awaited.discard(row)
        if not awaited:
            del self._open[marker]

    def _close(self, marker: str) -> Set[int]:
        """Forget a request and return the rows that it was still awaited for."""
        if marker not in self._open:
            return set()
        awaited = self._open.pop(marker)[1]
        for row in awaited:
            del self._open_of[row]
        return awaited

    def _spent(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = Usage(
                self.usage.token_count + usage.token_count,
                self.usage.input_count + usage.input_count,
                self.usage.output_count + usage.output_count,
            )


def read_past(folder: str) -> Past:
    """Return what all attempts of a batch did, this one included if it has written already. Blocks.

    :param folder: of the batch.
    :raises CozeStateError: anything in its journal cannot be read, except the end of a segment whose writer was killed.
    """
    with at_hand(folder) as segments:
        return scan(folder, segments)


def scan(folder: str, segments: Segments) -> Past:
    """Return what the segments say.

    :raises CozeStateError: one cannot be read.
    """
    past, loads = Past(), json.loads
    latest = ""
    with explained("read", folder):
        for place, line in segments.lines():
            try:
                event = loads(line)
                if event["t"] == "result":
                    past.has_result(place, event)
                else:
                    _take_in(past, event)
            except Exception:
                where = f"{segments.names[place[0]]} at byte {place[1]}"
                raise unreadable(folder, f"something that is no event, in {where}") from None
            if (attempt := segments.attempt(place[0])) != latest:
                latest = attempt
                past.ended = None
            if event["t"] == "ended":
                past.ended = str(event["reason"])
    past.attempts = segments.attempts
    past.started_at = segments.started_at
    return past


def _take_in(past: Past, event: Mapping[str, Any]) -> None:
    match event["t"]:
        case "intent":
            rows, sent_to = event["rows"], event.get("conversation_id")
            if not (isinstance(rows, list) and rows and all(isinstance(row, int) for row in rows)):
                raise TypeError
            if not (isinstance(sent_to, str | None) and isinstance(event["hash"], str)):
                raise TypeError
            past.intended(
                OpenSubmission(_text(event, "marker"), tuple(rows), event["hash"], float(event["at"]), sent_to)
            )
        case "bought":
            ids = event["ids"]
            if not all(isinstance(value, str) for value in ids.values()):
                raise TypeError
            past.bought(_text(event, "marker"), ids, float(event["at"]))
        case "nothing":
            past.nothing(_text(event, "marker"))
        case "over":
            past.over(_text(event, "marker"), _usage(event.get("usage")))
        case "again":
            past.forget_failures(unknown=bool(event.get("unknown", True)))
        case "note":
            past.notes.update(event["facts"])
        case "ended":
            _text(event, "reason")
        case _:
            raise ValueError


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event[name]
    if not isinstance(value, str):
        raise TypeError
    return value


def _usage(value: Mapping[str, Any] | None) -> Usage | None:
    if value is None:
        return None
    return Usage(int(value["token_count"]), int(value["input_count"]), int(value["output_count"]))
