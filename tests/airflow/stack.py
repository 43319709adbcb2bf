"""A real Airflow of any locked version: its own home, its own ports, every component, ended with everything it started.

The components are started one by one rather than with ``airflow standalone``: each then has a log of its own, and all are
healthy after 11 s instead of 24 (3.3.2, two cores, a database that is migrated already).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.airflow.processes import ProcessDied, Processes, free_port, tail
from tests.airflow.rest import Rest
from tests.env.bootstrap import LOCKS, MAIN, ROOT, ensure

COMPONENTS_2 = ("webserver", "scheduler", "triggerer")
COMPONENTS_3 = ("api-server", "scheduler", "dag-processor", "triggerer")
#: The triggerer comes first: its watchdog then reports what blocks its loop, and not that a dozen task processes, which
#: inherit the scheduler's priority, want two cores.
NICE = {"scheduler": 5, "dag-processor": 5, "triggerer": -10}
#: Two cores need 11 s (3.3.2) to 18 s (2.11.2); a busy CI machine may need a multiple.
HEALTHY_SECONDS = 180.0


class Stack:
    """One running Airflow. Made by :func:`stack`."""

    def __init__(self, version: str, home: Path, processes: Processes, env: dict[str, str], url: str) -> None:
        self.version, self.home, self.processes, self.env, self.url = version, home, processes, env, url
        self.rest = Rest(url, version)
        self.logs = home / "logs"

    def component_log(self, name: str) -> Path:
        """Return the file a component writes to: ``scheduler``, ``triggerer``, ``dag-processor``, ``api-server``."""
        return self.home / f"{name}.log"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of its metadata database."""
        return self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]

    def task_logs(self, dag_id: str, task_id: str) -> str:
        """Return every line a task and its triggers wrote to disk, all runs and tries of it."""
        files = sorted(self.logs.glob(f"dag_id={dag_id}/**/task_id={task_id}/**/*.log*"))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def start(self, name: str) -> None:
        """Start a component."""
        # Tasks run on this machine, so their logs are files here; nobody needs the two log servers and their ports.
        options = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
        command = [str(ensure(self.version)), "-m", "airflow", name, *options]
        self.processes.start(name, command, log=self.component_log(name), env=self.env, nice=NICE.get(name, 0))

    def wait_healthy(self, seconds: float = HEALTHY_SECONDS) -> None:
        """Wait until every component reports itself healthy."""
        deadline = time.monotonic() + seconds
        while True:
            health = self.rest.health()
            # 2.11 lists the dag processor without a status: it runs inside the scheduler there.
            if health and all(status in ("healthy", None) for status in health.values()):
                return
            self.processes.check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {process.name}\n{tail(process.log, 15)}" for process in self.processes.all)
                raise TimeoutError(f"Airflow {self.version} was not healthy after {seconds:g} s: {health}\n{logs}")
            time.sleep(0.25)

    def wait_dag(self, dag_id: str, seconds: float = 60.0) -> None:
        """Wait until Airflow has parsed the DAG."""
        deadline = time.monotonic() + seconds
        while dag_id not in self.rest.dag_ids():
            self.processes.check()
            if (errors := self.rest.import_errors()) or time.monotonic() > deadline:
                raise RuntimeError(f"Airflow {self.version} did not load {dag_id}:\n" + "\n".join(errors))
            time.sleep(0.25)


@contextlib.contextmanager
def stack(
    version: str = MAIN,
    *,
    dags: Sequence[Path],
    env: Mapping[str, str] | None = None,
    database: str | None = None,
    home: Path | None = None,
) -> Iterator[Stack]:
    """Run an Airflow of *version* until the end of the block, healthy when the block begins.

    :param dags: Files and directories copied into its DAG folder.
    :param env: More of its environment, such as ``AIRFLOW_CONN_COZE_DEFAULT``.
    :param database: SQLAlchemy URL of an empty database; SQLite without it.
    :param home: Empty directory to use and keep; a temporary one without it.
    """
    ensure(version)
    place = home or Path(tempfile.mkdtemp(prefix=f"coze-airflow-{version}-"))
    try:
        settings = prepare(version, place, dags=dags, env=env, database=database)
        for attempt in range(3):
            port = free_port()
            running = {**settings, **_addresses(version, port)}
            with Processes() as processes:
                try:
                    started = _start(version, place, processes, running, port)
                except ProcessDied as death:
                    # Somebody took the port between our look and Airflow's bind.
                    if attempt < 2 and "address already in use" in str(death).lower():
                        continue
                    raise
                with contextlib.closing(started.rest):
                    yield started
            return
    finally:
        if home is None:
            shutil.rmtree(place, ignore_errors=True)


