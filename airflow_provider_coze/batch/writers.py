"""How an attempt writes the segments of its journal: by appending where files can grow, else in parts. Knows lines, and not what they say.

``segments`` says what a segment looks like, and reads it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from typing import BinaryIO, Protocol

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.owner import JOURNAL, VERSION, Claim

__all__ = ["AppendingWriter", "PartWriter", "Writer", "writer_for"]

#: A segment of an object store is put in one piece, from memory.
_MAX_SEGMENT_BYTES = 4 * 2**20


class Writer(Protocol):
    """Takes lines of one attempt, in one thread, and makes them durable."""

    def add(self, line: bytes) -> bool:
        """Take a line, without its end. True: it is written; else :meth:`flush` has to write it. Never fails, and never waits."""

    def seal(self) -> None:
        """Have the next :meth:`flush` write all lines that were added so far."""

    def flush(self) -> None:
        """Write what was sealed; blocks, so it runs in another thread, one at a time. After a failure it can be tried again."""

    @property
    def is_behind(self) -> bool:
        """Whether lines are not written yet."""

    def close(self) -> None:
        """Close what is open."""


def writer_for(claim: Claim, now: float) -> Writer:
    """Return the writer of an attempt: one that appends where files can grow, else one that puts parts."""
    return AppendingWriter(claim, now) if files.is_local(claim.folder) else PartWriter(claim, now)


class _Numbered:
    """What both writers have in common: the names of their segments, and the lines that wait to be written."""

    def __init__(self, claim: Claim, now: float) -> None:
        self._claim, self._number = claim, 0
        self._header = to_line({"t": "segment", "version": VERSION, "at": round(now, 3)}) + b"\n"
        self._waiting: list[bytes] = []
        self._sealed: deque[bytes] = deque()

    @property
    def is_behind(self) -> bool:
        """Whether lines are not written yet."""
        return bool(self._waiting or self._sealed)

    def seal(self) -> None:
        """Have the next flush write all lines that were added so far."""
        self._sealed.extend(self._waiting)
        self._waiting.clear()

    def _place(self) -> str:
        return files.joined(self._claim.folder, JOURNAL, f"{self._claim.name}-{self._number:05d}.jsonl")


class AppendingWriter(_Numbered):
    """Appends each line at once, by one call of the operating system, where a kill of the process cannot reach it any more.

    A flush makes it safe from a power cut as well, begins the segment, and repairs one in which a write failed.
    """

    def __init__(self, claim: Claim, now: float) -> None:
        super().__init__(claim, now)
        self._file: BinaryIO | None = None
        self._size = 0  # of what is whole in the file
        self._is_torn = False
        self._is_synced = True
        # A line is added on the event loop while a flush goes on in a thread: without it the flush would take a line that is just
        # being written for the half of one, and cut it off. Not held while the disk takes its time.
        self._writing = threading.Lock()

    def add(self, line: bytes) -> bool:
        """Append a line; if that fails, or others wait, it waits for the next flush."""
        with self._writing:
            if self._waiting or self._sealed or self._file is None or self._is_torn:
                self._waiting.append(line)
                return False
            try:
                self._write(self._file, line + b"\n")
            except OSError:
                self._waiting.append(line)
                return False
            return True

    def flush(self) -> None:
        """Write what waits, and have the disk take all that was written."""
        with self._writing:
            if self._file is not None and self._is_torn:
                self._mend(self._file)
            if self._file is None and (self._sealed or self._number == 0):
                self._file, self._size = files.append_open(self._place()), 0
                self._number += 1
            if self._file is not None and self._size == 0:
                self._write(self._file, self._header)
            while self._file is not None and self._sealed:
                self._write(self._file, self._sealed[0] + b"\n")
                self._sealed.popleft()
            file, is_synced, self._is_synced = self._file, self._is_synced, True
        if file is not None and not is_synced:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the segment."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, file: BinaryIO, data: bytes) -> None:
        self._is_torn, self._is_synced = True, False
        taken = file.write(data)
        while taken < len(data):  # the disk is full, or nearly: the next call says so
            taken += file.write(memoryview(data)[taken:])
        self._size += len(data)
        self._is_torn = False

    def _mend(self, file: BinaryIO) -> None:
        """Cut off the half of a line, so that the next one can follow. Where that fails as well, a new segment begins."""
        try:
            os.ftruncate(file.fileno(), self._size)
        except OSError:
            self.close()
        self._is_torn = False


class PartWriter(_Numbered):
    """Puts the lines of a while as one object, whole: objects cannot grow. A part that failed is put again, with the same lines."""

    def __init__(self, claim: Claim, now: float) -> None:
        super().__init__(claim, now)
        self._part: bytes | None = None  # may be there already, although putting it failed

    @property
    def is_behind(self) -> bool:
        """Whether lines are not written yet."""
        return self._part is not None or super().is_behind

    def add(self, line: bytes) -> bool:
        """Keep a line for the next flush."""
        self._waiting.append(line)
        return False

    def flush(self) -> None:
        """Put what waits, in parts of some megabytes."""
        while self._part is not None or self._sealed:
            if self._part is None:
                self._part = self._next_part()
            files.write_whole(self._place(), self._part)
            self._part = None
            self._number += 1

    def close(self) -> None:
        """Nothing is open."""

    def _next_part(self) -> bytes:
        lines, size = [self._header], 0
        while self._sealed and (size == 0 or size + len(self._sealed[0]) <= _MAX_SEGMENT_BYTES):
            size += len(self._sealed[0])
            lines.append(self._sealed.popleft() + b"\n")
        return b"".join(lines)
