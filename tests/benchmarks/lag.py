"""How late the end of short chats is noticed, and with how many requests, beside looking every five seconds.

``python -m tests.benchmarks.lag WAY OPTIONS-AS-JSON`` is a process that waits for them in one way.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import time
from typing import Any

from tests.benchmarks import waiters
from tests.benchmarks.children import say, told
from tests.benchmarks.figures import Check, Result, percentile, table
from tests.benchmarks.standin import CONVERSATION, TOKEN, Standin, serving

FIXED, OURS = "every 5 s", "CozeChatTrigger"
FIXED_SECONDS = 5.0
DURATIONS = {"uniform": "uniform:2..20", "log-uniform": "log:2..20"}
LATENCY_MS = 50.0
#: They begin over this many seconds, and so have nothing to do with each other.
SPREAD_SECONDS = 5.0


def run(*, quick: bool = False) -> Result:
    """Wait for the same chats in both ways, all at once: they keep a processor busy for a hundredth of the time."""
    chats = 300 if quick else 1_500
    say(f"lag: {chats} chats of 2-20 s, four times")
    jobs = [(name, way) for name in DURATIONS for way in (FIXED, OURS)]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as threads:
        seen = dict(zip(jobs, threads.map(lambda job: _waited(*job, chats), jobs), strict=True))
    return result(seen, chats)


def _waited(name: str, way: str, chats: int) -> dict[str, Any]:
    with serving(
        latency_ms=LATENCY_MS, seconds=DURATIONS[name], extra={"chat_qps": 10_000, "workflow_qps": 10_000}
    ) as site:
        options = {"base_url": site.base_url, "connection": site.connection, "chats": chats}
        events = told("lag", way, json.dumps(options))["events"]
        lags = [events[id_] - ended for id_, (_, ended, _) in site.ask("/_chats").items()]
        return {"lags": lags, "requests": site.ask("/_stats")["requests"]["retrieve"]}


def result(seen: dict[tuple[str, str], dict[str, Any]], chats: int) -> Result:
    """Make the table and the verdicts."""
    rows, checks = [], []
    for name, drawn in DURATIONS.items():
        for way in (FIXED, OURS):
            lags, requests = seen[name, way]["lags"], seen[name, way]["requests"]
            spread = [percentile(lags, share) for share in (0.5, 0.9, 1.0)]
            rows.append([f"{name}, {drawn.partition(':')[2]} s", way, *spread, requests, requests / chats])
        ratio = percentile(seen[name, OURS]["lags"], 0.5) / percentile(seen[name, FIXED]["lags"], 0.5)
        more = seen[name, OURS]["requests"] / seen[name, FIXED]["requests"]
        checks += [
            Check(f"median lag, {name}, to looking every 5 s", "≤ 0.6 ×", f"{ratio:.2f} ×", ratio <= 0.6),
            Check(f"requests, {name}, to looking every 5 s", "≤ 1 ×", f"{more:.2f} ×", more <= 1),
        ]
    head = ["chats", "looked at", "lag p50, s", "p90", "most", "requests", "of each chat"]
    return Result("lag", [table(head, rows)], checks)


# --- a process that waits


async def wait(way: str, site: Standin, chats: int) -> dict[str, float]:
    """Wait for new chats; return when each was known to have ended, in Unix seconds."""
    begun = site.ask(f"/_begin?count={chats}&spread={SPREAD_SECONDS}")
    times = {id_: began for id_, (began, _, _) in site.ask("/_chats").items()}
    watch = await (_every_5_s if way == FIXED else _trigger)(site)
    events: dict[str, float] = {}

    async def one(id_: str) -> None:
        await asyncio.sleep(max(0.0, times[id_] - time.time()))
        await watch(id_, times[id_])
        events[id_] = time.time()

    await asyncio.gather(*map(one, begun))
    return events


async def _every_5_s(site: Standin) -> Any:
    import aiohttp

    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})

    async def watch(id_: str, began: float) -> None:
        looks = 0
        while True:
            url = f"{site.base_url}/v3/chat/retrieve?conversation_id={CONVERSATION}&chat_id={id_}"
            async with session.get(url) as answer:
                if json.loads(await answer.read())["data"]["status"] == "completed":
                    return
            looks += 1
            await asyncio.sleep(max(0.0, began + looks * FIXED_SECONDS - time.time()))

    return watch


async def _trigger(site: Standin) -> Any:
    from airflow_provider_coze.triggers.chat import CozeChatTrigger

    async def watch(id_: str, began: float) -> None:
        trigger = CozeChatTrigger(
            conversation_id=CONVERSATION, chat_id=id_, started_at=began, deadline=began + 3600, bot_id="1"
        )
        async for _ in trigger.run():
            return

    return watch


def main() -> None:
    """Be a process that waits."""
    way, given = sys.argv[1], json.loads(sys.argv[2])
    site = Standin(given["base_url"], given["connection"])
    os.environ["AIRFLOW_CONN_COZE_DEFAULT"] = site.connection
    if way == OURS:
        waiters.prepare()
    print(json.dumps({"events": asyncio.run(wait(way, site, given["chats"]))}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
