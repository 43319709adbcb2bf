"""Fold the events of a stream into what became of a chat or a run. No sockets, no clock.

A fold takes events one by one and can be asked at any moment. It never takes silence for an end: only the events that say how a chat
or run stands set ``ended``, and a stream that is over without one leaves the outcome unknown.

The events of chats: https://www.coze.cn/open/docs/developer_guides/chat_v3; of chatflows: …/workflow_chat; of workflows:
…/workflow_stream_run; and the recordings of github.com/coze-dev/coze-py, tests/testdata. Coze Studio ends and fails in words of its
own (backend/api/handler/coze of github.com/coze-dev/coze-studio).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from airflow_provider_coze.errors import CozeChatFailedError, CozeOutcomeError, CozeProtocolError
from airflow_provider_coze.protocol import outputs
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in
from airflow_provider_coze.protocol.flows import ChatAnswer
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.models import Chat, LastError, Message, Usage, integer, text_or_none
from airflow_provider_coze.protocol.outcomes import chat_error
from airflow_provider_coze.protocol.sse import Event
from airflow_provider_coze.protocol.statuses import WAITING, Phase, chat_phase
from airflow_provider_coze.protocol.wording import in_brackets

__all__ = ["ChatFold", "ChatflowFold", "Fold", "Lines", "is_whole", "payload_of", "reported_error"]


class Fold(Protocol):
    """What every fold offers to whoever moves the events."""

    ended: bool  # the outcome is known. False when the stream is over: it is not, and has to be looked up.
    done: bool  # nothing of interest follows
    logid: str | None  # of the answer that the stream is, for errors

    def feed(self, event: Event) -> list[str]:
        """Take the next event, and return the lines that a person may read now.

        :raises CozeProtocolError: its data cannot be understood.
        """
        ...

    def rescue(self, cut: Event) -> None:
        """Take the ids out of an event that the end of the stream cut off; it proves nothing else."""
        ...


class ChatFold:
    """The stream of a chat, or of what follows tool outputs.

    :param chat: what is known of it already; after tool outputs, the ``chat`` of the fold before.
    :param conversation_id: the one that was asked for, if any.
    :param messages: what the fold before had.
    :param logid: of the answer that the stream is, for errors.
    """

    def __init__(
        self,
        chat: Chat | None = None,
        *,
        conversation_id: str = "",
        messages: Iterable[Message] = (),
        logid: str | None = None,
    ) -> None:
        self.chat = chat and replace(chat, status="in_progress", tool_calls=())  # None: Coze has named no ids yet
        self.error: LastError | None = None  # of a failed chat, or of a stream that broke inside Coze
        self.ended = False
        self.done = False
        self.unknown: Counter[str] = Counter()  # events that nobody knows, by name
        self.logid = logid
        self._conversation_id = chat.conversation_id if chat else conversation_id
        self._messages = {(message.id or str(number)): message for number, message in enumerate(messages)}
        self._growing: dict[str, Lines] = {}  # answers that have begun, by the message's id

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said in full, in the order in which it was completed; the question is not among it."""
        return tuple(self._messages.values())

    @property
    def is_whole(self) -> bool:
        """False: an answer has begun and was not completed, so the messages are better read from Coze."""
        return not self._growing

    @property
    def usage(self) -> Usage | None:
        """The tokens; None: Coze has not said."""
        return self.chat.usage if self.chat else None

    @property
    def tool_calls(self) -> tuple[Mapping[str, Any], ...]:
        """What the chat waits for when it requires action."""
        return self.chat.tool_calls if self.chat else ()

    @property
    def last_error(self) -> LastError | None:
        """Why it failed."""
        return (self.chat.last_error if self.chat else None) or self.error

    def ids(self) -> dict[str, str | None]:
        """Return what finds the chat again, as facts of an error."""
        if self.chat:
            return {"chat_id": self.chat.id, "conversation_id": self.chat.conversation_id}
        return {"conversation_id": self._conversation_id or None}

    def feed(self, event: Event) -> list[str]:
        """Take the next event, and return the whole lines of the answer that it completes.

        :raises CozeProtocolError: its data cannot be understood; the chat goes on, and :meth:`ids` finds it.
        """
        match event.event:
            case "conversation.message.delta":
                return self._grow(self._read(event))
            case "conversation.message.completed":
                return self._complete(self._read(event))
            case "error":
                self._fail(reported_error(event))
            case "conversation.audio.delta":
                pass  # pieces of speech; the whole text is completed as a message
            case "done" | "conversation.stream.done":
                self.done = True
                self._close(event)
            case name if (status := _status_in(name)) is not None:
                self._tell(self._read(event), status)
            case name:
                self.unknown[name] += 1
        return []

    def rescue(self, cut: Event) -> None:
        """Take the ids out of an event that the end of the stream cut off; they name a paid chat."""
        own = "chat_id" if '"chat_id"' in cut.data else "id" if _status_in(cut.event) else None
        if self.chat is None and own:
            found = {name: _text_in(cut.data, name) for name in (own, "conversation_id")}
            self._know({"id": found[own], "conversation_id": found["conversation_id"]}, "in_progress")

    def answer(self) -> ChatAnswer:
        """Return what a completed chat said: the same as reading it from Coze gives, when :attr:`is_whole`."""
        chat = self.chat or Chat(id="", conversation_id=self._conversation_id, status="completed")
        said = self.messages
        return ChatAnswer(chat, outputs.answer_text(said), outputs.follow_ups(said), said)

    def failure(self, *, waited: float) -> CozeOutcomeError:
        """Return the error of a chat that ended otherwise than completed.

        :param waited: seconds since it was started.
        """
        if self.chat:
            return chat_error(self.chat, waited=waited)
        error = self.error or LastError(0, "")
        where = f" in conversation {self._conversation_id!r}" if self._conversation_id else ""
        logid = in_brackets(self.logid)
        return CozeChatFailedError(
            f"The chat{where} failed with code {error.code}: {error.msg!r}{logid}, before Coze named its id. Whether any of it is billed "
            "is not known. A retry of this task starts, and may pay for, a new chat.",
            code=error.code or None,
            msg=error.msg or None,
            logid=self.logid,
            conversation_id=self._conversation_id or None,
        )

    def explained(self, chat: Chat) -> Chat:
        """Return a chat that was read from Coze after this stream, with the reason that only the stream gave (Coze Studio)."""
        unexplained = chat_phase(chat.status) is Phase.FAILED and chat.last_error is None
        return replace(chat, last_error=self.error) if unexplained and self.error else chat

    # --- one event each

    def _read(self, event: Event) -> dict[str, Any]:
        known = self.chat
        which = f"Chat {known.id!r} in conversation {known.conversation_id!r}" if known else "The chat"
        return payload_of(event, which, **self.ids(), logid=self.logid)

    def _grow(self, data: Mapping[str, Any]) -> list[str]:
        message = Message.from_record(data)
        self._know({"id": message.chat_id, "conversation_id": message.conversation_id}, "in_progress")
        if message.type != "answer" or message.id in self._messages:
            return []
        lines = self._growing.setdefault(message.id, Lines())
        return lines.add(message.content) if message.content_type == "text" else []

    def _complete(self, data: Mapping[str, Any]) -> list[str]:
        message = Message.from_record(data)
        self._know({"id": message.chat_id, "conversation_id": message.conversation_id}, "in_progress")
        lines = self._growing.pop(message.id, Lines())
        is_new = message.id not in self._messages
        self._messages[message.id or f"#{len(self._messages)}"] = message
        is_text = message.type == "answer" and message.content_type == "text"
        return lines.end(message.content) if is_new and is_text else []

    def _tell(self, data: Mapping[str, Any], status: str) -> None:
        """Take what an event says of the chat: a Chat, or, of a failed one, perhaps only a code and a message."""
        if status == "failed" and ("code" in data or "msg" in data):
            self.error = LastError(integer(data.get("code")), str(data.get("msg") or ""))
        word = str(data.get("status") or "")
        # The event's name is what a reader of the stream goes by; the word beside it only spells it.
        self._know(data, word if chat_phase(word) is chat_phase(status) else status)
        if chat_phase(status) not in WAITING:
            self.ended = True

    def _fail(self, error: LastError) -> None:
        """Take an ``error``. Of a chat that has a name it says less than the chat's own status, which can be read."""
        self.error = error
        self.ended = self.ended or (self.chat is None and error.code != 0)

    def _close(self, event: Event) -> None:
        """Take what the last event says; that of a chat says nothing."""

    def _know(self, data: Mapping[str, Any], status: str) -> None:
        """Keep what is told of the chat, once it has ids; what a later event leaves out stays."""
        known = self.chat
        asked = {"id": known.id, "conversation_id": known.conversation_id} if known else {}
        if not known and self._conversation_id:
            asked = {"conversation_id": self._conversation_id}
        told = {**asked, **{name: value for name, value in data.items() if value not in (None, "")}}
        if not (told.get("id") and told.get("conversation_id")):
            return
        if known and "status" not in data and status == "in_progress":
            return  # a message, which says nothing new of the chat
        chat = Chat.from_body({"data": {**told, "status": status}})
        self.chat = replace(
            chat,
            bot_id=chat.bot_id or (known.bot_id if known else ""),
            created_at=chat.created_at or (known.created_at if known else 0),
            meta_data=chat.meta_data or (known.meta_data if known else {}),
            last_error=chat.last_error or (self.error if chat_phase(status) is Phase.FAILED else None),
            logid=self.logid or (known.logid if known else None),
        )


