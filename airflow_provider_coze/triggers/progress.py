"""Say in a log how a chat or run gets on, in the same words on a worker and in the triggerer."""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.protocol.models import Chat, RunHistory
from airflow_provider_coze.protocol.statuses import Phase, chat_phase, run_phase
from airflow_provider_coze.protocol.wording import in_brackets

__all__ = ["log_chat", "log_run"]


def log_chat(log: Any, chat: Chat, elapsed: float) -> None:
    """Log a chat's new status; one that this version does not know is a warning, and is waited on.

    :param elapsed: seconds since the chat was started.
    """
    if chat_phase(chat.status) is Phase.UNKNOWN:
        log.warning("Chat %s: unknown status %r after %.0f s; waiting on", chat.id, chat.status, elapsed)
    else:
        log.info("Chat %s: %s after %.0f s%s", chat.id, chat.status, elapsed, in_brackets(chat.logid))


def log_run(log: Any, history: RunHistory, elapsed: float) -> None:
    """Log a run's new status; one that this version does not know is a warning, and is waited on.

    :param elapsed: seconds since the run was started.
    """
    run, status = history.execute_id, history.execute_status
    phase = run_phase(status, interrupted=history.interrupt is not None)
    if phase is Phase.UNKNOWN:
        log.warning("Run %s: unknown status %r after %.0f s; waiting on", run, status, elapsed)
    elif phase is Phase.NEEDS_INPUT:
        log.info("Run %s: asks a question after %.0f s%s", run, elapsed, in_brackets(history.logid))
    else:
        log.info("Run %s: %s after %.0f s%s", run, status, elapsed, in_brackets(history.logid))
