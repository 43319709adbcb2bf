"""What there is to be seen: two emulated Cozes, an Airflow whose default connection is one of them, and runs of example DAGs in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.server import Server, serve
from tests.airflow.processes import free_port
from tests.airflow.rest import Task
from tests.airflow.stack import Stack, stack
from tests.env.bootstrap import ROOT

FOLDER = Path(__file__).parent
QUICKSTART, MAPPED, STUDIO = "example_coze_quickstart", "example_coze_workflow", "ask_studio"
#: Of the emulator's default world: fails in a node.
BROKEN_WORKFLOW = "7511500000000000004"
RUN_SECONDS = 300.0
#: Nothing to hide: the emulator makes tokens of its own, and this is none of them.
TOKEN_THAT_EXPIRED = "pat_that_has_expired"


@dataclass(frozen=True)
class Fields:
    """A connection, as somebody types it into the form."""

    conn_id: str
    host: str = ""
    password: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int | None:
        """The port that its host names."""
        return urlsplit(self.host).port


@dataclass
class Scene:
    """A running Airflow, what it is connected to, and what ran in it."""

    airflow: Stack
    cloud: Server
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def connections(self) -> dict[str, Fields]:
        """The three outcomes of a test, by name."""
        return {
            "works": Fields("coze_cn", self.cloud.base_url, self.cloud.token),
            "token": Fields("coze_old_token", self.cloud.base_url, TOKEN_THAT_EXPIRED),
            "host": Fields("coze_wrong_host", f"http://127.0.0.1:{free_port()}", self.cloud.token),
        }

    @property
    def app(self) -> Fields:
        """A connection with every kind of field and of secret."""
        return Fields(
            "coze_oauth",
            "https://api.coze.com",
            "",
            {
                "auth_type": "oauth_jwt",
                "client_id": "1180000000000",
                "public_key_id": "aB3dE5fG7hJ9",
                "private_key": "-----BEGIN PRIVATE KEY----- not a key -----END PRIVATE KEY-----",
                "token_ttl": "7200",
                "workspace_id": "7511400000000000001",
                "proxy": "http://airflow:not-a-password@proxy.internal:3128",
                "chat_qps": "plan",
            },
        )

    def run(
        self, name: str, dag_id: str, conf: dict[str, str] | None = None, *, expected: str = "success"
    ) -> list[Task]:
        """Run a DAG to its end under a name, and return its tasks.

        :raises RuntimeError: it did not end as expected, so that the pictures would show something else.
        """
        self.airflow.wait_dag(dag_id)
        self.runs[name] = run_id = self.airflow.rest.trigger(dag_id, conf)
        state = self.airflow.rest.wait_run(dag_id, run_id, RUN_SECONDS, check=self.airflow.processes.check)
        tasks = self.airflow.rest.tasks(dag_id, run_id)
        if state != expected:
            raise RuntimeError(f"{dag_id} is {state}, not {expected}: {[(task.task_id, task.state) for task in tasks]}")
        return tasks


@contextlib.contextmanager
def scene(version: str) -> Iterator[Scene]:
    """Set everything up for one version of Airflow, with its DAGs run, until the end of the block.

    One DAG asks an emulated Coze Studio, whose pages are where its API is: with an emulated coze.cn no link leads to a bot.
    """
    with serve(Emulator()) as cloud, serve(Emulator(dialect="studio")) as studio:
        studio_too = json.loads(studio.connection)
        studio_too["extra"] = {"dialect": "studio", "workspace_id": "7511400000000000001"}
        env = {
            "AIRFLOW_CONN_COZE_DEFAULT": cloud.connection,
            "AIRFLOW_CONN_COZE_STUDIO": json.dumps(studio_too),
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            # Airflow 2's web server takes itself for dead after two minutes in which it has seen no worker of its own.
            "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "3600",
        }
        with stack(version, dags=[ROOT / "example_dags", FOLDER / "dags"], env=env) as airflow:
            made = Scene(airflow, cloud)
            made.run("quickstart", QUICKSTART)
            made.run("broken", QUICKSTART, {"workflow_id": BROKEN_WORKFLOW}, expected="failed")
            made.run("mapped", MAPPED)
            made.run("studio", STUDIO)
            yield made
