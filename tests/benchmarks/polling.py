"""What a look at a waiting chat costs: CPU per look and memory per chat, beside the least possible, bare aiohttp, and other providers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.children import say, told
from tests.benchmarks.figures import Check, Result, median, shown, table
from tests.benchmarks.standin import Standin, serving
from tests.benchmarks.waiters import PEERS, WAYS

BARE, CHAT, RUN = "bare aiohttp", "CozeChatTrigger", "CozeWorkflowTrigger"
OWN = [name for name in WAYS if name not in PEERS]
#: Looks per second, of all together and whatever their number; a second process on another core answers them.
RATE = 2_000
#: Seconds between two looks at one chat.
INTERVAL = 10.0
SIZES = (100, 1_000, 10_000)
#: With how many a process is given more to do than it can; that column is named so.
SATURATED_SIZE, SATURATED = 1_000, "saturated"
#: Their looks cost so much that more are more than a process can do; that of batches makes a client of its own for each, in threads.
MOST = {**dict.fromkeys(PEERS, 1_000), "common.ai batch": 100}
#: Fewer looks per second for them: they cannot do as many, and what waits too long on a fast clock is given up by its own timeouts.
PEER_RATE = 500
#: The budget of the connection: the most that can be set, so that the pacer is there and holds nothing back.
#: Its timeout of connecting is bare aiohttp's of 30 s: on the fast clock our own of 5 s is 25 ms, which a busy machine takes.
NO_LIMIT = {"chat_qps": 10_000, "workflow_qps": 10_000, "connect_seconds": 30}

#: (way, column) → one figure of each round.
Seen = dict[tuple[str, Any], list[dict[str, float]]]


def run(*, quick: bool = False, peers: bool = False) -> Result:
    """Measure, round after round, all ways in each, and return the medians and their ratios.

    :param peers: beside the triggers of other providers, which have to be installed.
    """
    rounds, seconds = (1, 2.0) if quick else (3, 5.0)
    sizes = SIZES[:2] if quick else SIZES
    memory_of = () if quick else OWN
    ways = OWN + (list(PEERS) if peers else [])
    seen: Seen = {}
    memory: dict[str, float] = {}
    with serving(extra=NO_LIMIT) as site:
        for number in range(rounds):
            for way, size in _cells(ways, sizes):
                say(f"polling, round {number + 1} of {rounds}: {way}, {size:,} waiting")
                figures = _measured(site, way, size, PEER_RATE if way in PEERS else RATE, seconds)
                seen.setdefault((way, size), []).append(figures)
                if size == min(SATURATED_SIZE, MOST.get(way, SATURATED_SIZE)) and not math.isnan(figures["us"]):
                    # Half more than it can do. Much more, and what waits would be given up by its own timeouts.
                    figures = _measured(site, way, size, 1.5e6 / figures["us"], seconds)
                    seen.setdefault((way, SATURATED), []).append(figures)
        for way in memory_of:
            say(f"polling: what Python allocates for {sizes[-1]:,} waiting, {way}")
            memory[way] = _measured(site, way, sizes[-1], RATE / 2, seconds, traced=True)["bytes_allocated"]
    return result(seen, memory, sizes)


def _cells(ways: list[str], sizes: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    for size in sizes:
        for way in ways:
            if size <= MOST.get(way, size):
                yield way, size


def _measured(
    site: Standin, way: str, size: int, rate: float, seconds: float, traced: bool = False
) -> dict[str, float]:
    site.ask("/_reset")
    given = {
        "base_url": site.base_url,
        "connection": site.connection,
        "waiting": size,
        "interval": INTERVAL,
        "speed": rate * INTERVAL / size,
        "seconds": seconds,
        "traced": traced,
    }
    try:
        return told("waiters", way, json.dumps(given), peers=way in PEERS)
    except RuntimeError as error:
        if way not in PEERS:
            raise
        say(f"not measured: {error}")
        return {"us": math.nan, "bytes_resident": math.nan}


def result(seen: Seen, memory: dict[str, float], sizes: tuple[int, ...]) -> Result:
    """Make the tables and the verdicts of what was seen."""
    ways = [way for way in WAYS if (way, sizes[0]) in seen]
    columns = [*sizes, SATURATED]

    def us(way: str, column: Any) -> float:
        return median([figures["us"] for figures in seen[way, column]]) if (way, column) in seen else math.nan

    def ratio(way: str, column: Any) -> float:
        """Return the median of what each round's ratio was."""
        if (way, column) not in seen:
            return math.nan
        pairs = zip(seen[way, column], seen[BARE, column], strict=False)
        return median([mine["us"] / bare["us"] for mine, bare in pairs])

    head = ["CPU µs per look", *[f"{column:,} waiting" for column in sizes], SATURATED]
    costs = [
        [
            way,
            *[
                f"{shown(us(way, column))} ({ratio(way, column):.2f} ×)" if (way, column) in seen else "-"
                for column in columns
            ],
        ]
        for way in ways
    ]
    last = sizes[-1]
    resident = {
        way: median([f["bytes_resident"] for f in seen[way, last]]) / 1024 for way in ways if (way, last) in seen
    }
    kept = table(
        [f"KB for each of {last:,} waiting", "resident", "allocated by Python"],
        [[way, resident[way], memory[way] / 1024 if way in memory else None] for way in resident],
    )
    worst = max(ratio(CHAT, column) for column in columns)
    flat = max(us(CHAT, size) for size in sizes) / min(us(CHAT, size) for size in sizes)
    peers = [us(way, SATURATED) / us(CHAT, SATURATED) for way in PEERS if (way, SATURATED) in seen]
    heaviest = max(resident[CHAT], memory.get(CHAT, 0) / 1024)
    checks = [
        Check("CPU per look of CozeChatTrigger, to bare aiohttp's", "≤ 1.3 ×", f"{worst:.2f} × at worst", worst <= 1.3),
        Check(f"the same at {sizes[0]} and at {last:,} waiting", "within 20 %", f"{flat:.2f} ×", flat <= 1.2),
        Check(
            "the cheapest other provider's look, saturated, to CozeChatTrigger's",
            "≥ 3 ×",
            f"{min(peers):.1f} ×" if peers else "-",
            min(peers) >= 3 if peers else None,
        ),
        Check("memory of a waiting CozeChatTrigger", "≤ 12 KB", f"{heaviest:.1f} KB", heaviest <= 12),
    ]
    return Result("polling", [table(head, costs), kept], checks)
