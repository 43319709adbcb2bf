"""What a world consists of: bots, workflows, tokens, OAuth apps. Definitions only: nothing here changes while Coze "runs".

No HTTP and no clock; what exists at run time (chats, runs, messages) lives in ``store``, ``chats`` and ``runs``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from airflow_provider_coze.emulator.inputs import Inputs, Turn

__all__ = [
    "ALL",
    "FILE_TYPES",
    "AccessToken",
    "Bot",
    "Duration",
    "Failure",
    "Immediate",
    "Inputs",
    "Interrupt",
    "OAuthApp",
    "OutputNode",
    "Parameter",
    "Polls",
    "Seconds",
    "Template",
    "Tokens",
    "ToolCall",
    "Turn",
    "Workflow",
    "imported",
]

#: Every permission point.
ALL = "all"

#: Types of inputs that are files. The documents show ``image`` and say "Image and other kinds of files"; these are the kinds
#: that the workflow editor offers.
FILE_TYPES = frozenset(["file", "image", "svg", "audio", "voice", "video", "doc", "ppt", "excel", "txt", "code", "zip"])


@dataclass(frozen=True, slots=True)
class Immediate:
    """Finished by the time anybody looks."""


@dataclass(frozen=True, slots=True)
class Polls:
    """The first ``count`` status reads still say "running"; the next one says what became of it.

    Reading the messages of a chat's conversation is a look as well.
    A synchronous or streamed execution is never polled, so there it counts as immediate.
    """

    count: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Finished ``count`` seconds later, on the emulator's clock."""

    count: float


Duration: TypeAlias = Immediate | Polls | Seconds


@dataclass(frozen=True, slots=True)
class Template:
    """Text with ``{placeholders}``.

    A bot's: ``{message}``, ``{user_id}``, ``{files[0]}``, ``{tool_outputs[name]}``, ``{variables[name]}``, ``{meta_data[name]}``.
    A workflow's: ``{parameter_name}``, ``{answer}``, ``{message}``.
    """

    text: str


class Failure(Exception):
    """The execution ends as failed. Give it to a bot or workflow, or raise it in a callable.

    :param code: Coze's code; for a chat it appears as ``last_error``, for a run as the answer's ``code`` or ``error_code``.
    """

    def __init__(self, code: int, msg: str = "") -> None:
        super().__init__(code, msg)
        self.code = code
        self.msg = msg or f"The execution failed with code {code}."

    def again(self) -> Failure:
        """Return a new one to raise: an exception that is raised twice keeps the frames of both."""
        return Failure(self.code, self.msg)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one execution."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the bot wants its caller to run; the chat pauses as ``requires_action`` until the output is submitted."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    type: str = "function"


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question node in a workflow."""

    question: str
    type: int = 2  # 2 question node, 5 input node, 7 OAuth plugin; a client must echo it
    node_title: str = "Question"
    parameters: Mapping[str, str] = field(default_factory=dict)  # an input node's fields: name → type
    accepts: Sequence[str] | Callable[[str], bool] | None = None  # None: any answer will do

    def accepts_answer(self, answer: str) -> bool:
        """Whether *answer* lets the workflow go on; if not, the node asks again, three times at most."""
        if self.accepts is None:
            return True
        return bool(self.accepts(answer)) if callable(self.accepts) else answer in self.accepts


@dataclass(frozen=True, slots=True)
class OutputNode:
    """A message node: streamed as it comes, and found in the history of an asynchronous run under its title."""

    title: str
    content: str | Sequence[str]  # several: the pieces it is streamed in

    @property
    def pieces(self) -> list[str]:
        """What it says, as it is streamed."""
        return [self.content] if isinstance(self.content, str) else list(self.content)


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input of a workflow's start node."""

    type: str = "string"  # or integer, number, boolean, object, array, one of FILE_TYPES; any other is not checked
    required: bool = False
    description: str = ""
    items: Parameter | None = None  # of an array
    properties: Mapping[str, Parameter] | None = None  # of an object
    default: str = ""  # as Coze shows it: text


