"""What a task ends in when its batch is over: the manifest, or an error that says why not, and what a retry does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.batch.engine import Terminal
from airflow_provider_coze.errors import CozeBatchFailedError, CozeBatchTimeoutError, CozeTokenBudgetError

if TYPE_CHECKING:
    from airflow_provider_coze.operators.batch import BatchOperator
    from airflow_provider_coze.operators.batch_leg import Over

__all__ = ["ended"]


def ended(task: BatchOperator, over: Over) -> dict[str, Any]:
    """Return the manifest of a batch that ended as the task wants it.

    :raises CozeBatchFailedError: more rows failed than may, or it was killed.
    :raises CozeBatchTimeoutError: its time was up.
    :raises CozeTokenBudgetError: its tokens are used up.
    :raises CozeError: what every row would have met.
    """
    manifest, counts = over.manifest, over.manifest["counts"]
    told = ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "no row has an outcome"
    where = f"Results are in {manifest['result_uri']}" if manifest["result_uri"] else "There are no results"
    where += f", the rows that failed in {manifest['failed_uri']}." if manifest["failed_uri"] else "."
    facts = {"result_uri": manifest["result_uri"], "failed_uri": manifest["failed_uri"]}
    match over.reason:
        case Terminal.COMPLETE:
            failed = manifest["request_count"] - counts["succeeded"]
            if task.on_error != "fail" or not failed:
                return manifest
            still = "" if counts["unknown"] or counts["expired"] else "Nothing is running any more. "
            raise CozeBatchFailedError(
                f'{failed} of {manifest["request_count"]} rows have no output, and on_error is "fail" ({told}). {where} '
                f"{still}{_asked_again(task, counts)}",
                **facts,
            )
        case Terminal.TIMEOUT:
            raise CozeBatchTimeoutError(
                f"The batch was not over after its timeout ({told}). {where} What is in flight goes on in Coze and is billed; "
                "nothing more was sent. A retry reads it, and goes on with the rows that are left.",
                **facts,
            )
        case Terminal.BUDGET:
            raise CozeTokenBudgetError(
                f"The batch has used its token_budget of {task.token_budget} ({told}). {where} Nothing more was sent. "
                "Raise token_budget and clear the task: it goes on with the rows that are left."
            )
        case Terminal.ERRORS:
            raise CozeBatchFailedError(
                f"More rows failed than max_error_ratio={task.max_error_ratio} allows ({told}). {where} Nothing more was sent. "
                f"{_asked_again(task, counts)}",
                **facts,
            )
    if over.error is not None:
        raise over.error.located(
            f"It stopped the batch, because every row would meet it ({told}). {where} "
            "A retry goes on with the rows that are left."
        )
    raise CozeBatchFailedError(f"The batch was ended by a kill ({told}). {where} A retry goes on.", **facts)


def _asked_again(task: BatchOperator, counts: Mapping[str, int]) -> str:
    """Say what a retry does about the rows that failed: those that may be paid for and running are another matter."""
    words = "A retry asks the rows that failed again, and pays for those."
    if counts["unknown"] and task.on_unknown == "fail":
        words += ' Those that are unknown may be going on in Coze, and stay so unless on_unknown is "resend".'
    if counts["expired"]:
        words += " Of those that expired, runs may be going on in Coze all the same; chats were cancelled."
    return words
