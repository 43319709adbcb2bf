"""Ways in which processes can share one budget of requests, compared: ``python -m tests.airflow.scale.budget``.

Waits are simulated on a clock that is moved, with the real pacer and the emulator's bucket: ten minutes of two triggerers
take seconds. What a turn costs is measured, at the pacer and at a Redis server.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_coze.emulator.limits import Buckets
from airflow_provider_coze.emulator.world import Plan
from airflow_provider_coze.protocol.pacer import Pacer
from tests.airflow.scale.redis import redis

#: Requests per second of the plan.
BUDGET = 100
#: A look at a chat that is older than 40 seconds comes every 10 seconds, if the budget carries it.
INTERVAL_SECONDS = 10.0
SECONDS, WARM_UP = 600, 60
#: What a refused look waits before it is sent again.
_BACK_OFF_SECONDS = 1.0
#: Of the budget, as the pacer has it.
_SHARE = 0.975

#: How many wait in each of two triggerers. 1,500 want 150 looks a second, 900 want 90.
LOADS: dict[str, tuple[int, int]] = {
    "750 + 750": (750, 750),
    "1,000 + 500": (1000, 500),
    "1,350 + 150": (1350, 150),
    "600 + 300": (600, 300),
    "810 + 90": (810, 90),
}


class Windows:
    """A limiter that counts anew in each second of the clock, and gives nothing on credit."""

    def __init__(self) -> None:
        self._second, self._count = -1, 0

    def take(self, rate: str, plan: Plan, now: float) -> bool:
        """Count a call. False: the second is used up."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        return self._count <= plan.chat


#: How Coze counts is not documented, so two ways: the emulator's, which hands on what a second has left over, and a strict one.
LIMITERS: dict[str, type[Buckets | Windows]] = {"bucket": Buckets, "fixed seconds": Windows}


class Shared:
    """One line of slots for all processes, as a counter in Redis would be: whoever asks first has the next one."""

    def __init__(self, rate: float) -> None:
        self._gap, self._free_at = 1.0 / (rate * _SHARE), 0.0

    def take(self, now: float) -> bool:
        """Take a slot if there is one now."""
        if now < self._free_at - 1e-9:
            return False
        self._free_at = max(self._free_at, now - 0.010) + self._gap
        return True


@dataclass
class Seen:
    """What one way came to under one load."""

    served: int = 0
    refused: int = 0
    #: Seconds between two looks at the same chat, by process.
    gaps: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))


def simulate(
    waits: Sequence[int],
    rate: float | None,
    shared: Shared | None = None,
    *,
    limiter: type[Buckets | Windows] = Buckets,
    seconds: int = SECONDS,
    warm_up: int = WARM_UP,
) -> Seen:
    """Let the waits of two processes look at Coze.

    :param waits: how many each process has.
    :param rate: requests per second of each process. None: no limit is set.
    :param shared: where each look takes a slot as well, for all processes.
    """
    chance, seen = random.Random(1), Seen()  # noqa: S311 - not a secret
    pacers = [Pacer(rate) for _ in waits]
    plan, bucket = Plan("p", chat=BUDGET, workflow=BUDGET, upload=1, run_async=True), limiter()
    last: dict[tuple[int, int], float] = {}
    again: list[tuple[float, int, int]] = []  # when, process, chat
    for process, count in enumerate(waits):
        again += [(chance.uniform(0, INTERVAL_SECONDS), process, n) for n in range(count)]
    heapq.heapify(again)
    step, now, turn = 0.005, 0.0, 0
    while now < warm_up + seconds:
        while again and again[0][0] <= now:
            _, process, n = heapq.heappop(again)
            pacers[process].join(now, looks=True, owner=n)
        turn += 1
        for process in sorted(range(len(pacers)), key=lambda p: (p + turn) % len(pacers)):
            pacer = pacers[process]
            while True:
                if shared is not None and not (pacer.waiting and shared.take(now)):
                    break
                ticket = pacer.pop(now)
                if ticket is None:
                    break
                chat, counts = (process, ticket.owner), now >= warm_up
                if bucket.take("chat", plan, now):
                    seen.served += counts
                    if counts and chat in last:
                        seen.gaps[process].append(now - last[chat])
                    last[chat] = now
                    # Up to a twentieth earlier by chance, as the rhythm of looks has it.
                    wait = INTERVAL_SECONDS * chance.uniform(0.95, 1)
                else:
                    seen.refused += counts
                    pacer.too_fast(now)
                    wait = _BACK_OFF_SECONDS * chance.uniform(0.5, 1)
                heapq.heappush(again, (now + wait, process, ticket.owner))
        now += step
    return seen


