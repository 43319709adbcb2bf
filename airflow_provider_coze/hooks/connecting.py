"""Read connections of Airflow: once for all who begin together, and with one error for all the ways in which that fails.

Ten thousand triggers of a triggerer that starts would else ask Airflow's API server for the same connection ten thousand times.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Iterator

from airflow_provider_coze.compat import AirflowNotFoundException
from airflow_provider_coze.errors import CozeConnectionUnreadableError
from airflow_provider_coze.settings import Settings

__all__ = ["read_together", "reading"]

#: What was read this many seconds ago is what would be read now. Short: a token that somebody replaces is to be used at once.
_FRESH_SECONDS = 2.0

#: What is being read on an event loop, and what has just been read there, and when. Nothing that is over may keep its loop alive.
_Reads = dict[str, "asyncio.Future[Settings | None] | tuple[float, Settings]"]
_READS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Reads] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def reading(conn_id: str) -> Iterator[None]:
    """Make one error of all the ways in which Airflow cannot hand a connection out; it travels from a triggerer to a worker.

    :raises CozeConnectionUnreadableError: in their place. Only the words about a missing one are repeated: others can hold the URI.
    """
    try:
        yield
    except AirflowNotFoundException as error:
        raise CozeConnectionUnreadableError(
            f"Airflow connection {conn_id!r} was not found ({error}). Make one of type coze; nothing was sent to Coze."
        ) from error
    except Exception as error:
        raise CozeConnectionUnreadableError(
            f"Airflow connection {conn_id!r} could not be read ({type(error).__name__}). Nothing was sent to Coze. A retry reads "
            "it again."
        ) from error


async def read_together(conn_id: str, read: Callable[[], Awaitable[Settings]]) -> Settings:
    """Return what *read* returns, or what it returned to somebody else on this event loop a moment ago.

    Whoever waits for a reading that fails reads for himself, so that everyone has an error of his own.
    """
    loop = asyncio.get_running_loop()
    reads = _READS.setdefault(loop, {})
    known = reads.get(conn_id)
    if isinstance(known, tuple):
        if loop.time() - known[0] < _FRESH_SECONDS:
            return known[1]
    elif known is not None:
        return await asyncio.shield(known) or await read()
    others: asyncio.Future[Settings | None] = loop.create_future()
    reads[conn_id] = others
    found: Settings | None = None
    try:
        found = await read()
    finally:
        del reads[conn_id]
        others.set_result(found)
    reads[conn_id] = loop.time(), found
    return found
