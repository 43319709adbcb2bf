"""The OAuth JWT login on a real Airflow, its connection in the metadata database: it works, and leaves no secret behind."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.server import Server
from tests.airflow.conftest import CLIENT_ID, PUBLIC_KEY_ID
from tests.airflow.runs import Run, run_dag, stored, written
from tests.airflow.stack import Stack

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pem(private_key: rsa.RSAPrivateKey) -> str:
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture(scope="module")
def run(airflow_of: Callable[[str], Stack], coze: Server, pem: str) -> Run:
    airflow = airflow_of("3.3.2-postgres")
    extra = {
        "auth_type": "oauth_jwt",
        "client_id": CLIENT_ID,
        "public_key_id": PUBLIC_KEY_ID,
        "private_key": pem,
    }
    body = {"connection_id": "coze_oauth", "conn_type": "coze", "host": coze.base_url, "extra": json.dumps(extra)}
    airflow.rest.post("/connections", body)
    return run_dag(airflow, "oauth", coze)


def test_the_worker_and_the_triggerer_log_in(run: Run) -> None:
    assert run.state == "success"
    assert run.xcom("ask") == "awake"
    assert run.xcom("run") == {"output": "done"}
    assert [run.deferrals(task_id) for task_id in ("ask", "run")] == [1, 1]


def test_neither_the_key_nor_a_token_is_written_anywhere(run: Run, coze: Server, pem: str) -> None:
    issued = list(coze.emulator.store.issued)
    assert issued
    secrets = [*issued, *(line for line in pem.splitlines() if len(line) == 64)]
    after = stored(run.airflow.database)
    assert "coze_oauth" in after  # so the connections are in it, the extra encrypted
    texts = {"while deferred": run.stored_while_deferred, "afterwards": after}
    texts |= {str(path): text for path, text in written(run.airflow.home)}
    assert [where for where, text in texts.items() if any(secret in text for secret in secrets)] == []
