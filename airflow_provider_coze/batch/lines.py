"""One JSON value as one line of a file. Knows nothing of what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["plain_to_line", "to_line"]

_COMPACT: dict[str, Any] = {"separators": (",", ":"), "allow_nan": False, "default": str}
#: Made once: ``json.dumps`` with separators makes an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, **_COMPACT).encode
_encode_escaped = json.JSONEncoder(**_COMPACT).encode
_encode_plain = msgspec.json.Encoder().encode


def to_line(value: Any) -> bytes:
    """Return *value* as JSON in UTF-8, without the line's end, and without one inside.

    What JSON has no word for, and rows of a file of numbers can hold, becomes text: NaN, an infinity, a date.
    """
    try:
        return _encode(value).encode()
    except (TypeError, ValueError):  # the half of a surrogate pair is one as well
        return _encode_escaped(_plain(value)).encode()


def plain_to_line(value: Mapping[str, Any]) -> bytes:
    """Return what :func:`to_line` returns, in a tenth of the time, of what is certainly JSON: no NaN, no date, no key but texts."""
    try:
        return _encode_plain(value)
    except UnicodeError:  # the half of a surrogate pair
        return to_line(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
