"""What Coze returns: frozen, named in Coze's words, and tolerant.

Unknown fields are dropped, optional ones may be missing, numbers may be strings, ids are always strings (19 digits do not
fit a float). Nothing here decides. Field lists: www.coze.cn/open/docs/developer_guides (the page of each operation).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pendulum

from airflow_provider_coze.errors import CozeProtocolError

__all__ = [
    "Chat",
    "Conversation",
    "LastError",
    "Message",
    "NodeOutput",
    "RunHistory",
    "UploadedFile",
    "Usage",
    "User",
    "WorkflowInfo",
    "WorkflowRun",
    "Workspace",
]


def text_or_none(value: object) -> str | None:
    """Return a text field as it is; None when it is absent or null. Anything else in its place becomes JSON again."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def identifier(body: Mapping[str, Any], name: str, what: str) -> str:
    """Return a required id as a string.

    :raises CozeProtocolError: it is missing or empty, so nothing can be found again by it.
    """
    value = body.get(name)
    if value in (None, ""):
        raise CozeProtocolError(f"Coze's answer about {what} has no {name!r}; it has {sorted(body)}.")
    return str(value)


def integer(value: object) -> int:
    """Return a count or a time that Coze writes as a number, as digits, or not at all (0); what is over 64 bits is neither."""
    try:
        number = value if type(value) is int else int(str(value).strip() or 0) if value is not None else 0
    except ValueError:
        try:
            number = int(float(str(value)))
        except (ValueError, OverflowError):
            return 0
    return number if abs(number) < 2**63 else 0


def mapping(value: object) -> dict[str, Any]:
    """Return an object field; an absent, null or ill-typed one is empty."""
    return dict(value) if type(value) is dict or isinstance(value, Mapping) else {}


