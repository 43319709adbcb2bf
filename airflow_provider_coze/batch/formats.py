"""Files of rows as values: JSON lines, CSV, Parquet, each piece by piece, so that no file has to fit into memory.

What is wrong with one row is a :class:`Flaw` in its place, and what is wrong with a file is one error. Neither quotes what is in them.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_provider_coze.batch.files import open_read, reading, shown
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue

__all__ = ["SUFFIXES", "Flaw", "check", "count", "kind_of", "read", "read_value"]

_LINES, _TABLE, _PARQUET = ("jsonl", "ndjson", "json"), ("csv",), ("parquet",)
#: What a file of rows can be called; the text kinds also with ``.gz``.
SUFFIXES = (*_LINES, *_TABLE, *_PARQUET)
_CHUNK = 256 * 1024
#: Of a Parquet file: rows that are made Python objects at once, and about how large they are together.
_BATCH_ROWS, _BATCH_BYTES = 1_000, 8_000_000
_NOTHING_SENT = "Nothing of it was sent to Coze, so nothing is billed."


@dataclass(frozen=True, slots=True)
class Flaw:
    """A row that cannot be asked; ``code`` and ``msg`` as of ``BadRow``."""

    code: str
    msg: str
    value: Any = field(default=None, repr=False)


def kind_of(uri: str) -> str:
    """Return ``lines``, ``table`` or ``parquet``; "": the name does not say."""
    suffix, packed = _suffix(uri)
    if suffix in _PARQUET:
        return "" if packed else "parquet"
    return "lines" if suffix in _LINES else "table" if suffix in _TABLE else ""


def check(uri: str) -> None:
    """Find out what can be wrong with a file as a whole, before anything is paid for. A ``.gz`` is read to its end for that.

    :raises CozeInputError: it is not there, cut off, no text in UTF-8 or no Parquet, or its columns cannot be told apart.
    :raises CozeTransportError: the storage did not hand it out; it may do so later.
    """
    kind = kind_of(uri)
    if kind == "parquet":
        with _parquet(uri):
            return
    if _suffix(uri)[1]:
        for _ in _chunks(uri):
            pass
    if kind == "table":
        next(_table(uri, "", _CHUNK), None)
        return
    beginning = itertools.islice(_lines(uri, _CHUNK), 10)
    first = next((line for _, line, _ in beginning if not isinstance(line, int) and line.strip()), b"").strip()
    if _suffix(uri)[0] == "json" and (first == b"{" or first.startswith(b"[")):
        raise CozeInputError(
            f"{shown(uri)} is one JSON document; rows are read from a file with one on each line. {_NOTHING_SENT}"
        )


def count(uri: str) -> int:
    """Return how many rows a file has, bad ones too. All but Parquet is read to its end for that, though not decoded.

    :raises CozeInputError: as :func:`check` does.
    """
    kind = kind_of(uri)
    if kind == "parquet":
        with _parquet(uri) as table:
            return int(table.metadata.num_rows)
    if kind == "table":
        return max(0, sum(1 for _ in _records(uri, _CHUNK)) - 1)
    return sum(isinstance(line, int) or not line.isspace() for _, line, _ in _lines(uri, _CHUNK) if line != b"")


def read(uri: str, most: int, *, named: bool = False) -> Iterator[JsonValue | Flaw]:
    """Yield the rows of a file.

    :param most: bytes that one row may have in it.
    :param named: what is wrong with a row says which file it is in.
    :raises CozeInputError: as :func:`check` does.
    """
    where = f"{uri.rpartition('/')[2]}, " if named else ""
    readers: dict[str, Callable[[str, str, int], Iterator[JsonValue | Flaw]]] = {
        "lines": _json_lines,
        "table": _table,
        "parquet": _parquet_rows,
    }
    return readers[kind_of(uri)](uri, where, most)


def read_value(text: bytes | str) -> JsonValue:
    """Return the value of a row's JSON text.

    :raises ValueError: it is none; the words go on after the name of what was read.
    """
    try:
        if not isinstance(text, str):
            text = text.decode()
        if (
            "NaN" in text or "Infinity" in text
        ):  # Python's json and whoever uses it writes them; JSON has no such numbers
            json.loads(text, parse_constant=_refuse)
        value: JsonValue = read_json(text)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg.rstrip(': ')}, at character {error.pos}") from None
    except RecursionError:
        raise ValueError("is no JSON that can be read: nested too deep") from None
    except ValueError as error:
        raise ValueError(f"is no JSON that can be read: {error}") from None
    return value


def _json_lines(uri: str, where: str, most: int) -> Iterator[JsonValue | Flaw]:
    for number, line, is_ended in _lines(uri, most):
        if isinstance(line, int):
            yield Flaw("too_large", f"{where}line {number} has over {most} bytes")
            continue
        text = line.strip()
        if not text:
            continue
        try:
            yield read_value(text)
        except ValueError as error:
            cut = "" if is_ended else "; it is the last line and has no end, so the file may be cut off"
            yield Flaw("undecodable", f"{where}line {number} {error}{cut}")


def _table(uri: str, where: str, most: int) -> Iterator[JsonValue | Flaw]:
    # One limit for all of a process. The fields of a row are bounded below, with the row.
    csv.field_size_limit(max(csv.field_size_limit(), most))
    records = _records(uri, most)
    header = next(records, None)
    if header is None:
        return
    names, _, flaw = header
    twice = sorted({repr(name) for name in names if names.count(name) > 1})
    if flaw or twice:
        problem = f"its header {flaw.msg}" if flaw else f"its header has {', '.join(twice)} more than once"
        raise CozeInputError(f"{shown(uri)} cannot be read as CSV in UTF-8 with a header: {problem}. {_NOTHING_SENT}")
    for fields, number, flaw in records:
        if flaw:
            yield Flaw(flaw.code, f"{where}line {number} {flaw.msg}")
        elif not any(text.strip() for text in fields):
            yield Flaw("empty", f"{where}line {number} has nothing in its columns")
        elif len(fields) != len(names):
            yield Flaw("undecodable", f"{where}line {number} has {len(fields)} columns, and the header {len(names)}")
        else:
            yield dict(zip(names, fields, strict=True))


def _records(uri: str, most: int) -> Iterator[tuple[list[str], int, Flaw | None]]:
    """Yield the fields of each record of a CSV file, the line it begins in, and what is wrong with it."""
    feed = _Feed(_lines(uri, most), most)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        problem = ""
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], f"is no CSV: {error}"
        if feed.size > most:
            yield [], feed.first, Flaw("too_large", f"begins a row of over {most} bytes; its quotes may have no end")
        elif problem or feed.is_garbled:
            yield [], feed.first, Flaw("undecodable", problem or "begins a row that is not UTF-8")
        elif fields:
            yield fields, feed.first, None


class _Feed:
    """Lines for ``csv.reader``, which asks for more of them within quotes, however many. Of a row that is too large only those remain."""

    def __init__(self, lines: Iterator[tuple[int, bytes | int, bool]], most: int) -> None:
        self._lines, self._most = lines, most
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.first, self.size, self.is_garbled = 0, 0, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, line, _ = next(self._lines)
        self.first = self.first or number
        quotes = line if isinstance(line, int) else 0
        self.size += self._most + 1 if isinstance(line, int) else len(line)
        if self.size > self._most:
            quotes = quotes if isinstance(line, int) else line.count(b'"')
            return '"' if quotes % 2 else ""
        assert isinstance(line, bytes)  # noqa: S101  # for mypy
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError:
            self.is_garbled = True
            return line.decode(errors="replace") + "\n"


def _lines(uri: str, most: int) -> Iterator[tuple[int, bytes | int, bool]]:
    """Yield each line's number, the line, and whether it has an end. Of one that has over *most* bytes, only how many quotes it has."""
    number, begun, quotes, is_over = 1, b"", 0, False
    for chunk in _chunks(uri):
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            if is_over or len(begun) + len(line) > most:
                yield number, quotes + begun.count(b'"') + line.count(b'"'), True
            else:
                yield number, (begun + line).removesuffix(b"\r"), True
            number, begun, quotes, is_over = number + 1, b"", 0, False
        begun += rest
        if is_over or len(begun) > most:
            begun, quotes, is_over = b"", quotes + begun.count(b'"'), True
    if is_over:
        yield number, quotes, False
    elif begun:
        yield number, begun, False


