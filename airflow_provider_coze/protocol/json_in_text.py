"""Find the JSON in what a model wrote: fenced or bare, with words around it. Knows nothing of Coze or of types. Linear in the text.

Nothing is repaired: JSON with a comma too many, with comments or cut off at the end is broken, and what stands inside of it is not
taken for the answer, because a part of an answer can look like a whole one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["BLANK", "Found", "blocks", "found_in", "pieces"]

#: What may stand around a text unseen.
BLANK = " \t\r\n\ufeff\u200b"

#: A line that begins or ends a fenced block, in a quotation too. What a JSON string holds is never at the beginning of a line.
_FENCE = re.compile(r"^[ \t>]*+(?P<marks>`{3,}+|~{3,}+)[ \t]*+(?P<info>[A-Za-z0-9_.+-]*+)", re.MULTILINE)
#: What begins like JSON, or like what people take for it: names and single quotes for keys, comments. Other brackets belong to the prose.
_LIKE_JSON = re.compile(
    r"""\{\s*+(?:["'}/#]|[\w$-]++\s*+:)|\[\s*+(?:["'\[{\]/#0-9-]|true|false|null|NaN|Infinity)""",
)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)
#: Where the end of broken JSON is looked for, in characters; beyond it all the rest counts as broken.
_WINDOW = 1_000_000
#: Values, broken pieces and ends of blocks that are looked at. An error of json counts lines from the beginning of the text, so that
#: many of them cost much.
_MOST_VALUES, _MOST_BROKEN, _MOST_FENCES = 1_000, 100, 1_000
#: Numbers stay text: only where the value ends is asked for, and int() refuses some thousands of digits.
_EXTENT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


@dataclass(frozen=True, slots=True)
class Found:
    """An object or a list in a text, or what was meant to be one."""

    text: str = field(repr=False)
    problem: str = ""  # why it cannot be read; it does not quote the text. "": it can


def pieces(whole: str) -> Iterator[Found]:
    """Yield what may be the answer in a text, the likeliest first."""
    if _is_json(whole):
        yield Found(whole)
        return
    fenced, around = blocks(whole)
    for block in fenced:
        inner = block.strip(BLANK)
        if _is_json(inner):
            yield Found(inner)
        else:
            yield from found_in(block)
    for prose in around:
        yield from found_in(prose)


def blocks(text: str) -> tuple[list[str], list[str]]:
    """Return the contents of a text's fenced blocks, and what stands outside of them. A block without an end goes on to the end."""
    inside: list[str] = []
    outside: list[str] = []
    place, marks = 0, ""
    for fence in itertools.islice(_FENCE.finditer(text), _MOST_FENCES):
        closes = fence["marks"].startswith(marks) and not fence["info"]  # "" opens, and so does one with a language
        if marks and not closes and not fence["info"]:
            continue
        (inside if marks else outside).append(text[place : fence.start()])
        marks = "" if marks and closes else fence["marks"]
        place = fence.end()
    (inside if marks else outside).append(text[place:])
    return inside, outside


def found_in(text: str) -> Iterator[Found]:
    """Yield the objects and lists that stand in *text*, in their order; not those inside of others."""
    place, values, broken = 0, 0, 0
    while (opening := _LIKE_JSON.search(text, place)) and values < _MOST_VALUES and broken < _MOST_BROKEN:
        begin = opening.start()
        try:
            _, place = _EXTENT.raw_decode(text, begin)
        except RecursionError:
            problem = "it is nested too deep"
        except json.JSONDecodeError as error:
            problem = _located(error, text, begin)
        else:
            values += 1
            yield Found(text[begin:place])
            continue
        broken += 1
        place = _end_of(text, begin)
        yield Found(text[begin:place], problem)


def _located(error: json.JSONDecodeError, text: str, begin: int) -> str:
    line = text.count("\n", begin, error.pos) + 1
    return f"{error.msg.rstrip(': ')}, in line {line} of it"


def _end_of(text: str, begin: int) -> int:
    """Return where the brackets that open at *begin* are closed again; the end of the text if they are not."""
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, begin, begin + _WINDOW):
        character = token[0][0]
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth == 0:
                return token.end()
    return len(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return False
    return True