def records(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of an array field; an absent or null one is empty."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_YEAR_10000 = 253_402_300_800  # 9999-12-31 is the last day that a DateTime can hold


def moment(seconds: int) -> pendulum.DateTime | None:
    """Return a Coze time (Unix seconds) as the UTC DateTime that users see; None when Coze gave none, or no possible one."""
    return pendulum.from_timestamp(seconds) if 0 < seconds < _YEAR_10000 else None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one chat or run. For reference; the bill is what counts."""

    token_count: int = 0
    input_count: int = 0
    output_count: int = 0

    @classmethod
    def from_body(cls, value: object) -> Usage | None:
        """Read ``usage``; null and ``{}`` mean that Coze does not say. Older samples spell input_tokens and output_tokens."""
        body = mapping(value)
        if not body:
            return None
        spent_in = integer(body.get("input_count", body.get("input_tokens")))
        spent_out = integer(body.get("output_count", body.get("output_tokens")))
        return cls(integer(body.get("token_count")) or spent_in + spent_out, spent_in, spent_out)

    def to_dict(self) -> dict[str, int]:
        """Return the three counts by Coze's names."""
        return {"token_count": self.token_count, "input_count": self.input_count, "output_count": self.output_count}


@dataclass(frozen=True, slots=True)
class LastError:
    """Why a chat failed."""

    code: int
    msg: str


@dataclass(frozen=True, slots=True)
class Chat:
    """One turn of a bot. https://www.coze.cn/open/docs/developer_guides/chat_v3."""

    id: str
    conversation_id: str
    status: str  # Coze's word; statuses.chat_phase says what it means
    bot_id: str = ""
    created_at: int = 0  # Unix seconds; 0: not given
    completed_at: int = 0
    failed_at: int = 0
    usage: Usage | None = None
    last_error: LastError | None = None  # None: no error; Coze writes null, code 0 or code null
    tool_calls: tuple[Mapping[str, Any], ...] = field(
        default=(), repr=False
    )  # only meant while the chat requires action
    meta_data: Mapping[str, str] = field(default_factory=dict)
    logid: str | None = None  # of the answer it was read from

    @classmethod
    def from_body(cls, body: Mapping[str, Any], **asked: str) -> Chat:
        """Read the ``data`` of chat create, retrieve, cancel and submit_tool_outputs.

        :param asked: the ids the request named, for answers that leave them out.
        """
        chat = mapping(body.get("data"))
        for name, value in asked.items():
            if chat.get(name) in (None, ""):
                chat[name] = value
        error = mapping(chat.get("last_error"))
        action = mapping(mapping(chat.get("required_action")).get("submit_tool_outputs"))
        return cls(
            id=identifier(chat, "id", "a chat"),
            conversation_id=identifier(chat, "conversation_id", "a chat"),
            status=str(chat.get("status") or "in_progress"),
            bot_id=str(chat.get("bot_id") or ""),
            created_at=integer(chat.get("created_at")),
            completed_at=integer(chat.get("completed_at")),
            failed_at=integer(chat.get("failed_at")),
            usage=Usage.from_body(chat.get("usage")),
            last_error=None
            if error.get("code") in (None, "", 0, "0")
            else LastError(integer(error["code"]), str(error.get("msg") or "")),
            tool_calls=tuple(records(action.get("tool_calls"))),
            meta_data={str(k): str(v) for k, v in mapping(chat.get("meta_data")).items()},
            logid=logid_of(body),
        )

    @property
    def created(self) -> pendulum.DateTime | None:
        """When Coze made the chat, in UTC."""
        return moment(self.created_at)


def logid_of(body: Mapping[str, Any]) -> str | None:
    """Return the answer's ``detail.logid``; older answers have none."""
    return text_or_none(mapping(body.get("detail")).get("logid"))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation or chat."""

    id: str
    role: str  # user | assistant
    type: str  # question, answer, function_call, tool_output, tool_response, follow_up, knowledge, verbose, or ""
    content: str = field(repr=False)
    content_type: str = "text"
    chat_id: str = ""
    conversation_id: str = ""
    created_at: int = 0  # Unix seconds
    meta_data: Mapping[str, str] = field(default_factory=dict)
    reasoning_content: str | None = field(default=None, repr=False)

    @classmethod
    def from_record(cls, message: Mapping[str, Any]) -> Message:
        """Read one element of a message list."""
        return cls(
            id=str(message.get("id") or ""),
            role=str(message.get("role") or ""),
            type=str(message.get("type") or ""),
            content=str(message.get("content") or ""),
            content_type=str(message.get("content_type") or "text"),
            chat_id=str(message.get("chat_id") or ""),
            conversation_id=str(message.get("conversation_id") or ""),
            created_at=integer(message.get("created_at")),
            meta_data={str(k): str(v) for k, v in mapping(message.get("meta_data")).items()},
            reasoning_content=text_or_none(message.get("reasoning_content")),
        )

    @property
    def created(self) -> pendulum.DateTime | None:
        """When it was written, in UTC."""
        return moment(self.created_at)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """One page of a conversation's messages."""

    messages: tuple[Message, ...]
    first_id: str
    last_id: str
    has_more: bool

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> MessagePage:
        """Read an answer whose cursor stands beside ``data``."""
        return cls(
            messages=tuple(Message.from_record(item) for item in records(body.get("data"))),
            first_id=str(body.get("first_id") or ""),
            last_id=str(body.get("last_id") or ""),
            has_more=bool(body.get("has_more")),
        )


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation; ``meta_data`` is what its creator gave it."""

    id: str
    name: str = ""
    meta_data: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0  # Unix seconds
    last_section_id: str = ""
    connector_id: str = ""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Conversation:
        """Read one conversation object."""
        return cls(
            id=identifier(record, "id", "a conversation"),
            name=str(record.get("name") or ""),
            meta_data={str(k): str(v) for k, v in mapping(record.get("meta_data")).items()},
            created_at=integer(record.get("created_at")),
            last_section_id=str(record.get("last_section_id") or ""),
            connector_id=str(record.get("connector_id") or ""),
        )

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Conversation:
        """Read the ``data`` of create and retrieve."""
        return cls.from_record(mapping(body.get("data")))

    @property
    def created(self) -> pendulum.DateTime | None:
        """When it was made, in UTC."""
        return moment(self.created_at)


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """What starting a run returns: a handle (async), a result (sync), or a question."""

    execute_id: str  # "": Coze gave none and its debug_url names none
    debug_url: str | None  # valid for 7 days
    data: str | None = field(default=None, repr=False)  # sync: the result, usually JSON in a string; None: async
    usage: Usage | None = None
    interrupt: Mapping[str, Any] | None = field(default=None, repr=False)
    logid: str | None = None


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The record of one run. https://www.coze.cn/open/docs/developer_guides/workflow_history."""

    execute_id: str
    execute_status: str  # Coze's word; statuses.run_phase says what it means
    output: str | None = field(default=None, repr=False)  # None: not there yet, or trimmed away. "" is a real output.
    error_code: int = 0
    error_message: str = ""
    debug_url: str | None = None
    usage: Usage | None = None
    create_time: int = 0  # Unix seconds
    update_time: int = 0
    is_output_trimmed: bool = False  # outputs over 1 MB
    interrupt: Mapping[str, Any] | None = field(default=None, repr=False)
    logid: str | None = None  # of the run itself, not of this answer
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)  # output nodes by name

    @property
    def created(self) -> pendulum.DateTime | None:
        """When the run began, in UTC."""
        return moment(self.create_time)


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """What one output node of a run wrote; kept for 24 hours."""

    is_finish: bool
    node_output: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A published workflow: its details and, when asked for, the types of its inputs and outputs."""

    workflow_id: str
    workflow_name: str
    description: str = ""
    app_id: str = ""
    created_at: int = 0  # Unix seconds
    updated_at: int = 0
    input_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that Coze keeps for 3 months, usable by the account that uploaded it."""

    id: str
    bytes: int
    file_name: str
    created_at: int  # Unix seconds

    @property
    def created(self) -> pendulum.DateTime | None:
        """When it was uploaded, in UTC."""
        return moment(self.created_at)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace that the token covers."""

    id: str
    name: str
    role_type: str = ""  # owner | admin | member
    workspace_type: str = ""  # personal | team


@dataclass(frozen=True, slots=True)
class User:
    """The account behind the token."""

    user_id: str
    user_name: str
    nick_name: str = ""
