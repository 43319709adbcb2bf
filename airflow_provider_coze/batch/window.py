"""The file that tells a trigger what to watch: a table of ids, too long for a trigger's arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_provider_coze.batch import files
from airflow_provider_coze.batch.asks import Live
from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.owner import JOURNAL
from airflow_provider_coze.errors import CozeError, CozeStateError

__all__ = ["Watched", "read_window", "write_window"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """One chat or run of a batch."""

    marker: str
    at: float  # Unix seconds: when it was sent
    id: str  # of the chat or run
    conversation_id: str = ""


def write_window(folder: str, live: Sequence[Live]) -> str:
    """Write what is to be watched, and return where.

    :raises CozeStateError: it could not be written.
    """
    uri = files.joined(folder, JOURNAL, "window.json")
    table = [
        [each.marker, each.at, each.ids.get("chat_id") or each.ids["execute_id"], each.ids.get("conversation_id", "")]
        for each in live
    ]
    files.write_whole(uri, to_line({"version": _VERSION, "live": table}))
    return uri


def read_window(uri: str) -> list[Watched]:
    """Read what is to be watched; blocks.

    :raises CozeStateError: it cannot be read.
    """
    try:
        with files.open_read(uri) as file:
            kept = json.loads(file.read())
        if kept["version"] != _VERSION:
            raise ValueError(kept["version"])
        return [Watched(str(marker), float(at), str(id_), str(conv)) for marker, at, id_, conv in kept["live"]]
    except (CozeError, ValueError, KeyError, TypeError) as error:
        raise CozeStateError(
            f"What the batch has going cannot be read from {files.shown(uri)} ({type(error).__name__}). It goes on in Coze, and is "
            "billed. A retry of the task goes on with it, by the batch's journal. The triggerer has to reach result_path as the workers do."
        ) from error
