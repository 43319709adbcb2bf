"""The harness keeps its promise: what it started ends, however it was started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
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
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(child)


def test_a_free_port_is_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
