"""One conversation that many tasks share: found by its marker among a bot's conversations, or made.

Coze has no names that are unique, and no search: what it lists of a conversation is the meta_data that it was made with. Two tasks that
look at the same moment find nothing, and make one each. So whoever has made one looks again, and the oldest that is listed then is
everybody's; the others stay empty, and cost nothing.

Sources: www.coze.cn/open/docs/developer_guides/create_conversation, list_conversations. Coze Studio keeps and lists meta_data as well:
backend/application/conversation/conversation.go of github.com/coze-dev/coze-studio at 4f786d6; its versions of mid-2025 do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.protocol.endpoints import conversation as conversations
from airflow_provider_coze.protocol.flows import call
from airflow_provider_coze.protocol.messages import Flow, Replay, Sleep, changed
from airflow_provider_coze.protocol.models import Conversation
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["SHARED_FIELD", "Shared", "find_shared", "open_shared"]

#: The name of the marker in meta_data; not that of a conversation that was made for one chat.
SHARED_FIELD = "airflow_shared"

#: A conversation that another task has made is listed by then. Coze documents no delay between making and listing.
_SETTLE_SECONDS = 5.0
#: 5,000 conversations; beyond that a search costs more of the account's requests than it is worth.
_MAX_PAGES = 100
#: Clocks of Coze and of the workers may differ by so much.
_SKEW_SECONDS = 300.0
#: Tasks that made one each did so within this: it is the time that the requests for it may be repeated.
_RACE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Shared:
    """Which conversation is meant."""

    bot_id: str
    marker: str
    name: str | None  # for people who look at Coze, 100 characters at most. None: none, as Coze Studio wants it
    since: float | None  # Unix seconds before which it cannot have been made. None: not known


def find_shared(shared: Shared, retry: RetryPolicy) -> Flow[Conversation | None]:
    """Find the conversation. None: there is none, or none that is listed yet.

    :raises CozeInputError: the bot has too many newer conversations to look through.
    """
    return _oldest((yield from _marked(shared, retry)))


def open_shared(shared: Shared, retry: RetryPolicy) -> Flow[tuple[Conversation, bool]]:
    """Find the conversation, or make it; and tell whether it was made now.

    :raises CozeInputError: the server does not keep what a conversation is found again by; or there are too many to look through.
    :raises CozeError: it could not be found or made. Nothing was started, so nothing is billed.
    """
    try:
        if (found := (yield from find_shared(shared, retry))) is not None:
            return found, False
        make = conversations.create_conversation(
            bot_id=shared.bot_id, name=shared.name, meta_data={SHARED_FIELD: shared.marker}
        )
        # If the reply is lost another is made: they are found, and the oldest is used.
        made = yield from call(changed(make, replay=Replay.ALWAYS), retry)
        yield Sleep(_SETTLE_SECONDS)
        listed = yield from _marked(shared, retry)
    except CozeInputError:
        raise
    except CozeError as error:
        error.located("Nothing was started, so nothing is billed: this is the conversation that the chat was to share.")
        raise
    if not listed and not _is_marked(made, shared):
        raise CozeInputError(
            f"Conversation {made.id!r} was made for tasks to share, and this server does not keep the meta_data that the others would "
            "find it by (a Coze Studio of mid-2025?). No chat was sent, so nothing is billed; a retry fails the same way. Update the "
            "server, or make one conversation yourself and give its id as conversation."
        )
    oldest = _oldest([*listed, made])
    assert oldest is not None  # noqa: S101 - there is at least what was made
    return oldest, oldest.id == made.id


def _marked(shared: Shared, retry: RetryPolicy) -> Flow[list[Conversation]]:
    """List all that carry the marker, back to where there can be no more of them."""
    found: list[Conversation] = []
    for number in range(1, _MAX_PAGES + 1):
        page = yield from call(conversations.list_conversations(bot_id=shared.bot_id, page_num=number), retry)
        found += [each for each in page.conversations if _is_marked(each, shared)]
        floors = [] if shared.since is None else [shared.since - _SKEW_SECONDS]
        floors += [each.created_at - _RACE_SECONDS for each in found]
        oldest = page.conversations[-1].created_at if page.conversations else 0
        if not page.has_more or (floors and 0 < oldest < max(floors)):
            return found
    if found:
        return found
    raise CozeInputError(
        f"Bot {shared.bot_id!r} has over {_MAX_PAGES * conversations.PAGE_SIZE} conversations, and the one that tasks share is not among "
        "the newest. No chat was sent, so nothing is billed. Make one yourself and give its id as conversation."
    )


def _is_marked(conversation: Conversation, shared: Shared) -> bool:
    meta_data: Mapping[str, str] = conversation.meta_data
    return meta_data.get(SHARED_FIELD) == shared.marker


def _oldest(found: Sequence[Conversation]) -> Conversation | None:
    """Return the one that everybody chooses. Ids grow with time, and are digits."""
    age: Callable[[Conversation], tuple[int, int, str]] = lambda each: (each.created_at, len(each.id), each.id)  # noqa: E731
    return min(found, key=age, default=None)
