"""The world that is there when none is given. The tutorial, the demonstration and the example DAGs rely on these ids."""

from __future__ import annotations

import csv
import math
import re
from typing import Any

from airflow_provider_coze.emulator.definitions import (
    Bot,
    Duration,
    Failure,
    Immediate,
    Inputs,
    Interrupt,
    Parameter,
    Polls,
    Seconds,
    Template,
    ToolCall,
    Turn,
    Workflow,
)
from airflow_provider_coze.emulator.world import World

__all__ = ["Table", "default_world"]

ANALYST, ECHO_BOT, DRAFT_BOT, BROKE_BOT, TOOL_BOT, SLEEPER_BOT, MEMORY_BOT, SORTER_BOT = (
    f"751100000000000000{n}" for n in range(1, 9)
)
SUMMARY, ECHO, DRAFT, BROKEN, ASKING, PLAIN, SLEEPER, CHATFLOW, FILE_ROW = (
    f"751150000000000000{n}" for n in range(1, 10)
)

_PRAISE = re.compile(r"\b(?:love|great|perfect|warm)\b|喜欢|很好", re.IGNORECASE)
_BLAME = re.compile(r"\b(?:broke|broken|cold|late|slow)\b|太慢|坏了", re.IGNORECASE)
_SLEEP = re.compile(r"\s*sleep\s+(\d+(?:\.\d+)?)\s*:\s*(.*)", re.DOTALL)


def default_world() -> World:
    """Make a new copy of the default world."""
    return World(
        bots=[
            Bot(
                id=ANALYST,
                name="analyst",
                description="Reads the CSV table in the message and says what stands out.",
                answer=_analysis,
                duration=Seconds(7),
            ),
            Bot(
                id=ECHO_BOT,
                name="echo",
                description="Says what it was told.",
                answer=Template("You said: {message}"),
                follow_ups=("Would you like to say something else?",),
            ),
            Bot(id=DRAFT_BOT, name="draft", description="Not published: 4015.", published=False),
            Bot(
                id=BROKE_BOT,
                name="broke",
                description="Fails after one poll: the free quota is used up.",
                duration=Polls(1),
                failure=Failure(4028, "Your free quota has been used up."),
            ),
            Bot(
                id=TOOL_BOT,
                name="thermometer",
                description="Asks for read_sensor(room='B2'), then answers with its output.",
                tool_calls=(ToolCall("read_sensor", {"room": "B2"}),),
                answer=Template("Sensor B2 says: {tool_outputs[read_sensor]}"),
            ),
            Bot(
                id=SLEEPER_BOT,
                name="sleeper",
                description='"sleep 37: anything" takes 37 s and answers "anything".',
                answer=_after_sleeping,
                duration=_sleep_of,
            ),
            Bot(
                id=MEMORY_BOT,
                name="memory",
                description="Says which turn of the conversation it is, and what it was told first.",
                answer=_remembered,
            ),
            Bot(
                id=SORTER_BOT,
                name="sorter",
                description="Says of a review whether it is good, mixed or bad, by some words that it knows.",
                answer=_sorted_by_words,
                duration=Seconds(2),
            ),
        ],
        workflows=[
            Workflow(
                id=SUMMARY,
                name="table summary",
                description="Counts the rows of a CSV table and sums its last numeric column.",
                parameters={
                    "table": Parameter("string", required=True, description="CSV text with a header line"),
                    "top": Parameter("integer", description="how many of the largest rows to return; 3 if absent"),
                },
                output=_summary,
                duration=Seconds(7),
            ),
            Workflow(id=ECHO, name="echo", description="Returns its parameters.", output=_echo),
            Workflow(id=DRAFT, name="draft", description="Not published: 4200.", published=False),
            Workflow(
                id=BROKEN,
                name="broken",
                description="Fails in a node.",
                failure=Failure(720701002, "Node 'Code' failed: division by zero"),
            ),
            Workflow(
                id=ASKING,
                name="asking",
                description="Asks for a city, and returns the answer.",
                interrupt=Interrupt("Which city?"),
                output=_city,
            ),
            Workflow(
                id=PLAIN, name="plain", description="Returns text that is not JSON.", output="All 42 rows are fine."
            ),
            Workflow(
                id=SLEEPER,
                name="sleeper",
                description="Takes the given seconds and returns the given value.",
                parameters={"seconds": Parameter("number", required=True), "value": Parameter("any")},
                output=_value,
                duration=_seconds_of,
            ),
            Workflow(
                id=CHATFLOW,
                name="echo chat",
                description="A chatflow that says what it was told.",
                mode="chatflow",
                output=Template("You said: {message}"),
            ),
            Workflow(
                id=FILE_ROW,
                name="file to row",
                description="Reads an uploaded CSV file and describes it in one flat row.",
                parameters={"file": Parameter("file", required=True, description="CSV with a header line")},
                output=_row_of_file,
                duration=Seconds(7),
            ),
        ],
    )


