"""The files of a journal, as they are read. Knows lines, and not what they say; ``writers`` has the other side.

Each file is a segment ``_journal/<generation>-<attempt>-<number>.jsonl`` that begins with a line ``{"t": "segment", "version", "at"}``
and is never rewritten; an attempt numbers its own from 0, without a gap. A line counts once its end is there.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeAlias

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.owner import JOURNAL, VERSION, explained, listed, other_version
from airflow_provider_coze.errors import CozeStateError

__all__ = ["Place", "Segments", "at_hand", "unreadable"]

_NAME = re.compile(r"(?P<attempt>(?P<generation>\d{5,})-.+)-(?P<number>\d{5,})\.jsonl")
#: Segments of an object store that are copied at a time.
_READERS = 8
_MAX_OPEN_FILES = 32

#: Where a line is: number of the segment, offset and length in bytes, without the line's end.
Place: TypeAlias = tuple[int, int, int]


class Segments:
    """All segments of a batch, in the order of attempts, readable at any place."""

    def __init__(self, folder: str, names: list[str], places: list[str]) -> None:
        self._folder, self.names, self._places = folder, names, places
        self.started_at: float | None = None  # Unix seconds: when the first of those began that were read so far
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()

    def lines(self) -> Iterator[tuple[Place, bytes]]:
        """Yield every line that was written to its end, with its place; a segment's first line is not among them.

        :raises CozeStateError: a segment cannot be read, or is of another version of this provider.
        """
        for number in range(len(self._places)):
            file, offset = self._file(number), 0
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # its writer was killed in the middle of it; nothing was done on the strength of it
                if offset == 0:
                    self._check(number, line)
                else:
                    yield (number, offset, len(line) - 1), line
                offset += len(line)

    @property
    def attempts(self) -> int:
        """How many attempts have written something."""
        return len({self.attempt(number) for number in range(len(self.names))})

    def attempt(self, number: int) -> str:
        """Return whose segment it is."""
        return self.names[number].rpartition("-")[0]

    def read(self, place: Place) -> bytes:
        """Return one line."""
        number, offset, length = place
        file = self._file(number)
        file.seek(offset)
        return file.read(length)

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, number: int) -> BinaryIO:
        file = self._open.get(number)
        if file is None:
            if len(self._open) >= _MAX_OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            file = self._open[number] = files.open_read(self._places[number])
        self._open.move_to_end(number)
        return file

    def _check(self, number: int, line: bytes) -> None:
        try:
            header = json.loads(line)
            version, is_first = header["version"], header["t"] == "segment"
            at = float(header["at"])
        except (ValueError, KeyError, TypeError):
            is_first = False
        if not is_first:
            raise unreadable(self._folder, f"a first line of {self.names[number]} that is none")
        if version != VERSION:
            raise other_version(self._folder, version)
        self.started_at = at if self.started_at is None else min(at, self.started_at)


@contextlib.contextmanager
def at_hand(folder: str) -> Iterator[Segments]:
    """Hand out the segments of a batch where they can be read at any place; those of an object store are copied to temporary files.

    :raises CozeStateError: one cannot be read, or is missing.
    """
    with explained("read", folder), contextlib.ExitStack() as stack:
        names = _in_order(folder)
        places = [files.joined(folder, JOURNAL, name) for name in names]
        if not files.is_local(folder):
            copies = stack.enter_context(tempfile.TemporaryDirectory(prefix="coze-journal-"))
            targets = [f"{copies}/{number}" for number in range(len(places))]
            with ThreadPoolExecutor(_READERS) as pool:
                list(pool.map(_copy, places, targets))
            places = targets
        segments = Segments(folder, names, places)
        stack.callback(segments.close)
        yield segments


def unreadable(folder: str, what: str) -> CozeStateError:
    """Return the error of a journal that holds something that does not belong there."""
    return CozeStateError(
        f"The journal of the batch in {files.shown(folder)} holds {what}. Nothing was sent, because chats or runs may be going on and "
        "be paid for, and it is the journal that knows them. A retry reads it again. If it cannot be repaired, another result_path "
        "pays for all rows anew."
    )


def _in_order(folder: str) -> list[str]:
    """Return the names of all segments, by generation, attempt and number.

    :raises CozeStateError: one is missing in between.
    """
    found = [match for name in listed(folder) if (match := _NAME.fullmatch(name))]
    found.sort(key=lambda match: (int(match["generation"]), match["attempt"], int(match["number"])))
    attempt, expected = "", 0
    for match in found:
        expected = expected + 1 if match["attempt"] == attempt else 0
        attempt = match["attempt"]
        if int(match["number"]) != expected:
            raise unreadable(folder, f"no segment {expected} of {attempt}, but later ones")
    return [match[0] for match in found]


def _copy(place: str, target: str) -> None:
    with files.open_read(place) as source, Path(target).open("wb") as copy:
        shutil.copyfileobj(source, copy, 2**20)
