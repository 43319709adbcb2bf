"""The rows that a function returned, kept in a file for as long as their batch goes on.

A deferred task reads its rows anew whenever it is resumed, in another process and maybe on another worker. They are written in the shape
of a batch's failed rows, which keeps the place of each, and what is wrong with one that cannot be asked.
"""

from __future__ import annotations

import json
import os
from typing import Any

from airflow_provider_coze.batch.files import exists, joined, open_read, remove, write_whole
from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.rows import BadRow, read_rows
from airflow_provider_coze.errors import CozeStateError

__all__ = ["forget", "keep", "kept"]

#: With a name that readers of folders of results leave out.
_FOLDER = "_inputs"


def keep(result_path: str, name: str, rows: object) -> str:
    """Write down what a function returned, in the place of what it returned in the try before, and return where the rows are.

    :param rows: rows, all of which are taken; or the place of files, of which only the place is kept.
    :raises CozeInputError: it is nothing that has rows.
    :raises CozeStateError: it cannot be written.
    """
    ours, theirs = _places(result_path, name)
    is_place = isinstance(rows, str | os.PathLike) or hasattr(type(rows), "fs")
    if is_place and not str(rows).lstrip().startswith(("[", "{")):
        place = str(rows)
        write_whole(theirs, json.dumps(place).encode())
        return place
    lines = [
        to_line(
            {"index": row.index, "input": row.value, "error": {"code": row.code} if isinstance(row, BadRow) else {}}
        )
        for row in read_rows(rows)
    ]
    write_whole(ours, b"".join(line + b"\n" for line in lines))
    remove(theirs)
    return ours


def kept(result_path: str, name: str) -> str:
    """Return where the rows are.

    :raises CozeStateError: it cannot be told.
    """
    ours, theirs = _places(result_path, name)
    if not exists(theirs):
        return ours
    with open_read(theirs) as file:
        place: str = json.loads(file.read())
    return place


def forget(result_path: str, name: str, log: Any) -> None:
    """Remove what was kept; what cannot be removed is told of, and harms nobody."""
    for place in _places(result_path, name):
        try:
            remove(place)
        except CozeStateError as error:
            log.warning("Rows that are not needed any more are left behind: %s", error)


def _places(result_path: str, name: str) -> tuple[str, str]:
    return joined(result_path, _FOLDER, f"{name}.jsonl"), joined(result_path, _FOLDER, f"{name}.place.json")
