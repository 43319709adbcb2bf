"""Airflow in miniature: one task, its tries and its legs; and somebody who kills what is at work."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.batch_soak.cases import Case
from tests.batch_soak.processes import Child, Coze, triggerer, worker

__all__ = ["Ending", "conduct"]

#: How often it is looked whether it is time to kill.
_LOOK_SECONDS = 0.005
#: A kill comes so long after its moment, at most: into a request that is on its way, or anywhere.
_SPREADS = (0.0, 0.05, 0.5, 2.0)
#: Tries that are not due to a kill.
_MORE_TRIES = 30
_LIMIT_SECONDS = 1800.0


@dataclass(frozen=True, order=True)
class Kill:
    """One kill: when so many rows were started, and a while after."""

    started: int
    after: float
    what: str  # worker, triggerer, both; lost: the worker goes on, and Airflow has lost sight of it


@dataclass
class Ending:
    """How the task ended, and what it took."""

    manifest: dict[str, Any] | None = None
    error: str = ""  # of the last try
    errors: Counter[str] = field(default_factory=Counter)  # of tries that were followed by another, by class
    killed: Counter[str] = field(default_factory=Counter)  # what was killed, and when
    tries: int = 0
    legs: int = 0
    peak_mib: float = 0.0  # of the largest worker
    triggerer_mib: float = 0.0
    worker_seconds: float = 0.0  # of CPU
    seconds: float = 0.0


def conduct(case: Case, folder: Path, coze: Coze) -> Ending:
    """Run the task to its end."""
    return _Conductor(case, folder, coze).run()


def _plan(case: Case) -> list[Kill]:
    """Choose the moments; the last kill of a worker comes when all rows were started."""
    chance = random.Random(case.seed)  # noqa: S311 - to be repeated
    whats = ["worker"] * case.kills + ["both"] + ["triggerer"] * case.deferred + ["lost"] * case.lost
    moments = [chance.randrange(case.rows) for _ in whats]
    if case.kills > 1:
        moments[0] = case.rows
    return sorted(
        Kill(moment, chance.uniform(0, chance.choice(_SPREADS)), what)
        for moment, what in zip(moments, whats, strict=True)
    )


class _Conductor:
    def __init__(self, case: Case, folder: Path, coze: Coze) -> None:
        self._case, self._folder, self._coze = case, folder, coze
        self._chance = random.Random(case.seed + 1)  # noqa: S311
        self._kills = _plan(case)
        self._due: dict[Kill, float] = {}  # of those whose moment has come
        self._ending = Ending()
        self._triggerer = self._new_triggerer()
        self._lost: list[Child] = []

    def run(self) -> Ending:
        began, ending = time.monotonic(), self._ending
        method: str | None = None
        event: Any = None
        ending.tries = 1
        while True:
            outcome = self._leg(method, event)
            if outcome is not None and outcome["how"] == "deferred":
                method, event = outcome["method"], self._event(outcome["trigger"])
                if event is not None:
                    continue
            elif outcome is not None and self._is_over(outcome):
                break
            method, event = None, None
            ending.tries += 1
            if ending.tries > ending.killed.total() + _MORE_TRIES or time.monotonic() - began > _LIMIT_SECONDS:
                break
        ending.seconds = time.monotonic() - began
        self._end_triggerer()
        for child in self._lost:
            child.kill()
            self._count(child)
        return ending

    def _is_over(self, outcome: dict[str, Any]) -> bool:
        """Take in how a try has ended, and tell whether there is no other after it."""
        ending = self._ending
        if outcome["how"] == "returned":
            ending.manifest, ending.error = outcome["value"], ""
            return True
        ending.error = f"{outcome['kind']}: {outcome['words']}"
        if not outcome["kind"].startswith("Coze"):
            ending.error += f"\n{outcome['trace']}"
            return True
        ending.errors[outcome["kind"]] += 1
        return bool(outcome["final"])

    # --- worker and triggerer

    def _leg(self, method: str | None, event: Any) -> dict[str, Any] | None:
        """Have a process execute one leg. None: it was killed."""
        ending = self._ending
        ending.legs += 1
        self._postpone()
        child = Child(worker, self._case, self._folder, self._coze.connection, ending.tries, method, event)
        while not child.line.has_news(_LOOK_SECONDS):
            if kill := self._comes("worker", "both", "lost"):
                return self._killed(child, kill, "worker")
        outcome: dict[str, Any] | None = child.line.hear()
        if outcome is None:
            child.wait()
            raise RuntimeError(f"the worker of {self._case.name} died by itself, see above")
        # Whatever a task returns, its process can die before Airflow has heard of it.
        left = [kill for kill in self._kills if kill.what != "triggerer"]
        if outcome["how"] == "returned" and left:
            return self._killed(child, left[0], "worker that was done")
        child.line.say("ok")
        child.wait()
        self._count(child)
        return outcome

    def _event(self, trigger: list[Any]) -> Any:
        """Have the triggerer wait. None: it was killed, and the task with it."""
        self._postpone()
        self._triggerer.line.say(trigger)
        while True:
            while not self._triggerer.line.has_news(_LOOK_SECONDS):
                kill = self._comes("triggerer", "both")
                if kill is None:
                    continue
                self._taken(kill, "waiting task")
                self._end_triggerer()
                self._triggerer = self._new_triggerer()
                if kill.what == "both":
                    return None
                self._triggerer.line.say(trigger)
            event = self._triggerer.line.hear()
            if event is None:
                raise RuntimeError(f"the triggerer of {self._case.name} died by itself, see above")
            return event

    def _killed(self, child: Child, kill: Kill, what: str) -> None:
        self._taken(kill, what)
        if kill.what == "lost":
            self._lost.append(child)
            return
        child.kill()
        self._count(child)
        if kill.what == "both":
            self._end_triggerer()
            self._triggerer = self._new_triggerer()

    # --- kills

    def _comes(self, *whats: str) -> Kill | None:
        """Return the kill that is due, if it is of something that is at work."""
        now, started = time.monotonic(), self._coze.started
        for kill in self._kills:
            if kill.started <= started and now >= self._due.setdefault(kill, now + kill.after) and kill.what in whats:
                return kill
        return None

    def _postpone(self) -> None:
        """Give new moments to kills that came when nothing of theirs was at work: else they would all hit a process at its start."""
        now = time.monotonic()
        for kill, due in self._due.items():
            if due <= now:
                self._due[kill] = now + self._chance.uniform(0, 1)

    def _taken(self, kill: Kill, what: str) -> None:
        self._kills.remove(kill)
        self._due.pop(kill, None)
        self._ending.killed[
            {"worker": what, "both": f"{what}, triggerer", "lost": f"{what} lost"}.get(kill.what, kill.what)
        ] += 1

    def _count(self, child: Child) -> None:
        self._ending.peak_mib = max(self._ending.peak_mib, child.peak_mib)
        self._ending.worker_seconds += child.cpu_seconds

    def _new_triggerer(self) -> Child:
        return Child(triggerer, self._coze.connection)

    def _end_triggerer(self) -> None:
        self._triggerer.kill()
        self._ending.triggerer_mib = max(self._ending.triggerer_mib, self._triggerer.peak_mib)
