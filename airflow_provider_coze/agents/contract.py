"""common.ai's contract for managed agents, or one error that says what is missing. The only module that imports common.ai.

https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/. What is imported here brings no pydantic-ai.
"""

from __future__ import annotations

from airflow_provider_coze.compat import AirflowOptionalProviderFeatureException

try:
    from airflow.providers.common.ai.exceptions import ManagedAgentInvocationError, ManagedAgentRejected
    from airflow.providers.common.ai.managed_agents import (
        BaseManagedAgentHook,
        FailoverManagedAgentClient,
        ManagedAgentCapabilities,
        ManagedAgentClient,
        ManagedAgentRef,
        ManagedAgentRequest,
        ManagedAgentResponse,
        ManagedAgentUsage,
    )
except ImportError as error:
    raise AirflowOptionalProviderFeatureException(
        f"airflow_provider_coze.agents needs apache-airflow-providers-common-ai 1.0 or later, and cannot import it ({error}). Nothing was "
        "sent to Coze. Install it with: pip install 'airflow-provider-coze[common-ai]'. Operators, sensors and the hook work without it."
    ) from error

__all__ = [
    "BaseManagedAgentHook",
    "FailoverManagedAgentClient",
    "ManagedAgentCapabilities",
    "ManagedAgentClient",
    "ManagedAgentInvocationError",
    "ManagedAgentRef",
    "ManagedAgentRejected",
    "ManagedAgentRequest",
    "ManagedAgentResponse",
    "ManagedAgentUsage",
]