#: What each process is told, and what they share.
WAYS: dict[str, Callable[[], tuple[float | None, Shared | None]]] = {
    "half of the budget each": lambda: (BUDGET / 2, None),
    "two thirds each": lambda: (BUDGET * 2 / 3, None),
    "all of it each": lambda: (BUDGET, None),
    "no limit set": lambda: (None, None),
    "one line in Redis": lambda: (None, Shared(BUDGET)),
}


def used(waits: Sequence[int], seen: Seen, seconds: int = SECONDS) -> float:
    """Return which part of the budget was used, of that which those waits have use for."""
    return seen.served / (min(BUDGET, sum(waits) / INTERVAL_SECONDS) * seconds)


def table() -> Iterator[str]:
    """Yield the rows of the comparison, as Markdown."""
    yield f"| each process is told | {' | '.join(LOADS)} | refused, at most |"
    yield "|---" * (len(LOADS) + 2) + "|"
    for name, way in WAYS.items():
        cells, refused = [], 0.0
        for waits in LOADS.values():
            both = [simulate(waits, *way(), limiter=limiter) for limiter in LIMITERS.values()]
            shares = " / ".join(f"{min(1.0, used(waits, seen)):.0%}" for seen in both)
            gaps = " and ".join(f"{statistics.median(each):.0f}" for each in both[-1].gaps)
            cells.append(f"{shares}; {gaps} s")
            refused = max(refused, *(seen.refused / (seen.refused + seen.served) for seen in both))
        yield f"| {name} | {' | '.join(cells)} | {refused:.2%} |"


def cost(socket: Path, turns: int = 20_000) -> Iterator[str]:
    """Yield what one turn costs, in CPU time of a process that does nothing else, as Markdown."""
    pacer, cpu = Pacer(1e9), time.process_time()
    for n in range(turns):
        pacer.join(n * 1e-3, looks=True)
        pacer.pop(n * 1e-3)
    yield f"| the pacer of the process | {(time.process_time() - cpu) / turns * 1e6:.0f} |"
    for together in (1, 8):
        used_up = asyncio.run(_ask(socket, turns // 10, together))
        yield f"| Redis on the same machine, {together} at once | {used_up * 1e6:.0f} |"


#: The least that keeps a line for several processes: one slot, taken whole or not at all.
_SLOT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local free = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], free + tonumber(ARGV[1]), 'PX', 60000)
return free - now
"""


async def _ask(socket: Path, turns: int, together: int) -> float:
    """Return the seconds of CPU time of one turn at the server."""
    from redis.asyncio import Redis

    server = Redis(unix_socket_path=str(socket))
    slot = server.register_script(_SLOT)
    await slot(keys=["coze:chat"], args=[1])
    cpu, rounds = time.process_time(), turns // together
    for _ in range(rounds):
        await asyncio.gather(*(slot(keys=["coze:chat"], args=[1]) for _ in range(together)))
    found = (time.process_time() - cpu) / (rounds * together)
    await server.aclose()
    return found


def main() -> int:
    """Print both tables."""
    for line in table():
        print(line, flush=True)
    print("\n| a turn at | CPU µs of the process |\n|---|---|")
    with redis() as socket:
        for line in cost(socket):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
