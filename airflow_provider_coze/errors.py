"""Every exception this package raises, split by what the reader will do next. Imports nothing of the package.

CozeError
  CozeConnectionConfigError   the Airflow connection is wrong: fix the field it names
    CozeConnectionUnreadableError  Airflow could not hand it out: it is missing, or what keeps it is in trouble
  CozeInputError              an operator's argument is wrong: nothing was sent
  CozeTransportError          no answer from Coze; .never_sent says whether Coze can have acted
    CozeStreamTimeoutError    our deadline passed before a stream was over; what it told of goes on
  CozeProtocolError           an answer that cannot be understood
  CozeAPIError                an answer that says no; .code .msg .logid .status .debug_url
    CozeAuthError             the token is wrong, expired, or of another site
    CozePermissionError       the token is fine and lacks a permission
    CozeNotFoundError         no such bot, workflow, chat, conversation, run, or not published
    CozeRejectedError         fix the DAG or the bot; asking again is pointless
    CozePlanError             the plan of the account does not include this
    CozeQuotaError            used up, in arrears, or a daily limit: money or time, not code
    CozeRateLimitedError      wait .retry_after seconds, then ask again
    CozeUnavailableError      Coze has trouble; whether it acted is unknown
    CozeConversationBusyError the conversation already has a running chat
    CozeAlreadyEndedError     it is over: nothing to cancel, answer or resume
    CozeRiskControlError      refused by Coze's risk control
  CozeOutcomeError            Coze accepted the work, and it did not end in an answer; ids say where to look
    CozeChatFailedError       the bot failed; .code and .msg are the chat's last_error
    CozeChatCanceledError     somebody cancelled the chat
    CozeChatRequiresActionError  the bot waits for tool outputs; .tool_calls
    CozeToolError             a tool of the task failed; the bot still waits for its output
    CozeChatTimeoutError      we stopped waiting; Coze may still be working, and charging
    CozeRunFailedError        the workflow failed; .code and .msg are the run's
    CozeRunCanceledError      somebody cancelled the run (Coze Studio)
    CozeRunInterruptedError   the workflow asks a question; .interrupt
    CozeRunTimeoutError       we stopped waiting; the run goes on, and is charged for
    CozeOutputTypeError       the answer is not of the type asked for
    CozeTokenBudgetError      the token_budget is used up; the next billed call was not made
    CozeBatchFailedError      rows of a batch failed, more than are allowed to; .result_uri .failed_uri
      CozeBatchTimeoutError   the batch's timeout passed; what it has is kept, a retry goes on with the rest
  CozeOutcomeUnknownError     nobody can tell whether something was bought, or what became of it; a person has to look
  CozeStateError              what earlier tries bought cannot be read or noted down
  CozeTriggerEventError       the triggerer handed back something that is not ours
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

#: Attributes that travel with an error from the triggerer to the worker.
_FIELDS = (
    "code",
    "msg",
    "logid",
    "status",
    "debug_url",
    "origin",
    "never_sent",
    "retry_after",
    "bot_id",
    "chat_id",
    "conversation_id",
    "workflow_id",
    "execute_id",
)
#: Types of the facts that are neither texts nor seconds.
_TYPES: dict[str, type] = {
    "code": int,
    "status": int,
    "never_sent": bool,
    "tool_calls": list,
    "interrupt": dict,
}


class CozeError(Exception):
    """Base of all errors raised here; every fact that is known is an attribute, every unknown one is None."""

    code: int | None = None  # Coze's own code, never an HTTP status
    msg: str | None = None  # Coze's own words
    logid: str | None = None  # quote it to Coze's support
    status: int | None = None  # HTTP status
    debug_url: str | None = None  # valid for 7 days
    origin: str | None = None  # the site that was called
    never_sent: bool | None = None
    retry_after: float | None = None  # seconds
    bot_id: str | None = None
    chat_id: str | None = None
    conversation_id: str | None = None
    workflow_id: str | None = None
    execute_id: str | None = None

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        unknown = facts.keys() - set(self._fields())
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)}")
        for name, value in facts.items():
            setattr(self, name, value)

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return _FIELDS

    def facts(self) -> dict[str, Any]:
        """Return what is known, by attribute name; values are JSON types."""
        return {name: value for name in self._fields() if (value := getattr(self, name)) is not None}

    def located(self, sentence: str, **ids: str | None) -> Self:
        """Add where the work stands to a failure that happened on the way; facts that are known already stay."""
        for name, value in ids.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        self.args = (f"{self} {sentence}",)
        return self

    def to_payload(self) -> dict[str, Any]:
        """Return the error as JSON types, to be raised again on the other side of a deferral."""
        return {"error": type(self).__name__, "message": str(self), "facts": self.facts()}

    @staticmethod
    def from_payload(payload: Mapping[str, Any]) -> CozeError:
        """Rebuild what :meth:`to_payload` made; an error this version does not know becomes a plain ``CozeError``.

        Facts that are not of their attribute's type are left out: whoever judges the error relies on it.
        """
        name, message, facts = payload.get("error"), payload.get("message"), payload.get("facts")
        kind = _by_name().get(name, CozeError) if isinstance(name, str) else CozeError
        given = facts if isinstance(facts, Mapping) else {}
        known = {name: given[name] for name in kind._fields() if name in given and _is_fact(name, given[name])}
        words = message if isinstance(message, str) else ""
        return kind(words or "Coze failed, and no message came with it.", **known)


class CozeConnectionConfigError(CozeError, ValueError):
    """A field of the Airflow connection is wrong. The message names the field and what is allowed, never the value of a secret."""


class CozeConnectionUnreadableError(CozeConnectionConfigError):
    """Airflow handed no connection out. A secrets backend that is down looks like a connection that does not exist."""


class CozeInputError(CozeError, ValueError):
    """One or more arguments of an operator are wrong. Nothing was sent, so nothing is billed."""


class CozeTransportError(CozeError):
    """No answer. ``never_sent`` is True when the request provably did not leave (refused, unresolved, connect timeout)."""


class CozeStreamTimeoutError(CozeTransportError):
    """The caller's own deadline passed before a stream was over. What it told of goes on in Coze, and is billed."""