def prepare(
    version: str,
    home: Path,
    *,
    dags: Sequence[Path],
    env: Mapping[str, str] | None = None,
    database: str | None = None,
) -> dict[str, str]:
    """Fill an Airflow home (DAGs, migrated database) and return the environment for its processes."""
    folder = home / "dags"
    folder.mkdir(parents=True)
    for source in dags:
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy2(source, folder)
    # Without a file, four components would each generate one at the same moment and read each other's halves.
    (home / "airflow.cfg").write_text("# every setting is in the environment\n")
    settings = {**_clean_environment(version), **_settings(version, home, database), **(env or {})}
    if version.startswith("2."):
        # No login for the tests' client, and none for whoever opens the UI on this loopback address.
        (home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = True\n")
    if database is None:
        shutil.copy2(_migrated_sqlite(version, settings), home / "airflow.db")
    else:
        airflow(version, settings, "db", "migrate")
    return settings


def airflow(version: str, env: Mapping[str, str], *arguments: str) -> str:
    """Run one ``airflow`` command to its end and return what it printed."""
    command = [str(ensure(version)), "-m", "airflow", *arguments]
    done = subprocess.run(
        command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"airflow {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def _start(version: str, home: Path, processes: Processes, env: dict[str, str], port: int) -> Stack:
    started = Stack(version, home, processes, env, f"http://127.0.0.1:{port}")
    for name in COMPONENTS_2 if version.startswith("2.") else COMPONENTS_3:
        started.start(name)
    started.wait_healthy()
    return started


def _migrated_sqlite(version: str, settings: Mapping[str, str]) -> Path:
    """Return an empty, migrated SQLite database; made once per lock, for a migration takes 8 s and a copy none."""
    lock = hashlib.sha256((LOCKS / f"airflow-{version}.txt").read_bytes()).hexdigest()[:12]
    ready = ROOT / ".cache" / f"airflow-{version}-{lock}.db"
    if not ready.exists():
        with tempfile.TemporaryDirectory(prefix="coze-migrate-") as place:
            fresh = Path(place) / "airflow.db"
            here = {"AIRFLOW_HOME": place, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{fresh}"}
            airflow(version, {**settings, **here}, "db", "migrate")
            half = ready.with_suffix(f".{os.getpid()}")
            shutil.copy2(fresh, half)
            half.replace(ready)
    return ready


def _clean_environment(version: str) -> dict[str, str]:
    """Return our environment without what would reach into Airflow from outside."""
    foreign = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "COZE", "PYTEST", "MAKE", "MFLAGS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    loopback = ",".join(filter(None, [kept.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **kept,
        # Airflow 2 finds its own `airflow` through PATH when it runs a task.
        "PATH": f"{ensure(version).parent}{os.pathsep}{kept.get('PATH', '')}",
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }


def _settings(version: str, home: Path, database: str | None) -> dict[str, str]:
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": key,
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    }
    if version.startswith("2."):
        if database is None:
            settings["AIRFLOW__CORE__EXECUTOR"] = "SequentialExecutor"  # all that Airflow 2 allows on SQLite
        settings["AIRFLOW__WEBSERVER__SECRET_KEY"] = key
        settings["AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL"] = "5"
        settings["AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL"] = "5"
        settings["AIRFLOW__API__AUTH_BACKENDS"] = "airflow.api.auth.backend.default"
    else:
        settings["AIRFLOW__API_AUTH__JWT_SECRET"] = secrets.token_hex(32)
        settings["AIRFLOW__API__SECRET_KEY"] = key
        settings["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "True"
        settings["AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL"] = "5"
        settings["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"] = "5"
    return settings


def _addresses(version: str, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    if version.startswith("2."):
        section = "AIRFLOW__WEBSERVER__"
        return {
            f"{section}WEB_SERVER_HOST": "127.0.0.1",
            f"{section}WEB_SERVER_PORT": str(port),
            f"{section}BASE_URL": url,
            f"{section}WORKERS": "1",
        }
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": url,
        # Its default is port 8080 of this machine, whatever the API server's port.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
    }
