"""What the run came to, and what is wrong with it. Pure: it is handed what was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Kill:
    """A process that was killed, and what it had on its hands."""

    name: str
    at: float  # seconds after the DAG run began
    held: list[str]  # tasks of a worker; waits of a triggerer, by the name of what waits
    recovered: float | None = None  # seconds until all of it was in other hands

    def row(self) -> str:
        """Say it in a line."""
        what = "waits" if self.name.startswith("triggerer") else "tasks"
        back = "never" if self.recovered is None else f"after {self.recovered:.0f} s"
        return f"{self.at:5.0f} s  {self.name} killed with {len(self.held)} {what}; taken over {back}"


@dataclass
class Outcome:
    """All that is known of a run that has ended."""

    tasks: int
    rows: int
    state: str
    seconds: float
    answers: list[Any]
    #: Outputs of the batches, by their task.
    outputs: dict[str, list[Any]]
    #: How often each thing was billed, by its name.
    billed: Counter[str]
    kills: list[Kill] = field(default_factory=list)
    #: How many instances of a task needed how many tries.
    tries: dict[str, Counter[int]] = field(default_factory=dict)
    most_deferred: int = 0
    #: Which part of the waits the busier triggerer had, look by look.
    busier: list[float] = field(default_factory=list)
    #: Requests of a class in its fullest second, and those that Coze refused as too many.
    fullest: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def problems(self) -> list[str]:
        """Say what is wrong; empty if nothing is."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.state != "success":
            yield f"the DAG run is {self.state}"
        if self.answers != [f"answer {n}" for n in range(self.tasks)]:
            yield f"{_wrong(self.answers, [f'answer {n}' for n in range(self.tasks)])} of {self.tasks} answers are wrong"
        right = {"chats": [f"row {n}" for n in range(self.rows)], "runs": [{"output": n} for n in range(self.rows)]}
        for task, outputs in right.items():
            if self.outputs.get(task) != outputs:
                yield f"{_wrong(self.outputs.get(task, []), outputs)} of {self.rows} outputs of {task} are wrong"
        due = {"ask": self.tasks, "chats": self.rows, "runs": self.rows}
        names = {f"{task} {n}" for task, count in due.items() for n in range(count)}
        twice = sorted(name for name, count in self.billed.items() if count > 1)
        for told, found in (
            ("billed more than once", twice),
            ("never billed", sorted(names - self.billed.keys())),
            ("billed, and nobody's", sorted(self.billed.keys() - names)),
        ):
            if found:
                yield f"{len(found)} {told}: {', '.join(found[:10])}"
        for kind in ("worker", "triggerer"):
            hit = [kill for kill in self.kills if kill.name.startswith(kind) and kill.held]
            if not hit:
                yield f"no {kind} was killed that had anything on its hands"
        yield from (f"what {kill.name} had was not taken over" for kill in self.kills if kill.recovered is None)
        if self.refused:
            yield f"Coze refused {dict(self.refused)} requests as too many, so the budget was split wrongly"


def _wrong(found: list[Any], right: list[Any]) -> int:
    return sum(a != b for a, b in zip(found, right, strict=False)) + abs(len(found) - len(right))
