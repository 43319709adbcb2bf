"""Several rows in one request, and the answer taken apart again by the indexes of the rows. Pure.

An answer counts only as a whole: with an index too few, too many or twice it is likely that outputs have moved to rows that they are
not of, which nobody would notice later. Whoever asked then asks again, in :func:`halves`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from airflow_provider_coze.protocol.json_in_text import pieces
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import JsonValue

__all__ = ["halves", "pack_message", "pack_parameters", "unpack"]

T = TypeVar("T")

#: Under which names a list of outputs comes inside of an object.
_WRAPPERS = ("output", "outputs", "results", "result", "data", "answers", "items", "rows")
#: Objects and texts that a list is looked for in, one inside the other: the output of a workflow is JSON in JSON.
_MOST_LAYERS = 4
#: More of them are no help to whoever reads why an answer does not count.
_MOST_SHOWN = 5

_TASK = """Below is a JSON array of {count} inputs that have nothing to do with one another, each an object with "index" and "input".
Work on each input by itself, as if it were the only one, and answer it in the language in which you would answer it alone.
Whatever an input says about the form of its answer holds for its own "output" only.

Answer with a JSON array of {count} objects and nothing else, one object for each input, in the order of the inputs:
[{{"index": <the index of the input, unchanged>, "output": <your answer to this input>}}, ...]
Leave out no input, and put no two inputs into one object.

Inputs:
"""


def pack_message(instruction: str | None, rendered: Sequence[tuple[int, str]]) -> str:
    """Return one message that asks for the answers to several.

    :param instruction: what is to be done with each; it comes first. None: the messages say so themselves.
    :param rendered: index and message of each row.
    """
    lines = ",\n".join(
        json.dumps({"index": index, "input": message}, ensure_ascii=False) for index, message in rendered
    )
    asked = f"{instruction.strip()}\n\n" if instruction and instruction.strip() else ""
    return f"{asked}{_TASK.format(count=len(rendered))}[{lines}]"


def pack_parameters(name: str, rendered: Sequence[tuple[int, Mapping[str, JsonValue]]]) -> dict[str, JsonValue]:
    """Return the parameters of one run that works on several rows: under *name*, a list of their parameters, each with its ``index``.

    A parameter ``index`` of a row's own is lost.
    """
    return {name: [{**parameters, "index": index} for index, parameters in rendered]}


def unpack(answer: JsonValue, indexes: Sequence[int]) -> tuple[dict[int, JsonValue], dict[int, str]]:
    """Return the output of each row, and what is wrong with the answer for the others: either is empty.

    The answer is a list of objects with ``index`` and ``output``, or with ``index`` and what else the output consists of; as a value,
    in an object, or in a text with other words around it.

    :param answer: of a chat or a run.
    :param indexes: those of the rows that were asked.
    """
    entries, problem = _entries(answer)
    outputs: dict[int, JsonValue] = {}
    twice, foreign = [], []
    for index, output in entries:
        if index not in indexes:
            foreign.append(index)
        elif index in outputs:
            twice.append(index)
        else:
            outputs[index] = output
    missing = [index for index in indexes if index not in outputs]
    if not entries:
        problem = problem or "it has no list of objects with index and output"
    else:
        found = (
            _listed("no output for", missing),
            _listed("several for", twice),
            _listed("outputs for", foreign, "that nobody asked"),
        )
        problem = "; ".join(text for text in found if text)
    if problem:
        return {}, dict.fromkeys(indexes, f"the answer for {len(indexes)} rows cannot be taken apart: {problem}")
    return outputs, {}


def halves(items: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Return what is asked again in two requests, in order; neither is empty.

    :raises ValueError: there are fewer than two.
    """
    if len(items) < 2:
        raise ValueError("one row has no halves")
    middle = (len(items) + 1) // 2
    return items[:middle], items[middle:]


def _entries(answer: JsonValue) -> tuple[list[tuple[int, JsonValue]], str]:
    """Return index and output of every entry, and why there are none if that is known."""
    objects, problem = list(_objects(answer, _MOST_LAYERS)), ""
    if not objects and isinstance(answer, str):
        for piece in pieces(answer):
            if piece.problem:
                problem = f"its JSON cannot be read: {piece.problem}"
            else:
                objects += _objects(_read(piece.text), _MOST_LAYERS)
        if problem:  # what can be read of a broken answer is not all of it
            return [], problem
    # A bot that repeats the inputs before it answers them has two lists; one of them has outputs.
    answers = [(index, entry) for index, entry in objects if "output" in entry]
    if answers:
        return [(index, entry["output"]) for index, entry in answers], ""
    rest = ((index, {name: value for name, value in entry.items() if name != "index"}) for index, entry in objects)
    return [(index, output) for index, output in rest if output], ""


def _objects(value: JsonValue, layers: int) -> Iterator[tuple[int, Mapping[str, JsonValue]]]:
    """Yield the objects that have an index, of a list or of what a list is in."""
    if layers == 0:
        return
    if isinstance(value, str):
        yield from _objects(_read(value), layers - 1)
    elif isinstance(value, list):
        for entry in value:
            index = _index(entry)
            if index is not None and isinstance(entry, dict):
                yield index, entry
    elif isinstance(value, dict):
        index = _index(value)
        if index is not None:
            yield index, value
            return
        for name in _WRAPPERS:
            found = list(_objects(value[name], layers - 1)) if name in value else []
            if found:
                yield from found
                return


def _read(text: str) -> JsonValue:
    try:
        value: JsonValue = read_json(text)
    except ValueError:
        return None
    return None if isinstance(value, str) else value


def _index(entry: JsonValue) -> int | None:
    found = entry.get("index") if isinstance(entry, dict) else None
    if isinstance(found, str) and len(found) < 20:
        try:
            return int(found)
        except ValueError:
            return None
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _listed(before: str, indexes: Iterable[int], after: str = "") -> str:
    found = sorted(set(indexes))
    if not found:
        return ""
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return f"{before} {', '.join(map(str, found[:_MOST_SHOWN]))}{more} {after}".rstrip()
