"""What common.ai asks of a hook, held against the common.ai that is installed."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from airflow.providers.common.ai.managed_agents import BaseManagedAgentHook, BoundManagedAgent, ManagedAgentClient
from airflow.providers.common.ai.toolsets import ManagedAgentToolset

from airflow_provider_coze.agents.asking import OPTIONS
from airflow_provider_coze.agents.coze import CozeManagedAgentHook
from airflow_provider_coze.agents.failover import coze_failover
from airflow_provider_coze.emulator.default_world import ECHO_BOT
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from tests.env.bootstrap import ROOT


def test_the_extra_allows_the_version_that_is_tested() -> None:
    assert int(version("apache-airflow-providers-common-ai").partition(".")[0]) >= 1


def test_nothing_abstract_is_left_and_every_method_has_the_contracts_signature() -> None:
    assert not inspect.isabstract(CozeManagedAgentHook)
    for name in BaseManagedAgentHook.__abstractmethods__:
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (CozeManagedAgentHook, BaseManagedAgentHook))
        assert list(ours.parameters) == list(theirs.parameters), name
        assert ours.return_annotation == theirs.return_annotation, name


def test_the_mixin_hides_nothing_of_our_hook_and_our_hook_nothing_of_the_mixin() -> None:
    theirs = {name for name in vars(BaseManagedAgentHook) if not name.startswith("_")}
    assert theirs & set(dir(CozeHook)) == set()
    assert CozeManagedAgentHook.agent is BaseManagedAgentHook.agent


def test_a_bot_is_what_its_consumers_take() -> None:
    bot = CozeManagedAgentHook().agent(ECHO_BOT)
    assert isinstance(bot, BoundManagedAgent)
    assert isinstance(bot, ManagedAgentClient)
    assert (bot.ref.platform, bot.ref.name, bot.ref.version) == ("coze.bot", ECHO_BOT, None)
    ManagedAgentToolset(bot, tool_name="ask_echo")
    ManagedAgentToolset(coze_failover(bot, bot), tool_name="ask_echo")


def test_who_it_is_and_what_it_can_is_said_without_a_connection() -> None:
    bot = CozeManagedAgentHook("there_is_no_such_connection").agent(ECHO_BOT)
    assert bot.ref.name == ECHO_BOT
    assert bot.capabilities.sessions
    assert bot.capabilities.trace
    assert not bot.capabilities.structured_output


@pytest.mark.parametrize("bot_id", ["", "a b", None, 7511])
def test_what_is_no_bot_has_no_name(bot_id: str) -> None:
    with pytest.raises(CozeInputError, match="bot_id"):
        _ = CozeManagedAgentHook().agent(bot_id).ref


def test_the_hook_brings_no_pydantic_ai() -> None:
    code = "import sys, airflow_provider_coze.agents.failover, airflow_provider_coze.agents.coze; print('pydantic_ai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[-1] == "False"


def test_the_page_has_every_parameter_and_option() -> None:
    page = (ROOT / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
    section = page.partition("\n## Managed agents\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|", section, re.MULTILINE))
    parameters = list(inspect.signature(CozeManagedAgentHook.__init__).parameters.values())[1:]
    assert rows == {parameter.name: repr(parameter.default) for parameter in parameters}
    assert re.search(
        rf"\| `vendor_options` \| {', '.join(f'`{name}`' for name in OPTIONS)},", section.replace(" (15 pairs)", "")
    )
    assert "coze_failover(*members, even_if_asked=False)`" in section
    (members, even_if_asked) = inspect.signature(coze_failover).parameters.values()
    assert (members.kind.name, even_if_asked.default) == ("VAR_POSITIONAL", False)
