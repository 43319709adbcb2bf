"""The address of a served emulator: open, or shut while nobody else can have it. Knows nothing of what is served there."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

__all__ = ["Port"]

_BACKLOG = 1024


class Port:
    """A TCP address of this machine, bound in the caller's thread.

    :raises OSError: It is taken.
    """

    def __init__(self, host: str, number: int) -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, number), family=self._family, backlog=_BACKLOG)
        self._address = self._socket.getsockname()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The address as a base URL."""
        host, number = self._address[:2]
        return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._listener is not None

    async def open(self, factory: Any) -> None:
        """Accept connections on the running loop, and hand each to a protocol that *factory* makes."""
        if self._listener is None and self._socket.fileno() != -1:  # not closed meanwhile
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(factory, sock=self._socket, backlog=_BACKLOG)

    def shut(self) -> None:
        """Refuse connections from now on: a socket that is bound and does not listen keeps the address for us."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._socket = socket.socket(self._family, socket.SOCK_STREAM)
            # Connections that were accepted before may still be open.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(self._address)

    def close(self) -> None:
        """Give the address back."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._socket.close()
