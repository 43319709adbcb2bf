"""End a chat before it has answered: because its time is up, or because a person ended its task. What it used is billed either way."""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.outcomes import chat_error, chat_timeout
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase

__all__ = ["end_killed", "end_late"]


def end_late(hook: CozeHook, log: Any, chat: Chat, *, waited: float, cancel: bool) -> Chat:
    """Cancel a chat whose time is up; return it if it was completed in that very moment.

    :param waited: seconds since it was sent, for the error's words.
    :param cancel: False leaves it running.
    :raises CozeOutcomeError: it timed out, or has ended in another way in that very moment.
    """
    canceled: bool | None = None
    if cancel:
        try:
            chat = hook.perform(flows.cancel_chat(chat, hook.retry))
        except CozeError as error:
            log.warning("Chat %s could not be cancelled and may go on: %s", chat.id, error)
        phase = chat_phase(chat.status)
        if phase is Phase.DONE:
            return chat
        if phase not in (*WAITING, Phase.CANCELLED):
            raise chat_error(chat, waited=waited)
        canceled = phase is Phase.CANCELLED
    raise chat_timeout(chat, waited=waited, canceled=canceled)


def end_killed(hook: CozeHook, log: Any, chat: Chat) -> None:
    """Cancel a chat within the seconds that a killed worker has left. Never raises: whoever kills has no use for it."""
    try:
        ended = hook.perform(flows.cancel_chat(chat, RetryPolicy(attempts=1)), hurry=True)
    except CozeError as error:
        log.warning("Chat %s could not be cancelled and may go on: %s", chat.id, error)
    else:
        log.info("Chat %s is %s; what it used is billed", ended.id, ended.status)
