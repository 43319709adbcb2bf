"""Consult bots in tests."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.common.ai.managed_agents import BoundManagedAgent, ManagedAgentRequest, ManagedAgentResponse

from airflow_provider_coze.agents.coze import CozeManagedAgentHook
from tests.tasks import LOGGER, Coze

SEND = "POST /v3/chat"


def agent(coze: Coze, bot_id: str, conn_id: str = "coze_default", **options: Any) -> BoundManagedAgent:
    """Return a bot that lives in this Coze's time, and whose log pytest can read."""
    hook = CozeManagedAgentHook(conn_id, **options)
    coze.timed(hook)
    hook._log = hook._cached_logger = logging.getLogger(LOGGER)
    return hook.agent(bot_id)


def ask(coze: Coze, bot_id: str, prompt: str = "hello", **request: Any) -> ManagedAgentResponse:
    return agent(coze, bot_id).invoke(ManagedAgentRequest(prompt=prompt, **request))
