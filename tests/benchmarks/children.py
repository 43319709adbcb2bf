"""Start a module of these benchmarks in a fresh process, so that CPU and memory are its own, and take its one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.env.bootstrap import ROOT, python_of

#: The environment with the providers that are measured beside ours; ``make bench PEERS=1`` makes it.
PEERS_ENVIRONMENT = "peers"


def told(module: str, *arguments: str, peers: bool = False, seconds: float = 180) -> dict[str, Any]:
    """Run ``python -m tests.benchmarks.<module>`` and return what it printed last.

    :raises RuntimeError: it failed, and the error has its last words; or it has not ended after so many *seconds*.
    """
    # Not resolved: the interpreter of an environment is a link, and knows by its own path which environment it is of.
    python = str(python_of(PEERS_ENVIRONMENT) if peers else Path(sys.executable))
    command = [python, "-m", f"tests.benchmarks.{module}", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    try:
        ended = subprocess.run(
            command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"{' '.join(command)}\nhas not ended after {seconds:g} s") from late
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)}\n{ended.stderr[-3000:]}")
    return json.loads(lines[-1])


def have_peers() -> bool:
    """Tell whether the other providers are installed."""
    return python_of(PEERS_ENVIRONMENT).exists()


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(text, file=sys.stderr, flush=True)
