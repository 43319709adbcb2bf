"""Sort failures as common.ai's contract wants them: what the calling model can mend, what no retry mends, and all others.

And say of each whether the bot was certainly not asked: only then another bot may be asked without paying twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_coze.agents.contract import ManagedAgentInvocationError, ManagedAgentRejected
from airflow_provider_coze.errors import CozeChatRequiresActionError, CozeError
from airflow_provider_coze.protocol.policy import Action, has_spent, verdict

__all__ = ["CozeAgentNotAskedError", "sorted_out"]

#: Codes of which the question is the reason, see ``protocol.codes``; what the calling model is told of each.
_REPHRASE = {
    4010: "The question is too long for the bot. Ask again, shorter.",
    4014: "The bot cannot answer this question as it is put. Rephrase it.",
}
_ASKED_BACK = (
    "The bot asks for more before it answers. Ask again, with everything in the question that it needs to know."
)
#: The type of a tool call that is a question of the bot.
_QUESTION = "reply_message"
_NO_RECORD = (
    "No record is kept of an agent's chat, as with durable=False of our operators: whoever asks again, the model or a retry of the task, "
    "pays for a new one."
)

_KINDS: dict[tuple[type[Exception], ...], type[CozeError]] = {}


class CozeAgentNotAskedError(Exception):
    """The bot was certainly not asked: nothing was started, and nothing is billed. Another one may be asked instead.

    Never raised by itself: a :class:`~airflow_provider_coze.errors.CozeError` is this as well where it is true of it.
    """


def sorted_out(error: CozeError, *, asked: bool, now: float) -> Exception:
    """Return what the contract wants raised.

    :param asked: whether the bot may have been asked, and so something billed.
    :param now: Unix seconds.
    :returns: ``ManagedAgentRejected``: asking in other words can help. Else an error of the same class, words and facts; and a
        ``ManagedAgentInvocationError`` too if no retry can help, and a :class:`CozeAgentNotAskedError` if the bot was not asked.
    """
    if (words := _rephrasable(error)) is not None:
        rejected: Exception = ManagedAgentRejected(words)
        return rejected
    if asked:
        error.located(_NO_RECORD)
    final = verdict(error, spent=has_spent(error), now=now).action is Action.FAIL
    marks = (ManagedAgentInvocationError,) * final + (CozeAgentNotAskedError,) * (not asked)
    return _marked(error, *marks) if marks else error


def _rephrasable(error: CozeError) -> str | None:
    if isinstance(error, CozeChatRequiresActionError):
        calls = error.tool_calls or []
        return _ASKED_BACK if all(call.get("type") == _QUESTION for call in calls) else None
    return _REPHRASE.get(error.code or 0)


def _marked(error: CozeError, *marks: type[Exception]) -> CozeError:
    kind = _kind(type(error), marks)
    made = kind.__new__(kind)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    return made


def _kind(kind: type[CozeError], marks: tuple[type[Exception], ...]) -> type[CozeError]:
    """Return the class of what is all of them, under the name of ours, which is what logs show."""
    if (kind, *marks) not in _KINDS:

        def reduce(self: CozeError) -> tuple[Callable[..., CozeError], tuple[Any, ...]]:
            plain = kind.__new__(kind)
            plain.args = self.args
            plain.__dict__.update(self.__dict__)
            return _marked, (plain, *marks)  # pickle would look for this class under its name, and find ours

        facts = {"__doc__": kind.__doc__, "__module__": __name__, "__reduce__": reduce}
        _KINDS[kind, *marks] = type(kind.__name__, (kind, *marks), facts)
    return _KINDS[kind, *marks]
