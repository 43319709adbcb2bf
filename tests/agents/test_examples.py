"""The example DAG and the snippets of docs/howto/agents.md, run."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.ai.managed_agents import ManagedAgentRequest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.definitions import Bot, Template
from tests.airflow.emulator import emulator as emulator_process
from tests.airflow.stack import prepare
from tests.env.bootstrap import MAIN, ROOT
from tests.tasks import Coze

PROGRAM = "import sys; from example_coze_agent import dag; sys.exit(dag.test().state != 'success')"


@pytest.mark.airflow
@pytest.mark.timeout(300)
def test_the_example_asks_the_bot_once(tmp_path: Path) -> None:
    model = json.dumps({"conn_type": "pydanticai", "extra": {"model": "test"}})
    with emulator_process() as site:
        # The same Airflow, so it needs no database of its own; `sys.executable` has common.ai beside it.
        env = prepare(MAIN, tmp_path / "home", dags=[ROOT / "example_dags" / "example_coze_agent.py"], env=site.env)
        env |= {"AIRFLOW_CONN_PYDANTICAI_DEFAULT": model, "PYTHONPATH": str(tmp_path / "home" / "dags")}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=240)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "Consulted managed agent 7511000000000000002 on coze.bot" in said
        assert site.billed() == {"chat": 1}


def snippet(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "snippets" / f"{name}.py"))


def test_the_sites_of_the_page_stand_in_for_each_other(
    coze: Coze, stand_in: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_CN", coze.connection())
    coze.script(scenarios.refused())
    stand_in.emulator.world.bots = [Bot(id="7322000000000000002", name="policy", answer=Template("No: {message}"))]
    policy_bot = snippet("agent_failover")["policy_bot"]
    for member, site in zip(policy_bot.members, (coze, stand_in, stand_in), strict=True):
        site.timed(member.hook)
    assert policy_bot.invoke(ManagedAgentRequest(prompt="May I?")).text == "No: May I?"


def test_python_asks_twice_in_one_conversation(coze: Coze) -> None:
    made = snippet("agent_by_hand")
    hook = made["CozeManagedAgentHook"]
    made["ask_twice"].__globals__["CozeManagedAgentHook"] = lambda conn_id: coze.timed(hook(conn_id))
    found = made["ask_twice"]()
    assert found["answer"] == "You said: And at night?"
    assert len({bought.conversation_id for bought in coze.ledger}) == 1
    assert found["chat_id"] == coze.ledger[1].id
    assert found["tokens"] > 0
