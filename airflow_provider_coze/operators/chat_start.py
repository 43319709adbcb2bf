"""Get the chat of a task: the one that an earlier try sent, or a new one that a later try can find.

Between any two lines here the process may die. What is left then is the record, and the conversation, which is made and stored
before the chat is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_coze.errors import CozeNotFoundError, CozeOutcomeUnknownError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.purchase import Purchase
from airflow_provider_coze.protocol import flows, recovery
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import MARKER_FIELD, marked
from airflow_provider_coze.protocol.statuses import Phase, chat_phase
from airflow_provider_coze.state.reattach import Attach, Reconcile, Remote, Unknown
from airflow_provider_coze.state.record import Intent, Submitted

__all__ = ["ChatStart", "StartedChat"]

_REMOTE = {Phase.DONE: Remote.DONE, Phase.FAILED: Remote.FAILED, Phase.CANCELLED: Remote.FAILED}


@dataclass(frozen=True, slots=True)
class StartedChat:
    """A chat, and when it was sent."""

    chat: Chat
    since: float  # Unix seconds


class ChatStart:
    """Start the chat of one try, or find the one before it.

    :param on_unknown: ``fail`` or ``resend``.
    :param until: Unix seconds: how long a chat whose id was lost is looked for. None: without end.
    """

    def __init__(self, hook: CozeHook, purchase: Purchase, log: Any, *, on_unknown: str, until: float | None) -> None:
        self._hook, self._purchase, self._log = hook, purchase, log
        self._on_unknown, self._until = on_unknown, until
        self._seen: Chat | None = None

    def chat(self, arguments: Mapping[str, Any]) -> StartedChat:
        """Return the chat.

        :param arguments: those of :func:`~airflow_provider_coze.protocol.endpoints.chat.create_chat`.
        :raises CozeOutcomeUnknownError: nobody can tell whether one was sent, and *on_unknown* says to fail then.
        :raises CozeStateError: the record cannot be read or written; nothing was sent.
        """
        decision, record = self._purchase.decided(arguments, self._look)
        match decision, record:
            case Attach(), Submitted():
                assert self._seen is not None  # noqa: S101 - what _look saw made the decision
                return StartedChat(self._seen, record.at)
            case Reconcile(), Intent() as intent:
                return self._sent(arguments, intent, in_doubt=True)
            case Unknown(reason), Submitted() if self._on_unknown == "fail":
                raise CozeOutcomeUnknownError(
                    f"Chat {record.ids.get('chat_id')!r} in conversation {record.ids.get('conversation_id')!r} was sent by an earlier try "
                    f"of this task, and {reason}. It is billed. Nothing more was sent; a retry looks again. To ask, and pay, anew, set "
                    'on_unknown="resend".',
                    chat_id=record.ids.get("chat_id"),
                    conversation_id=record.ids.get("conversation_id"),
                )
        return self._sent(arguments, self._intend(arguments), in_doubt=False)

    def _look(self, record: Submitted) -> Remote:
        known = Chat(id=record.ids.get("chat_id", ""), conversation_id=record.ids.get("conversation_id", ""), status="")
        try:
            self._seen = self._hook.perform(flows.read_chat(known, self._hook.retry))
        except CozeNotFoundError:
            return Remote.GONE
        return _REMOTE.get(chat_phase(self._seen.status), Remote.ALIVE)

    def _intend(self, arguments: Mapping[str, Any]) -> Intent:
        """Store the intent, and where the chat will be; only then is there something that can be lost."""
        if own := arguments["conversation_id"]:
            return self._purchase.intend(own)
        intent = self._purchase.intend()
        conversation = self._hook.perform(
            recovery.open_conversation(
                bot_id=arguments["bot_id"], meta_data={MARKER_FIELD: intent.marker}, retry=self._hook.retry
            )
        )
        return self._purchase.intend(conversation.id)

    def _sent(self, arguments: Mapping[str, Any], intent: Intent, *, in_doubt: bool) -> StartedChat:
        chat: Chat | None = None
        try:
            chat = self._hook.perform(self._flow(arguments, intent, in_doubt=in_doubt))
        except CozeOutcomeUnknownError as error:
            if self._on_unknown == "fail":
                raise
            self._log.warning('%s It is sent again, because on_unknown is "resend"', error)
        if chat is None or (in_doubt and _REMOTE.get(chat_phase(chat.status)) is Remote.FAILED):
            # Of an earlier try, whose chat ended without an answer: what a retry is for.
            intent = self._intend(arguments)
            chat = self._hook.perform(self._flow(arguments, intent, in_doubt=False))
        bought = self._purchase.bought(intent, conversation_id=chat.conversation_id, chat_id=chat.id)
        return StartedChat(chat, bought.at)

    def _flow(self, arguments: Mapping[str, Any], intent: Intent, *, in_doubt: bool) -> Flow[Chat]:
        conversation_id = intent.sent_to or ""
        search = recovery.Search(
            conversation_id=conversation_id,
            marker=intent.marker,
            dedicated=not arguments["conversation_id"],
            sent_at=intent.at,
            clock=self._hook.clock,
            until=self._until,
        )
        return recovery.send_chat(
            create_chat(**{**_with_marker(arguments, intent.marker), "conversation_id": conversation_id}),
            search,
            self._hook.retry,
            in_doubt=in_doubt,
        )


def _with_marker(arguments: Mapping[str, Any], marker: str) -> dict[str, Any]:
    """Put the marker where Coze shows it again: with the chat, and with its question."""
    options = dict(arguments["options"])
    options["meta_data"] = {**(options.get("meta_data") or {}), MARKER_FIELD: marker}
    return {
        **arguments,
        "additional_messages": marked(arguments["additional_messages"], marker),
        "options": options,
    }