class Table:
    """A CSV table out of a text that may have prose around it.

    It is the longest run of lines that have equally many cells and a number in the same place; the line above is its header.
    """

    def __init__(self, text: str) -> None:
        lines = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
        best: tuple[int, int, int] = (0, 0, 0)  # rows, column, first line
        for first in range(1, len(lines)):
            for column in range(len(lines[first])):
                best = max(best, (_numeric_rows(lines, first, column), column, -first))
        count, self.value_column, first = best[0], best[1], -best[2]
        if not count:
            raise Failure(5000, "There is no CSV table with a header, a row and a column of numbers in the input.")
        self.header = lines[first - 1]
        self.rows = lines[first : first + count]

    def value(self, row: list[str]) -> float:
        """Return the number of a row."""
        return _number(row[self.value_column]) or 0.0

    @property
    def total(self) -> float:
        """The sum of the last numeric column."""
        return round(sum(self.value(row) for row in self.rows), 6)

    def largest(self, count: int) -> list[list[str]]:
        """Return the *count* largest rows, the largest first."""
        return sorted(self.rows, key=self.value, reverse=True)[:count]

    def as_object(self, row: list[str]) -> dict[str, Any]:
        """Return a row as an object; numbers are numbers."""
        return {name: _plain(cell) for name, cell in zip(self.header, row, strict=True)}

    def label(self, row: list[str]) -> str:
        """Name a row by its cells before the number, or by its position."""
        return ", ".join(row[: self.value_column]) or f"row {self.rows.index(row) + 1}"


def _numeric_rows(lines: list[list[str]], first: int, column: int) -> int:
    header = lines[first - 1]
    if len(header) < 2 or len(header) != len(lines[first]) or _number(header[column]) is not None:
        return 0
    count = 0
    for row in lines[first:]:
        if len(row) != len(header) or _number(row[column]) is None:
            break
        count += 1
    return count


def _analysis(turn: Turn) -> str:
    table = Table(turn)
    column, largest, smallest = (
        table.header[table.value_column],
        table.largest(1)[0],
        min(table.rows, key=table.value),
    )
    return (
        f"The table has {len(table.rows)} rows and {column} adds up to {_shown(table.total)}. "
        f"The largest is {table.label(largest)} with {_shown(table.value(largest))}, "
        f"the smallest {table.label(smallest)} with {_shown(table.value(smallest))}."
    )


def _summary(inputs: Inputs) -> dict[str, Any]:
    table = Table(inputs["table"])
    top = table.largest(max(1, inputs.get("top") or 3))
    return {
        "rows": len(table.rows),
        "total": _plain(_shown(table.total)),
        "largest": table.as_object(top[0]),
        "top": [table.as_object(row) for row in top],
    }


def _row_of_file(inputs: Inputs) -> dict[str, Any]:
    file = inputs.file("file")
    table = Table(file.content.decode("utf-8-sig"))
    largest = table.largest(1)[0]
    return {
        "file_name": file.file_name,
        "rows": len(table.rows),
        "column": table.header[table.value_column],
        "total": _plain(_shown(table.total)),
        "largest": largest[0],
        "largest_value": _plain(_shown(table.value(largest))),
    }


def _echo(inputs: Inputs) -> dict[str, Any]:
    return {"output": dict(inputs)}


def _city(inputs: Inputs) -> dict[str, Any]:
    return {"output": inputs.answer}


def _value(inputs: Inputs) -> dict[str, Any]:
    return {"output": inputs.get("value")}


def _seconds_of(inputs: Inputs) -> Duration:
    return Seconds(float(inputs["seconds"]))


def _sleep_of(turn: Turn) -> Duration:
    found = _SLEEP.match(turn)
    return Seconds(float(found[1])) if found else Immediate()


def _after_sleeping(turn: Turn) -> str:
    found = _SLEEP.match(turn)
    return found[2] if found else str(turn)


def _remembered(turn: Turn) -> str:
    told = [*turn.history[::2], str(turn)]  # every other one is an answer
    return f"This is turn {len(told)}. First I was told: {told[0]}"


def _sorted_by_words(turn: Turn) -> str:
    praised, blamed = _PRAISE.search(turn), _BLAME.search(turn)
    if praised and blamed:
        return "mixed"
    if praised or blamed:
        return "good" if praised else "bad"
    return "unclear" if "unclear" in turn else "I cannot tell."


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _plain(text: str) -> Any:
    number = _number(text)
    if number is None:
        return text
    return int(number) if number.is_integer() else number


def _shown(number: float) -> str:
    return str(int(number)) if number.is_integer() else f"{number:.6f}".rstrip("0")
