"""One emulator and one PostgreSQL per session, and one running Airflow at a time, each started when a test first asks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import default_world
from airflow_provider_coze.emulator.definitions import OAuthApp
from airflow_provider_coze.emulator.server import Server, serve
from tests.airflow.postgres import Postgres, postgres
from tests.airflow.processes import ending_on_sigterm
from tests.airflow.stack import Stack, stack
from tests.env.bootstrap import ROOT

CLIENT_ID, PUBLIC_KEY_ID = "1170000000000", "fingerprint-of-the-public-key"
#: 12 workers keep two cores busy and no more. At 32 the scheduler falls so far behind that its own race (see
#: https://github.com/apache/airflow/issues/66374) failed 10 of 200 tries even with deferrals of 8 s.
SETTINGS = {"AIRFLOW__CORE__PARALLELISM": "12"}


@pytest.fixture(scope="session", autouse=True)
def _sigterm_stops_everything() -> Iterator[None]:
    with ending_on_sigterm():
        yield


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def coze(private_key: rsa.RSAPrivateKey) -> Iterator[Server]:
    """Serve the default world, with one OAuth app."""
    world = default_world()
    public = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    world.oauth_apps.append(OAuthApp(CLIENT_ID, {PUBLIC_KEY_ID: public.decode()}))
    with serve(Emulator(world)) as server:
        yield server


@pytest.fixture(scope="session")
def database_server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def airflow_of(coze: Server, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Stack]]:
    """Return the running Airflow of a name such as ``3.3.2-postgres``; the one before it is stopped first.

    One at a time, because two cores carry one: its four components and its tasks.
    """
    with ExitStack() as running:
        current: dict[str, Stack] = {}
        numbers = itertools.count(1)

        def get(name: str) -> Stack:
            if name not in current:
                running.close()
                current.clear()
                version, _, kind = name.partition("-")
                url = None
                if kind == "postgres":
                    server: Postgres = request.getfixturevalue("database_server")
                    # Numbered, because a name may come again: its database is there then, with all that ran in it.
                    url = server.create(f"airflow_{version.replace('.', '_')}_{next(numbers)}")
                current[name] = running.enter_context(
                    stack(
                        version,
                        dags=[ROOT / "example_dags", ROOT / "tests" / "airflow" / "dags"],
                        env={**SETTINGS, "AIRFLOW_CONN_COZE_DEFAULT": coze.connection},
                        database=url,
                    )
                )
            return current[name]

        yield get
