"""Read a chat as it is answered: its ids as soon as Coze names them, its lines into the log, and how it stood when the stream ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_coze.errors import CozeError, CozeProtocolError, CozeTransportError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.growing import GrowingLog, read_stream
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.messages import StreamCall
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started
from airflow_provider_coze.protocol.streams import ChatFold

__all__ = ["streamed_chat"]


def streamed_chat(
    hook: CozeHook,
    call: StreamCall,
    fold: ChatFold,
    *,
    log: Any,
    named: Callable[[Chat], object],
    until: float | None,
) -> Chat | None:
    """Send a chat, and read what comes into *fold*.

    :param named: is told of the chat when its ids are known, before it has answered.
    :param until: Unix seconds: when to stop reading. None: never.
    :returns: the chat, which goes on if the stream broke off. None: it may have been sent, and nothing names it.
    :raises CozeAPIError: Coze refused it; nothing was started.
    :raises CozeOutcomeError: it failed before it had an id.
    """
    growing, begun, known = GrowingLog(log, hook.clock, "The bot"), hook.clock(), False

    def looked() -> None:
        nonlocal known
        if fold.chat is not None and not known:
            known = True
            named(fold.chat)

    try:
        read_stream(hook, call, fold, growing, looked=looked, until=until)
    except (CozeTransportError, CozeProtocolError) as error:
        if not may_have_started(error):
            raise
        if not fold.ended:
            log.warning("%s The chat is looked up in Coze", error)
    except CozeError as error:
        if not may_have_started(error) or not is_worth_repeating(error):
            raise
        log.warning("%s The chat is looked up in Coze", error)
    growing.flush()
    if fold.chat is None:
        if fold.ended:
            raise fold.failure(waited=hook.clock() - begun)
        return None
    looked()  # half an event at the end may have named it
    if not fold.ended and fold.error is not None:
        # What went wrong is in the chat's status; on Coze Studio the reason is in the stream alone.
        return fold.explained(hook.perform(flows.read_chat(fold.chat, hook.retry)))
    if not fold.ended:
        log.warning("The stream of chat %s ended before the chat did; asking how it stands", fold.chat.id)
    return fold.chat
