"""How many at once: what Coze's plans allow, and what that makes of pools, batches and looks. The page about limits shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from airflow_provider_coze.protocol.pacing import RUN_POLLS


@dataclass(frozen=True)
class Plan:
    chats_per_second: int  # starting chats
    workflows_per_second: int  # starting runs, and reading how they stand
    uploads_per_second: int
    models_per_minute: int  # requests to models, of each user


#: Source: www.coze.cn/open/docs/developer_guides/coze_api_overview, as of December 2025.
PLANS = {
    "personal, free": Plan(20, 50, 10, 300),
    "personal, advanced": Plan(100, 100, 10, 1_000),
    "team": Plan(200, 200, 20, 5_000),
    "enterprise": Plan(500, 500, 20, 12_000),
}


# [START size]
@dataclass(frozen=True)
class Size:
    starts_per_second: float
    under_way: int  # in Coze
    slots: int  # of a pool, or max_in_flight of a batch: a third more, as an end is noticed some seconds late
    requests_per_minute: int  # of a batch
    workflow_qps: float  # of the connection
    look_every_seconds: float  # how often each run is looked at, on average


def size_runs(plan: Plan, *, seconds: float, model_calls: float, share: float = 1.0) -> Size:
    """Fit runs of so many *seconds* and *model_calls* each into a *share* of the plan."""
    per_second = share * plan.workflows_per_second
    starts = per_second / 2  # each run takes a start and a look at least
    if model_calls:
        starts = min(starts, share * plan.models_per_minute / 60 / model_calls)
    under_way = round(starts * seconds, 6)  # Little's law
    wanted = starts * looks_at(seconds)
    looks = min(wanted, per_second - starts)  # what starting leaves
    return Size(
        starts_per_second=starts,
        under_way=ceil(under_way),
        slots=ceil(under_way * 4 / 3),
        requests_per_minute=int(round(starts * 60, 6)),
        workflow_qps=per_second,
        look_every_seconds=under_way / looks,
    )


def looks_at(seconds: float) -> int:
    """Count the looks at a run of so many seconds, at the usual rhythm."""
    age, looks = 0.0, 0
    while age < seconds:
        age += RUN_POLLS.wait(age=age, left=None, chance=0.0) or 0.0
        looks += 1
    return looks


# [END size]


# [START budget]
def token_budget(sample: Mapping[str, Any], rows: int, *, margin: float = 1.2) -> int:
    """Work out the token_budget of a batch from the manifest of a batch of some of its rows."""
    asked = sample["request_count"] - sample["counts"]["missing"]
    return ceil(sample["usage"]["token_count"] / asked * rows * margin)


# [END budget]
