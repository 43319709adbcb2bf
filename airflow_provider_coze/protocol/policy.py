"""Decide what becomes of a task that failed: retried, after how long, or failed for good. Pure: time is an argument.

``codes`` says it of every code and HTTP status; here it is said of every class of errors, for those that came without one.
Whether a request is repeated inside a call is decided by ``retry``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from airflow_provider_coze import errors as e
from airflow_provider_coze.protocol import codes
from airflow_provider_coze.protocol.codes import Fate, Later
from airflow_provider_coze.protocol.envelope import meaning_of

__all__ = ["BY_ERROR", "WAITS", "Action", "Verdict", "has_spent", "verdict"]

#: Seconds. A minute, because code 4020 counts requests per minute. For "some minutes" Coze gives no figure: these are Airflow's own
#: default retry_delay, and longer than the 30 to 120 s that public clients wait after 720702222.
WAITS: Mapping[Later, float] = MappingProxyType({Later.WAIT_MINUTE: 60.0, Later.WAIT_MINUTES: 300.0})
_DAY_SECONDS = 86_400.0
#: When the day of code 4008 begins is not documented. For coze.cn we assume midnight in China, and let some minutes pass for
#: clocks that differ. For every other site nothing is assumed: a day later it is tomorrow in all time zones.
_CHINA_SECONDS = 8 * 3600.0
_AFTER_MIDNIGHT_SECONDS = 300.0

_FAILED_WORK = Fate(Later.RETRY, "Why it failed is not known, so another may succeed.")
_CANCELED = Fate(Later.RETRY, "Another is not cancelled by that.")
_OUT_OF_TIME = Fate(Later.RETRY, "It goes on in Coze, or another may be in time.")
_UNANSWERED = Fate(Later.NEVER, "It does not go on without an answer, and another would ask the same.")

#: The fate of every class of errors that has no code or status to go by.
BY_ERROR: Mapping[type[e.CozeError], Fate] = MappingProxyType(
    {
        e.CozeError: Fate(
            Later.RETRY, "An error of a newer version of this provider: what it means is not known here."
        ),
        e.CozeConnectionConfigError: Fate(Later.NEVER, "The connection stays wrong until somebody corrects it."),
        e.CozeConnectionUnreadableError: Fate(
            Later.RETRY, "To Airflow a secrets backend that is down looks like a connection that does not exist."
        ),
        e.CozeInputError: Fate(Later.NEVER, "The next try has the same arguments."),
        e.CozeTransportError: Fate(Later.RETRY, "Trouble of a network mostly passes."),
        e.CozeStreamTimeoutError: _OUT_OF_TIME,
        e.CozeProtocolError: Fate(Later.RETRY, "It may be the page of a proxy or gateway in trouble."),
        **codes.USUAL,
        e.CozeOutcomeError: _FAILED_WORK,
        e.CozeChatFailedError: _FAILED_WORK,
        e.CozeChatCanceledError: _CANCELED,
        e.CozeChatRequiresActionError: _UNANSWERED,
        e.CozeToolError: Fate(Later.RETRY, "The chat still waits for the output, and the tool may work the next time."),
        e.CozeChatTimeoutError: _OUT_OF_TIME,
        e.CozeRunFailedError: _FAILED_WORK,
        e.CozeRunCanceledError: _CANCELED,
        e.CozeRunInterruptedError: _UNANSWERED,
        e.CozeRunTimeoutError: _OUT_OF_TIME,
        e.CozeOutputTypeError: Fate(Later.NEVER, "The next try would read the same answer, against the same type."),
        e.CozeTokenBudgetError: Fate(Later.NEVER, "Its token_budget is used up, and another try could only use more."),
        e.CozeBatchFailedError: Fate(Later.RETRY, "Rows that failed are asked again, and only those."),
        e.CozeBatchTimeoutError: Fate(Later.RETRY, "It goes on where it stands."),
        e.CozeOutcomeUnknownError: Fate(Later.RETRY, "Another look may find the chat's answer."),
        e.CozeStateError: Fate(Later.RETRY, "What keeps the record may be back."),
        e.CozeTriggerEventError: Fate(Later.RETRY, "What it waited for is still there, or can be started again."),
    }
)

#: Coze lists the chats of a conversation, but no runs.
_UNKNOWN_RUN = Fate(Later.NEVER, "No retry can find out what became of the run: a person has to look.")
_NOT_VISIBLE = Fate(Later.RETRY, "The record of a run can appear late.")
_NO_OTHER_END = Fate(Later.NEVER, "It has ended, and another look shows the same end.")
#: Raised before anything is sent.
_BEFORE_ANYTHING = (
    e.CozeInputError,
    e.CozeConnectionConfigError,
    e.CozeConnectionUnreadableError,
    e.CozeStateError,
)


class Action(enum.Enum):
    """What Airflow is to do with the task."""

    RETRY = "retry"  # as far as its `retries` go
    FAIL = "fail"  # for good


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the task, and why."""

    action: Action
    wait_seconds: float | None  # until the retry. None: the task's own retry_delay; or there is none.
    reason: str  # for the person on call; under the 500 characters that Airflow keeps


