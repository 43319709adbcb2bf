"""The bytes of one answer as http.client reads them from its socket, and how long that may take. No status, no meaning.

requests bounds each read, and so a server that sends a byte now and then keeps a worker for ever.
"""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_coze.transports import wire

__all__ = ["BoundedAnswer", "NotWhole"]


class NotWhole(TimeoutError):
    """An answer that kept coming did not end in time."""


class _Reader(io.RawIOBase):
    """Bytes from a socket whose timeout bounds each read, until all of it is too late."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._patience: float | None = sock.gettimeout()
        until = None if self._patience is None else time.monotonic() + wire.WHOLE_ANSWER * self._patience
        self._left: Callable[[], float] = lambda: float("inf") if until is None else until - time.monotonic()

    def relax(self, patience: float, left: Callable[[], float] | None) -> None:
        """Let the rest take as long as it likes, each read of it *patience* seconds, and all of it what *left* says."""
        self._patience, self._left = patience, left or (lambda: float("inf"))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        patience, left = self._patience, self._left()
        if left <= 0:
            raise NotWhole
        is_last = patience is None or left < patience
        self._sock.settimeout(left if is_last else patience)
        try:
            return self._raw.readinto(buffer)  # type: ignore[no-any-return]
        except TimeoutError:
            if is_last:
                raise NotWhole from None
            raise
        finally:
            self._sock.settimeout(patience)

    def close(self) -> None:
        self._raw.close()
        super().close()

    # http.client makes its file of a socket by this method, so this stands for the socket.

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)


class BoundedAnswer(http.client.HTTPResponse):
    """An answer that ends in time. Its head cannot be bounded from outside: by the time requests has it, it is read."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        self._reader = _Reader(sock)
        super().__init__(self._reader, *args, **kwargs)  # type: ignore[arg-type]

    def relax(self, patience: float, left: Callable[[], float] | None) -> None:
        """Bound each read of what is still to come, and not all of it.

        :param patience: seconds for one read.
        :param left: seconds until the caller's deadline; None: there is none.
        """
        self._reader.relax(patience, left)
