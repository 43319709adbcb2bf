"""Somebody else's words in a Python file: as a literal, or as a comment, and never as anything else. Pure."""

from __future__ import annotations

import keyword
import textwrap
import unicodedata

__all__ = ["comment", "is_field_name", "literal", "words"]

#: Columns of a comment, its margin not counted. Chinese characters take two.
_WIDTH = 80
_MOST_LINES = 8


def words(text: str) -> str:
    """Return a text on one line, without characters that are not seen: they can reorder a line or end it."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split())).strip()


def comment(text: str, margin: str = "") -> list[str]:
    """Return the lines of a comment; none for a text without words."""
    line = words(text)
    width = _WIDTH if line.isascii() else _WIDTH // 2
    lines = textwrap.wrap(line, width, break_on_hyphens=False, max_lines=_MOST_LINES, placeholder=" …")
    return [f"{margin}# {part}" for part in lines]


def literal(text: str) -> str:
    """Return a text as a Python string, in double quotes where that needs no escapes."""
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in text else shown


def is_field_name(name: str) -> bool:
    """Tell whether a name can stand in a class as it is: Python mangles some, and normalises others."""
    return (
        name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and unicodedata.normalize("NFKC", name) == name
    )
