"""Rows as chats of a bot: how one is sent, waited for and read. Flows; no deciding whether, and no sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from airflow_provider_coze.batch import packing
from airflow_provider_coze.batch.asks import Answered, Ask, Failed, Live, Outcome
from airflow_provider_coze.batch.reading import Reader
from airflow_provider_coze.batch.rhythm import LastAsked, Rhythm
from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints.chat import create_chat
from airflow_provider_coze.protocol.messages import Flow, JsonValue
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.outcomes import chat_error, chat_timeout
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase

__all__ = ["Chats"]


@dataclass(frozen=True, slots=True)
class Chats:
    """What all chats of a batch have in common.

    :param options: further body fields of a chat, by Coze's names.
    :param row_timeout: seconds that one chat is waited for. None: without end.
    :param until: Unix seconds: the end of the batch. None: there is none.
    """

    bot_id: str
    user_id: str
    options: Mapping[str, JsonValue]
    reader: Reader
    retry: RetryPolicy
    rhythm: Rhythm
    clock: Callable[[], float]
    row_timeout: float | None
    until: float | None
    instruction: str | None = None

    @property
    def replies_soon(self) -> bool:
        """Whether the reply to a start comes at once."""
        return True

    def start(self, ask: Ask, marker: str, conversation_id: str | None) -> Flow[Live]:
        """Send the rows' chat.

        :param conversation_id: made for this chat. None: Coze makes one.
        :raises CozeError: it was refused, or its reply was lost.
        """
        at = self.clock()
        given = self.options.get("meta_data")
        marked = {MARKER_FIELD: marker}
        call = create_chat(
            bot_id=self.bot_id,
            user_id=self.user_id,
            additional_messages=[
                {"role": "user", "content_type": "text", "content": self._message(ask), "meta_data": marked}
            ],
            conversation_id=conversation_id,
            options={**self.options, "meta_data": {**(given if isinstance(given, Mapping) else {}), **marked}},
        )
        chat = yield from flows.call(call, self.retry)
        return Live(ask, marker, at, _ids(chat), conversation_id)

    def to_end(self, live: Live) -> Flow[Outcome | None]:
        """Wait for a chat, and read its answer. None: the batch's time is up first, and the chat goes on.

        :raises CozeError: Coze could not be asked. The chat goes on, or is over and paid for.
        """
        chat = Chat(
            id=live.ids["chat_id"],
            conversation_id=live.ids["conversation_id"],
            status="in_progress",
            bot_id=self.bot_id,
        )
        limit = None if self.row_timeout is None else live.at + self.row_timeout
        ends = [end for end in (limit, self.until) if end is not None]
        asked = LastAsked(self.clock, live.at)
        watch = flows.Watch(polls=self.rhythm.polls, since=live.at, until=min(ends, default=None), clock=asked)
        if live.is_old:
            chat = yield from flows.read_chat(chat, watch.retry())
        while chat_phase(chat.status) in WAITING:
            seen = chat.status
            chat = yield from flows.watch_chat(chat, watch)
            if chat.status == seen:
                break
        if chat_phase(chat.status) in WAITING:
            if limit is None or self.clock() < limit:
                return None
            return (yield from self._expired(chat, live))
        if not live.is_old:
            before, age = asked.at - live.at, self.clock() - live.at
            self.rhythm.learn(chat.created_at, chat.completed_at, before=before, age=age)
        return (yield from self._ended(chat, live))

    def _ended(self, chat: Chat, live: Live) -> Flow[Outcome]:
        if chat_phase(chat.status) is not Phase.DONE:
            return Failed(chat_error(chat, waited=self.clock() - live.at), _ids(chat), chat.usage)
        answer = yield from flows.chat_answer(chat, self.retry, waited=0.0)
        outputs, invalid = self.reader.read(answer.text, live.ask.indexes)
        return Answered(outputs, chat.usage, _ids(chat), invalid)

    def _expired(self, chat: Chat, live: Live) -> Flow[Outcome]:
        canceled: bool | None
        try:
            chat = yield from flows.cancel_chat(chat, replace(self.retry, attempts=2))
        except CozeError:
            canceled = False
        else:
            if chat_phase(chat.status) is Phase.DONE:
                return (yield from self._ended(chat, live))
            canceled = True
        error = chat_timeout(chat, waited=self.clock() - live.at, canceled=canceled)
        return Failed(error, _ids(chat), chat.usage)

    def _message(self, ask: Ask) -> str:
        if len(ask.items) == 1:
            return str(ask.items[0].request)
        return packing.pack_message(self.instruction, [(item.index, str(item.request)) for item in ask.items])


def _ids(chat: Chat) -> dict[str, str]:
    return {"chat_id": chat.id, "conversation_id": chat.conversation_id}
