"""A PostgreSQL server for one test session: found or installed, on a free port, in a temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.airflow import debian
from tests.airflow.processes import Processes, free_port

#: PostgreSQL refuses to run as root; Debian's package makes this user.
USER = "postgres"


class Postgres:
    """A running server; :meth:`create` makes databases in it."""

    def __init__(self, binaries: Path, port: int) -> None:
        self.binaries, self.port = binaries, port

    def create(self, name: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "airflow"]
        subprocess.run([str(self.binaries / "createdb"), *options, name], check=True)
        # The driver is named because SQLAlchemy 2.1 turned plain `postgresql://` into psycopg 3.
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server until the end of the block."""
    binaries = find_binaries() or install()
    user = USER if os.getuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="coze-postgres-"))
    if user:
        shutil.chown(home, user, user)
    try:
        with Processes() as processes:
            data, log, port = home / "data", home / "log", free_port()
            initdb = [
                str(binaries / "initdb"),
                "-D",
                str(data),
                "-A",
                "trust",
                "-U",
                "airflow",
                "--no-sync",
                "-E",
                "UTF8",
            ]
            groups: list[str] | None = None if user is None else []
            output = subprocess.DEVNULL
            subprocess.run(initdb, check=True, stdout=output, cwd=home, user=user, group=user, extra_groups=groups)
            # A test database may lose its data, so it need not wait for the disk. 200: four Airflow components with
            # pools of 5+10 connections and up to 32 task processes.
            options = ["fsync=off", "full_page_writes=off", "max_connections=200", "listen_addresses=127.0.0.1"]
            command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(home)]
            command += [part for option in options for part in ("-c", option)]
            # SIGINT is PostgreSQL's "fast" shutdown; at SIGTERM it waits for every client to leave.
            server = processes.start(
                "postgres", command, log=log, env={"LC_ALL": "C.UTF-8"}, user=user, stop_signal=signal.SIGINT
            )
            deadline = time.monotonic() + 30
            ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False).returncode != 0:
                server.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"PostgreSQL did not answer on port {port} within 30 s; see {log}")
                time.sleep(0.1)
            yield Postgres(binaries, port)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def find_binaries() -> Path | None:
    """Return the directory with the newest server's programs, if this machine has one."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if (found := shutil.which("postgres")) is not None:
        candidates.insert(0, Path(found).resolve().parent)
    return next((path for path in reversed(candidates) if (path / "initdb").exists()), None)


def install() -> Path:
    """Install Debian's server package, without starting the cluster that comes with it."""
    debian.install("postgresql", "PostgreSQL", "initdb and postgres")
    if (binaries := find_binaries()) is None:
        raise RuntimeError(
            "Debian's package `postgresql` is installed, but its programs are not in /usr/lib/postgresql"
        )
    return binaries
