"""The OAuth JWT login from an Airflow connection to a served answer: real keys, real sockets, one process."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import OAuthApp
from airflow_provider_coze.emulator.server import Server, serve
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import account

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    emulator = Emulator()
    emulator.world.oauth_apps.append(OAuthApp(client_id="1180", public_keys={"finger-print": PUBLIC}))
    with serve(emulator) as served:
        extra = {"auth_type": "oauth_jwt", "client_id": "1180", "public_key_id": "finger-print", "private_key": PEM}
        connection = {"conn_type": "coze", "host": served.base_url, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", json.dumps(connection))
        yield served


def issued(server: Server) -> int:
    return len(server.emulator.store.issued)


def test_the_test_button_works_with_a_private_key(server: Server) -> None:
    passed, message = CozeHook().test_connection()
    assert passed, message


def test_tasks_in_threads_share_one_token(server: Server) -> None:
    together = threading.Barrier(8)

    def work(_: int) -> int | None:
        together.wait()
        return CozeHook().list_workspaces().total_count

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1
    assert issued(server) == 1


async def test_triggers_on_one_event_loop_share_one_token(server: Server) -> None:
    async def work() -> object:
        hook = CozeHook()
        return await hook.aperform(flows.call(account.list_workspaces(), hook.retry))

    await asyncio.gather(*(work() for _ in range(20)))
    assert issued(server) == 1


def test_a_token_that_was_revoked_is_replaced_and_a_billed_run_started_once(server: Server) -> None:
    hook = CozeHook()
    hook.list_workspaces()
    server.emulator.store.issued.clear()
    hook.run_workflow(workflow_id=server.add_workflow(output="done").id, parameters={}, is_async=True)
    assert issued(server) == 1
    assert len(server.ledger) == 1


def test_an_app_that_coze_does_not_know_fails_the_test_button_with_what_to_check(server: Server) -> None:
    server.world.oauth_apps.clear()
    passed, message = CozeHook().test_connection()
    assert not passed
    assert "Token invalid" in message
    assert "invalid_client" in message
    assert "`public_key_id`" in message


def test_neither_the_key_nor_a_token_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    CozeHook().list_workspaces()
    (token,) = server.emulator.store.issued
    assert token not in caplog.text
    assert PEM.splitlines()[3] not in caplog.text
