"""Thousands of chats waiting in one process under one budget: is the loop free, is the end noticed in time, is the budget kept and used?

``python -m tests.benchmarks.waiting OPTIONS-AS-JSON`` is the process in which they wait.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import waiters
from tests.benchmarks.children import say, told
from tests.benchmarks.figures import Check, Result, percentile, table
from tests.benchmarks.standin import CONVERSATION, Standin, serving

#: Each answer takes as long as one of Coze's does at best.
LATENCY_MS = 100.0
#: Our own longest wait between two looks, where no budget asks for a longer one.
CEILING_SECONDS = 10.0
BEAT_SECONDS = 0.01


@dataclass(frozen=True)
class Given:
    """How many chats wait, under how many requests per second, and how long they take."""

    chats: int = 10_000
    qps: int = 400
    seconds: str = "uniform:20..120"


def run(*, quick: bool = False) -> Result:
    """Let the chats be waited for, and judge by the stand-in's clock, which is this machine's."""
    given = Given(2_000, 80, "uniform:5..30") if quick else Given()
    say(f"waiting: {given.chats:,} chats of {given.seconds} s under {given.qps} requests per second")
    with serving(latency_ms=LATENCY_MS, seconds=given.seconds, extra={"chat_qps": given.qps}) as site:
        options = {"base_url": site.base_url, "connection": site.connection, "chats": given.chats}
        waited = told("waiting", json.dumps(options), seconds=900)
        return result(given, waited, site.ask("/_chats"), site.ask("/_stats"))


def result(given: Given, waited: Mapping[str, Any], chats: Mapping[str, Sequence[Any]], stats: Any) -> Result:
    """Make the table and the verdicts.

    :param waited: ``events``: id → Unix seconds of the event; ``beats`` and ``beats_starting``: seconds between two beats;
        ``since``: Unix seconds when all had been waiting for 2 s.
    :param chats: as ``/_chats`` tells.
    """
    reported = sorted(waited["events"].values())
    lags = {id_: waited["events"][id_] - ended for id_, (_, ended, _) in chats.items()}

    # There is work as long as a quarter more wait than the budget allows to be looked at as often as they would be without one.
    enough = int(1.25 * given.qps * CEILING_SECONDS)
    busy_until = reported[-enough] if len(reported) >= enough else 0.0
    whole = slice(math.ceil(waited["since"] - stats["first"]), int(busy_until - stats["first"]))
    busy = stats["per_second"]["chat"][whole] if busy_until else []
    used = sum(busy) / len(busy) / given.qps if busy else math.nan
    rate = given.qps if math.isnan(used) else used * given.qps

    def interval(at: float) -> float:
        """Return the seconds between two looks at a chat, if all who wait, ended or not, are looked at in turn."""
        return max(CEILING_SECONDS, (len(reported) - bisect.bisect_left(reported, at)) / rate)

    late = [lags[id_] - interval(ended) for id_, (_, ended, _) in chats.items()]
    worst, beat = stats["worst"]["chat"], percentile(waited["beats"], 0.99) * 1000
    lag, over = list(lags.values()), percentile(late, 0.99)
    rows = [
        [f"10 ms heartbeat while {given.chats:,} wait, ms", *_spread(waited["beats"], 1000)],
        ["the same while they start, ms", *_spread(waited["beats_starting"], 1000)],
        ["from a chat's end to its event, s", *_spread(lag)],
        ["the same, beyond the poll interval of that moment, s", *_spread(late)],
    ]
    paragraph = (
        f"{given.chats:,} chats of {given.seconds} s, `chat_qps` {given.qps}, answers after {LATENCY_MS:g} ms: "
        f"{stats['requests']['retrieve']:,} looks, at most {worst} in any second; {used:.0%} of the budget used while there was work; "
        f"a poll interval of {interval(0):.0f} s while all wait; {waited['cpu']:.0f} s of CPU in {waited['wall']:.0f} s."
    )
    checks = [
        Check("10 ms heartbeat, p99", "< 30 ms", f"{beat:.1f} ms", beat < 30),
        Check("from end to event beyond the poll interval, p99", "≤ 300 ms", f"{over * 1000:.0f} ms", over <= 0.3),
        Check(
            "most requests in any second",
            f"≤ {given.qps} + 2 %",
            f"{worst} ({worst / given.qps:.1%})",
            worst <= 1.02 * given.qps,
        ),
        Check("share of the budget used when there is work", "≥ 90 %", f"{used:.1%}", used >= 0.9),
    ]
    return Result("waiting", [paragraph, table(["", "p50", "p99", "most"], rows)], checks)


def _spread(values: Sequence[float], unit: float = 1.0) -> list[float]:
    return [unit * percentile(values, share) for share in (0.5, 0.99, 1.0)]


# --- the process in which they wait


async def wait(site: Standin, chats: int) -> dict[str, Any]:
    """Wait for new chats with a trigger each; return when each event came, and how even the heart beat meanwhile."""
    from airflow_provider_coze.triggers.chat import CozeChatTrigger

    loop, events, tasks = asyncio.get_running_loop(), {}, []
    beats: dict[str, list[float]] = {"beats_starting": [], "beats": []}
    phase = "beats_starting"

    async def beat() -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.perf_counter()
            beats[phase].append(now - before)
            before = now

    async def watch(id_: str, began: float) -> None:
        trigger = CozeChatTrigger(
            conversation_id=CONVERSATION, chat_id=id_, started_at=began, deadline=began + 3600, bot_id="1"
        )
        async for event in trigger.run():
            events[id_] = time.time()
            if event.payload["status"] != "completed":
                raise RuntimeError(f"not completed: {event.payload!r}")
            break

    # One that gives up at once, so that what is imported and opened once is there: a triggerer runs for weeks.
    first = CozeChatTrigger(conversation_id=CONVERSATION, chat_id="1", started_at=time.time(), deadline=time.time() + 2)
    async for _ in first.run():
        break
    site.ask("/_reset")
    heart = loop.create_task(beat())
    began, cpu = time.time(), time.process_time()
    for number, id_ in enumerate(site.ask(f"/_begin?count={chats}")):
        tasks.append(loop.create_task(watch(id_, began)))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(2)
    phase, since = "beats", time.time()
    await asyncio.gather(*tasks)
    heart.cancel()
    return {"events": events, **beats, "since": since, "cpu": time.process_time() - cpu, "wall": time.time() - began}


def main() -> None:
    """Be the process in which they wait."""
    given = json.loads(sys.argv[1])
    site = Standin(given["base_url"], given["connection"])
    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = site.connection
    waiters.prepare()
    print(json.dumps(asyncio.run(wait(site, given["chats"]))), flush=True)


if __name__ == "__main__":
    main()
