"""Several sites for one agent: the next is asked when the one before was certainly not, so that nothing is paid for twice."""

from __future__ import annotations

from airflow_provider_coze.agents.contract import FailoverManagedAgentClient, ManagedAgentClient
from airflow_provider_coze.agents.failures import CozeAgentNotAskedError
from airflow_provider_coze.errors import CozeError

__all__ = ["coze_failover"]


def coze_failover(*members: ManagedAgentClient, even_if_asked: bool = False) -> FailoverManagedAgentClient:
    """Return the bots as one agent: the first answers, and those after it stand in, in this order.

    common.ai's own ``FailoverManagedAgentClient`` goes on to the next after *any* error, a lost reply or a late answer among
    them, and then two are billed. This one goes on only after errors that are a
    :class:`~airflow_provider_coze.agents.failures.CozeAgentNotAskedError`: the site could not be reached, refused the token, had no quota
    left, does not know the bot and the like.

    :param members: at least two, such as ``CozeManagedAgentHook("coze_cn").agent("7511…")``: the same bot on several sites.
    :param even_if_asked: also go on after errors of a bot that was, or may have been, asked. Each that was is billed.
    """
    return FailoverManagedAgentClient(members, failover_on=(CozeError if even_if_asked else CozeAgentNotAskedError,))
