"""Install a wheel alone into an environment of its own, run the quickstart there, and list what came with it.

Everything runs outside the repository, with no path of it in the environment: what works here works for who has only the wheel.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.env.bootstrap import ROOT, install_wheel

DAG_ID = "example_coze_quickstart"
TASKS = ("ask_bot", "read_table", "run_workflow")
#: The national total of the census in example_dags/data; its README names the source.
POPULATION = 1_409_778_724
READY_SECONDS = 60.0
#: A busy machine took 154 s for what a free one does in 30.
RUN_SECONDS = 600.0
#: Prints where the package is imported from, and the version that Airflow's own look at its providers has found.
LOOK = """
import json, airflow_provider_coze
from airflow.providers_manager import ProvidersManager
print(json.dumps([airflow_provider_coze.__file__, airflow_provider_coze.__version__,
                  ProvidersManager().providers["airflow-provider-coze"].version]))
"""


class Fresh:
    """An environment with one wheel and one Airflow, and a directory to run in."""

    def __init__(self, wheel: Path, place: Path, airflow: str) -> None:
        self.place, self.home = place, place / "airflow"
        self.python = install_wheel(wheel, place / "venv", airflow)
        self.home.mkdir()

    def run(self, *arguments: str, seconds: float = RUN_SECONDS, **more: str) -> str:
        """Run a Python command to its end and return what it wrote to stdout.

        :raises ValueError: it failed; with the end of what it said.
        """
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.home,
            env=self._env(more),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode != 0:
            raise ValueError(f"python {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def look(self, version: str) -> None:
        """Check that Python and Airflow have the wheel's package, and have it from this environment.

        :raises ValueError: they have another one.
        """
        file, own, listed = json.loads(self.run("-c", LOOK).splitlines()[-1])
        if not Path(file).is_relative_to(self.place) or {own, listed} != {version}:
            raise ValueError(f"version {version} is installed, but {file} is imported, {own} and {listed} are reported")

    def quickstart(self) -> None:
        """Run the quickstart as the tutorial does: `airflow db migrate`, an emulator, `airflow dags test`.

        :raises ValueError: a task has not succeeded, an answer is wrong, or not one chat and one run were billed.
        """
        shutil.copytree(ROOT / "example_dags", self.home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        self.run("-m", "airflow", "db", "migrate")
        with self._emulator() as coze:
            # Nothing races here without a scheduler, so a deferral may be as short as it likes.
            more = {"AIRFLOW_CONN_COZE_DEFAULT": coze["connection"], "AIRFLOW__COZE__MIN_DEFERRAL_SECONDS": "0"}
            self.run("-m", "airflow", "dags", "test", DAG_ID, **more)
            billed = sorted(entry["kind"] for entry in _get(f"{coze['base_url']}/_emulator/ledger")["ledger"])
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db")) as database:
            states = dict(database.execute("SELECT task_id, state FROM task_instance"))
            query = "SELECT value FROM xcom WHERE task_id = 'run_workflow' AND key = 'return_value'"
            [[output]] = database.execute(query)
        if states != dict.fromkeys(TASKS, "success"):
            raise ValueError(f"the quickstart ended in {states}")
        if json.loads(output)["total"] != POPULATION or billed != ["chat", "workflow"]:
            raise ValueError(f"the quickstart answered {output}, and {billed} was billed")

    @contextlib.contextmanager
    def _emulator(self) -> Iterator[dict[str, Any]]:
        command = [str(self.python), "-m", "airflow_provider_coze.emulator", "--port", "0"]
        with (self.place / "emulator.json").open("w+") as said:
            process = subprocess.Popen(command, cwd=self.home, env=self._env({}), stdout=said)
            try:
                deadline = time.monotonic() + READY_SECONDS
                while not (lines := (self.place / "emulator.json").read_text().splitlines()):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise ValueError(f"the emulator has not started; it ended with {process.poll()}")
                    time.sleep(0.05)
                yield json.loads(lines[0])
            finally:
                process.terminate()
                process.wait(10)

    def _env(self, more: Mapping[str, str]) -> dict[str, str]:
        foreign = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "COZE", "PYTEST", "MAKE", "MFLAGS")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return {
            **kept,
            "PATH": f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": str(self.home / "dags"),
            **more,
        }


def bill_of_materials(fresh: Fresh, out: Path, version: str, seconds: int) -> Path:
    """Write what the wheel was installed together with, as CycloneDX; its versions are those that were tested.

    :raises ValueError: it is not about this wheel, or misses something, or has what only tests need.
    """
    path = out / f"airflow_provider_coze-{version}.cdx.json"
    tool = str(Path(sys.executable).parent / "cyclonedx-py")
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library", "--output-reproducible"]
    subprocess.run(
        [tool, "environment", *options, "-o", str(path), str(fresh.python)],
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(seconds)},
        cwd=fresh.home,
    )
    text = path.read_text(encoding="utf-8")
    problems = list(bill_problems(json.loads(text), version))
    if str(fresh.place) in text or str(ROOT) in text:
        problems.append("it names a directory of this machine")
    if problems:
        raise ValueError(f"{path.name}: {'; '.join(problems)}")
    return path


def bill_problems(bill: Mapping[str, Any], version: str) -> Iterator[str]:
    """Yield what is wrong with a list of materials, in words."""
    about = bill.get("metadata", {}).get("component", {})
    if (about.get("name"), about.get("version")) != ("airflow-provider-coze", version):
        yield f"it is about {about.get('name')} {about.get('version')}"
    names = {component["name"]: component for component in bill.get("components", [])}
    for name in ("apache-airflow", "apache-airflow-providers-common-compat", "aiohttp", "requests", "pydantic"):
        if name not in names:
            yield f"{name} is missing"
    if "pytest" in names or "ruff" in names:
        yield "it has what only tests need"
    if nameless := [
        name for name, component in names.items() if not component.get("version") or not component.get("purl")
    ]:
        yield f"no version or address of {', '.join(nameless)}"


def _get(address: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=10) as answer:
        return json.load(answer)
