"""Coze code → what it means, which error it becomes, what it proves, what a retry can bring, and what to do. A table; no functions.

Sources: the official table at www.coze.cn/open/docs/developer_guides/coze_error_codes, unless a row names another. Columns:

- ``again``: what asking again can bring. SOON: after a short, growing wait. SLOWLY: the same, starting at 30 s. NO: nothing.
- ``later``: what Airflow's retry of the task can bring, minutes or hours later, and ``why``. ``protocol.policy`` reads it.
- ``started``: what the code proves when it answers a billed request. False: refused before anything ran. None: not proven either way.
- ``advice``: the sentence for the person on call.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from airflow_provider_coze import errors as e

__all__ = [
    "BY_CODE",
    "BY_STATUS",
    "EXPIRED_TOKEN_CODES",
    "FAILED",
    "NOT_VISIBLE_YET",
    "NO_ASYNC",
    "REDIRECT",
    "UNKNOWN",
    "USUAL",
    "Again",
    "Fate",
    "Later",
    "Meaning",
]


class Again(enum.Enum):
    """What asking again can bring, within one call."""

    SOON = "soon"
    SLOWLY = "slowly"
    NO = "no"


class Later(enum.Enum):
    """What a retry of the whole task can bring, and after how long."""

    RETRY = "retry"  # after the task's own retry_delay
    WAIT_MINUTE = "wait a minute"
    WAIT_MINUTES = "wait some minutes"
    TOMORROW = "tomorrow"
    NEVER = "never"  # somebody has to change something first


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a task that failed."""

    later: Later
    why: str  # a sentence


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    meaning: str
    error: type[e.CozeAPIError]
    again: Again
    fate: Fate
    started: bool | None
    advice: str


#: The fate of a refusal, by its class; rows whose fate is another one say so.
USUAL: dict[type[e.CozeError], Fate] = {
    e.CozeAPIError: Fate(Later.RETRY, "What it means is not known, so it may pass."),
    e.CozeAuthError: Fate(Later.NEVER, "Only another token, or another base URL, changes it."),
    e.CozePermissionError: Fate(Later.NEVER, "Somebody has to give the token what it lacks."),
    e.CozeNotFoundError: Fate(Later.NEVER, "It has to exist, to be published and to be named correctly first."),
    e.CozeRejectedError: Fate(Later.NEVER, "The same request is refused again until somebody changes something."),
    e.CozePlanError: Fate(Later.NEVER, "Only another plan or another mode changes it."),
    e.CozeQuotaError: Fate(Later.NEVER, "Only a payment changes it."),
    e.CozeRateLimitedError: Fate(Later.RETRY, "Requests get through again as soon as there are fewer."),
    e.CozeUnavailableError: Fate(Later.RETRY, "Trouble of a server mostly passes."),
    e.CozeConversationBusyError: Fate(Later.RETRY, "The chat in progress ends, and its conversation is free again."),
    e.CozeAlreadyEndedError: Fate(Later.RETRY, "It has ended, so the next try finds how."),
    e.CozeRiskControlError: Fate(
        Later.WAIT_MINUTES, "Coze's risk control lets requests pass again after some minutes."
    ),
}

#: Whether a workflow is done in time depends on how fast its models are at the moment.
_NEXT_IN_TIME = Fate(Later.RETRY, "Another run may be in time.")


def _row(
    meaning: str,
    error: type[e.CozeAPIError],
    advice: str,
    again: Again = Again.NO,
    *,
    fate: Fate | None = None,
    started: bool | None = None,
) -> Meaning:
    return Meaning(meaning, error, again, fate or USUAL[error], started, advice)


_WHICH_SITE = (
    "Check the connection's access token (`password`) or OAuth fields: the token may have expired or been deleted, or be of another site - "
    "a token of coze.cn fails on coze.com, and the reverse; set the base URL (`host`) to the site the token was made on."
)

