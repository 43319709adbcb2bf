"""Where common.ai is not installed: one clear error for whoever wants an agent, and nothing for all others."""

from __future__ import annotations

import importlib
import sys

import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

ROOM = "airflow_provider_coze.agents"


@pytest.mark.parametrize("module", ["coze", "failover"])
def test_whoever_wants_an_agent_is_told_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.common.ai.managed_agents", None)  # also where it is installed
    for name in ("contract", module):
        monkeypatch.delitem(sys.modules, f"{ROOM}.{name}", raising=False)
    importlib.import_module(ROOM)
    with pytest.raises(AirflowOptionalProviderFeatureException) as caught:
        importlib.import_module(f"{ROOM}.{module}")
    assert "pip install 'airflow-provider-coze[common-ai]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)