@dataclass(slots=True, kw_only=True)
class Bot:
    """A bot. Without an ``id`` the world gives it the next free one."""

    id: str = ""
    name: str = ""
    description: str = ""
    published: bool = True
    answer: str | Template | Callable[[Turn], str] = "OK."
    duration: Duration | Callable[[Turn], Duration] = field(default_factory=Immediate)
    failure: Failure | None = None
    tool_calls: (
        Sequence[ToolCall] | Callable[[Turn], Sequence[ToolCall]]
    ) = ()  # a callable is asked again after each round
    reasoning: str = ""  # a reasoning model's chain of thought
    follow_ups: Sequence[str] = ()
    tokens: Tokens | None = None  # None: estimated from the length of the texts
    pieces: Sequence[str] | None = None  # how the answer is cut when it is streamed; None: by words
    finish_message: bool = True  # the verbose generate_answer_finish message; recordings of mid-2024 have none

    def duration_of(self, turn: Turn) -> Duration:
        """How long the bot will take for *turn*."""
        return self.duration(turn) if callable(self.duration) else self.duration

    def calls_for(self, turn: Turn) -> Sequence[ToolCall]:
        """Which tools the bot wants before it answers; none: it answers.

        :raises Failure: The chat is to end as failed.
        """
        if callable(self.tool_calls):
            return list(_text_or_failure(self.tool_calls, turn))
        return () if turn.tool_outputs else self.tool_calls

    def answer_to(self, turn: Turn) -> str:
        """Work the answer out.

        :raises Failure: The chat is to end as failed.
        """
        if self.failure is not None:
            raise self.failure.again()
        if callable(self.answer):
            return str(_text_or_failure(self.answer, turn))
        if isinstance(self.answer, Template):
            return _filled(
                self.answer,
                message=str(turn),
                user_id=turn.user_id,
                files=turn.files,
                tool_outputs=turn.tool_outputs,
                variables=turn.variables,
                meta_data=turn.meta_data,
            )
        return self.answer


@dataclass(slots=True, kw_only=True)
class Workflow:
    """A workflow. Without an ``id`` the world gives it the next free one."""

    id: str = ""
    name: str = ""
    description: str = ""
    published: bool = True
    mode: str = "workflow"  # or "chatflow", which is run at /v1/workflows/chat
    parameters: Mapping[str, Parameter] | None = None  # None: anything goes in unchecked
    output: Any = ""  # text, Template, JSON value, or a callable of Inputs that returns text or a JSON value
    duration: Duration | Callable[[Inputs], Duration] = field(default_factory=Immediate)
    failure: Failure | None = None
    interrupt: Interrupt | Sequence[Interrupt] | Callable[[Inputs], Interrupt | None] | None = (
        None  # several: one after another
    )
    nodes: Sequence[OutputNode] = ()
    tokens: Tokens | None = None
    pieces: Sequence[str] | None = None  # a chatflow's answer, cut for streaming
    allow_async: bool = True
    app_id: str = ""

    def duration_of(self, inputs: Inputs) -> Duration:
        """How long a run with *inputs* will take."""
        return self.duration(inputs) if callable(self.duration) else self.duration

    def question_for(self, inputs: Inputs) -> Interrupt | None:
        """Return what the workflow asks next, after the answers so far; None: nothing.

        :raises Failure: The run is to fail.
        """
        if callable(self.interrupt):
            asked: Interrupt | None = _text_or_failure(self.interrupt, inputs)
            return asked
        questions = [self.interrupt] if isinstance(self.interrupt, Interrupt) else list(self.interrupt or ())
        return questions[len(inputs.answers)] if len(inputs.answers) < len(questions) else None

    def output_of(self, inputs: Inputs) -> Any:
        """Work the output out.

        :returns: Text, which stays as it is, or a JSON value, which Coze would print as JSON.
        :raises Failure: The run is to fail.
        """
        if self.failure is not None:
            raise self.failure.again()
        if callable(self.output):
            return _text_or_failure(self.output, inputs)
        if isinstance(self.output, Template):
            return _filled(self.output, **{**inputs, "answer": inputs.answer or "", "message": inputs.message})
        return self.output


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token the emulator accepts, beside its own."""

    token: str = field(repr=False)
    permissions: Sequence[str] | str = ALL  # permission points in Coze's spelling, or "all"
    expired: bool = False
    user_id: str = "3901000000000000"  # the account behind it; conversations of one account are invisible to others
    expires_at: float | None = None  # on the emulator's clock; None: never
    session_name: str = ""  # isolates conversations within an account (OAuth JWT)

    def allows(self, permission: str | None) -> bool:
        """Whether the token has the *permission* point; None stands for "none needed"."""
        return permission is None or self.permissions == ALL or permission in self.permissions


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """A service app of the OAuth JWT flow."""

    client_id: str
    public_keys: Mapping[str, str]  # kid → PEM
    permissions: Sequence[str] | str = ALL
    user_id: str = "3901000000000000"


def imported(path: str) -> Callable[..., Any]:
    """Import ``"module:function"``."""
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"{path!r} is not of the form module:function")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{path!r} is not callable")
    return cast("Callable[..., Any]", found)


def _text_or_failure(answer: Callable[[Any], Any], question: Any) -> Any:
    try:
        return answer(question)
    except Failure:
        raise
    except Exception as error:
        # An execution that breaks inside Coze is a failed execution, not a failed request.
        raise Failure(5000, f"{type(error).__name__}: {error}") from error


def _filled(template: Template, **values: Any) -> str:
    try:
        return template.text.format(**values)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise Failure(5000, f"template {template.text!r}: {type(error).__name__}: {error}") from error
