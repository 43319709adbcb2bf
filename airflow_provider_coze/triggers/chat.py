"""Watch one chat from the triggerer, which imports this module on its event loop: it loads the rest when it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_coze.compat import TriggerEvent, ais_wanted
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.triggers.base import DEFAULT_CONN_ID, CozeTrigger

__all__ = ["CozeChatTrigger"]


class CozeChatTrigger(CozeTrigger):
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
    :param turn: where the task stands among its turns; handed back with the event.
    :param cancel_on_kill: whether the chat is cancelled when the deferred task is cleared or marked (Airflow 3.3 and later).
    :param lasts: of a task that begins here and was on no worker: seconds until its deadline. *started_at* and *deadline* are then taken
        from what Airflow keeps of the task, and the ids are looked at. None: it began on a worker.
    """

    def __init__(
        self,
        *,
        conversation_id: str,
        chat_id: str,
        started_at: float,
        coze_conn_id: str = DEFAULT_CONN_ID,
        bot_id: str = "",
        status: str = "",
        deadline: float | None = None,
        not_before: float = 0.0,
        poll_interval: float | None = None,
        cancel_on_kill: bool = True,
        turn: dict[str, Any] | None = None,
        lasts: float | None = None,
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
        self.turn = turn
        self.lasts = lasts

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
                "turn": self.turn,
                "lasts": self.lasts,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, then report once."""
        await self._load()
        self._begin("conversation_id", "chat_id")
        from airflow_provider_coze.triggers.watching import watch_chat

        yield TriggerEvent((await watch_chat(self)).to_payload())

    async def on_kill(self) -> None:
        """Cancel the chat if a person ended the deferred task (called by Airflow 3.3 and later).

        Airflow 3.3.2 also calls it when a triggerer was too slow to be heard of and its triggers went to another one, which goes on
        with them (https://github.com/apache/airflow/pull/73454).
        """
        if not self.cancel_on_kill:
            self.log.info("Chat %s is left running: cancel_on_kill is off", self.chat_id)
            return
        if await ais_wanted(self.task_instance) is not False:
            self.log.info(
                "Chat %s is left running: its task was not ended by a person, and goes on elsewhere", self.chat_id
            )
            return
        await self._load()
        from airflow_provider_coze.triggers.watching import cancel_chat

        try:
            chat = await cancel_chat(self)
        except CozeError as error:
            self.log.warning("Chat %s could not be cancelled and may go on: %s", self.chat_id, error)
        else:
            self.log.info("Chat %s is %s; what it used is billed", chat.id, chat.status)
