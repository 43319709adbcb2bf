"""Send a chat so that it can be found again, and find it when its id was lost with a reply or a process.

Coze has no idempotency key and no list of chats. What it has: conversations that can be listed with the meta_data they were
made with, messages that are listed with theirs, one running chat in a conversation (code 4016), and chats that show their
meta_data. So every chat carries a marker in both meta_data, and before one is sent a second time, its conversation is read.

Sources: www.coze.cn/open/docs/developer_guides/list_conversations, list_message, retrieve_chat, chat_v3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_provider_coze.errors import (
    CozeAPIError,
    CozeConversationBusyError,
    CozeError,
    CozeNotFoundError,
    CozeOutcomeUnknownError,
    CozeProtocolError,
    CozeTransportError,
)
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.envelope import meaning_of
from airflow_provider_coze.protocol.flows import call, read_chat
from airflow_provider_coze.protocol.messages import Call, Flow, JsonValue, Replay, Sleep, changed
from airflow_provider_coze.protocol.models import Chat, Conversation, Message
from airflow_provider_coze.protocol.pacing import SEARCH_POLLS
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = [
    "MARKER_FIELD",
    "Search",
    "find_chat",
    "find_conversation",
    "find_question",
    "is_worth_repeating",
    "marked",
    "may_have_started",
    "open_conversation",
    "send_chat",
]

#: The name of the marker in meta_data.
MARKER_FIELD = "airflow"

#: What is not listed after this long is taken for never arrived. Coze documents no delay between writing and listing.
_SETTLE_SECONDS = 5.0
#: 5,000 conversations or messages; beyond that a search costs more of the account's requests than it is worth.
_MAX_PAGES = 100
#: Clocks of Coze and of the workers may differ by so much.
_SKEW_SECONDS = 300.0
_NOBODY = ("", "0")


@dataclass(frozen=True, slots=True)
class Search:
    """Where a chat may be, and how long it is worth looking."""

    conversation_id: str
    marker: str
    dedicated: bool  # True: the conversation was made for this chat, so whatever is in it belongs to it
    sent_at: float  # Unix seconds: when it may have been sent
    clock: Callable[[], float]  # Unix seconds
    until: float | None = None  # Unix seconds: how long a chat whose id is unknown is waited for. None: without end


def may_have_started(error: CozeError) -> bool:
    """Tell whether the request that ended in *error* may have started, and bought, something."""
    match error:
        case CozeTransportError():
            return not error.never_sent
        case CozeProtocolError():
            return True  # an answer came, and nobody understands it
        case CozeAPIError():
            return bool(error.debug_url) or meaning_of(error.code or 0, error.status or 0).started is not False
    return False


def is_worth_repeating(error: CozeError) -> bool:
    """Tell whether sending again can help, once it is known that nothing was started."""
    if isinstance(error, CozeAPIError):
        return meaning_of(error.code or 0, error.status or 0).again is not codes.Again.NO
    return isinstance(error, CozeTransportError | CozeProtocolError)


def open_conversation(*, bot_id: str, meta_data: Mapping[str, str], retry: RetryPolicy) -> Flow[Conversation]:
    """Make a conversation for one chat. Free; if the reply is lost another is made, and an empty one stays behind."""
    make = conversations.create_conversation(bot_id=bot_id, meta_data=meta_data)
    try:
        return (yield from call(changed(make, replay=Replay.ALWAYS), retry))
    except CozeError as error:
        error.located("Nothing was started, so nothing is billed: this is the conversation that the chat was to have.")
        raise


def find_conversation(
    *, bot_id: str, key: str, since: float | None, retry: RetryPolicy
) -> Flow[tuple[Conversation, str] | None]:
    """Find the newest conversation whose marker begins with *key*, and its marker.

    A conversation that was made a moment ago may not be listed yet, so nothing is believed only at the second look.

    :param since: Unix seconds before which it cannot have been made. None: not known.
    :raises CozeOutcomeUnknownError: the bot has too many newer conversations to look through.
    """
    for look in range(2):
        if look:
            yield Sleep(_SETTLE_SECONDS)
        for number in range(1, _MAX_PAGES + 1):
            page = yield from call(conversations.list_conversations(bot_id=bot_id, page_num=number), retry)
            for found in page.conversations:
                if found.meta_data.get(MARKER_FIELD, "").startswith(f"{key}/"):
                    return found, found.meta_data[MARKER_FIELD]
            oldest = page.conversations[-1].created_at if page.conversations else 0
            if not page.has_more or (since is not None and 0 < oldest < since - _SKEW_SECONDS):
                break
        else:
            raise CozeOutcomeUnknownError(
                f"Bot {bot_id!r} has over {_MAX_PAGES * conversations.PAGE_SIZE} conversations, and the one that an earlier try of "
                "this task may have made is not among the newest. Nothing was sent. Set [coze] state_path, so that it need not be "
                'looked for; or run the task with reuse="never" to ask, and pay, anew.',
                bot_id=bot_id,
            )
    return None


def find_question(*, conversation_id: str, key: str, since: float, retry: RetryPolicy) -> Flow[Message | None]:
    """Find the newest question whose marker begins with *key* in a conversation that is shared with others.

    :param since: Unix seconds before which it cannot have been written.
    """
    messages = yield from _newest(conversation_id, lambda message: _marker(message).startswith(f"{key}/"), since, retry)
    return next((message for message in messages if _marker(message).startswith(f"{key}/")), None)


def send_chat(start: Call[Chat], search: Search, retry: RetryPolicy, *, in_doubt: bool = False) -> Flow[Chat]:
    """Send a chat, and return it as Coze knows it. Sent again only when its conversation shows no trace of it.

    :param start: with the marker in the meta_data of the chat and of its last message.
    :param in_doubt: an earlier process may have sent it already.
    :raises CozeOutcomeUnknownError: it arrived, and within the search's time nothing more was to be seen of it.
    :raises CozeError: it was refused.
    """
    failure: CozeError | None = None
    for attempt in range(1, retry.attempts + 1):
        if in_doubt:
            busy = search.dedicated and isinstance(failure, CozeConversationBusyError)
            if found := (yield from find_chat(search, retry, alive=busy)):
                return found
            if failure is not None:
                wait = retry.next_wait(failure, attempt - 1, Replay.ALWAYS) or 0.0
                if search.until is not None and search.clock() + wait >= search.until:
                    raise failure
                yield Sleep(wait)
        try:
            return (yield from call(start, retry))
        except CozeConversationBusyError as error:
            if not in_doubt:
                raise  # somebody else's chat
            failure = error
        except CozeError as error:
            if not may_have_started(error) or not is_worth_repeating(error):
                raise
            failure = error
        in_doubt, search = True, replace(search, sent_at=search.clock())
    assert failure is not None  # noqa: S101 - attempts is at least 1
    if found := (yield from find_chat(search, retry)):
        return found
    raise failure


def find_chat(search: Search, retry: RetryPolicy, *, alive: bool = False) -> Flow[Chat | None]:
    """Find a chat whose id nobody knows. None: it never arrived.

    A question without an answer is waited for: its chat is running, or has failed; only an answer names the chat.

    :param alive: Coze has just said that a chat runs there.
    :raises CozeOutcomeUnknownError: the time is up, and no answer has appeared.
    """
    begun = search.clock()
    while True:
        seen, chat_ids = _sighted((yield from _messages(search, retry)), search)
        for chat_id in chat_ids:
            known = Chat(id=chat_id, conversation_id=search.conversation_id, status="")
            chat = yield from read_chat(known, retry)
            # Coze Studio does not show a chat's meta_data.
            if chat.meta_data.get(MARKER_FIELD, search.marker) == search.marker:
                return chat
        now = search.clock()
        if not seen and not alive:
            if now - search.sent_at >= _SETTLE_SECONDS:
                return None
            yield Sleep(min(_SETTLE_SECONDS, max(0.1, search.sent_at + _SETTLE_SECONDS - now)))
            continue
        left = None if search.until is None else search.until - now
        wait = SEARCH_POLLS.wait(age=now - begun, left=left, chance=0.0)
        if wait is None:
            raise _unknown(search)
        yield Sleep(wait)


def _messages(search: Search, retry: RetryPolicy) -> Flow[Sequence[Message]]:
    try:
        return (
            yield from _newest(
                search.conversation_id,
                (lambda _: False) if search.dedicated else lambda message: _marker(message) == search.marker,
                search.sent_at,
                retry,
            )
        )
    except CozeNotFoundError as error:
        raise _unknown(search, gone=True) from error


def _newest(
    conversation_id: str, enough: Callable[[Message], bool], since: float, retry: RetryPolicy
) -> Flow[list[Message]]:
    """Read a conversation from its newest message back to the first that is *enough*, or is too old."""
    found: list[Message] = []
    after: str | None = None
    for _ in range(_MAX_PAGES):
        page = yield from call(
            conversations.conversation_messages(conversation_id=conversation_id, after_id=after), retry
        )
        found.extend(page.messages)
        last = page.messages[-1] if page.messages else None
        if not page.has_more or last is None or last.id in ("", after):
            break
        if any(map(enough, page.messages)) or 0 < last.created_at < since - _SKEW_SECONDS:
            break
        after = last.id
    return found


def _sighted(newest_first: Sequence[Message], search: Search) -> tuple[bool, list[str]]:
    """Return whether the question is there, and the ids of the chats that may be its."""
    asked, ids = search.dedicated and bool(newest_first), list[str]()
    for message in reversed(newest_first):
        if _marker(message) == search.marker:
            asked, ids = True, [message.chat_id]
        elif search.dedicated or asked:
            ids.append(message.chat_id)
    return asked, list(_distinct(ids)) if asked else []


def _distinct(ids: Sequence[str]) -> Iterator[str]:
    yield from (chat_id for chat_id in dict.fromkeys(ids) if chat_id not in _NOBODY)


def _marker(message: Message) -> str:
    return message.meta_data.get(MARKER_FIELD, "")


def marked(messages: Sequence[Mapping[str, JsonValue]], marker: str) -> list[dict[str, JsonValue]]:
    """Return the messages of a turn with the marker at its question, which is the last."""
    *before, question = (dict(message) for message in messages)
    given = question.get("meta_data")
    return [*before, {**question, "meta_data": {**(given if isinstance(given, Mapping) else {}), MARKER_FIELD: marker}}]


def _unknown(search: Search, *, gone: bool = False) -> CozeOutcomeUnknownError:
    what = (
        "does not exist any more, so what became of the chat cannot be told"
        if gone
        else "holds its question, and no answer: the chat failed, was cancelled, or goes on, and only an answer would name it"
    )
    return CozeOutcomeUnknownError(
        f"A chat was sent in conversation {search.conversation_id!r}, its reply was lost, and the conversation {what}. It is billed as "
        "far as it went. Nothing more was sent. Look at the conversation in Coze; a retry of the task looks again. To ask, and pay, "
        'anew instead, set on_unknown="resend".',
        conversation_id=search.conversation_id,
    )
