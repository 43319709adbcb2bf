"""The rows of a batch: from a list, from anything that yields them, or from files, one after the other and never all at once.

What is wrong with one row is a :class:`BadRow` in its place, and the others go on. What is wrong with all of them is one error, which
:func:`read_rows` raises before it has returned.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from airflow_provider_coze.batch import formats
from airflow_provider_coze.batch.files import list_files, shown
from airflow_provider_coze.batch.formats import Flaw, read_value
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.messages import JsonValue

__all__ = ["CODES", "MAX_ROW_BYTES", "BadRow", "Row", "count_rows", "plain", "read_rows"]

#: Codes of a ``BadRow``. ``template``: the row's templates could not be rendered, see ``templates``.
CODES = ("undecodable", "empty", "too_large", "wrong_type", "duplicate", "template")
#: How large a row may be, as JSON in UTF-8. Coze gives a limit for whole requests only: 15 MB, of workflows 20 MB
#: (www.coze.cn/open/docs/developer_guides/coze_api_overview). As many rows as are in flight are in memory at once.
MAX_ROW_BYTES = 1_000_000
#: What Jinja makes of a value that is not there.
_NOTHING = ("", "None")
#: So many rows that cannot be read may come before the first one that tells if the rows are failed ones of an earlier batch.
_LOOK_AHEAD = 1_000
_NOTHING_SENT = "Nothing was sent to Coze, so nothing is billed."
_ROWS_ARE = "rows are a list, anything else that yields them one by one, or the address of a file, a folder or a glob"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a text, a mapping, or any other JSON value that is not empty."""

    index: int  # its place, from 0; of a row that is asked again, the place that it had
    value: JsonValue = field(repr=False)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be asked, and why."""

    index: int
    code: str  # one of CODES
    msg: str  # names lines and columns, and quotes nothing of the row
    value: JsonValue = field(default=None, repr=False)  # None: it cannot be read, or is too large to be kept


_Values: TypeAlias = "Iterator[JsonValue | Flaw]"


def read_rows(source: object, *, max_bytes: int = MAX_ROW_BYTES, check: bool = True) -> Iterator[Row | BadRow]:
    """Return the rows of a source, read as they are taken.

    The source is a list, a tuple or anything else that yields texts and mappings; JSON text of a list; or the place of a file, a
    folder of files or a glob, of the names ``.jsonl``, ``.ndjson``, ``.json`` (one JSON value on each line), ``.csv`` (with a header;
    all values are texts), each also with ``.gz``, and ``.parquet``. Files follow one another by their names. Blank lines are no rows.

    The failed rows of an earlier batch are objects with ``index`` (an integer), ``input`` and ``error`` (an object). If the first row
    that can be read is one, all have to be: each keeps its index, and its input is the row. What of such a source has no index to
    keep is counted downwards from -1.

    :param max_bytes: how large a row may be, as JSON in UTF-8.
    :param check: look at all files before the first row, and read those with ``.gz`` to their end. False: that was done already.
    :raises CozeInputError: there are no such files, one is damaged or of a kind that is not known, or the source is nothing that
        has rows. No rows at all are no error.
    :raises CozeTransportError: a storage has trouble that may pass. Also while rows are taken.
    """
    return _numbered(_values(source, max_bytes, check))


def count_rows(source: object) -> int | None:
    """Return how many rows a source has, bad ones too; None: nobody knows before they are taken.

    Text files are read to their end for that, in a second some hundred thousand rows.

    :raises CozeInputError: as :func:`read_rows` does.
    :raises CozeTransportError: a storage has trouble that may pass.
    """
    found, is_place = _settled(source)
    if is_place:
        return sum(formats.count(uri) for uri in _files(found))
    return len(found) if isinstance(found, list | tuple) else None


def plain(value: object) -> JsonValue:
    """Return a copy of a value as JSON has it: dates and decimals become text, dataclasses and models become objects.

    :raises ValueError: it holds something that JSON cannot hold; the words go on after the name of what was read.
    """
    return read_value(_text(value))


def _values(source: object, most: int, check: bool) -> _Values:
    found, is_place = _settled(source)
    if is_place:
        return _of_files(found, most, check)
    if isinstance(found, Mapping):
        is_manifest = "failed_uri" in found or "result_uri" in found
        hint = (
            "it looks like the manifest of a batch: give one of its addresses, failed_uri or result_uri"
            if is_manifest
            else _ROWS_ARE
        )
        raise CozeInputError(f"inputs is one mapping, and no rows; {hint}. {_NOTHING_SENT}")
    if isinstance(found, Set) or hasattr(type(found), "itertuples"):
        hint = "sort it into a list" if isinstance(found, Set) else 'give its .to_dict("records")'
        raise CozeInputError(
            f"inputs is a {type(found).__name__}, whose rows have no order to know them by; {hint}. {_NOTHING_SENT}"
        )
    if isinstance(found, bytes | bytearray) or not isinstance(found, Iterable):
        raise CozeInputError(f"inputs must not be {type(found).__name__}; {_ROWS_ARE}. {_NOTHING_SENT}")
    return (_checked(value, most) for value in found)


def _settled(source: object) -> tuple[Any, bool]:
    """Return a source without its wrapping, and whether it is a place of files."""
    if isinstance(source, os.PathLike) or hasattr(type(source), "fs"):  # an ObjectStoragePath of any Airflow
        return str(source), True
    if not isinstance(source, str):
        return source, False
    text = source.strip()
    if text in _NOTHING:
        raise CozeInputError(f"inputs is {source!r}: empty, or a template that rendered to nothing. {_NOTHING_SENT}")
    is_json = text.startswith("{") or (text.startswith("[") and text.endswith("]"))
    return (_of_text(text), False) if is_json else (text, True)


def _of_text(text: str) -> JsonValue:
    try:
        return read_value(text)
    except ValueError as error:
        raise CozeInputError(
            f"inputs is a text that {error}. A template makes such a text of a list: pass the task's output itself, write "
            f"`| tojson` at its end, or set render_template_as_native_obj=True on the DAG. {_NOTHING_SENT}"
        ) from None


def _of_files(place: str, most: int, check: bool) -> _Values:
    files = _files(place)
    if check:
        for uri in files:
            formats.check(uri)
    return itertools.chain.from_iterable(_of_file(uri, most, named=len(files) > 1) for uri in files)


def _files(place: str) -> list[str]:
    known = ", ".join(f".{suffix}" for suffix in formats.SUFFIXES)
    found = list_files(place)
    files = [uri for uri in found if formats.kind_of(uri)] if found != [place] else found
    if files and formats.kind_of(files[0]):
        return files
    what = "is of a kind that is not known" if files else "has no files with rows in it"
    raise CozeInputError(
        f"{shown(place)} {what}; their names end with {known}, or .gz after a text kind. {_NOTHING_SENT}"
    )


def _of_file(uri: str, most: int, *, named: bool) -> _Values:
    rows = formats.read(uri, most, named=named)
    return rows if formats.kind_of(uri) != "parquet" else (_checked(row, most) for row in rows)


def _checked(value: object, most: int) -> JsonValue | Flaw:
    """Return a value that was not read from text, as if it had been."""
    if value is None or isinstance(value, Flaw):
        return value
    if type(value) is str and value.isprintable() and len(value) * 4 <= most:
        return value  # as JSON would have it: halves of surrogate pairs cannot be printed
    try:
        text = _text(value)
        if len(text) > most or len(text.encode(errors="replace")) > most:
            return Flaw("too_large", f"has over {most} bytes")
        return read_value(text)
    except ValueError as error:
        return Flaw("wrong_type", str(error))


def _numbered(values: _Values) -> Iterator[Row | BadRow]:
    ahead: list[JsonValue | Flaw] = []
    for value in values:
        ahead.append(value)
        if not isinstance(value, Flaw) or len(ahead) >= _LOOK_AHEAD:
            break
    is_again = bool(ahead) and _is_failed(ahead[-1])
    of_all = itertools.chain(ahead, values)
    yield from _again(of_all) if is_again else _anew(of_all)


def _anew(values: _Values) -> Iterator[Row | BadRow]:
    for index, value in enumerate(values):
        if _is_failed(value):
            yield BadRow(
                index,
                "wrong_type",
                "is a failed row of a batch among others; to ask those again, read the batch's failed_uri",
            )
        else:
            yield _row(index, value)


def _again(values: _Values) -> Iterator[Row | BadRow]:
    seen = _Seen()
    for place, value in enumerate(values, 1):
        if isinstance(value, Flaw):
            yield _row(seen.free(), value)
        elif not isinstance(value, dict) or not _is_failed(value):
            yield BadRow(seen.free(), "wrong_type", f"row {place} is no failed row of a batch, and the first is", value)
        elif not seen.add(value["index"]):
            msg = f"row {place} has the index {value['index']}, which was there before"
            yield BadRow(seen.free(), "duplicate", msg, value["input"])
        elif value["input"] is None:
            code = value["error"].get("code")
            msg = "could not be kept by the batch before: it was too large, or nobody could read it"
            yield BadRow(value["index"], code if code in CODES else "empty", msg)
        else:
            yield _row(value["index"], value["input"])


def _row(index: int, value: JsonValue | Flaw) -> Row | BadRow:
    if isinstance(value, Flaw):
        return BadRow(index, value.code, value.msg, value.value)
    if value is None or (isinstance(value, str) and not value.strip()) or value in ({}, []):
        return BadRow(index, "empty", "there is nothing in it", value)
    return Row(index, value)


def _is_failed(value: object) -> bool:
    """Tell whether this is the line of a failed row of a batch: see ``results``."""
    return (
        isinstance(value, dict)
        and type(value.get("index")) is int
        and "input" in value
        and isinstance(value.get("error"), dict)
    )


class _Seen:
    """Integers that were there; some bits each as long as they are close to one another."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}
        self._free = 0

    def add(self, number: int) -> bool:
        """Add a number, and return whether it is new."""
        block, place = divmod(number, 64)
        bits = self._bits.get(block, 0)
        self._bits[block] = bits | 1 << place
        return not bits >> place & 1

    def free(self) -> int:
        """Add the next negative number that is new, and return it."""
        self._free -= 1
        while not self.add(self._free):
            self._free -= 1
        return self._free


def _convert(value: Any) -> Any:
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if getattr(value, "ndim", None) == 0:  # a number of numpy's
        return value.item()
    if hasattr(type(value), "model_dump"):  # a model of pydantic's
        return value.model_dump(mode="json")
    raise TypeError(f"holds a value of type {type(value).__name__}, which JSON cannot hold")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_convert).encode


def _text(value: object) -> str:
    try:
        return _encode(value)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError:
        raise ValueError("holds NaN, an infinity or itself, which JSON cannot hold") from None
    except TypeError as error:
        words = str(error) if str(error).startswith("holds") else "holds a key that is no text, which JSON cannot hold"
        raise ValueError(words) from None
