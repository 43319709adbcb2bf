"""OpenTelemetry spans for what is billed, in the words of its GenAI conventions; prompts and answers only where somebody asked for them.

Only where the process has a tracer provider: then OpenTelemetry has been imported, so nothing here imports it. Names are those of
https://github.com/open-telemetry/semantic-conventions-genai (``docs/gen-ai/gen-ai-agent-spans.md``, as of 2026, in development).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_coze.compat import conf
from airflow_provider_coze.errors import CozeConnectionConfigError, CozeError, CozeInputError, CozeStateError

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context
    from airflow_provider_coze.protocol.models import Usage

__all__ = ["ToolSpan", "WorkSpan", "captures_content", "tool_span"]

log = logging.getLogger(__name__)

#: A bot is an agent that runs somewhere else; a workflow coordinates agents and models.
_OPERATIONS = {"chat": "invoke_agent", "run": "invoke_workflow"}
_NAMES = {
    "bot_id": "gen_ai.agent.id",
    "bot_version": "gen_ai.agent.version",
    "conversation_id": "gen_ai.conversation.id",
    "chat_id": "coze.chat_id",
    "workflow_id": "coze.workflow_id",
    "execute_id": "coze.execute_id",
    "logid": "coze.logid",
    "output_type": "gen_ai.output.type",  # "text" or "json"
}
#: Raised before anything is sent: then there is no chat or run, and no span of one.
_BEFORE_ANYTHING = (CozeConnectionConfigError, CozeInputError, CozeStateError)


def captures_content() -> bool:
    """Tell whether questions and answers may be written into spans: ``[coze] capture_content``."""
    try:
        return bool(conf.getboolean("coze", "capture_content", fallback=False))
    except Exception:  # a value that is no bool: not a yes
        return False


class WorkSpan:
    """One chat or run as a span, written when its ``with`` block ends; what is known of it by then becomes its attributes.

    Its start is when the work began, which may have been before a deferral and in another process. A block that is left by a deferral
    or by the end of the process writes nothing: the block after the deferral does. Requests made within are no children of it.

    :param context: Airflow's; whose work it is.
    :param what: ``chat`` or ``run``.
    :param facts: what is known from the start; see :meth:`know`.
    """

    def __init__(self, context: Context | Mapping[str, Any], what: str, **facts: str | None) -> None:
        self._what = what
        self._entered = time.time()
        self._since: float | None = None
        self._attributes: dict[str, Any] = {
            "gen_ai.operation.name": _OPERATIONS[what],
            "gen_ai.provider.name": "coze",
            **_whose(context),
        }
        self._content: dict[str, str] = {}
        self.know(**facts)

    def began(self, since: float) -> None:
        """Note when the work, or a piece of it, began, in Unix seconds. The earliest counts; without any, the block's own beginning."""
        self._since = since if self._since is None else min(self._since, since)

    def know(self, **facts: str | None) -> None:
        """Note what has become known.

        :param facts: bot_id, bot_version, conversation_id, chat_id, workflow_id, execute_id, logid, output_type.
        """
        self._attributes.update({_NAMES[name]: value for name, value in facts.items() if value})

    def used(self, usage: Usage | None) -> None:
        """Note the tokens, those of all pieces of the work together."""
        if usage is not None:
            self._attributes["gen_ai.usage.input_tokens"] = usage.input_count
            self._attributes["gen_ai.usage.output_tokens"] = usage.output_count

    def asked(self, text: str | None) -> None:
        """Note the question, if content is captured."""
        if text and captures_content():
            self._content["gen_ai.input.messages"] = _messages("user", text)

    def answered(self, text: str | None) -> None:
        """Note the answer, if content is captured."""
        if text and captures_content():
            self._content["gen_ai.output.messages"] = _messages("assistant", text, finish_reason="stop")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):  # TaskDeferred is none, nor is the end of a process
            return
        try:
            self._write(error)
        except Exception as trouble:
            log.debug("The span of a %s was not written: %s", self._what, type(trouble).__name__)

    def _write(self, error: Exception | None) -> None:
        trace = _tracing()
        if trace is None or isinstance(error, _BEFORE_ANYTHING):
            return
        kind = trace.SpanKind.CLIENT if self._what == "chat" else trace.SpanKind.INTERNAL
        if isinstance(error, CozeError):
            self.know(**{name: getattr(error, name) for name in _NAMES.keys() & error.facts().keys()})
        span = trace.get_tracer("airflow_provider_coze").start_span(
            _OPERATIONS[self._what],
            kind=kind,
            start_time=round((self._since or self._entered) * 1e9),
            attributes={**self._attributes, **self._content},
        )
        if error is not None:
            _fail(trace, span, error)
        span.end()


class ToolSpan:
    """What a tool's span is told."""

    def __init__(self, span: Any | None) -> None:
        self._span = span

    def returned(self, output: str) -> None:
        """Note what the tool returned, if content is captured."""
        if self._span is not None and captures_content():
            with contextlib.suppress(Exception):
                self._span.set_attribute("gen_ai.tool.call.result", output)


@contextlib.contextmanager
def tool_span(name: str, *, call_id: str, arguments: str | None = None) -> Iterator[ToolSpan]:
    """Make the run of a tool a span; spans that the tool makes are its children.

    :param arguments: as JSON; written only if content is captured.
    """
    trace, span = None, None
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):
            trace = _tracing()
            if trace is not None:
                attributes = {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.provider.name": "coze",
                    "gen_ai.tool.name": name,
                    "gen_ai.tool.type": "function",
                    "gen_ai.tool.call.id": call_id,
                }
                if arguments is not None and captures_content():
                    attributes["gen_ai.tool.call.arguments"] = arguments
                tracer = trace.get_tracer("airflow_provider_coze")
                # Not the exception's own words: they may hold what the tool was asked, or found.
                span = stack.enter_context(
                    tracer.start_as_current_span(
                        f"execute_tool {name}",
                        attributes=attributes,
                        record_exception=False,
                        set_status_on_exception=False,
                    )
                )
        try:
            yield ToolSpan(span)
        except Exception as error:
            if span is not None:
                with contextlib.suppress(Exception):
                    _fail(trace, span, error)
            raise


def _tracing() -> Any | None:
    """Return OpenTelemetry's ``trace`` if this process has a tracer provider."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace


def _fail(trace: Any, span: Any, error: Exception) -> None:
    kind = type(error).__name__
    span.set_attribute("error.type", kind)
    if isinstance(error, CozeError) and error.code is not None:
        span.set_attribute("coze.code", error.code)
    span.set_status(trace.Status(trace.StatusCode.ERROR, kind))


def _whose(context: Context | Mapping[str, Any]) -> dict[str, Any]:
    """Return whose work it is, in the words that Airflow 3.3 has for it; in older ones its tasks have no span to say so."""
    ti: Any = context["ti"]
    found = {
        "airflow.dag_id": getattr(ti, "dag_id", None),
        "airflow.task_id": getattr(ti, "task_id", None),
        "airflow.dag_run.run_id": getattr(ti, "run_id", None),
        "airflow.task_instance.try_number": getattr(ti, "try_number", None),
        "airflow.task_instance.map_index": getattr(ti, "map_index", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _messages(role: str, text: str, **more: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **more}], ensure_ascii=False)
