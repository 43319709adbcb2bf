"""The fixture ``coze_emulator`` for your own DAG tests. pytest finds it by itself once the package is installed.

pytest loads this module in every run of every project that has the package, so nothing but pytest is imported before
the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_coze.emulator.server import Server
    from airflow_provider_coze.emulator.world import World

__all__ = ["coze_emulator", "coze_emulator_world"]


@pytest.fixture
def coze_emulator_world() -> World | None:
    """Override this to give ``coze_emulator`` a world of your own; None is the default world."""
    return None


@pytest.fixture
def coze_emulator(coze_emulator_world: World | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a Coze on a port of this machine, new for every test, with the connection ``coze_default`` pointing to it.

    It has ``base_url``, ``token``, ``connection``, ``ledger``, ``world``, ``script()``, ``advance()``, ``reset()``,
    ``add_bot()`` and ``add_workflow()``.
    """
    from airflow_provider_coze.emulator.app import Emulator
    from airflow_provider_coze.emulator.server import serve

    with serve(Emulator(coze_emulator_world)) as server:
        monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", server.connection)
        yield server
