"""Watch one chat from the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_coze.compat import BaseTrigger, TriggerEvent
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.pacing import CHAT_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, chat_phase
from airflow_provider_coze.triggers.events import ChatEvent
from airflow_provider_coze.triggers.progress import log_chat

__all__ = ["CozeChatTrigger"]


class CozeChatTrigger(BaseTrigger):
    """Poll a chat until it has ended, needs input, or the deadline has passed; then yield one :class:`ChatEvent` payload.

    All times are of the wall clock, so a restarted triggerer goes on where the old one was.

    :param conversation_id: the chat's conversation.
    :param chat_id: the chat.
    :param started_at: Unix seconds; sets the rhythm of polling and what a timeout says.
    :param coze_conn_id: the connection; its secrets never enter the trigger's arguments.
    :param bot_id: for messages only.
    :param status: the status seen last; "" if none.
    :param deadline: Unix seconds after which to report the chat as it stands. None: wait for ever.
    :param not_before: Unix seconds before which nothing is reported: with LocalExecutor, Airflow's scheduler can fail a task whose
        deferral is very short (https://github.com/apache/airflow/issues/66374).
    :param poll_interval: the longest time between two polls, in seconds. None: 10.
    :param cancel_on_kill: whether the chat is cancelled when the deferred task is cleared or marked (Airflow 3.3 and later).
    """

    def __init__(
        self,
        *,
        conversation_id: str,
        chat_id: str,
        started_at: float,
        coze_conn_id: str = CozeHook.default_conn_name,
        bot_id: str = "",
        status: str = "",
        deadline: float | None = None,
        not_before: float = 0.0,
        poll_interval: float | None = None,
        cancel_on_kill: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.conversation_id = conversation_id
        self.chat_id = chat_id
        self.started_at = started_at
        self.coze_conn_id = coze_conn_id
        self.bot_id = bot_id
        self.status = status
        self.deadline = deadline
        self.not_before = not_before
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.hook = CozeHook(coze_conn_id)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments; Airflow stores them in clear text."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "conversation_id": self.conversation_id,
                "chat_id": self.chat_id,
                "started_at": self.started_at,
                "coze_conn_id": self.coze_conn_id,
                "bot_id": self.bot_id,
                "status": self.status,
                "deadline": self.deadline,
                "not_before": self.not_before,
                "poll_interval": self.poll_interval,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, then report once."""
        chat, failure = self._chat(self.status), None
        try:
            async with self.hook.pooled():
                while chat_phase(chat.status) in WAITING:
                    seen = chat.status
                    chat = await self.hook.aperform(flows.watch_chat(chat, self._watch()))
                    if chat.status == seen:
                        break  # the deadline
                    log_chat(self.log, chat, self.hook.clock() - self.started_at)
        except CozeError as error:
            failure = error
        # Also what fails at once is reported no earlier.
        await self.hook.asleep(max(0.0, self.not_before - self.hook.clock()))
        yield TriggerEvent(ChatEvent(chat, self.started_at, failure).to_payload())

    async def on_kill(self) -> None:
        """Cancel the chat, because a user ended the deferred task (called by Airflow 3.3 and later)."""
        if not self.cancel_on_kill:
            self.log.info("Chat %s is left running: cancel_on_kill is off", self.chat_id)
            return
        try:
            chat = await self.hook.aperform(flows.cancel_chat(self._chat(), RetryPolicy(attempts=2)))
        except CozeError as error:
            self.log.warning("Chat %s could not be cancelled and may go on: %s", self.chat_id, error)
        else:
            self.log.info("Chat %s is %s; what it used is billed", chat.id, chat.status)

    def _chat(self, status: str = "") -> Chat:
        return Chat(id=self.chat_id, conversation_id=self.conversation_id, bot_id=self.bot_id, status=status)

    def _watch(self) -> flows.Watch:
        return flows.Watch(
            polls=CHAT_POLLS.below(self.poll_interval),
            since=self.started_at,
            until=self.deadline,
            not_before=self.not_before,
            clock=self.hook.clock,
        )
