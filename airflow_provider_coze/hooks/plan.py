"""The budget of a connection that says ``plan``: how many requests per second Coze grants the account, asked of Coze itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import account
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import integer, mapping, records
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["granted"]


def granted(budget: str) -> Flow[float | str]:
    """Ask what a class of requests is granted per second; free, and needs the permission ``getBenefit``.

    :param budget: ``chat`` or ``workflow``, which Coze's benefits call the same.
    :returns: a text, where that is not known: why.
    """
    try:
        told = yield from flows.call(account.benefits(resource_id=budget), RetryPolicy(attempts=2))
    except CozeError as error:
        return str(error)
    return _rate(told, budget) or f"Coze names no api_run_qps of {budget} among what the plan grants."


def _rate(told: Mapping[str, Any], budget: str) -> float:
    for benefit in records(told.get("benefit_info")):
        if benefit.get("benefit_type") == "api_run_qps" and benefit.get("resource_id") in (budget, None, ""):
            # What is in effect is what the plan has and what was bought to it.
            for part in ("effective", "basic"):
                total = integer(mapping(mapping(benefit.get(part)).get("item_info")).get("total"))
                if total > 0:
                    return float(total)
    return 0.0
