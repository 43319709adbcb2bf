"""Make the virtual environments everything else runs in, from nothing but a Python and its pip.

``python3 tests/env/bootstrap.py 3.3.2 2.11.2`` makes ``.venv`` and ``.venv-2.11.2`` from ``locks/``; a second call
finds their stamps and returns at once. ``bootstrap.py --lock`` remakes the locks. Standard library only, and readable
by Python 3.7: it has to be able to say that the Python it runs on is too old.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"
TOOLS = ROOT / ".cache" / "tools"
#: The version `make demo`, `make unit` and `make lint` use; its environment is the plain `.venv`.
MAIN = "3.3.2"
VERSIONS = (MAIN, "3.2.2", "3.1.8", "3.0.6", "2.11.2")
#: No Airflow: what builds a release and checks it, without our package or anything that it needs.
RELEASE = "release"
#: No Airflow either: what builds the site of the documentation, which reads our source and imports none of it.
DOCS = "docs"
#: What each environment without Airflow and without our package is for.
ALONE = {RELEASE: "what releases need", DOCS: "what the documentation needs"}
#: The locks were resolved for the first; Airflow 2.11.2 refuses 3.13 and later.
PYTHONS = ("python3.11", "python3.12")


def environment(version: str = MAIN) -> Path:
    """Return where the environment of one Airflow version, or of one of :data:`ALONE`, lives, made or not."""
    return ROOT / (".venv" if version == MAIN else f".venv-{version}")


def python_of(version: str = MAIN) -> Path:
    """Return the interpreter of one Airflow version's environment, made or not."""
    return environment(version) / "bin" / "python"


def lock_of(version: str = MAIN) -> Path:
    """Return the lock of one Airflow version, or of one of :data:`ALONE`."""
    return LOCKS / (f"{version}.txt" if version in ALONE else f"airflow-{version}.txt")


def ensure(version: str = MAIN) -> Path:
    """Make the environment of one Airflow version unless it is there and current; return its interpreter."""
    stamp = environment(version) / ".stamp"
    if _stamped(stamp) == _fingerprint(version):
        return python_of(version)
    with _alone():
        fingerprint = _fingerprint(version)
        if _stamped(stamp) != fingerprint:  # another process may have made it while this one waited
            started = time.monotonic()
            what = ALONE.get(version, f"Airflow {version}")
            _say(f"Installing {what} into {environment(version).name} …")
            _install(version)
            stamp.write_text(fingerprint)
            _say(f"Installed {what} in {time.monotonic() - started:.0f} s")
    return python_of(version)


