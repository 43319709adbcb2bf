"""The cells of the kill matrix. Airflow's processes import this as a neighbour of the DAG, the harness as a module of tests."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

#: Points of a chat at which its task's process dies, in their order.
CHAT_POINTS = (
    "before intent",
    "after intent",
    "conversation made",
    "sent",
    "replied",
    "saved",
    "deferred",
    "resumed",
    "before XCom",
)
#: Of a run; between its intent and its id nobody can know whether it exists, so ``on_unknown`` decides.
RUN_POINTS = ("before intent", "after intent", "sent", "replied", "saved", "deferred", "resumed", "before XCom")
WINDOW = ("after intent", "sent", "replied")
ONLY_DEFERRED = ("deferred", "resumed")
#: What is killed beside tasks, and from where: a task waits there while that happens.
OUTAGES = ("triggerer", "scheduler", "api-server")


@dataclass(frozen=True)
class Cell:
    """One task, and what is killed on its way."""

    kind: str  # chat, run
    point: str
    deferrable: bool
    mapped: bool
    on_unknown: str = "fail"

    @property
    def id(self) -> str:
        """The task's id."""
        parts = (self.kind, self.point, "deferred" if self.deferrable else "plain", "mapped" if self.mapped else "")
        return "_".join(filter(None, (*parts, self.on_unknown if self.is_window else ""))).replace(" ", "-")

    @property
    def is_window(self) -> bool:
        """Whether nobody can know what was bought when it has died there."""
        return self.kind == "run" and self.point in WINDOW

    @property
    def bought_before(self) -> int:
        """How many runs there are when the process has died in the window: only the ledger knows."""
        return 0 if self.point == "after intent" else 1

    @property
    def is_lost(self) -> bool:
        """Whether the task has to fail, and leave it to a person."""
        return self.is_window and self.on_unknown == "fail"

    @property
    def seconds(self) -> int:
        """How long Coze takes: long enough to defer, and over an outage."""
        if self.point in OUTAGES:
            return 45
        return 12 if self.deferrable else 6


def deaths(*, small: bool = False, kinds: tuple[str, ...] = ("chat", "run"), store: bool = True) -> list[Cell]:
    """Return the cells in which a task's own process dies.

    :param small: a selection for every test run.
    :param store: whether Airflow has a task state store; without one there is no intent to die after.
    """
    found = []
    for kind in kinds:
        for point in CHAT_POINTS if kind == "chat" else RUN_POINTS:
            for deferrable in (False, True):
                if (point in ONLY_DEFERRED and not deferrable) or (point == "after intent" and not store):
                    continue
                for mapped in (False, True):
                    cell = Cell(kind, point, deferrable, mapped)
                    found.append(cell)
                    if cell.is_window and not mapped:
                        found.append(Cell(kind, point, deferrable, mapped, "resend"))
    found = [cell for cell in found if not (cell.is_window and cell.mapped)]
    if not small:
        return found
    # One of every point: deferred and mapped in turns, and both settings of the window.
    chosen: list[Cell] = []
    for kind in kinds:
        for n, point in enumerate(CHAT_POINTS if kind == "chat" else RUN_POINTS):
            of_point = [cell for cell in found if (cell.kind, cell.point) == (kind, point)]
            chosen += of_point[n % max(1, len(of_point)) :][:1]
    return chosen


def outages(name: str) -> list[Cell]:
    """Return the cells in which a component of Airflow is killed while tasks wait."""
    modes = (True,) if name == "triggerer" else (False, True)
    cells = [Cell(kind, name, deferrable, False) for kind in ("chat", "run") for deferrable in modes]
    return cells + [Cell(kind, name, True, True) for kind in ("chat", "run") if name == "triggerer"]


def write(path: Path, cells: list[Cell]) -> None:
    """Leave the cells of a run where the DAG finds them."""
    path.write_text(json.dumps([asdict(cell) for cell in cells]))


def read(path: Path) -> list[Cell]:
    """Return the cells that were left."""
    return [Cell(**cell) for cell in json.loads(path.read_text())]