class ChatflowFold(ChatFold):
    """The stream of a chatflow: that of a chat, whose last event shows the run, and whose failure is a code in a string."""

    debug_url: str | None = None  # valid for 7 days; known when the stream is done
    execute_id: str = ""

    def _close(self, event: Event) -> None:
        if event.data.strip().startswith("{"):
            self.debug_url = text_or_none(self._read(event).get("debug_url")) or None
            self.execute_id = execute_id_in(self.debug_url)

    def ids(self) -> dict[str, str | None]:
        """Return what finds the chat again, as facts of an error."""
        return {**super().ids(), "execute_id": self.execute_id or None, "debug_url": self.debug_url}


class Lines:
    """A text that comes in pieces, handed out in whole lines."""

    def __init__(self) -> None:
        self._rest: list[str] = []  # pieces of the line that has begun
        self._shown: list[str] = []

    def add(self, piece: str) -> list[str]:
        """Take the next piece, and return the lines that it ends."""
        if "\n" not in piece:
            self._rest.append(piece)
            return []
        *whole, rest = "".join([*self._rest, piece]).split("\n")
        self._rest = [rest]
        self._shown += whole
        return whole

    def end(self, text: str | None = None) -> list[str]:
        """Return the lines that are left.

        :param text: all of it, where somebody else has that; pieces may have been lost.
        """
        whole = [*self._shown, *"".join(self._rest).split("\n")] if text is None else text.split("\n")
        begun = len(self._shown)
        left = whole[begun:] if whole[:begun] == self._shown else whole
        return left[:-1] if left and not left[-1] else left


