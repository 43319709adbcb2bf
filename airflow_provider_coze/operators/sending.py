"""The chat of a bot operator's try: one that an earlier try has sent, or a new one; and the conversation that it is in.

What only a run needs is imported where it is used; see the package.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.operators.base import CozeOperator
from airflow_provider_coze.protocol.wording import in_brackets

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.operators.chat_start import StartedChat
    from airflow_provider_coze.protocol.models import Chat
    from airflow_provider_coze.state.stores import Store
    from airflow_provider_coze.triggers.events import Turn

__all__ = ["SendingOperator"]


class SendingOperator(CozeOperator):
    """Base of operators that send a bot a message. Not to be used by itself."""

    what = "chat"
    bot_id: str
    stream: bool
    on_busy: str
    conversation_id: str | None
    conversation: str

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._running: Chat | None = None

    @cached_property
    def _turn(self) -> Turn:
        """Which of its chats the task is at, and how often it was asked for more; set anew as it goes on."""
        from airflow_provider_coze.triggers.events import Turn

        return Turn()

    def _begin(self, context: Context, *, resumed: bool) -> None:
        # A kill interrupts anything, an import too: what on_kill needs is there before there is a chat to be ended.
        import airflow_provider_coze.operators.chat_end  # noqa: F401

        super()._begin(context, resumed=resumed)

    def _started(self, context: Context, arguments: dict[str, Any]) -> StartedChat:
        """Return the chat of an earlier try, or a new one.

        The first of a task; a repair has a record of its own, beside that of the chat which it repairs.
        """
        from airflow_provider_coze.operators.chat_start import ChatStart, unkept_chat

        purchase = self._purchase_of(context, part=self._turn.part)
        if not self._turn.part:
            self._purchase = purchase
        if purchase is None:
            return unkept_chat(
                self.hook,
                {**arguments, "conversation_id": arguments["conversation_id"] or self._own_conversation(context)},
                self.log,
                on_busy=self.on_busy,
                until=self._deadline_at,
                streams=self.stream,
            )
        start = ChatStart(
            self.hook,
            purchase,
            self.log,
            on_unknown=self.on_unknown,
            on_busy=self.on_busy,
            until=self._deadline_at,
            streams=self.stream,
            before=lambda: self._ledger.check(f"a new {self._turn.what}"),
        )
        if arguments["conversation_id"] is not None or self.conversation == "new":
            return start.chat(arguments)
        chosen = {**arguments, "conversation_id": self.conversation}
        return start.chat(chosen, lambda: self._own_conversation(context))

    def _own_conversation(self, context: Context) -> str | None:
        """Return the conversation that the task was told to use, its own or one that it shares. None: it gets one for itself."""
        if self.conversation_id is None and self.conversation != "new":
            from airflow_provider_coze.operators.conversations import ConversationChoice

            choice = ConversationChoice(self.conversation, context, bot_id=self.bot_id)
            self.conversation_id = choice.find_or_create(self.hook, self.log)
        return self.conversation_id

    def _store_in_coze(self, context: Context, key: str) -> Store | None:
        from airflow_provider_coze.operators.conversation_store import ConversationStore
        from airflow_provider_coze.operators.purchase import began

        return ConversationStore(
            self.hook,
            key=key,
            bot_id=self.bot_id,
            conversation_id=self._turn.conversation_id or self._own_conversation(context),
            since=began(context),
            has_past=context["ti"].try_number > 1,
            strays=self.on_busy == "new" and not self._turn.part,
        )

    def _noted(self, context: Context, started: StartedChat) -> Chat:
        """Say of a chat that was sent, or found, where it is."""
        chat = self._running = started.chat
        self.log.info(
            "Chat %s in conversation %s: %s%s", chat.id, chat.conversation_id, chat.status, in_brackets(chat.logid)
        )
        self._push(context, chat_id=chat.id, conversation_id=chat.conversation_id, logid=chat.logid)
        return chat