def has_spent(error: e.CozeError) -> bool:
    """Tell whether a chat or run exists on Coze by the time of *error*; a conversation alone costs nothing."""
    known = error.chat_id or error.execute_id or error.debug_url
    return bool(known) or isinstance(error, e.CozeOutcomeError | e.CozeTriggerEventError)


def verdict(error: e.CozeError, *, spent: bool, now: float, only_looks: bool = False) -> Verdict:
    """Decide what becomes of a task that failed with *error*.

    :param spent: whether its chat or run exists on Coze, and is billed; see :func:`has_spent`.
    :param now: Unix seconds.
    :param only_looks: the task starts nothing, it waits for what something else has started: a sensor.
    """
    what, fate, started = _said(error)
    if only_looks and isinstance(error, e.CozeOutcomeError) and fate is not _OUT_OF_TIME:
        fate = _NO_OTHER_END
    elif spent and not only_looks and error.code == codes.NOT_VISIBLE_YET:
        fate = _NOT_VISIBLE
    if fate.later is Later.NEVER:
        bill = " What was started is billed." if spent and not only_looks else ""
        return Verdict(Action.FAIL, None, f"{what}: {fate.why} A retry would fail the same way.{bill}")
    if only_looks:
        bill = "A retry looks again, which costs nothing."
    elif isinstance(error, e.CozeOutcomeUnknownError):
        bill = 'A retry sends nothing, unless on_unknown is "resend".'
    elif spent:
        bill = "What was started is billed; a retry that does not go on with it starts, and pays for, another."
    elif started is False:
        bill = "Nothing was started, so nothing is billed twice."
    else:
        bill = "Whether Coze has begun is not known, so a retry may be billed a second time."
    return Verdict(Action.RETRY, _wait(fate.later, error, now), f"{what}: {fate.why} {bill}")


def _said(error: e.CozeError) -> tuple[str, Fate, bool | None]:
    """Return what happened in a few words, what becomes of it, and whether it proves that nothing was started."""
    kind = next(kind for kind in type(error).__mro__ if kind in BY_ERROR)
    row = None
    if isinstance(error, e.CozeChatFailedError | e.CozeRunFailedError):
        row = codes.BY_CODE.get(error.code or 0)
    elif isinstance(error, e.CozeAPIError) and (error.code or error.status):
        known = meaning_of(error.code or 0, error.status or 0)
        row = known if known.error is kind else None  # a token that is refused in words has no row
    if row is not None:
        said = f"code {error.code}" if error.code else f"HTTP {error.status}"
        return f"{kind.__name__}, {said} ({row.meaning})", row.fate, False if error.never_sent else row.started
    fate = _UNKNOWN_RUN if kind is e.CozeOutcomeUnknownError and error.workflow_id else BY_ERROR[kind]
    return kind.__name__, fate, False if kind in _BEFORE_ANYTHING or error.never_sent else None


def _wait(later: Later, error: e.CozeError, now: float) -> float | None:
    """Return the seconds until the retry; what Coze asked for itself can make them more, up to a day."""
    asked = min(error.retry_after, _DAY_SECONDS) if error.retry_after else None
    wait = _until_tomorrow(error.origin, now) if later is Later.TOMORROW else WAITS.get(later)
    return asked if wait is None else max(wait, asked or 0.0)


def _until_tomorrow(origin: str | None, now: float) -> float:
    if origin is None or not origin.endswith(".coze.cn"):
        return _DAY_SECONDS
    return _DAY_SECONDS - (now + _CHINA_SECONDS) % _DAY_SECONDS + _AFTER_MIDNIGHT_SECONDS