def payload_of(event: Event, which: str, **facts: str | None) -> dict[str, Any]:
    """Return the object that an event holds.

    :param which: what goes on in Coze, for the error; *facts* as well.
    :raises CozeProtocolError: it holds none. The data may be an answer, so it is not quoted.
    """
    try:
        value = read_json(event.data)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise CozeProtocolError(
        f"An event {event.event[:80]!r} of the stream holds {len(event.data)} characters that are no JSON object. {which} was "
        "started, may go on in Coze, and is billed: look how it stands before it is started again.",
        **facts,
    )


def reported_error(event: Event) -> LastError:
    """Return what an ``error`` event says: code and message by either of Coze's names, or a plain text; code 0 where it has none."""
    try:
        value = read_json(event.data)
    except ValueError:
        value = event.data
    if not isinstance(value, dict):
        return LastError(0, str(value or "")[:500])
    msg = value.get("error_message") or value.get("msg") or value.get("message")
    return LastError(integer(value.get("error_code") or value.get("code")), str(msg or ""))


def is_whole(cut: Event) -> bool:
    """Tell whether the last event of a stream lacks only the blank line after it: JSON says by itself where it ends."""
    if cut.event == "conversation.stream.done" or cut.data.strip() == "[DONE]":
        return True
    try:
        return isinstance(read_json(cut.data), dict | str)
    except ValueError:
        return False


def _status_in(name: str) -> str | None:
    """Return the status that an event's name ends in; None: it is of something else."""
    head, _, status = name.rpartition(".")
    return status if head == "conversation.chat" and chat_phase(status) is not Phase.UNKNOWN else None


def _text_in(half: str, name: str) -> str:
    """Return a text of a JSON object that is not whole; "" if that one is not there to its end."""
    found = re.search(rf'"{name}"\s*:\s*"([^"\\]+)"', half)
    return found[1] if found else ""
