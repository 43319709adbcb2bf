"""A bot as a managed agent, asked by Python without any model; in docs/howto/agents.md."""

from __future__ import annotations

# [START agent_by_hand]
from airflow.providers.common.ai.managed_agents import ManagedAgentRequest

from airflow_provider_coze.agents.coze import CozeManagedAgentHook


def ask_twice():
    bot = CozeManagedAgentHook("coze_default").agent("7511000000000000002")
    first = bot.invoke(ManagedAgentRequest(prompt="May I travel first class?", timeout=60))
    second = bot.invoke(ManagedAgentRequest(prompt="And at night?", session_id=first.session_id))
    return {"answer": second.text, "chat_id": second.trace_ref, "tokens": second.usage.output_tokens}


# [END agent_by_hand]
