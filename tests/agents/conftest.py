"""A Coze for the agents' tests, and a second one to stand in for it. Where common.ai is not installed, only its absence is tested."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.server import serve
from tests import tasks
from tests.tasks import TOKEN, Coze, EventfulTime

coze_site, coze, studio = tasks.coze_site, tasks.coze, tasks.studio

#: `make agents` has it, in an environment of its own.
HAS_COMMON_AI = importlib.util.find_spec("airflow.providers.common.ai") is not None
collect_ignore = (
    []
    if HAS_COMMON_AI
    else ["test_agent_operator.py", "test_contract.py", "test_examples.py", "test_failover.py", "test_hook.py"]
)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Coze]:
    """Give a second Coze, reached by the connection ``coze_com``."""
    time = EventfulTime()
    emulator = Emulator(clock=time, token=TOKEN)
    with serve(emulator) as server:
        time.moved = server.keep_up
        site = Coze(emulator, server.base_url, time).fresh()
        monkeypatch.setenv("AIRFLOW_CONN_COZE_COM", site.connection())
        yield site
