"""The same bot on three sites, as one agent; in docs/howto/agents.md."""

from __future__ import annotations

# [START agent_failover]
from airflow_provider_coze.agents.coze import CozeManagedAgentHook
from airflow_provider_coze.agents.failover import coze_failover
from airflow_provider_coze.protocol.retry import RetryPolicy

policy_bot = coze_failover(
    CozeManagedAgentHook("coze_cn", retry=RetryPolicy(attempts=2)).agent("7511000000000000002"),
    CozeManagedAgentHook("coze_com", retry=RetryPolicy(attempts=2)).agent("7322000000000000002"),
    CozeManagedAgentHook("coze_studio").agent("7533000000000000002"),
)
# [END agent_failover]
