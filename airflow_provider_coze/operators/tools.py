"""Run the functions that a bot asks for, and make texts of what they return. No Coze here: calls in, outputs out.

What a bot puts into a call was written by a model, perhaps on behalf of somebody who would like to do harm: it is data. It is checked
against the function's signature before the function sees it, and neither it nor a result is written to a log.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.compat import AirflowFailException, AirflowSkipException
from airflow_provider_coze.errors import CozeToolError
from airflow_provider_coze.observing.spans import tool_span
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.models import mapping

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ON_TOOL_ERROR", "ToolBox"]

#: Values of ``on_tool_error``.
ON_TOOL_ERROR = ("output", "fail")
#: A pause of this type is a bot's question, which no function answers (www.coze.cn/open/docs/developer_guides/chat_v3).
_QUESTION = "reply_message"
#: Of a request's body as a whole; the documents give no limit for one output (www.coze.cn/open/docs/developer_guides/coze_api_overview).
_BODY_BYTES = 15 * 1024 * 1024
#: Of what a bot is told about its mistakes, and of names in a log: a model needs no more, and may have written them itself.
_MAX_PROBLEMS, _MAX_WORDS, _MAX_NAME = 10, 2_000, 80
_UNFIT = "its arguments do not fit"
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _ToolFailed(Exception):
    """Words for the bot, and what happened in words that any log may hold."""

    def __init__(self, what: str, words: str) -> None:
        super().__init__(words)
        self.what = what


class ToolBox:
    """The functions of one task, by the names under which the bot knows them.

    :param tools: plain functions. Their annotations say what arguments are made of (text to numbers, dates, models: as pydantic does).
    :param on_error: ``output``: a tool's failure is its output, and the bot goes on with that; ``fail``: it is the task's.
    :param log: gets one line for each call: its name, how long it took, how much it returned.
    :param clock: Unix seconds.
    """

    def __init__(
        self, tools: Mapping[str, Callable[..., Any]], *, on_error: str, log: Any, clock: Callable[[], float]
    ) -> None:
        self._tools, self._on_error, self._log, self._clock = tools, on_error, log, clock
        self._ready: dict[str, _Tool] = {}

    def problems(self) -> list[str]:
        """Return what is wrong with the tools, each in one sentence; an empty list is a box that can be used."""
        found = []
        if not isinstance(self._on_error, str) or self._on_error not in ON_TOOL_ERROR:
            found.append(f"on_tool_error must be one of {ON_TOOL_ERROR}, not {_shown(self._on_error)}")
        if not isinstance(self._tools, Mapping):
            return [*found, f"tools must be a mapping of names to functions, not {type(self._tools).__name__}"]
        for name, function in self._tools.items():
            if not isinstance(name, str) or not name.strip():
                found.append(f"tools has the name {_shown(name)}; a name is the text that the bot calls the tool by")
            elif problem := _function_problem(function):
                found.append(f"tools[{name!r}] {problem}")
        return found

    @staticmethod
    def questions(tool_calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the calls that are questions of the bot: somebody has to answer them, and no function can."""
        return [call for call in tool_calls if call.get("type") == _QUESTION]

    def answers(
        self, tool_calls: Sequence[Mapping[str, Any]], done: Mapping[str, str] | None = None
    ) -> list[dict[str, str]]:
        """Run the tools that Coze asks for, and return the outputs of all of them, in the order of the calls.

        A try that dies before its outputs are submitted runs its tools again in the next one: make them idempotent.

        :param tool_calls: Coze's objects, ``{"id", "type", "function": {"name", "arguments"}}``; questions among them are left out.
        :param done: outputs that are known already, by the id of the call: those tools are not run.
        :returns: ``{"tool_call_id", "output"}`` each, as ``submit_tool_outputs`` takes them.
        :raises CozeToolError: a tool failed, and *on_error* is ``fail``; or Coze's call has no id to answer to.
        :raises AirflowException: a tool skipped or failed the task (``AirflowSkipException``, ``AirflowFailException``).
        """
        outputs = dict(done or {})
        asked: list[str] = []
        for call in tool_calls:
            if call.get("type") == _QUESTION:
                continue
            call_id = call.get("id")
            if not isinstance(call_id, str) or not call_id:
                raise _failed("A tool call of Coze has no id, so that no output can be submitted for it")
            if call_id in asked:
                continue
            asked.append(call_id)
            if call_id not in outputs:
                outputs[call_id] = self._output(mapping(call.get("function")), call_id)
        return [{"tool_call_id": call_id, "output": outputs[call_id]} for call_id in asked]

    def _output(self, function: Mapping[str, Any], call_id: str) -> str:
        name, began = function.get("name"), self._clock()
        shown = _short(name, _MAX_NAME) if isinstance(name, str) else ""
        try:
            with tool_span(shown, call_id=call_id, arguments=_given(function.get("arguments"))) as span:
                output = self._tool(name).called(function.get("arguments"))
                span.returned(output)
        except _ToolFailed as error:
            self._log.warning(
                "Tool %r failed after %.1f s: %s (call %r)", shown, self._clock() - began, error.what, call_id
            )
            if self._on_error == "fail":
                raise _failed(f"Tool {shown!r}, which Coze called as {call_id!r}, failed: {error.what}") from (
                    error.__cause__ or error
                )
            return json.dumps({"error": _whole(str(error))}, ensure_ascii=False)
        size = len(output.encode())
        self._log.info("Tool %r answered after %.1f s: %d bytes", shown, self._clock() - began, size)
        if size > _BODY_BYTES:
            self._log.warning("Tool %r: Coze takes requests of %d bytes, and may refuse this one", shown, _BODY_BYTES)
        return output

    def _tool(self, name: object) -> _Tool:
        if not isinstance(name, str) or name not in self._tools:
            known = ", ".join(map(repr, self._tools)) or "none"
            raise _ToolFailed("there is no such tool", f"There is no such tool. The tools are: {known}.")
        if name not in self._ready:
            self._ready[name] = _Tool.of(self._tools[name])
        return self._ready[name]