def install_wheel(wheel: Path, home: Path, version: str = MAIN) -> Path:
    """Make an environment at *home* of one wheel, one Airflow and what these need, as locked; return its interpreter.

    Nothing of this checkout is in it.
    """
    python, airflow = home / "bin" / "python", f"apache-airflow=={version}"
    try:
        uv = _uv()
        _run([uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", _python(), str(home)])
        options = ["--quiet", "--python", str(python), "-c", str(lock_of(version))]
        _run([uv, "pip", "install", *options, str(wheel), airflow], more=_index())
    except (subprocess.CalledProcessError, OSError) as failure:
        _say(f"uv did not manage ({failure}); trying pip")
        _run([_python(), "-m", "venv", "--clear", str(home)])
        _run([str(python), "-m", "pip", "install", "--quiet", "-c", str(lock_of(version)), str(wheel), airflow])
    return python


def lock(upgrade: bool) -> None:
    """Resolve every lock again. Without *upgrade*, pins that still fit are kept."""
    uv = _uv()
    # No index address is ever emitted, so the locks hold names and versions only.
    options = ["--quiet", "--python-version", "3.11", "--no-annotate", "--custom-compile-command", "make lock"]
    options += ["--upgrade"] if upgrade else []
    # The tools first: others are resolved within them.
    for source in sorted(LOCKS.glob("*.in"), key=lambda source: (source.stem != "tools", source.stem)):
        name = source.stem
        inputs = [f"locks/{source.name}"]
        if name == DOCS:
            inputs += ["--group", DOCS]
        elif name not in ("tools", RELEASE):
            inputs += ["pyproject.toml", "--group", "test"]
        if name == f"airflow-{MAIN}":
            inputs += ["--group", "lint"]
        _run([uv, "pip", "compile", *options, *inputs, "-o", f"locks/{name}.txt"])
        _say(f"locks/{name}.txt")


def _install(version: str) -> None:
    home, requirements = environment(version), lock_of(version)
    package = "" if version in ALONE else f"-e {ROOT}\n"
    try:
        uv = _uv()
        if not python_of(version).exists():
            _run([uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", _python(), str(home)])
        # One `sync` with the package in it: a `sync` of the lock alone would first uninstall our package.
        options = ["--quiet", "--python", str(python_of(version)), "--build-constraints", str(LOCKS / "tools.txt")]
        # Compiled once here (5 s): otherwise the four components of the first Airflow each compile everything at once.
        options.append("--compile-bytecode")
        _run([uv, "pip", "sync", *options, str(requirements), "-"], stdin=package, more=_index())
    except (subprocess.CalledProcessError, OSError) as failure:
        # A machine may reach its packages only the way its pip is configured. Slower, and the same result.
        _say(f"uv did not manage ({failure}); trying pip")
        _run([_python(), "-m", "venv", "--clear", str(home)])
        pip = [str(python_of(version)), "-m", "pip", "install", "--quiet", "--no-deps"]
        _run([*pip, "-r", str(requirements)])
        if package:
            _run([*pip, "-e", str(ROOT)])


def _uv() -> str:
    """Return a uv of the pinned version, installed beside the environments: a `sync` must not remove it."""
    binary, stamp, wanted = TOOLS / "bin" / "uv", TOOLS / ".stamp", _digest(LOCKS / "tools.txt")
    if not binary.exists() or _stamped(stamp) != wanted:
        shutil.rmtree(TOOLS, ignore_errors=True)
        pin = next(line for line in (LOCKS / "tools.txt").read_text().splitlines() if line.startswith("uv=="))
        # `--target` also works where Debian marks its Python "externally managed" or ships no `ensurepip`.
        _run([_python(), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(TOOLS), pin])
        stamp.write_text(wanted)
    return str(binary)


def _index() -> dict[str, str]:
    """Return the package index of pip's settings as uv wants to be told it: uv reads none of them.

    Where a mirror is near and the index itself far away, this is the difference between one minute and twenty.
    """
    if any(name.startswith("UV_") and "INDEX" in name for name in os.environ):
        return {}
    listed = subprocess.run([_python(), "-m", "pip", "config", "list"], stdout=subprocess.PIPE, check=False).stdout
    return index_of(listed.decode())


def index_of(listed: str) -> dict[str, str]:
    """Return what `pip config list` says of indexes, as environment variables of uv."""
    variables = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}
    found: dict[str, str] = {}
    # As in pip: what its command says beats what is said for all, and the environment beats both.
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            variable = variables.get(name[len(section) :])
            if name.startswith(section) and variable:
                found[variable] = " ".join(value.strip("' ").replace("\\n", " ").split())
    return found


def _python() -> str:
    """Return an interpreter the locks fit: this one if it does, else one from PATH."""
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return getattr(sys, "_base_executable", sys.executable)
    for name in PYTHONS:
        # A pyenv shim exists for every version it ever had, so only an answer counts.
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            command = [name, "-c", "import sys, pip; print(sys.executable)"]
            return subprocess.check_output(command, stderr=subprocess.DEVNULL).decode().strip()
    raise SystemExit(
        f"This needs Python 3.11 or 3.12 with pip; {sys.executable} is {sys.version.split()[0]}, PATH has none. "
        "Install one (Debian: apt-get install python3 python3-pip), or name it: make PYTHON=/path/to/python3.11"
    )


def _fingerprint(version: str) -> str:
    """Return what an environment was made from: its lock, our metadata, the build tools, and where the checkout is."""
    files = (lock_of(version), ROOT / "pyproject.toml", LOCKS / "tools.txt")
    return "\n".join([*map(_digest, files), str(ROOT)])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stamped(stamp: Path) -> str:
    return stamp.read_text() if stamp.exists() else ""


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two `make` at once must not install into one environment."""
    TOOLS.parent.mkdir(exist_ok=True)
    with (TOOLS.parent / "bootstrap.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: list[str], stdin: str = "", more: dict[str, str] | None = None) -> None:
    # VIRTUAL_ENV of the caller's shell would make uv warn, or choose another environment.
    clean = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    quiet = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, check=True, cwd=str(ROOT), env={**clean, **quiet, **(more or {})}, input=stdin.encode())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Make the named environments, or the locks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", help=f"Airflow versions with a lock, or {RELEASE!r}")
    parser.add_argument("--lock", action="store_true", help="remake locks/*.txt")
    parser.add_argument("--upgrade", action="store_true", help="with --lock: take the newest versions that fit")
    options = parser.parse_args()
    try:
        if options.lock:
            lock(options.upgrade)
        for version in options.versions:
            ensure(version)
    except subprocess.CalledProcessError as failure:
        raise SystemExit(f"{' '.join(map(str, failure.cmd))}\nexited with {failure.returncode}") from None


if __name__ == "__main__":
    main()
