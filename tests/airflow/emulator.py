"""The Coze emulator as a process of its own, as a user would start it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.airflow.processes import Processes
from tests.env.bootstrap import MAIN, ensure


class EmulatorProcess:
    """A running emulator and its control plane."""

    def __init__(self, base_url: str, token: str, connection: str) -> None:
        self.base_url, self.token, self.connection = base_url, token, connection
        self._session = requests.Session()
        self._session.trust_env = False

    @property
    def env(self) -> dict[str, str]:
        """The environment that makes it Airflow's default Coze."""
        return {"AIRFLOW_CONN_COZE_DEFAULT": self.connection}

    def control(self, name: str) -> Any:
        """Read ``/_emulator/<name>``."""
        answer = self._session.get(f"{self.base_url}/_emulator/{name}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def reset(self) -> None:
        """Forget every chat, run and request."""
        self._session.post(f"{self.base_url}/_emulator/reset", json={}, timeout=10).raise_for_status()

    def billed(self) -> Counter[str]:
        """Return what Coze would have billed: how many of each kind."""
        return Counter(entry["kind"] for entry in self.control("ledger")["ledger"])


@contextlib.contextmanager
def emulator() -> Iterator[EmulatorProcess]:
    """Run an emulator with its default world, on a free port, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="coze-emulator-") as place, Processes() as processes:
        log = Path(place) / "log"
        command = [str(ensure(MAIN)), "-m", "airflow_provider_coze.emulator", "--port", "0"]
        process = processes.start("emulator", command, log=log, env=os.environ)
        deadline = time.monotonic() + 30
        while not (lines := [line for line in log.read_text().splitlines() if line.startswith("{")]):
            process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"The emulator was not ready after 30 s:\n{log.read_text()}")
            time.sleep(0.05)
        ready = json.loads(lines[0])
        yield EmulatorProcess(ready["base_url"], ready["token"], ready["connection"])