#: Every documented code, the ones seen in public reports, and Coze Studio's.
BY_CODE: dict[int, Meaning] = {
    4000: _row(
        "request parameter error",
        e.CozeRejectedError,
        "Correct the argument that Coze's message names.",
        started=False,
    ),
    4001: _row(
        "chat not found", e.CozeNotFoundError, "Check chat_id, and that the token's account made it.", started=False
    ),
    4002: _row(
        "conversation not found",
        e.CozeNotFoundError,
        "Check conversation_id: only conversations of the token's own account and channel are found.",
        started=False,
    ),
    4003: _row(
        "meta_data over its limit",
        e.CozeRejectedError,
        "Keep meta_data to 16 pairs, keys to 64 and values to 512 characters.",
        started=False,
    ),
    4004: _row(
        "too many additional_messages",
        e.CozeRejectedError,
        "Send at most 100 messages (50 to a chatflow).",
        started=False,
    ),
    4005: _row(
        "message id or content invalid",
        e.CozeRejectedError,
        "Correct the content of the message; object_string content must be a JSON array in a string.",
        started=False,
    ),
    4006: _row(
        "bot not found, or no access to it",
        e.CozeNotFoundError,
        "Check bot_id (the number after /bot/ in the bot's URL) and that the token covers its workspace.",
        started=False,
    ),
    4007: _row(
        "stream=false requires auto_save_history=true",
        e.CozeRejectedError,
        "Leave auto_save_history on.",
        started=False,
    ),
    4008: _row(
        "the bot's daily usage limit is reached", e.CozeQuotaError,
        "It is lifted on the next day; until then retries are refused too.",
        fate=Fate(Later.TOMORROW, "The limit is lifted on the next day."),
    ),
    # 4009, 4013 and 4020 answer a start before anything ran. That is our inference: a chat is answered before its model is asked, and
    # an answer about a run that exists has a debug_url, which overrules this (protocol.retry, protocol.recovery).
    4009: _row("Coze is at capacity", e.CozeUnavailableError, "Try again later.", Again.SOON, started=False),
    4010: _row(
        "the prompt exceeds the model's context",
        e.CozeRejectedError,
        "Shorten the message or the history, or give the bot a model with a longer context.",
    ),
    4011: _row("the Coze token balance is used up", e.CozeQuotaError, "Top up the account in the Coze console."),
    4012: _row(
        "the bot's model is invalid or retired", e.CozeRejectedError, "Choose another model for the bot and publish it."
    ),
    # The official table calls it a model service error; coze-js maps it to RateLimitError (packages/coze-js/src/error.ts).
    4013: _row(
        "too many requests, or the model service failed",
        e.CozeRateLimitedError,
        "Wait, and let fewer tasks start at once: an Airflow pool bounds them over all workers.",
        Again.SOON,
        started=False,
    ),
    4014: _row(
        "the bot cannot answer this question", e.CozeRejectedError, "Rephrase the message, or look at the bot's settings."
    ),
    4015: _row(
        "the bot is not published to the API channel",
        e.CozeRejectedError,
        "Publish the bot in Coze with the API channel ticked.",
        started=False,
    ),
    4016: _row(
        "the conversation already has a chat in progress",
        e.CozeConversationBusyError,
        "Wait for it or cancel it, or leave conversation_id out so that every task gets a conversation of its own.",
        started=False,
    ),
    4019: _row("the account is in arrears", e.CozeQuotaError, "Settle the bill in the Coze console."),
    4020: _row(
        "the purchased requests per minute are exceeded",
        e.CozeRateLimitedError,
        "Wait a minute; let fewer tasks start at once (an Airflow pool bounds them over all workers), or buy more.",
        Again.SOON,
        started=False,
        fate=Fate(Later.WAIT_MINUTE, "What was purchased is a number of requests per minute."),
    ),
    4021: _row("the workflow is not configured", e.CozeRejectedError, "Configure and publish the bot's workflow in Coze."),
    4022: _row("the model service is in arrears", e.CozeQuotaError, "Settle the bill of the model service."),
    # Not in the official table: github.com/coze-dev/coze-py/issues/425 shows it in a chat's last_error.
    4028: _row("the free quota is used up", e.CozeQuotaError, "Upgrade the plan, or use another account."),
    4100: _row("the token is invalid", e.CozeAuthError, _WHICH_SITE, started=False),
    4101: _row(
        "the token lacks a permission",
        e.CozePermissionError,
        "Give the token that permission and the workspace of the resource, and check the id.",
        started=False,
    ),
    4102: _row(
        "blocked by Coze's risk control",
        e.CozeRiskControlError,
        "It may pass after some minutes; quote the logid to Coze's support if it stays.",
    ),
    4104: _row("the chat cannot be cancelled in its state", e.CozeAlreadyEndedError, "It has ended: read its result."),
    4105: _row("sensitive content", e.CozeRejectedError, "Change the bot's content and publish it again."),
    4200: _row(
        "not found, or not published",
        e.CozeNotFoundError,
        "Check the id, and publish the workflow or bot: a draft is not found.",
        started=False,
    ),
    4201: _row("the member already exists", e.CozeRejectedError, "Nothing to do: it is there."),
    4300: _row("the file is empty, or the request is no file upload", e.CozeRejectedError, "Check the file."),
    4301: _row("more than one file in the request", e.CozeRejectedError, "Upload one file a request."),
    4302: _row("the file is too large", e.CozeRejectedError, "Keep files to 512 MB."),
    4303: _row("the file type is not supported", e.CozeRejectedError, "Convert the file."),
    4304: _row("the file is broken", e.CozeRejectedError, "Check the file."),
    4314: _row(
        "no such execution record",
        e.CozeNotFoundError,
        "Check workflow_id and execute_id; results are kept for 7 days (output nodes for 24 hours).",
    ),
    4315: _row("the execution has already ended", e.CozeAlreadyEndedError, "It has ended: read its result."),
    5000: _row(
        "internal error of Coze",
        e.CozeUnavailableError,
        "Try again later, and check the bot id: a wrong one is answered like this too.",
        Again.SOON,
    ),
    6003: _row(
        "asynchronous runs need a paid plan",
        e.CozePlanError,
        'Use execution_mode="stream" or "auto", which every plan has, or upgrade the plan.',
        started=False,
    ),
    700012006: _row("the access token is invalid", e.CozeAuthError, _WHICH_SITE, started=False),
    720702204: _row(
        "the chatflow's conversation is missing",
        e.CozeRejectedError,
        "Pass a conversation_id, or CONVERSATION_NAME in parameters.",
    ),
    720702222: _row(
        "Coze is experiencing server issues",
        e.CozeUnavailableError,
        "Try again in some minutes.",
        Again.SLOWLY,
        fate=Fate(Later.WAIT_MINUTES, "Trouble of this kind lasts for minutes."),
    ),
    # Coze Studio, github.com/coze-dev/coze-studio backend/types/errno/{conversation,workflow}.go
    6023: _row(
        "the workflow timed out", e.CozeRejectedError, "Raise the workflow's time limit, or do less in one run.",
        fate=_NEXT_IN_TIME,
    ),
    6031: _row("the workflow is not published", e.CozeNotFoundError, "Publish the workflow.", started=False),
    6039: _row(
        "the workflow asks a question, which a synchronous run cannot answer",
        e.CozeRejectedError,
        "Run it in another mode.",
    ),
    103000000: _row("parameter error", e.CozeRejectedError, "Correct the argument that the message names.", started=False),
    103000001: _row(
        "no permission", e.CozePermissionError, "Use a token of the account that owns the bot and the conversation.",
        started=False,
    ),
    103000002: _row("conversation not found", e.CozeNotFoundError, "Check conversation_id.", started=False),
    103100001: _row("the bot failed", e.CozeUnavailableError, "Look at the bot's model in Coze Studio.", Again.SOON),
    103100002: _row("the bot does not exist", e.CozeNotFoundError, "Check bot_id.", started=False),
    103200002: _row("the bot failed", e.CozeUnavailableError, "Look at the bot's model in Coze Studio.", Again.SOON),
    103200003: _row("no such record", e.CozeNotFoundError, "Check the ids."),
    103200005: _row("it cannot be cancelled in its state", e.CozeAlreadyEndedError, "It has ended: read its result."),
    720701013: _row("the workflow failed", e.CozeUnavailableError, "Look at the run in Coze.", Again.SOON),
    720702004: _row("the workflow does not exist", e.CozeNotFoundError, "Check workflow_id.", started=False),
    720702011: _row("the workflow is not published", e.CozeNotFoundError, "Publish the workflow.", started=False),
    720702078: _row(
        "the workflow asks a question, which a synchronous run cannot answer",
        e.CozeRejectedError,
        "Run it in another mode.",
    ),
    720702085: _row(
        "the workflow timed out", e.CozeRejectedError, "Raise its time limit, or do less in one run.", fate=_NEXT_IN_TIME
    ),
    777777776: _row(
        "a node of the workflow timed out", e.CozeRejectedError, "Look at the node in Coze.", fate=_NEXT_IN_TIME
    ),
    777777777: _row(
        "the run was cancelled by a user", e.CozeRejectedError, "Start it again if that was a mistake.",
        fate=Fate(Later.RETRY, "Another run is not cancelled by that."),
    ),
}  # fmt: skip