@dataclass(frozen=True, slots=True)
class _Tool:
    """A function, and the model that its arguments have to fit."""

    function: Callable[..., Any]
    model: type[BaseModel]
    names: Mapping[str, str]  # field of the model → parameter

    @classmethod
    def of(cls, function: Callable[..., Any]) -> _Tool:
        """Read a signature.

        :raises Exception: whatever Python or pydantic has against it.
        """
        # Not with the module: a DAG that has no tools does not need it.
        from pydantic import ConfigDict, Field, create_model

        fields: dict[str, Any] = {}
        names: dict[str, str] = {}
        extra = False
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                extra = True
            if parameter.kind not in _BY_NAME:
                continue
            # Fields have names of their own: a parameter may be called what a model calls its methods.
            field = f"argument_{len(fields)}"
            names[field] = parameter.name
            kind = Any if parameter.annotation is inspect.Parameter.empty else parameter.annotation
            default: Any = ... if parameter.default is inspect.Parameter.empty else None
            fields[field] = (kind, Field(default, alias=parameter.name))
        config = ConfigDict(
            extra="allow" if extra else "forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
        )
        return cls(function, create_model("Arguments", __config__=config, **fields), names)

    def called(self, arguments: object) -> str:
        """Check the arguments, run the function, and return its result as text.

        :raises _ToolFailed: one of the three went wrong.
        """
        given = self._checked(arguments)
        try:
            result = self.function(**given)
        except (AirflowSkipException, AirflowFailException):
            raise
        except Exception as error:
            kind = type(error).__name__
            raise _ToolFailed(kind, _short(f"{kind}: {_words(error)}", _MAX_WORDS)) from error
        return _text(result)

    def _checked(self, arguments: object) -> dict[str, Any]:
        given = _object(arguments)
        try:
            checked = self.model.model_validate(given)
        except Exception as error:  # pydantic's, or that of a validator of the user's types
            raise _ToolFailed(_UNFIT, _short(_problems_in(error), _MAX_WORDS)) from None
        # Those that were not given keep the function's own defaults.
        values = {name: getattr(checked, field) for field, name in self.names.items() if name in given}
        return {**(checked.model_extra or {}), **values}


def _given(arguments: object) -> str | None:
    return arguments if isinstance(arguments, str) else None


def _function_problem(function: object) -> str | None:
    if not callable(function):
        return f"must be a function, not {type(function).__name__}"
    if hasattr(function, "operator_class"):
        return "is an Airflow task; give the plain function, without @task"
    plain: Any = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    if any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (plain, getattr(plain, "__call__", None))  # noqa: B004 - an object whose call is a coroutine function
    ):
        return "is a coroutine function; tools are plain functions, which may call asyncio.run themselves"
    try:
        tool = _Tool.of(function)
        unreachable = [
            parameter.name
            for parameter in inspect.signature(tool.function).parameters.values()
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and parameter.default is inspect.Parameter.empty
        ]
    except Exception as error:
        return f"has a signature that arguments cannot be checked against ({type(error).__name__}: {_short(_words(error), 200)})"
    return f"has parameters without a name for the bot to use: {', '.join(unreachable)}" if unreachable else None


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"of type {type(value).__name__}"


def _object(arguments: object) -> Mapping[str, Any]:
    """Return a call's arguments. Coze sends them as a JSON text; none at all is an empty one."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    value = arguments
    if isinstance(arguments, str):
        try:
            value = read_json(arguments)
        except ValueError as error:
            raise _ToolFailed(_UNFIT, f"The arguments are not JSON: {_short(str(error), 200)}.") from None
    if not isinstance(value, Mapping):
        raise _ToolFailed(_UNFIT, f"The arguments must be a JSON object, not {type(value).__name__}.")
    return value


def _problems_in(error: Exception) -> str:
    """Say what is wrong with the arguments, without repeating them."""
    details = getattr(error, "errors", None)
    try:
        found = details(include_url=False, include_context=False, include_input=False) if callable(details) else []
        said = [f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in found]
    except Exception:
        said = []
    more = f"; and {len(said) - _MAX_PROBLEMS} more" if len(said) > _MAX_PROBLEMS else ""
    return f"The arguments do not fit: {'; '.join(said[:_MAX_PROBLEMS]) or type(error).__name__}{more}."


def _text(result: object) -> str:
    """Return a result as the text that Coze takes: text as it is, everything else as JSON."""
    if isinstance(result, str):
        return _whole(result)
    if inspect.iscoroutine(result):
        result.close()
    from pydantic_core import to_json

    try:
        # Dates, UUIDs, sets, dataclasses and models included; infinities, which JSON cannot hold, become null.
        return _whole(to_json(result, inf_nan_mode="null").decode())
    except Exception as error:
        what = f"it returned what JSON cannot hold ({type(result).__name__})"
        raise _ToolFailed(what, f"The tool failed: {what}.") from error


def _failed(what: str) -> CozeToolError:
    return CozeToolError(
        f"{what}. No outputs were submitted: the chat waits for them, does not go on without them, and is billed as far as it went. "
        "A retry of this task goes on with the same chat and runs the tools again, unless durable is False."
    )


def _whole(text: str) -> str:
    """Return *text* with halves of surrogate pairs, which no request can carry, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(without words)"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
