"""Coze itself as the store of a chat's record, for Airflow without a task state store and without ``[coze] state_path``.

The conversation that a chat is sent to carries its marker, so nothing has to be written before the chat. Its id, and that its answer was
handed over, are noted in the conversation's name, or in the question's meta_data where the conversation is the user's own: two
requests more for each chat, which are not billed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_provider_coze.errors import CozeError, CozeStateError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import recovery
from airflow_provider_coze.protocol.models import Message
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.state.record import Intent, Record, Submitted, fingerprint_in

__all__ = ["ConversationStore"]

_NOTE_FIELD = "airflow_note"
_NOTE = re.compile(r"airflow: chat (?P<chat_id>\d+)(?:, delivered (?P<generation>\d+))?")
#: How far back a shared conversation is read where nobody can say when the DAG run began.
_LONG_AGO_SECONDS = 30 * 86_400.0


class ConversationStore:
    """The record of one task instance, read off the conversations of its bot.

    :param key: the identity of the task instance.
    :param conversation_id: the user's own conversation. None: chats get dedicated ones.
    :param since: Unix seconds before which nothing can have been sent.
    :param has_past: False for the first try, which need not look for anything.
    :param strays: whether a chat may have gone to a conversation of its own although the user named one.
    """

    def __init__(
        self,
        hook: CozeHook,
        *,
        key: str,
        bot_id: str,
        conversation_id: str | None,
        since: float | None,
        has_past: bool,
        strays: bool = False,
    ) -> None:
        self._hook, self._key, self._bot_id = hook, key, bot_id
        self._conversation_id, self._since, self._has_past = conversation_id, since, has_past
        self._strays = strays
        self._record: Record | None = None

    def read(self) -> Record | None:
        """Find what an earlier try sent.

        :raises CozeError: Coze cannot be read, so nobody knows.
        """
        if self._record is None and self._has_past:
            self._record = self._read_own() if self._conversation_id else None
            if self._record is None and (self._strays or not self._conversation_id):
                self._record = self._read_dedicated()
        return self._record

    def write(self, record: Record) -> None:
        """Note the chat's id and its delivery. An intent needs no note: the conversation is one.

        :raises CozeStateError: it could not be noted.
        """
        self._record = record
        if not isinstance(record, Submitted):
            return
        self._noted(record.ids, f"airflow: chat {record.ids.get('chat_id')}")

    def clear(self) -> None:
        """Do nothing: a conversation without a question says that nothing was bought."""

    def deliver(self, generation: int, ids: Mapping[str, str]) -> None:
        """Note that the answer is about to be handed to Airflow, perhaps by another process than the one that sent the chat.

        :raises CozeStateError: it could not be noted.
        """
        self._noted(ids, f"airflow: chat {ids.get('chat_id')}, delivered {generation}")

    def _read_dedicated(self) -> Record | None:
        search = recovery.find_conversation(
            bot_id=self._bot_id, key=self._key, since=self._since, retry=self._hook.retry
        )
        if (found := self._hook.perform(search)) is None:
            return None
        conversation, marker = found
        return _record(marker, conversation.created_at, conversation.id, conversation.name)

    def _read_own(self) -> Record | None:
        if (found := self._question()) is None:
            return None
        note = found.meta_data.get(_NOTE_FIELD, "")
        return _record(found.meta_data[MARKER_FIELD], found.created_at, str(self._conversation_id), note)

    def _question(self) -> Message | None:
        since = self._since if self._since is not None else self._hook.clock() - _LONG_AGO_SECONDS
        return self._hook.perform(
            recovery.find_question(
                conversation_id=str(self._conversation_id), key=self._key, since=since, retry=self._hook.retry
            )
        )

    def _noted(self, ids: Mapping[str, str], note: str) -> None:
        try:
            if ids.get("conversation_id") != self._conversation_id:
                self._hook.rename_conversation(conversation_id=ids["conversation_id"], name=note)
            elif (question := self._question()) is not None:
                self._hook.modify_message(
                    conversation_id=str(self._conversation_id),
                    message_id=question.id,
                    meta_data={**question.meta_data, _NOTE_FIELD: note},
                )
        except CozeError as error:
            raise CozeStateError(
                f"{note!r} could not be noted in conversation {ids.get('conversation_id')!r}; a later try may not know it: {error}"
            ) from error


def _record(marker: str, at: int, conversation_id: str, note: str) -> Record:
    noted = _NOTE.fullmatch(note)
    if noted is None:
        return Intent(fingerprint_in(marker), marker, float(at), conversation_id)
    generation = noted["generation"]
    return Submitted(
        fingerprint_in(marker),
        marker,
        float(at),
        {"conversation_id": conversation_id, "chat_id": noted["chat_id"]},
        delivered=None if generation is None else int(generation),
    )
