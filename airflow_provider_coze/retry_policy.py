"""``retry_policy=CozeRetryPolicy()``: let Airflow 3.3 and later retry a task when that can help, and not before.

On an older Airflow this module cannot be imported; operators and sensors fail for good there by themselves.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_coze.compat import (
    AirflowOptionalProviderFeatureException,
    BaseSensorOperator,
    RetryDecision,
    RetryPolicy,
)
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol.policy import Action, has_spent, verdict

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CozeRetryPolicy"]

if RetryPolicy is None:
    raise AirflowOptionalProviderFeatureException(
        "CozeRetryPolicy needs Airflow 3.3 or later: this one has no retry policies. Leave retry_policy out; Coze tasks still fail "
        "at once where no retry can help, and for the other failures set retries and retry_delay."
    )


class CozeRetryPolicy(RetryPolicy):
    """Decide by what Coze said whether a task is retried, and when. It has no settings.

    A minute after too many requests per minute, some minutes after risk control, on the next day after a daily limit, never
    after a wrong token, wrong input or an open bill; after other failures when the task's own ``retry_delay`` says.
    ``retries`` stays the upper limit. What is no ``CozeError`` is left to the task's own settings.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return what Airflow is to do, with a sentence that it logs and keeps."""
        if not isinstance(exception, CozeError):
            return RetryDecision.default()
        only_looks = isinstance((context or {}).get("task"), BaseSensorOperator)
        found = verdict(exception, spent=has_spent(exception), now=time.time(), only_looks=only_looks)
        if found.action is Action.FAIL:
            return RetryDecision.fail(found.reason)
        delay = None if found.wait_seconds is None else timedelta(seconds=found.wait_seconds)
        return RetryDecision.retry(delay, found.reason)

    def serialize(self) -> dict[str, Any]:
        """Return what :meth:`deserialize` reads. Airflow 3.3 keeps no more of a policy than that there is one."""
        return {"__type": type(self).__name__}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """Return the policy."""
        return cls()