def _chunks(uri: str) -> Iterator[bytes]:
    """Yield the text of a file, unpacked, without its byte order mark."""
    is_packed = _suffix(uri)[1]
    with open_read(uri) as file, gzip.GzipFile(fileobj=file) if is_packed else file as text:
        for place in itertools.count():
            with reading(uri):
                try:
                    chunk = text.read(_CHUNK)
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise CozeInputError(
                        f"{shown(uri)} is no gzip file, is damaged or is cut off: perhaps it is still being written. {_NOTHING_SENT}"
                    ) from error
            if place == 0:
                if chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise CozeInputError(f"{shown(uri)} is UTF-16; rows are read as UTF-8. {_NOTHING_SENT}")
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            if not chunk:
                return
            yield chunk


@contextlib.contextmanager
def _parquet(uri: str) -> Iterator[Any]:
    """Open a Parquet file as pyarrow's object."""
    try:
        from pyarrow import parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise CozeInputError(
            f"{shown(uri)} needs pyarrow on this worker: install airflow-provider-coze[batch]. {_NOTHING_SENT}"
        ) from error
    with open_read(uri) as file:
        with _arrow(uri):
            table = parquet.ParquetFile(file)
        yield table


@contextlib.contextmanager
def _arrow(uri: str) -> Iterator[None]:
    with reading(uri):
        try:
            yield
        except ValueError as error:  # what pyarrow makes of bytes that are no Parquet is one as well
            raise CozeInputError(
                f"{shown(uri)} is no Parquet file, is damaged or is cut off: perhaps it is still being written. {_NOTHING_SENT}"
            ) from error


def _parquet_rows(uri: str, where: str, most: int) -> Iterator[JsonValue | Flaw]:
    with _parquet(uri) as table:
        groups = [table.metadata.row_group(place) for place in range(table.metadata.num_row_groups)]
        size, rows = sum(group.total_byte_size for group in groups), table.metadata.num_rows
        batches = table.iter_batches(batch_size=max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size))))
        while True:
            with _arrow(uri):
                batch = next(batches, None)
            if batch is None:
                return
            yield from batch.to_pylist()


def _suffix(uri: str) -> tuple[str, bool]:
    """Return the suffix of a name, and whether ``.gz`` comes after it."""
    path = (urlsplit(uri).path if uri.lower().startswith(("http://", "https://")) else uri).lower()
    is_packed = path.endswith(".gz")
    name = path.removesuffix(".gz").rpartition("/")[2]
    return name.rpartition(".")[2] if "." in name else "", is_packed


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
