"""Calls per second, as a token bucket on the emulator's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_coze.emulator.world import Plan

__all__ = ["Buckets"]


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


@dataclass(slots=True)
class Buckets:
    """One bucket per rate-limit class; each holds one second's worth of calls."""

    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, rate: str, plan: Plan, now: float) -> bool:
        """Take one call out of the bucket of *rate*. False: there is none left."""
        per_second = {"chat": plan.chat, "workflow": plan.workflow, "upload": plan.upload}[rate]
        bucket = self._buckets.setdefault(rate, _Bucket(per_second, now))
        bucket.level = min(per_second, bucket.level + max(0.0, now - bucket.at) * per_second)
        bucket.at = now
        if bucket.level < 1:
            return False
        bucket.level -= 1
        return True
