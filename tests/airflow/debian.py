"""Servers that tests need and a bare machine lacks: installed from Debian's packages, without the services that come with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["install"]


def install(package: str, name: str, programs: str) -> None:
    """Install a package.

    :param name: of the server, for people.
    :param programs: what has to be on PATH instead, where there is no apt-get.
    :raises RuntimeError: it cannot be installed.
    """
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"No {name} server found, and no apt-get to install one: put {programs} on PATH")
    print(f"Installing {name} …", file=sys.stderr, flush=True)
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    # RUNLEVEL=1: in single-user mode Debian's maintainer scripts start no service.
    settings = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(
            [*root, *settings, "apt-get", "-q", *command], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"apt-get {command[0]} failed with {done.returncode}:\n{done.stdout[-2000:]}")
