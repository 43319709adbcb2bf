"""The harness keeps its promise: what it started ends, however it was started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.airflow.processes import ProcessDied, Processes, free_port

#: A parent that starts a child in a session of its own, ignores SIGTERM like the child, and waits.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, __file__], start_new_session=True, env={})
    print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_process_that_ignores_sigterm_ends_with_its_child_in_another_session(tmp_path: Path) -> None:
    program, log = tmp_path / "stubborn.py", tmp_path / "log"
    program.write_text(STUBBORN)
    with Processes() as processes:
        parent = processes.start("stubborn", [sys.executable, str(program), "parent"], log=log, env=os.environ)
        while not log.read_text().strip():
            time.sleep(0.02)
        child = int(log.read_text())
        assert {parent.popen.pid, child} <= {entry.pid for entry in processes.living()}
        processes.stop(grace=0.2)
    assert parent.popen.returncode == -signal.SIGKILL
    assert not _runs(child)


#: A parent that starts a child and waits; each start adds a line: its own id, the child's id, and a word of the environment.
FERTILE = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, os.environ.get("WORD"), flush=True)
time.sleep(60)
"""


def test_a_process_can_be_killed_with_all_it_started_and_is_then_not_missed(tmp_path: Path) -> None:
    with Processes() as processes:
        parent, child, _ = _fertile(processes, tmp_path)
        processes.kill("fertile")
        assert not _runs(parent)
        _wait_until(lambda: not _runs(child))
        processes.check()


def test_what_a_killed_process_leaves_behind_goes_on_and_ends_with_the_rest(tmp_path: Path) -> None:
    with Processes() as processes:
        parent, child, _ = _fertile(processes, tmp_path)
        processes.kill("fertile", alone=True)
        assert (_runs(parent), _runs(child)) == (False, True)
        processes.restart("fertile")
        processes.stop(grace=0.2)
    _wait_until(lambda: not _runs(child))


def test_a_killed_process_starts_anew_with_more_of_an_environment_and_is_missed_again(tmp_path: Path) -> None:
    with Processes() as processes:
        first, _, before = _fertile(processes, tmp_path)
        processes.kill("fertile")
        processes.restart("fertile", {"WORD": "again"})
        second, _, after = _line(tmp_path / "log", 1)
        assert (before, after) == ("None", "again")
        assert first != second
        os.kill(int(second), signal.SIGKILL)
        processes.all[0].popen.wait()
        with pytest.raises(ProcessDied, match="fertile ended with -9"):
            processes.check()


def _fertile(processes: Processes, tmp_path: Path) -> tuple[int, int, str]:
    (program := tmp_path / "fertile.py").write_text(FERTILE)
    processes.start("fertile", [sys.executable, str(program)], log=tmp_path / "log", env=os.environ)
    parent, child, word = _line(tmp_path / "log", 0)
    return int(parent), int(child), word


def _line(log: Path, number: int) -> list[str]:
    _wait_until(lambda: len(log.read_text().splitlines()) > number)
    return log.read_text().splitlines()[number].split()


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_a_process_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"]
    with Processes() as processes:
        processes.start("unlucky", command, log=tmp_path / "log", env=os.environ).popen.wait()
        with pytest.raises(ProcessDied, match=r"(?s)unlucky ended with 3.*out of luck"):
            processes.check()


def test_killing_the_one_who_started_it_ends_a_process(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from tests.airflow.processes import Processes\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "started = Processes().start('child', command, log=Path(sys.argv[1]), env=os.environ)\n"
        "print(started.popen.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _wait_until(lambda: not _runs(child))


def test_a_free_port_is_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
