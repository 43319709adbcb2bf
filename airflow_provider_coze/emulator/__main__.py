"""``python -m airflow_provider_coze.emulator``: serve until killed. One JSON line on stdout says that it is ready, and where."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.server import serve
from airflow_provider_coze.emulator.worldfile import WorldFileError, read_world

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; both end it cleanly.

    :returns: 0, or 2 for a world file that cannot be read, or 1 for a port that is taken.
    """
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_coze.emulator",
        description="A Coze on this machine, for tests and demonstrations. It imitates, it does not think.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine only)")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--dialect", choices=["cloud", "studio"], default="cloud")
    parser.add_argument(
        "--world", type=Path, metavar="FILE.yaml", help="bots and workflows; without it, the default ones"
    )
    given = parser.parse_args(arguments)
    try:
        world = read_world(given.world) if given.world else None
    except (OSError, WorldFileError) as error:
        print(f"cannot read the world: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(Emulator(world, dialect=given.dialect), given.host, given.port) as server:
            ready = {
                "base_url": server.base_url,
                "token": server.token,
                "connection": server.connection,
                "bots": [bot.id for bot in server.world.bots],
                "workflows": [workflow.id for workflow in server.world.workflows],
            }
            print(json.dumps(ready), flush=True)
            stop.wait()
    except OSError as error:
        print(f"cannot listen at {given.host}:{given.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
