"""Where the chats of a batch are, so that one whose reply was lost can be found.

A chat that gets a conversation of its own, made before it, is found by that; but it costs a request more for each row. A chat without
one is in a conversation that Coze makes, and whether those are listed among the bot's conversations is not documented. So the first
chat of a batch is sent without one, and looked for when it has ended: if the list shows it, and the marker of its question, the
other rows need none either. Until then, and if it is not shown, every chat gets one of its own.

Sources: www.coze.cn/open/docs/developer_guides/list_conversations, list_message, chat_v3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from airflow_provider_coze.batch.plan import Doubt
from airflow_provider_coze.errors import CozeNotFoundError, CozeOutcomeUnknownError
from airflow_provider_coze.protocol import flows, recovery
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.messages import Flow
from airflow_provider_coze.protocol.models import Chat, Conversation, Message
from airflow_provider_coze.protocol.pacing import SEARCH_POLLS
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["Finder", "Perform"]

T = TypeVar("T")

#: What is not listed after this long is taken for never arrived. Coze documents no delay between writing and listing.
_SETTLE_SECONDS = 5.0
#: Clocks of Coze and of the worker may differ by so much.
_SKEW_SECONDS = 300.0
#: 50,000 conversations.
_MAX_PAGES = 1_000
#: Conversations that are read at the same time.
_READERS = 20


class Perform(Protocol):
    """Performs a flow on the running event loop, such as ``CozeHook.aperform``."""

    def __call__(self, flow: Flow[T]) -> Awaitable[T]:
        """Perform a flow and return its value."""


class Finder:
    """Places chats, and finds those that are in doubt.

    :param patience: seconds that a chat which has arrived, and which nobody can name yet, is waited for.
    :param until: Unix seconds: when to stop looking all the same. None: there is no such moment.
    :param is_shown: whether the list is known to show conversations that Coze has made. None: not known.
    """

    def __init__(
        self,
        *,
        bot_id: str,
        perform: Perform,
        retry: RetryPolicy,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        patience: float,
        until: float | None = None,
        is_shown: bool | None = None,
    ) -> None:
        self.is_shown = is_shown
        self._bot_id, self._perform, self._retry = bot_id, perform, retry
        self._clock, self._sleep, self._patience, self._until = clock, sleep, patience, until
        self._known: set[str] = set()
        # Conversation → the marker of its question, which may be that of a request that is in doubt only later.
        self._markers: dict[str, str] = {}
        self._readers = asyncio.Semaphore(_READERS)

    def know(self, conversation_id: str) -> None:
        """Note whose conversation this is, so that it is not looked through."""
        self._known.add(conversation_id)

    async def place(self, marker: str) -> str | None:
        """Make a conversation for one chat. None: it needs none.

        :raises CozeError: it could not be made; nothing was bought.
        """
        if self.is_shown:
            return None
        meta_data = {MARKER_FIELD: marker}
        made = await self._perform(
            recovery.open_conversation(bot_id=self._bot_id, meta_data=meta_data, retry=self._retry)
        )
        return made.id

    async def prove(self, marker: str, conversation_id: str, at: float) -> bool:
        """Look for a chat that has ended and is known, and return whether the list shows it, so that it could have been found.

        :param at: Unix seconds: when it was sent.
        :raises CozeError: Coze could not be asked.
        """
        for look in range(2):
            if look:
                await self._sleep(_SETTLE_SECONDS)
            if any(found.id == conversation_id for found in await self._listed(at, at) or ()):
                messages = await self._read(conversation_id)
                return any(message.meta_data.get(MARKER_FIELD) == marker for message in messages)
        return False

    async def find(self, doubt: Doubt) -> Chat | None:
        """Find the chat of a request that had a conversation of its own. None: it never arrived.

        :raises CozeOutcomeUnknownError: it arrived, and nothing more is to be seen of it.
        """
        search = recovery.Search(
            conversation_id=doubt.conversation_id or "",
            marker=doubt.marker,
            dedicated=True,
            sent_at=doubt.sent_at,
            clock=self._clock,
            until=self._clock() + self._left(),
        )
        return await self._perform(recovery.find_chat(search, self._retry))

    async def find_listed(self, doubts: Sequence[Doubt]) -> dict[str, Chat | None]:
        """Find the chats of requests that had no conversation of their own, by marker. None: it never arrived; missing: nobody knows.

        :raises CozeError: Coze could not be asked.
        """
        first, last = min(doubt.at for doubt in doubts), max(doubt.sent_at for doubt in doubts)
        begun = self._clock()
        end = begun + self._left()
        if (settled := last + _SETTLE_SECONDS - begun) > 0:
            await self._sleep(settled)
        wanted = {doubt.marker for doubt in doubts}
        looked_for = {None, *wanted}
        found: dict[str, Chat | None] = {}
        listed = await self._listed(first, last)
        if listed is None:
            return found
        # Those that say nothing yet: a question may show only when its chat is over.
        pending = [
            conversation.id
            for conversation in listed
            if conversation.id not in self._known
            and MARKER_FIELD not in conversation.meta_data
            and self._markers.get(conversation.id) in looked_for
        ]
        arrived: set[str] = set()
        while pending and wanted - found.keys():
            looked = await asyncio.gather(*(self._looked_into(conversation_id) for conversation_id in pending))
            still = []
            for conversation_id, (marker, chat) in zip(pending, looked, strict=True):
                if marker is not None and marker not in wanted:
                    self._markers[conversation_id] = marker
                elif chat is not None and marker is not None:
                    found[marker] = chat
                    self.know(conversation_id)
                else:
                    still.append(conversation_id)
                    arrived |= {marker} if marker is not None else set()
            pending = still
            wait = SEARCH_POLLS.wait(age=self._clock() - begun, left=end - self._clock(), chance=0.0)
            if wait is None:
                break
            if pending and wanted - found.keys():
                await self._sleep(wait)
        if not pending:
            found.update(dict.fromkeys(wanted - found.keys() - arrived))
        return found

    def unknown(self, doubt: Doubt) -> CozeOutcomeUnknownError:
        """Return the error of a chat of which nobody can tell whether it was bought."""
        return CozeOutcomeUnknownError(
            f"A chat with bot {self._bot_id!r} may have been sent; its reply was lost, and Coze does not show what became of "
            "it. It is billed as far as it went. Nothing more was sent for its rows. To ask, and pay, anew, run the failed rows again, "
            'or set on_unknown="resend".',
            bot_id=self._bot_id,
            conversation_id=doubt.conversation_id,
        )

    def _left(self) -> float:
        """Return the seconds that a search may take."""
        return self._patience if self._until is None else min(self._patience, self._until - self._clock())

    async def _listed(self, first: float, last: float) -> list[Conversation] | None:
        """List the bot's conversations that can have been made between two moments (Unix seconds). None: it has too many newer ones."""
        listed: list[Conversation] = []
        for number in range(1, _MAX_PAGES + 1):
            page = await self._perform(
                flows.call(conversations.list_conversations(bot_id=self._bot_id, page_num=number), self._retry)
            )
            listed += page.conversations
            oldest = page.conversations[-1].created_at if page.conversations else 0
            if not page.has_more or 0 < oldest < first - _SKEW_SECONDS:
                break
        else:
            return None  # what is not among the newest may be there all the same
        return [
            conversation
            for conversation in listed
            if not conversation.created_at or first - _SKEW_SECONDS <= conversation.created_at <= last + _SKEW_SECONDS
        ]

    async def _looked_into(self, conversation_id: str) -> tuple[str | None, Chat | None]:
        """Return the marker of the question in a conversation, and its chat, as far as they show. "": it is somebody else's."""
        async with self._readers:
            try:
                messages = await self._read(conversation_id)
            except CozeNotFoundError:
                return "", None
            if not messages:
                return None, None
            marker = next(filter(None, (message.meta_data.get(MARKER_FIELD) for message in messages)), "")
            chat_id = next(_chat_ids(messages), None)
            if not marker or chat_id is None:
                return marker, None
            known = Chat(id=chat_id, conversation_id=conversation_id, status="")
            return marker, await self._perform(flows.read_chat(known, self._retry))

    async def _read(self, conversation_id: str) -> Sequence[Message]:
        call = conversations.conversation_messages(conversation_id=conversation_id)
        return (await self._perform(flows.call(call, self._retry))).messages


def _chat_ids(messages: Iterable[Message]) -> Iterator[str]:
    return iter([message.chat_id for message in messages if message.chat_id not in ("", "0")])