#: For answers without a code of their own (gateways, proxies, Coze Studio, which repeats the status as the code).
#: The pairs 400/4000, 401/4100, 403/4101, 404/4200 and 429/4013 are coze-js's (packages/coze-js/src/error.ts).
BY_STATUS: dict[int, Meaning] = {
    400: _row("bad request", e.CozeRejectedError, "Correct what the message names.", started=False),
    401: _row("the token is not accepted", e.CozeAuthError, _WHICH_SITE, started=False),
    403: _row("access denied", e.CozePermissionError, BY_CODE[4101].advice, started=False),
    404: _row(
        "not found",
        e.CozeNotFoundError,
        "Check the connection's base URL (`host`; it may lack or repeat a path) and the ids.",
        started=False,
    ),
    408: _row("the server gave up waiting", e.CozeUnavailableError, "Try again later.", Again.SOON),
    413: _row("the request is too large", e.CozeRejectedError, "Send less: 20 MB to workflows, 15 MB elsewhere.", started=False),
    # What is rate-limited has not begun: our reading of RFC 6585, 4. `envelope` says it of every code that comes with a 429.
    429: _row("too many requests", e.CozeRateLimitedError, BY_CODE[4013].advice, Again.SOON, started=False),
}  # fmt: skip

#: What is left: 5xx, codes and statuses that no row has, and redirects.
FAILED = _row(
    "the server failed", e.CozeUnavailableError, "Try again later; a proxy or gateway may be in between.", Again.SOON
)
UNKNOWN = _row("a code this version does not know", e.CozeAPIError, "Look it up by its logid or debug_url in Coze.")
#: The API does not redirect, and no transport follows: whoever redirects is another server, or the wrong address.
REDIRECT = _row(
    "the server redirects",
    e.CozeAPIError,
    "Set the connection's base URL (`host`) to the API's own address; a redirect is not followed, because it would take the token along.",
    fate=Fate(Later.NEVER, "Whoever redirects is not the API, so the address has to change."),
    started=False,
)

#: The token was good once: with OAuth a new one is fetched, once. HTTP 401 counts as well.
EXPIRED_TOKEN_CODES = frozenset({4100, 700012006})

#: A run's record can appear some seconds after the run was started.
NOT_VISIBLE_YET = 4314
#: Of an asynchronous start: the plan has none. Said before anything is started, and free.
NO_ASYNC = 6003
