"""Hold requests back until their turn has come: one line per connection and class, for all threads and event loops of a process.

Who goes next is decided by ``protocol.pacer``. Here is who waits, and how: on an event loop all of a line wait for one timer, a thread
sleeps. A line's lock is held for some microseconds and never while anybody waits, so a loop may take it; whoever finds that the turn of
another thread or loop has come tells it so, and every loop and thread that waits looks for itself as well. So none depends on another
that may be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_coze.protocol.endpoints import chat, file, workflow
from airflow_provider_coze.protocol.envelope import is_too_fast, retry_after
from airflow_provider_coze.protocol.messages import AsyncGate, Gate, Response, Send
from airflow_provider_coze.protocol.pacer import Pacer, Ticket
from airflow_provider_coze.settings import Settings

__all__ = ["Held", "Lines", "lines_of"]

Clock = Callable[[], float]

#: Seconds between two looks at a line, at least: what comes together is let go together. Less than ``pacer`` makes up for.
_QUANTUM = 0.003
#: To look at one by itself costs a process half as much again as to look at several together. So looks begin at multiples of a power of
#: two of seconds: later by a sixteenth of their wait at most, by less where the wait is under this many seconds, and so that no more than
#: these few come together, which hold the loop up for a millisecond.
_LATER, _LONG_SECONDS, _TOGETHER = 1 / 16, 8.0, 8
#: Shorter sleeps would not move a clock that counts the seconds since 1970.
_SHORTEST_SLEEP = 1e-6
_NEVER = float("inf")
#: Requests per second, until Coze has said what the plan grants: the least of all plans is 20
#: (www.coze.cn/open/docs/developer_guides/coze_api_overview).
_UNTIL_KNOWN = 10.0


class _Line:
    """One class of requests: its pacer, and the lock without which nobody touches it."""

    __slots__ = ("_timers", "lock", "pacer")

    def __init__(self, rate: float | None) -> None:
        self.pacer = Pacer(rate)
        self.lock = threading.Lock()
        self._timers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Timer] = weakref.WeakKeyDictionary()

    def timer(self, loop: asyncio.AbstractEventLoop) -> _Timer:
        """Return the timer of a loop."""
        return self._timers.setdefault(loop, _Timer(self, loop))

    def let_go(self, now: float) -> None:
        """Tell all whose turn has come. The lock is held."""
        while (ticket := self.pacer.pop(now)) is not None:
            if ticket.owner is not None:
                _tell(ticket.owner)

    def turn(self, effect: Send, clock: Clock) -> Iterator[float]:
        """Wait in the line by sleeping: yield how long, again and again, until the turn has come."""
        with self.lock:
            ticket = self.pacer.join(clock(), after=effect.after, by=effect.by, looks=effect.looks)
        try:
            while True:
                with self.lock:
                    now = clock()
                    self.let_go(now)
                    if ticket.state == "went":
                        return
                    wake = self.pacer.wake(now)
                yield max(_SHORTEST_SLEEP, (wake or now) - now)
        finally:
            with self.lock:
                self.pacer.leave(ticket)

    def answered(self, answer: Response, clock: Clock) -> None:
        """Slow down if the answer asks for it."""
        if is_too_fast(answer):
            with self.lock:
                self.pacer.too_fast(clock(), retry_after(answer))


def _tell(turn: asyncio.Future[None]) -> None:
    loop = turn.get_loop()
    if asyncio._get_running_loop() is loop:
        _come(turn)
    else:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits there any more
            loop.call_soon_threadsafe(_come, turn)


def _come(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _together(now: float, after: float, waiting: int) -> float:
    """Return the seconds until a look, so that it begins together with others."""
    share = min(_LATER * min(1.0, after / _LONG_SECONDS), _TOGETHER / (waiting + 1))
    step = 2.0 ** math.floor(math.log2(after * share))
    return math.ceil((now + after) / step) * step - now


class _Timer:
    """The one timer of a line on an event loop, for all who wait there."""

    __slots__ = ("_at", "_line", "_loop")

    def __init__(self, line: _Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        # Weakly, and without the handle of the timer, which has it as well: the tables of loops would else keep their keys alive.
        self._loop = weakref.ref(loop)
        self._at = _NEVER

    def passes(self) -> bool:
        """Tell whether work may go at once; most may, and need no place in the line."""
        with self._line.lock:
            return self._line.pacer.passes(time.monotonic())

    def join(self, effect: Send, loop: asyncio.AbstractEventLoop) -> Ticket:
        """Take a place; the ticket's owner is a future that is done when the turn has come."""
        line = self._line
        with line.lock:
            now, after = time.monotonic(), effect.after
            if effect.looks and after > 0:
                after = _together(now, after, line.pacer.waiting)
            ticket = line.pacer.join(now, after=after, by=effect.by, looks=effect.looks)
            if after <= 0:
                line.let_go(now)
                if ticket.state == "went":
                    return ticket
            ticket.owner = loop.create_future()
            if ticket.ready < self._at - _QUANTUM:
                self._arm(loop, now)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        with self._line.lock:
            self._line.pacer.leave(ticket)

    def _arm(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        wake = self._line.pacer.wake(now)
        if wake is None:
            return
        wake = max(wake, now + _QUANTUM)
        if wake < self._at:  # one that was to ring later will find that it is not wanted any more
            self._at = wake
            loop.call_later(wake - now, self._rings, wake)

    def _rings(self, at: float) -> None:
        loop = self._loop()
        if at != self._at or loop is None:
            return
        self._at = _NEVER
        with self._line.lock:
            now = time.monotonic()
            self._line.let_go(now)
            self._arm(loop, now)


class _LoopGate:
    """The gate of all flows on one event loop."""

    __slots__ = ("_lines", "_timers")

    def __init__(self, lines: Mapping[str | None, _Line], loop: asyncio.AbstractEventLoop) -> None:
        self._lines = lines
        self._timers = {name: line.timer(loop) for name, line in lines.items()}

    async def enter(self, effect: Send) -> None:
        timer = self._timers.get(effect.request.budget)
        if timer is None:
            if effect.after > 0:
                await asyncio.sleep(effect.after)
            return
        if effect.after <= 0 and not effect.looks and timer.passes():
            return
        ticket = timer.join(effect, asyncio.get_running_loop())
        if ticket.state == "went":
            return
        try:
            await ticket.owner
        except BaseException:
            timer.leave(ticket)
            raise

    def leave(self, effect: Send, answer: Response) -> None:
        line = self._lines.get(effect.request.budget)
        if line is not None:
            line.answered(answer, time.monotonic)


class _ThreadGate:
    """The gate of one flow on a thread."""

    def __init__(self, lines: Mapping[str | None, _Line], clock: Clock, sleep: Callable[[float], object]) -> None:
        self._lines, self._clock, self._sleep = lines, clock, sleep

    def enter(self, effect: Send) -> None:
        for seconds in _turn(self._lines, effect, self._clock):
            self._sleep(seconds)

    def leave(self, effect: Send, answer: Response) -> None:
        line = self._lines.get(effect.request.budget)
        if line is not None:
            line.answered(answer, self._clock)


class _AsleepGate:
    """The gate of one flow on an event loop whose time is not the real one: in tests."""

    def __init__(
        self, lines: Mapping[str | None, _Line], clock: Clock, asleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._lines, self._clock, self._asleep = lines, clock, asleep

    async def enter(self, effect: Send) -> None:
        for seconds in _turn(self._lines, effect, self._clock):
            await self._asleep(seconds)

    def leave(self, effect: Send, answer: Response) -> None:
        line = self._lines.get(effect.request.budget)
        if line is not None:
            line.answered(answer, self._clock)


def _turn(lines: Mapping[str | None, _Line], effect: Send, clock: Clock) -> Iterable[float]:
    line = lines.get(effect.request.budget)
    if line is None:
        return (effect.after,) if effect.after > 0 else ()
    return line.turn(effect, clock)


class Lines:
    """The lines of one connection."""

    def __init__(self, settings: Settings) -> None:
        rates = {
            chat.BUDGET: settings.chat_qps,
            workflow.BUDGET: settings.workflow_qps,
            file.BUDGET: settings.upload_qps,
        }
        self._lines: dict[str | None, _Line] = {
            name: _Line(_UNTIL_KNOWN if rate == "plan" else rate) for name, rate in rates.items()
        }
        self._unread = deque(name for name, rate in rates.items() if rate == "plan")
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopGate] = weakref.WeakKeyDictionary()

    def gate(self, clock: Clock, sleep: Callable[[float], object]) -> Gate:
        """Return the gate for a thread."""
        return _ThreadGate(self._lines, _of_pacers(clock), sleep)

    def agate(self, clock: Clock, asleep: Callable[[float], Awaitable[object]]) -> AsyncGate:
        """Return the gate for the running event loop."""
        if asleep is not asyncio.sleep:
            return _AsleepGate(self._lines, _of_pacers(clock), asleep)
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop)
        if gate is None:
            gate = self._gates[loop] = _LoopGate(self._lines, loop)
        return gate

    def unread(self) -> Iterator[str]:
        """Hand out the classes whose rate has to be asked of Coze, each once in the life of the process."""
        while True:
            try:
                yield self._unread.popleft()
            except IndexError:
                return

    def allow(self, budget: str, rate: float | None) -> None:
        """Set the rate of a class. None: it is not limited."""
        line = self._lines[budget]
        with line.lock:
            line.pacer.allow(rate)

    @property
    def held_seconds(self) -> float:
        """Seconds that requests have waited for the budget, all together."""
        return sum(line.pacer.held_seconds for line in self._lines.values())

    def stretch(self, budget: str) -> float:
        """Return by how much the intervals of a class are longer now than asked for; 1.0: not at all."""
        return self._lines[budget].pacer.stretch


