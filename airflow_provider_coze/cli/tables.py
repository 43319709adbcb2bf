"""Rows as text for a terminal, or as JSON. Knows nothing of Coze."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence

__all__ = ["as_json", "as_table"]

#: A description can be pages long; a line of a table cannot.
_WIDEST = 60


def as_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return aligned columns under their names; Chinese characters count as two wide, as terminals show them."""
    names = list(rows[0]) if rows else []
    lines = [names, *([_shown(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(names))]
    lines.insert(1, ["-" * width for width in widths])
    padded = (
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def as_json(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a JSON array, in ASCII: a pipe may have any encoding."""
    return json.dumps(list(rows), indent=2)


def _shown(text: str) -> str:
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    if _width(line) <= _WIDEST:
        return line
    kept, width = "", 0
    for char in line:
        width += _width(char)
        if width > _WIDEST - 1:
            break
        kept += char
    return f"{kept.rstrip()}…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
