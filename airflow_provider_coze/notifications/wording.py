"""What a context of Airflow says has happened, in words for a bot and without secrets. Pure; a context may lack anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["what_happened", "without_secrets"]

#: So much of an exception's text: its point is at its beginning, and the rest is in the log.
_MOST_OF_AN_ERROR = 500
#: So much of it is looked at; a text can have any length, and somebody waits.
_MOST_TO_READ = 4_000
#: States of a task, and reasons of a DAG's callback, as a sentence goes on.
_ENDED = {
    "success": "succeeded",
    "failed": "failed",
    "task_failure": "failed",
    "up_for_retry": "failed, and will be retried",
    "skipped": "was skipped",
    "running": "has begun",
    "timed_out": "ran out of time",
    "all_tasks_deadlocked": "has only tasks left that can never run",
}
#: What is not masked by Airflow, because it was never told of it. Order counts: an address is cut before its parts are looked at.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(\b[a-z][\w+.-]{0,20}://)[^\s/?#'\"@]*@", re.I), r"\1"),  # user and password of an address
    (
        re.compile(r"(\b[a-z][\w+.-]{0,20}://[^\s?#'\"]*)[?#][^\s'\"]*", re.I),
        r"\1",
    ),  # what signs an address stands there
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"), "***"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{4,}", re.I), r"\1 ***"),
    (re.compile(r"\b(?:pat|sat|sk|ghp|xox[a-z])[_-][\w-]{8,}|\beyJ[\w-]{8,}[\w.-]*|\bAKIA[A-Z0-9]{12,}"), "***"),
    (
        re.compile(
            r"(\b[\w-]{0,30}(?:password|passwd|pwd|secret|token|authorization|api[_-]?key|access[_-]?key|private[_-]?key)['\"]?\s?[:=]\s?)"
            r"(?:'[^']*'|\"[^\"]*\"|(?:(?:bearer|basic)\s)?[^\s,;&)}\]]+)",
            re.I,
        ),
        r"\1***",
    ),
)


def what_happened(context: Mapping[str, Any], mask: Callable[[str], str] = str) -> str:
    """Return some lines: which task or DAG, what became of it, which run, the error's beginning, where the log is.

    :param context: of a task's or DAG's callback, of a missed deadline (Airflow 3.1 and later) or a missed SLA (Airflow 2).
    :param mask: Airflow's masking of the secrets that it knows.
    """
    lines = [_headline(context)]
    run_id = _first(
        context.get("run_id"), _of(context.get("dag_run"), "run_id"), _of(context.get("dag_run"), "dag_run_id")
    )
    lines.append(f"Run: {run_id}" if run_id else "")
    deadline = context.get("deadline")
    lines.append(f"Deadline: {_of(deadline, 'deadline_time')}" if deadline else "")
    error = context.get("exception")
    if error:
        kind = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
        lines.append(f"Error: {without_secrets(f'{kind}{error}', mask)}")
    # A DAG's callback has the task instance that ended last, whose log need not be the one to look into.
    log_url = None if context.get("reason") else _of(_task_instance(context), "log_url")
    lines.append(f"Log: {log_url}" if log_url else "")
    return "\n".join(line for line in lines if line)


def without_secrets(text: str, mask: Callable[[str], str] = str) -> str:
    """Return the beginning of a text in one line, without what is a secret or looks like one."""
    if len(text) > _MOST_TO_READ:
        text = text[:_MOST_TO_READ].rpartition(" ")[0]  # half a secret is none that anybody would know as one
    short = " ".join(mask(text).split())
    for pattern, instead in _SECRETS:
        short = pattern.sub(instead, short)
    return short if len(short) <= _MOST_OF_AN_ERROR else f"{short[:_MOST_OF_AN_ERROR]}…"


def _headline(context: Mapping[str, Any]) -> str:
    ti = _task_instance(context)
    dag_id = _first(_of(context.get("dag"), "dag_id"), _of(ti, "dag_id"), _of(context.get("dag_run"), "dag_id"))
    dag = f"DAG {dag_id!r}" if dag_id else "a DAG"
    if context.get("deadline"):
        return f"Airflow: {dag} missed its deadline."
    if "blocking_task_list" in context:
        tasks = " ".join(str(context.get("task_list") or "").split())
        return f"Airflow: {dag} missed an SLA: {tasks}."
    if (reason := context.get("reason")) or ti is None:
        state = _first(reason, _of(context.get("dag_run"), "state"))
        return f"Airflow: {dag} {_ended(state)}."
    index = _of(ti, "map_index")
    place = f" (index {index})" if isinstance(index, int) and index >= 0 else ""
    state = _first(_of(ti, "state"), "failed" if context.get("exception") else None)
    return f"Airflow: task {_of(ti, 'task_id')!r}{place} of {dag} {_ended(state)}{_tries(ti)}."


def _ended(state: object) -> str:
    word = str(getattr(state, "value", state) or "")
    return _ENDED.get(word) or (f"is {word}" if word else "has something to tell")


def _tries(ti: Any) -> str:
    number, most = _of(ti, "try_number"), _of(ti, "max_tries")
    if not isinstance(number, int) or number < 1:
        return ""
    return f", in try {number} of {most + 1}" if isinstance(most, int) and most + 1 >= number else f", in try {number}"


def _task_instance(context: Mapping[str, Any]) -> Any:
    return context.get("ti") or context.get("task_instance")


def _of(thing: Any, name: str) -> Any:
    """Return a field of an object or a mapping; None: it has none, or cannot tell."""
    if isinstance(thing, Mapping):
        return thing.get(name)
    try:
        return getattr(thing, name, None)
    except Exception:  # a property of Airflow's that needs what this context has not
        return None


def _first(*values: Any) -> Any:
    return next((value for value in values if value), None)
