"""Start processes and be sure to end them: on success, on an exception, on Ctrl-C, on SIGTERM.

Everything the end-to-end tests and the demo start goes through :class:`Processes`. What Airflow starts in turn is found
by a mark in its environment, because Airflow 2 puts each task into a session of its own, out of reach of a process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

MARK = "COZE_TEST_PROCESSES"
PR_SET_PDEATHSIG = 1
#: What was killed is given so long to be gone.
_END_SECONDS = 5.0
#: Loaded here: between fork and exec, the loader's lock may be held by a thread that no longer exists.
_LIBC = ctypes.CDLL(None)


class ProcessDied(RuntimeError):
    """A process that had to stay up ended; carries the end of its log."""


@dataclass
class Process:
    """One started process and the file its output goes to."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: int
    #: Starts it once more, with more of an environment.
    again: Callable[[Mapping[str, str]], subprocess.Popen[bytes]]
    #: It was killed on purpose, so nobody need be told.
    is_killed: bool = False

    def check(self) -> None:
        """Raise if the process has ended by itself."""
        if (code := self.popen.poll()) is not None and not self.is_killed:
            raise ProcessDied(f"{self.name} ended with {code}; the end of {self.log}:\n{tail(self.log)}")


class Processes:
    """A set of processes that ends together, newest first, with whatever they started."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.all: list[Process] = []
        #: What outlived a parent that was killed: its session's number may be anybody's by the end.
        self._orphans: set[Entry] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        user: str | None = None,
        stop_signal: int = signal.SIGTERM,
        nice: int = 0,
    ) -> Process:
        """Start *command* in a session of its own, output to *log*; it and what it starts run at priority *nice*."""

        def prepare() -> None:
            with contextlib.suppress(PermissionError):  # only root may raise a priority
                os.nice(nice)
            _end_with_parent()

        def spawn(more: Mapping[str, str]) -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**env, **more, MARK: self.mark},
                    start_new_session=True,
                    user=user,
                    group=user,
                    extra_groups=None if user is None else [],
                    preexec_fn=prepare,
                )

        process = Process(name, spawn({}), log, stop_signal, spawn)
        self.all.append(process)
        return process

    def kill(self, name: str, *, alone: bool = False) -> None:
        """End a process as a crash does, by SIGKILL.

        :param alone: what it started stays, without a parent. False: all of it ends, as when a container does.
        """
        process = self._named(name)
        process.is_killed = True
        self._orphans |= (found := self._of(process.popen.pid))
        process.popen.kill()
        while not alone and found:
            for entry in found & _entries():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGKILL)
            found = (found | self._of(process.popen.pid)) & _entries()
        process.popen.wait()

    def runs(self, name: str, pid: int) -> bool:
        """Tell whether a process is the named one, or was started by it."""
        return any(entry.pid == pid for entry in self._of(self._named(name).popen.pid))

    def restart(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start a process that was killed once more: same command, same log, its environment and *env*."""
        process = self._named(name)
        process.popen.wait()
        process.popen, process.is_killed = process.again(env or {}), False

    def _named(self, name: str) -> Process:
        return next(process for process in self.all if process.name == name)

    def check(self) -> None:
        """Raise if one of the processes has ended."""
        for process in self.all:
            process.check()

    def stop(self, grace: float = 4.0) -> None:
        """End everything: a polite signal, *grace* seconds, then SIGKILL for the rest and for their descendants."""
        with _uninterrupted():
            # Before the signal, while every descendant still has its parent.
            started = self.living()
            for process in reversed(self.all):
                with contextlib.suppress(ProcessLookupError):
                    process.popen.send_signal(process.stop_signal)
            deadline = time.monotonic() + grace
            for process in reversed(self.all):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(max(0.1, deadline - time.monotonic()))
            killed = {*started, *self.living()} & _entries()
            for entry in killed:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(entry.pid, signal.SIGKILL)
            for process in self.all:
                process.popen.wait()
            # Whoever is not our child is nobody's we could wait for, and may take a moment to end on a busy machine.
            deadline = time.monotonic() + _END_SECONDS
            while killed & _entries() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.all.clear()

    def living(self) -> set[Entry]:
        """Return every living process that we started, or that one of ours did."""
        entries = _entries()
        ours = {process.popen.pid for process in self.all}
        # Three nets, because each has a hole: a task of Airflow 2 opens its own session, an orphan loses its parent,
        # and a process that sets its title (LocalExecutor's workers) overwrites the environment that Linux shows.
        found = {entry for entry in entries if entry.pid in ours or entry.session in ours or _has(entry, self.mark)}
        return _with_children(found | (entries & self._orphans), entries)

    @staticmethod
    def _of(pid: int) -> set[Entry]:
        """Return a process of ours, its session and all below."""
        entries = _entries()
        return _with_children({entry for entry in entries if pid in (entry.pid, entry.session)}, entries)


@dataclass(frozen=True)
class Entry:
    """A line of the process table. The start time tells a process from a later one with the same id."""

    pid: int
    parent: int
    session: int
    started: int

    def __hash__(self) -> int:
        return hash((self.pid, self.started))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.pid, self.started) == (other.pid, other.started)


def _with_children(found: set[Entry], entries: set[Entry]) -> set[Entry]:
    while more := {entry for entry in entries - found if entry.parent in {other.pid for other in found}}:
        found = found | more
    return found


def _entries() -> set[Entry]:
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # After the program's name, which may hold anything: state, parent, group, session, …, start time (22nd).
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                found.add(Entry(int(path.name), int(fields[1]), int(fields[3]), int(fields[19])))
    return found


def _has(entry: Entry, mark: str) -> bool:
    with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
        return f"{MARK}={mark}".encode() in Path(f"/proc/{entry.pid}/environ").read_bytes().split(b"\0")
    return False


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def free_port() -> int:
    """Return a loopback port nobody listens on, below the range the kernel hands out to outgoing connections.

    Airflow cannot be given an open socket, so there is a moment between this answer and its bind. Below 32768 (Linux's
    default ``ip_local_port_range``) only another server could take the port in it.
    """
    for _ in range(200):
        port = random.randint(18000, 31000)  # noqa: S311 - not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 18000 and 31000")


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that ``with`` blocks and pytest's fixtures end what they started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore a second Ctrl-C: it must not leave half of the processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    """Ask Linux to end this child if we are killed so hard that nothing of ours can run."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
