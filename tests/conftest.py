"""Fixtures that every kind of test may use. No test touches an address beyond loopback, and none waits for real time."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

# Before anything imports airflow: its home is made on import, and must not be the developer's own.
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

import pytest
from hypothesis import settings

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.server import serve
from tests import driving

# How long an example takes says more about the machine than about the code.
settings.register_profile("project", deadline=None, max_examples=60)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _no_connection_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that forgets its connection must not find one in the environment, nor a proxy."""
    for name in list(os.environ):
        if name.startswith("AIRFLOW_CONN_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def virtual_time() -> driving.VirtualTime:
    return driving.VirtualTime()


@pytest.fixture
def emulator(virtual_time: driving.VirtualTime) -> Emulator:
    """An emulator whose clock is the test's own: chats go on when the test sleeps."""
    return Emulator(clock=virtual_time)


@pytest.fixture(params=[driving.over_memory, driving.over_requests, driving.over_aiohttp], ids=lambda way: way.__name__)
def perform(
    request: pytest.FixtureRequest, emulator: Emulator, virtual_time: driving.VirtualTime
) -> Iterator[driving.Perform]:
    """Every test using this runs once per way of reaching Coze. No test may ask which."""
    if request.param is driving.over_memory:
        yield request.param(emulator, "memory://emulator", virtual_time)
        return
    with serve(emulator) as server:
        yield request.param(emulator, server.base_url, virtual_time)