class CozeProtocolError(CozeError):
    """An answer that is not what the API's documents describe."""


class CozeAPIError(CozeError):
    """An answer whose ``code`` is not 0, or whose HTTP status says failure where there is no code."""


class CozeAuthError(CozeAPIError):
    """The token is not accepted by the site that was called."""


class CozePermissionError(CozeAPIError):
    """The token is accepted, but not for this operation or this resource."""


class CozeNotFoundError(CozeAPIError):
    """What the request names does not exist, is not published, or belongs to somebody else."""


class CozeRejectedError(CozeAPIError):
    """The request, the bot or the workflow has to change; the same request will be refused again."""


class CozePlanError(CozeAPIError):
    """The account's plan does not include the operation."""


class CozeQuotaError(CozeAPIError):
    """Money, tokens or a daily allowance is used up."""


class CozeRateLimitedError(CozeAPIError):
    """Too many requests; ``retry_after`` is what Coze asked for, in seconds, if it did."""


class CozeUnavailableError(CozeAPIError):
    """Coze, its model service or a gateway has trouble. For a billed request it is unknown whether it was carried out."""


class CozeConversationBusyError(CozeAPIError):
    """The conversation already has a chat in progress; the new one was not started."""


class CozeAlreadyEndedError(CozeAPIError):
    """The chat or run has reached its end, so it cannot be cancelled, answered or resumed."""


class CozeRiskControlError(CozeAPIError):
    """Coze's risk control refused the request; it may pass after some minutes."""


class CozeOutcomeError(CozeError):
    """The work was accepted by Coze, and billed as far as it went, but there is no answer."""


class CozeChatFailedError(CozeOutcomeError):
    """The chat ended as ``failed``; ``code`` and ``msg`` are its ``last_error``."""


class CozeChatCanceledError(CozeOutcomeError):
    """The chat ended as ``canceled``."""


class CozeChatRequiresActionError(CozeOutcomeError):
    """The chat is paused until tool outputs are submitted.

    ``tool_calls`` holds Coze's own objects: ``{"id", "type", "function": {"name", "arguments"}}``.
    """

    tool_calls: list[dict[str, Any]] | None = None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return (*_FIELDS, "tool_calls")


class CozeToolError(CozeOutcomeError):
    """A function given as one of the task's ``tools`` failed, or could not be called. No output was submitted; the chat waits for it."""


class CozeChatTimeoutError(CozeOutcomeError):
    """The chat was still going when our time was up."""


class CozeRunFailedError(CozeOutcomeError):
    """The workflow run ended as ``Fail``; ``code`` and ``msg`` are the run's own."""


class CozeRunCanceledError(CozeOutcomeError):
    """The workflow run was cancelled (Coze Studio; the cloud has no such state)."""


class CozeRunInterruptedError(CozeOutcomeError):
    """The workflow waits for an answer. ``interrupt`` is Coze's ``interrupt_data``: event_id, type, data, required_parameters."""

    interrupt: dict[str, Any] | None = None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return (*_FIELDS, "interrupt")


class CozeRunTimeoutError(CozeOutcomeError):
    """The workflow run was still going when our time was up; it goes on, because Coze has no way to cancel a run."""


class CozeOutputTypeError(CozeOutcomeError):
    """The answer is there, and paid for, but is not of the ``output_type``. The message names the place and the rule, never the value."""


class CozeTokenBudgetError(CozeOutcomeError):
    """The task has used its ``token_budget``, so what would have been billed next was not sent."""


class CozeBatchFailedError(CozeOutcomeError):
    """Rows of a batch have no output, and more of them than the task allows. The other rows' outputs are in ``result_uri``."""

    result_uri: str | None = None
    failed_uri: str | None = None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return (*_FIELDS, "result_uri", "failed_uri")


class CozeBatchTimeoutError(CozeBatchFailedError):
    """The batch was not over when its ``timeout`` was. What it has is kept, and what runs goes on in Coze, and is billed."""


class CozeOutcomeUnknownError(CozeError):
    """A chat or run may have been started, and Coze offers no way to find out. Nothing more was sent.

    With ``on_unknown="resend"`` the operators send it again instead, and a second one may be billed.
    """


class CozeStateError(CozeError):
    """The record of what earlier tries of the task bought cannot be read or written."""


class CozeTriggerEventError(CozeError):
    """The event that resumed the task is missing, unknown or incomplete."""


def _is_fact(name: str, value: object) -> bool:
    if name == "retry_after":
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**63
    kind = _TYPES.get(name, str)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _by_name() -> dict[str, type[CozeError]]:
    found: dict[str, type[CozeError]] = {}
    pending: list[type[CozeError]] = [CozeError]
    while pending:
        kind = pending.pop()
        # What is derived elsewhere under the same name, to be more than an error of ours, does not replace the class itself.
        found.setdefault(kind.__name__, kind)
        pending.extend(kind.__subclasses__())
    return found
