"""A Redis server for one run: found or installed, on a socket of the file system, in a temporary directory."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.airflow import debian
from tests.airflow.processes import Processes

#: A path of more than 107 characters is no address of a Unix socket, so the directory is not where a long TMPDIR says.
_SHORT = "/tmp"  # noqa: S108 - a directory of its own is made in it


@contextlib.contextmanager
def redis() -> Iterator[Path]:
    """Run a server until the end of the block; give the path of its socket."""
    binary = shutil.which("redis-server") or install()
    home = Path(tempfile.mkdtemp(prefix="coze-redis-", dir=_SHORT))
    try:
        with Processes() as processes:
            socket, log = home / "redis.sock", home / "log"
            # No port, so none can be taken; nothing on disk, because what a broker holds here is not wanted later.
            options = {"port": "0", "unixsocket": str(socket), "save": "", "appendonly": "no", "dir": str(home)}
            command = [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]
            server = processes.start("redis", command, log=log, env={"LC_ALL": "C.UTF-8"})
            deadline = time.monotonic() + 30
            while not socket.exists():
                server.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Redis did not listen within 30 s; see {log}")
                time.sleep(0.05)
            yield socket
    finally:
        shutil.rmtree(home, ignore_errors=True)


def install() -> str:
    """Install Debian's server package, without starting the service that comes with it."""
    debian.install("redis-server", "Redis", "redis-server")
    if (binary := shutil.which("redis-server")) is None:
        raise RuntimeError("Debian's package `redis-server` is installed, but there is no redis-server on PATH")
    return binary
