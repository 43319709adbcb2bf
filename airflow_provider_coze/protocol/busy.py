"""A conversation that has a chat in progress already, code 4016: wait for it, cancel it, or say that another has to be used.

The refusal is free, and says that this request started nothing. It does not say so of an earlier request of the same start whose
reply was lost: then the chat in progress may be the start's own. So a start in doubt neither goes elsewhere nor cancels what it
does not know, and is repeated as one that is in doubt.

Sources: www.coze.cn/open/docs/developer_guides/chat_v3, chat_cancel, list_message, coze_error_codes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from airflow_provider_coze.errors import (
    CozeAlreadyEndedError,
    CozeConversationBusyError,
    CozeError,
    CozeOutcomeUnknownError,
)
from airflow_provider_coze.protocol.endpoints import chat as chats
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.flows import call
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Call, Flow, Response, Send, Sleep
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.pacing import SEARCH_POLLS, PollSchedule
from airflow_provider_coze.protocol.recovery import MARKER_FIELD
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import WAITING, chat_phase

__all__ = ["ON_BUSY", "Busy", "Turn", "attempt", "make_room", "start_when_free"]

#: Values of ``on_busy``.
ON_BUSY = ("wait", "new", "cancel", "fail")
_START = "/v3/chat"
#: The chat in progress is the newest; before it stand those whose questions were asked while nobody answered.
_LOOKED_AT = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """How a start gets its turn in a conversation that others use as well."""

    conversation_id: str
    on_busy: str
    retry: RetryPolicy
    clock: Callable[[], float]  # Unix seconds
    since: float  # Unix seconds: when it was first tried
    until: float | None = None  # Unix seconds: how long it is waited for. None: without end
    marker: str = ""  # of the start's own chat, which may be the one in progress. "": it has none
    polls: PollSchedule = SEARCH_POLLS
    chance: Callable[[], float] = random.random
    over: frozenset[str] = frozenset()  # ids of chats that are known to have ended


@dataclass(frozen=True, slots=True)
class Busy:
    """A start that was refused because a chat is in progress."""

    error: CozeConversationBusyError
    turn: Turn
    in_doubt: bool  # an earlier request of the start may have arrived
    running: Chat | None  # the chat in progress. None: nothing names it


def start_when_free(start: Callable[[bool], Flow[Chat]], turn: Turn, *, in_doubt: bool = False) -> Flow[Chat | None]:
    """Start a chat when the conversation has room for it.

    :param start: makes the flow of one start, such as ``recovery.send_chat``; is told whether an earlier one may have arrived.
    :param in_doubt: an earlier process may have sent the chat already.
    :returns: None: start it in another conversation; nothing was started in this one.
    :raises CozeConversationBusyError: no room was to be had; nothing was started.
    :raises CozeOutcomeUnknownError: the same, but the chat in progress may be the start's own.
    :raises CozeError: of the start.
    """
    while True:
        got = yield from attempt(start(in_doubt), turn, in_doubt=in_doubt)
        if isinstance(got, Chat):
            return got
        in_doubt, next_turn = got.in_doubt, (yield from make_room(got))
        if next_turn is None:
            return None
        turn = next_turn


def attempt(start: Flow[Chat], turn: Turn, *, in_doubt: bool = False) -> Flow[Chat | Busy]:
    """Perform one start. A chat in progress is no error here, so that whoever waits for it can say so in a log.

    :raises CozeError: of the start.
    """
    asked: set[str] = set()
    try:
        return (yield from _noted(start, asked))
    except CozeConversationBusyError as error:
        refusal = error
    # A start that has sent something else has looked for its chat, which it does in doubt only: see recovery.send_chat.
    in_doubt = in_doubt or asked != {_START}
    running, over = yield from _running(turn)
    if running is not None and turn.marker and running.meta_data.get(MARKER_FIELD) == turn.marker:
        return running
    return Busy(refusal, replace(turn, over=over), in_doubt, running)


def make_room(busy: Busy) -> Flow[Turn | None]:
    """Do what ``on_busy`` says about the chat in progress.

    A chat is cancelled once; another one that comes in its place is waited for, so that two tasks cannot cancel each other for ever.

    :returns: the turn to start again with; None: start it in another conversation.
    :raises CozeConversationBusyError: nothing more can be done; nothing was started.
    :raises CozeOutcomeUnknownError: the same, but the chat in progress may be the start's own.
    """
    turn, running = busy.turn, busy.running
    match turn.on_busy:
        case "fail":
            raise _given_up(busy, _who(running))
        case "new" if not busy.in_doubt:
            return None
        case "cancel" if running is not None and chat_phase(running.status) in WAITING:
            yield from _cancelled(running, turn)
            return replace(turn, on_busy="wait", over=turn.over | {running.id})
        case "cancel" if not busy.in_doubt:
            raise _given_up(
                busy,
                f"{_who(running)} It cannot be cancelled without its id; wait for it, or use another conversation.",
            )
    yield from _free_again(busy)
    return turn


def _free_again(busy: Busy) -> Flow[None]:
    """Wait until the chat in progress has ended; where nothing names it, until it is worth asking again."""
    turn, running = busy.turn, busy.running
    while True:
        now = turn.clock()
        left = None if turn.until is None else turn.until - now
        wait = turn.polls.wait(age=now - turn.since, left=left, chance=turn.chance())
        if wait is None:
            raise _given_up(busy, f"{_who(running)} It was waited for {now - turn.since:.0f} s.")
        yield Sleep(wait)
        if running is None:
            return
        try:
            running = yield from call(_look(running.id, turn), turn.retry)
        except CozeError:
            return  # whether there is room is for the next start to find out
        if chat_phase(running.status) not in WAITING:
            return


def _cancelled(running: Chat, turn: Turn) -> Flow[None]:
    try:
        yield from call(chats.cancel_chat(conversation_id=turn.conversation_id, chat_id=running.id), turn.retry)
    except CozeAlreadyEndedError:
        return
    except CozeError as error:
        error.located(
            f"Chat {running.id!r} is in progress in conversation {turn.conversation_id!r}, and was to be cancelled, because on_busy is "
            '"cancel". It goes on. Nothing was started.',
            conversation_id=turn.conversation_id,
        )
        raise


def _running(turn: Turn) -> Flow[tuple[Chat | None, frozenset[str]]]:
    """Find the chat in progress among the newest of the conversation, as far as its messages name them.

    Whether a question is listed before it is answered, and names its chat, is not documented.
    """
    over = turn.over
    try:
        page = yield from call(conversations.conversation_messages(conversation_id=turn.conversation_id), turn.retry)
        newest = [message.chat_id for message in page.messages if message.chat_id not in ("", "0")]
        for chat_id in list(dict.fromkeys(newest))[:_LOOKED_AT]:
            if chat_id in over:
                continue
            chat = yield from call(_look(chat_id, turn), turn.retry)
            if chat_phase(chat.status) in WAITING:
                return chat, over
            over |= {chat_id}
    except CozeError:
        pass  # it is not needed to wait for it
    return None, over


def _look(chat_id: str, turn: Turn) -> Call[Chat]:
    return chats.retrieve_chat(conversation_id=turn.conversation_id, chat_id=chat_id)


def _noted(start: Flow[Chat], asked: set[str]) -> Flow[Chat]:
    """Return *start*; the paths of its requests are noted in *asked*."""

    def layer(effect: Send) -> Flow[Response]:
        asked.add(effect.request.path)
        response: Response = yield effect
        return response

    return through(start, layer)


def _who(running: Chat | None) -> str:
    if running is None:
        return "Nothing in the conversation names the chat in progress."
    return f"The chat in progress is {running.id!r}."


def _given_up(busy: Busy, why: str) -> CozeError:
    where = busy.turn.conversation_id
    if not busy.in_doubt:
        return busy.error.located(f"{why} Nothing was started in conversation {where!r}.", conversation_id=where)
    unknown = CozeOutcomeUnknownError(
        f"A chat was sent in conversation {where!r}, its reply was lost, and the conversation has a chat in progress, which may be that "
        f"one. {why} Nothing more was started. Look at the conversation in Coze; a retry of the task looks again. To ask, and pay, anew "
        'instead, set on_unknown="resend".',
        conversation_id=where,
    )
    unknown.__cause__ = busy.error
    return unknown