class Held:
    """A gate that counts how long one flow has waited at another gate."""

    def __init__(self, gate: Any, clock: Clock) -> None:
        self._gate, self._clock = gate, clock
        self.seconds = 0.0

    def enter(self, effect: Send) -> Any:
        """Wait at the other gate; what that returns is for the driver to await, if it is of a loop."""
        since = self._clock()
        waiting = self._gate.enter(effect)
        if waiting is not None:
            return self._until(waiting, since)
        self.seconds += self._clock() - since
        return None

    async def _until(self, waiting: Awaitable[None], since: float) -> None:
        await waiting
        self.seconds += self._clock() - since

    def leave(self, effect: Send, answer: Response) -> None:
        """Pass the answer on."""
        self._gate.leave(effect, answer)


def _of_pacers(clock: Clock) -> Clock:
    """Return the clock of all who share a line: one that nobody sets, unless a test has its own."""
    return time.monotonic if clock is time.time else clock


#: Shared by all hooks of this process.
_LINES: dict[tuple[Settings, Clock], Lines] = {}
# A lock that another thread holds while a process forks would stay locked in the child.
os.register_at_fork(after_in_child=_LINES.clear)


def lines_of(settings: Settings, clock: Clock) -> Lines:
    """Return the lines of a connection; equal settings get the same."""
    key = (settings, _of_pacers(clock))
    return _LINES.get(key) or _LINES.setdefault(key, Lines(settings))
