"""What became of one row, and the line that says so.

A line is what people read, so it holds what they asked for: the output of their row, and the row itself where it failed. Logs and
errors never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_coze.batch.lines import plain_to_line, to_line
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol.messages import Discreet
from airflow_provider_coze.protocol.models import Usage

__all__ = ["BUCKETS", "MOST_EXAMPLES", "RESULT_PREFIX", "FailedRow", "RowError", "RowResult", "bucket_of"]

#: What the line of a row begins with in the journal, in the place of its "{".
RESULT_PREFIX = b'{"t":"result",'
#: Of failed rows: some of each code are enough to see what is wrong, and the file of failed rows has them all.
MOST_EXAMPLES = 50
#: How a row can have ended, as ``counts`` of the manifest names it. The names, as far as they go, are those of common.ai's LLM batches.
BUCKETS = ("succeeded", "errored", "invalid_output", "expired", "cancelled", "unknown")
#: Class of the error → bucket; all others are "errored".
_BUCKETS = {
    "CozeOutputTypeError": "invalid_output",
    "CozeChatTimeoutError": "expired",
    "CozeRunTimeoutError": "expired",
    "CozeChatCanceledError": "cancelled",
    "CozeRunCanceledError": "cancelled",
    "CozeOutcomeUnknownError": "unknown",
}


def bucket_of(error_type: str | None) -> str:
    """Return the bucket of a row with this ``error.type``; None: it has no error."""
    return "succeeded" if error_type is None else _BUCKETS.get(error_type, "errored")


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that failed, as an example."""

    index: int
    code: str
    message: str  # of the error; no question, no answer
    ids: Mapping[str, str] = field(default_factory=dict)  # chat_id, execute_id, logid …


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row has no output."""

    type: str  # the class: CozeRunFailedError, …; of a row that was never sent, what its reader calls it
    code: int | str | None  # Coze's own code
    msg: str  # Coze's words, ours where it has none; no word of the row
    logid: str | None = None

    @classmethod
    def of(cls, error: Exception) -> RowError:
        """Return what a line says of *error*.

        Of an error that is neither ours nor has a ``msg`` only the class is told: its words may hold anything.
        """
        kind = type(error).__name__
        if isinstance(error, CozeError):
            return cls(kind, error.code, error.msg or str(error), error.logid)
        msg = getattr(error, "msg", None)
        if isinstance(msg, str):
            code = getattr(error, "code", None)
            return cls(kind, code if isinstance(code, int | str) else None, msg)
        return cls(kind, None, f"{kind}; the log of the task has more")


class RowResult(Discreet, frozen=True):
    """The final outcome of one row: its output, or its error.

    As a line: ``{"index", "input_hash", "output", "error": null | {"type", "code", "msg", "logid"}, "usage": null | {"token_count",
    "input_count", "output_count"}, "ids", "tries", "seconds"}``; of a row that failed also ``"input"``, so that it can be asked again.
    """

    hidden = frozenset({"output", "value"})

    index: int  # its place in the input, from 0; also of a row that is asked again
    input_hash: str  # of what was sent for it
    output: Any
    error: RowError | None = None
    usage: Usage | None = (
        None  # of rows that shared a call: their part of it. None: Coze does not say, or nothing was sent
    )
    ids: Mapping[str, str] = msgspec.field(default_factory=dict)  # by Coze's names
    tries: int = 0  # billed requests; 0: none was sent
    seconds: float = 0.0  # from the first request to the outcome
    value: Any = None  # the row as it came in

    def to_line(self) -> bytes:
        """Return the line, without its end."""
        error, usage = self.error, self.usage
        line = {
            "index": self.index,
            "input_hash": self.input_hash,
            "output": self.output,
            "error": error and {"type": error.type, "code": error.code, "msg": error.msg, "logid": error.logid},
            "usage": usage
            and {
                "token_count": usage.token_count,
                "input_count": usage.input_count,
                "output_count": usage.output_count,
            },
            "ids": {name: value for name, value in self.ids.items() if value is not None},
            "tries": self.tries,
            "seconds": round(self.seconds, 3),
        }
        if error is not None:
            line["input"] = self.value
        # Rows and typed outputs can hold what JSON has no word for.
        return plain_to_line(line) if error is None and isinstance(self.output, str) else to_line(line)
