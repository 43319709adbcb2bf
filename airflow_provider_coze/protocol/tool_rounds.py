"""Hand the outputs of tools to the chat that waits for them so that they are paid for once, also when the reply is lost.

Outputs are billed, and Coze takes them once: a chat that has gone on, or asks for something else, has had them. So the chat itself is
what a lost reply is found again by. https://www.coze.cn/open/docs/developer_guides/chat_submit_tool_outputs, retrieve_chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol.endpoints.chat import submit_tool_outputs
from airflow_provider_coze.protocol.flows import call, read_chat
from airflow_provider_coze.protocol.messages import Flow, Sleep
from airflow_provider_coze.protocol.models import Chat
from airflow_provider_coze.protocol.recovery import is_worth_repeating, may_have_started
from airflow_provider_coze.protocol.retry import RetryPolicy
from airflow_provider_coze.protocol.statuses import Phase, chat_phase

__all__ = ["is_still_asked", "submit_once"]

#: Looks after a lost reply, and the seconds before each: Coze documents no delay between outputs and the status that shows them.
_LOOKS = (1.0, 2.0, 4.0)
#: How often the outputs of one round are sent.
_SENDS = 3


def is_still_asked(asked: Chat, seen: Chat) -> bool:
    """Tell whether a chat waits for just the calls that it was *asked* for before."""
    return chat_phase(seen.status) is Phase.NEEDS_INPUT and _call_ids(asked) == _call_ids(seen)


def submit_once(asked: Chat, outputs: Sequence[Mapping[str, str]], retry: RetryPolicy) -> Flow[Chat]:
    """Submit the outputs of a round, and return the chat as it goes on.

    :param asked: the chat that requires action.
    :param outputs: ``{"tool_call_id", "output"}`` each, for all of its calls.
    :raises CozeError: they could not be submitted, or what became of them could not be read; a retry of the task looks.
    """
    submission = submit_tool_outputs(conversation_id=asked.conversation_id, chat_id=asked.id, tool_outputs=outputs)
    for left in reversed(range(_SENDS)):
        try:
            return (yield from call(submission, retry))
        except CozeError as error:
            seen = asked
            for seconds in _LOOKS if may_have_started(error) else (0.0,):
                yield Sleep(seconds)
                seen = yield from read_chat(asked, retry)
                if not is_still_asked(asked, seen):
                    return seen
            if not left or not is_worth_repeating(error):
                raise error.located(
                    f"It is about the tool outputs that chat {asked.id!r} in conversation {asked.conversation_id!r} waits for; what it "
                    "used so far is billed. A retry of the task goes on with it, unless durable is False.",
                    chat_id=asked.id,
                    conversation_id=asked.conversation_id,
                ) from None
    raise AssertionError("unreachable")  # pragma: no cover


def _call_ids(chat: Chat) -> list[str]:
    return sorted(str(each.get("id")) for each in chat.tool_calls)
