"""One aiohttp session per site, process and event loop, shared by all who wait there, and closed when nobody has come for a while."""

from __future__ import annotations

import asyncio
import logging
import weakref
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp

from airflow_provider_coze.settings import Settings
from airflow_provider_coze.transports import wire
from airflow_provider_coze.transports.stages import Connector, Watchdog

__all__ = ["Pool", "enter_pool", "leave_pool", "open_pool"]

log = logging.getLogger(__name__)

#: Requests in flight to one site from one process. A read takes some 0.1 s, and the highest documented budget is 500 a second: this
#: carries it when reads take five times as long. Connections are opened as they are needed.
_MAX_CONNECTIONS = 256
#: How long a connection that nobody uses stays open; aiohttp's own default, and stated because of the next number.
_KEEP_ALIVE_SECONDS = 15.0
#: How long a session outlives its last user, so that triggers which follow each other share one even after a lull. It costs no
#: sockets: those close with the keep-alive.
_LINGER_SECONDS = 600.0

_Key: TypeAlias = "tuple[str, bool | str]"


@dataclass(slots=True)
class Pool:
    """One session, and how many are using it."""

    session: aiohttp.ClientSession
    watchdog: Watchdog
    proxy: str | None  # that the environment names for this site
    users: int = 0
    idle_since: float = 0.0  # of the loop's clock; means nothing while there are users
    guarded: bool = False  # True: the task that closes it has begun


#: Keyed by the running loop: ``dag.test()`` runs every trigger in a loop of its own, and a session dies with its loop.
_POOLS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, Pool]] = weakref.WeakKeyDictionary()


#: Keeps the tasks that close sessions alive until they are done; a loop holds its tasks only weakly.
_CLOSING: set[asyncio.Task[None]] = set()


def open_pool(settings: Settings, origin: str) -> Pool | None:
    """Return the pool of a site on the running loop, if there is one."""
    return _POOLS.get(asyncio.get_running_loop(), {}).get((origin, settings.verify))


def enter_pool(settings: Settings, origin: str) -> Pool:
    """Return the pool of a site on the running loop, a new one if need be. Its certificates should be loaded by then."""
    loop = asyncio.get_running_loop()
    pools = _POOLS.setdefault(loop, {})
    key: _Key = (origin, settings.verify)
    pool = pools.get(key)
    if pool is None:
        watchdog = Watchdog(loop)
        connector = Connector(
            watchdog,
            limit=_MAX_CONNECTIONS,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ssl=wire.tls_context(settings.verify),
        )
        # Tokens go with each request and never into the session; cookies of one task must not reach another.
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": wire.USER_AGENT},
        )
        pool = pools[key] = Pool(session, watchdog, wire.environment_proxy(settings.base_url))
        task = loop.create_task(_close_when_idle(pools, key), name="close-coze-connections")
        _CLOSING.add(task)
        task.add_done_callback(_CLOSING.discard)
        log.info("Opened a connection pool to %s", origin)
    return pool


async def leave_pool(pool: Pool) -> None:
    """Use a pool no longer."""
    pool.users -= 1
    if not pool.users:
        pool.idle_since = asyncio.get_running_loop().time()
    if not pool.guarded:
        # One turn of the loop, so that the closing task has begun: only then does cancelling it close the session.
        await asyncio.sleep(0)


async def _close_when_idle(pools: dict[_Key, Pool], key: _Key) -> None:
    """Close a session when nobody has come for a while, or when the loop ends: asyncio.run cancels and awaits its tasks."""
    pool, clock = pools[key], asyncio.get_running_loop().time
    pool.guarded = True
    try:
        rest = _LINGER_SECONDS
        while rest > 0:
            await asyncio.sleep(rest)
            rest = _LINGER_SECONDS if pool.users else pool.idle_since + _LINGER_SECONDS - clock()
    finally:
        # Out of the table first: whoever comes while it closes must not get it.
        del pools[key]
        await pool.session.close()
        log.info("Closed the connection pool to %s", key[0])
