"""Watch a flow from both ends: what it asks of Coze, how each request ends, and what it waits for. Changes nothing, sends nothing.

One end is next to the flow and knows the operation, and the waits that the flow wants itself; the other is outside of all
layers and sees what goes over the wire. Between them lie the waits of the layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

from airflow_provider_coze import errors as e
from airflow_provider_coze.protocol.envelope import open_envelope
from airflow_provider_coze.protocol.messages import Call, Flow, Replay, Request, Response, Send

__all__ = ["OPERATIONS", "OTHER", "OUTCOMES", "Meter", "operation_of", "outcome_of", "watched"]

T = TypeVar("T")

#: What is in no table below, such as a path that somebody gave to ``CozeHook.request``. Ids must not get into a name.
OTHER = "other"

_BY_PATH = {
    ("POST", "/v3/chat"): "create_chat",
    ("GET", "/v3/chat/retrieve"): "retrieve_chat",
    ("POST", "/v3/chat/cancel"): "cancel_chat",
    ("GET", "/v3/chat/message/list"): "chat_messages",
    ("POST", "/v3/chat/submit_tool_outputs"): "submit_tool_outputs",
    ("POST", "/v1/conversation/create"): "create_conversation",
    ("GET", "/v1/conversation/retrieve"): "retrieve_conversation",
    ("GET", "/v1/conversations"): "list_conversations",
    ("POST", "/v1/conversation/message/create"): "create_message",
    ("POST", "/v1/conversation/message/list"): "conversation_messages",
    ("GET", "/v1/conversation/message/retrieve"): "retrieve_message",
    ("POST", "/v1/conversation/message/modify"): "modify_message",
    ("POST", "/v1/conversation/message/delete"): "delete_message",
    ("POST", "/v1/workflow/run"): "run_workflow",
    ("POST", "/v1/workflow/stream_run"): "stream_workflow",
    ("POST", "/v1/workflow/stream_resume"): "stream_resume",
    ("POST", "/v1/workflows/resume"): "resume_workflow",
    ("POST", "/v1/workflows/chat"): "chatflow",
    ("GET", "/v1/workflow/get_run_history"): "run_history",
    ("POST", "/v1/workflow/conversation/create"): "create_conversation",
    ("GET", "/v1/workflows"): "list_workflows",
    ("POST", "/v1/files/upload"): "upload_file",
    ("GET", "/v1/files/retrieve"): "retrieve_file",
    ("GET", "/v1/bots"): "list_bots",
    ("GET", "/v1/space/published_bots_list"): "list_bots",
    ("GET", "/v1/bot/get_online_info"): "retrieve_bot",
    ("GET", "/v1/workspaces"): "list_workspaces",
    ("GET", "/v1/users/me"): "current_user",
    ("GET", "/v1/commerce/benefit/benefits/get"): "benefits",
    ("POST", "/api/permission/oauth2/token"): "mint_token",
}
#: With ids in the path; an id is one segment of it.
_BY_SHAPE = tuple(
    (method, re.compile(shape.replace("*", "[^/]+")), name)
    for method, shape, name in (
        ("GET", "/v1/workflows/*/run_histories/*", "run_history"),
        ("GET", "/v1/workflows/*/run_histories/*/execute_nodes/*", "node_output"),
        ("GET", "/v1/workflows/*", "workflow_info"),
        ("GET", "/v1/workflows/*/versions", "workflow_versions"),
        ("PUT", "/v1/conversations/*", "rename_conversation"),
        ("DELETE", "/v1/conversations/*", "delete_conversation"),
        ("POST", "/v1/conversations/*/clear", "clear_conversation"),
        ("GET", "/v1/bots/*", "retrieve_bot"),
    )
)
#: What shares its path with another operation when its answer is a stream: the time until that begins is another one.
_STREAMED = {"create_chat": "stream_chat", "submit_tool_outputs": "stream_tool_outputs"}
#: All names that an operation can have: they become names of metrics, so there is an end to them.
OPERATIONS = frozenset({*_BY_PATH.values(), *(name for *_, name in _BY_SHAPE), *_STREAMED.values(), OTHER})

#: How a request can end, by the error it becomes; the class that an error is of, or the nearest above it.
_OUTCOMES: dict[type[e.CozeError], str] = {
    e.CozeError: "failed",
    e.CozeTransportError: "no_answer",
    e.CozeProtocolError: "unreadable",
    e.CozeAPIError: "refused",
    e.CozeAuthError: "bad_token",
    e.CozePermissionError: "no_permission",
    e.CozeNotFoundError: "not_found",
    e.CozeRejectedError: "rejected",
    e.CozePlanError: "plan",
    e.CozeQuotaError: "quota",
    e.CozeRateLimitedError: "rate_limited",
    e.CozeUnavailableError: "unavailable",
    e.CozeConversationBusyError: "busy",
    e.CozeAlreadyEndedError: "already_ended",
    e.CozeRiskControlError: "risk_control",
}
_OK, _UNSENT = "ok", "unsent"
#: All outcomes.
OUTCOMES = frozenset({_OK, _UNSENT, *_OUTCOMES.values()})

#: No refusal is longer; what is, is an answer, and is not decoded a second time just to be counted.
_LONGEST_REFUSAL = 16_384
#: A timer that is late is no wait for a budget.
_NOISE_SECONDS = 0.02
#: For the words of an error that nobody reads.
_ANY = Call(Request("GET", "/"), parse=dict, replay=Replay.ALWAYS)


class Meter(Protocol):
    """Who is told. Must not raise and must not block: it is called in the midst of a flow, on an event loop too."""

    def called(self, operation: str, outcome: str, seconds: float) -> None:
        """Take note of a request that was answered, or was given up, after so long; an answer that is a stream has just begun."""

    def retried(self, operation: str) -> None:
        """Take note of a request that is about to be sent again."""

    def waited(self, why: str, seconds: float) -> None:
        """Take note of time: ``poll`` between two looks, ``retry`` before the same request, ``pacing`` for a budget or a token."""


def operation_of(request: Request) -> str:
    """Return the name of what a request asks for; the methods of ``CozeHook`` have the same names. No id is ever in it."""
    known = _BY_PATH.get((request.method, request.path))
    if known is not None:
        return _STREAMED.get(known, known) if request.stream else known
    for method, shape, name in _BY_SHAPE:
        if method == request.method and shape.fullmatch(request.path):
            return name
    return OTHER


def outcome_of(answer: Response | BaseException) -> str:
    """Return how a request ended, in one word of :data:`OUTCOMES`."""
    if isinstance(answer, Response):
        if answer.stream is not None or (answer.status < 300 and len(answer.body) > _LONGEST_REFUSAL):
            return _OK
        try:
            open_envelope(answer, _ANY)
        except e.CozeError as error:
            return outcome_of(error)
        return _OK
    if isinstance(answer, e.CozeTransportError) and answer.never_sent:
        return _UNSENT
    return next((_OUTCOMES[kind] for kind in type(answer).__mro__ if kind in _OUTCOMES), "failed")


def watched(
    flow: Flow[T],
    dressed: Callable[[Flow[T]], Flow[T]],
    meter: Meter,
    clock: Callable[[], float],
    held: Callable[[], float] = lambda: 0.0,
) -> Flow[T]:
    """Return *flow*, dressed in its layers, with *meter* told what happens.

    :param dressed: adds the layers: dialect, token.
    :param clock: seconds that never go back.
    :param held: seconds that the flow's requests have waited for their turn so far: between the layers and the wire.
    """
    watch = _Watch(meter, clock, held)
    return watch.outside(dressed(watch.inside(flow)))


class _Watch:
    """What the two ends tell each other: which operation is on its way through the layers, if any."""

    def __init__(self, meter: Meter, clock: Callable[[], float], held: Callable[[], float]) -> None:
        self._meter, self._clock, self._held = meter, clock, held
        self._under_way: str | None = None

    def inside(self, flow: Flow[T]) -> Flow[T]:
        """Pass a flow's effects on, and tell its polls and retries apart: a retry is the very same request once more."""
        answer: Response | None = None
        failure: e.CozeError | None = None
        slept, last = 0.0, None
        try:
            while True:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
                answer = failure = None
                if not isinstance(effect, Send):
                    yield effect
                    slept += effect.seconds
                    continue
                # A look is the same request again and again, and says itself when; a retry waits for itself before.
                operation, again = operation_of(effect.request), effect.request is last and not effect.after
                if again:
                    self._meter.retried(operation)
                if slept or effect.after:
                    self._meter.waited("retry" if again else "poll", slept + effect.after)
                slept, last, self._under_way = 0.0, effect.request, operation
                try:
                    answer = yield effect
                except e.CozeError as error:
                    failure = error
                finally:
                    self._under_way = None
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            flow.close()

    def outside(self, flow: Flow[T]) -> Flow[T]:
        """Pass on what leaves the layers, and time it."""
        answer: Response | None = None
        failure: e.CozeError | None = None
        try:
            while True:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
                answer = failure = None
                if not isinstance(effect, Send):
                    yield effect
                    if self._under_way is not None:
                        self._meter.waited("pacing", effect.seconds)
                    continue
                own = self._under_way if effect.request.signed else None  # else a layer's own request: for a token
                operation, since, held = own or operation_of(effect.request), self._clock(), self._held()
                try:
                    ended = answer = yield effect
                except e.CozeError as error:
                    ended = failure = error
                held = self._held() - held
                if held > effect.after + _NOISE_SECONDS:
                    self._meter.waited("pacing", held - effect.after)
                seconds = self._clock() - since - max(held, effect.after)
                self._meter.called(operation, outcome_of(ended), max(0.0, seconds))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            flow.close()
