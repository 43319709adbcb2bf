"""The tables of ``docs/zh``: those that are made from the code, with their cells in Chinese.

The texts are in ``docs/zh/reference/error-codes.toml``, by the English that they stand for. So a code cannot be new, or mean something
else, without its Chinese: the page is not made then, and the message names what is missing.
"""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path

TEXTS = Path(__file__).parents[1] / "docs" / "zh" / "reference" / "error-codes.toml"
#: The same in every language: codes, statuses and names of classes.
_NO_WORDS = re.compile(r"\d+|\dxx|`\w+`|---")


@functools.cache
def texts() -> dict[str, str]:
    """Return the Chinese of each cell."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def in_chinese(table: str) -> str:
    """Return a table of Markdown with every cell translated.

    :raises LookupError: names every cell that has no translation.
    """
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    known = texts()
    missing = [cell for row in rows for cell in row if cell not in known and not _NO_WORDS.fullmatch(cell)]
    if missing:
        raise LookupError(f"{TEXTS.name} has no Chinese for: " + "; ".join(dict.fromkeys(missing)))
    return "".join(f"| {' | '.join(known.get(cell, cell) for cell in row)} |\n" for row in rows)
