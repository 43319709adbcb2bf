"""The only shapes that cross from the triggerer to a worker.

Airflow keeps and logs them in clear text, so they hold ids, a status and counts: no token, no question, no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_provider_coze.errors import CozeError, CozeTriggerEventError
from airflow_provider_coze.protocol.models import Chat, RunHistory, Usage

__all__ = ["BatchEvent", "ChatEvent", "RunEvent", "Turn"]


#: Thirty thousand years from now, in Unix seconds.
_FAR_FUTURE = 1e12


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a task with several turns stands: carried along by the trigger, which does not look at it."""

    tool_rounds: int = 0  # of the chat that is waited for
    repairs: int = 0  # 0: the first chat of the task
    conversation_id: str = ""  # of a repair; "" for the first chat

    @property
    def part(self) -> str:
        """Which of the task's records is the chat's."""
        return f"repair_{self.repairs}" if self.repairs else ""

    @property
    def what(self) -> str:
        """What the chat is, in words."""
        return "repair turn" if self.repairs else "chat"

    def to_payload(self) -> dict[str, Any] | None:
        """Return JSON types; None for the first turn."""
        if not (self.tool_rounds or self.repairs):
            return None
        return {
            "tool_rounds": self.tool_rounds,
            "repairs": self.repairs,
            "conversation_id": self.conversation_id,
        }

    @classmethod
    def from_payload(cls, turn: object) -> Self:
        """Read what :meth:`to_payload` made; anything else is the first turn."""
        found = turn if isinstance(turn, Mapping) else {}
        return cls(
            tool_rounds=_count(found.get("tool_rounds")),
            repairs=_count(found.get("repairs")),
            conversation_id=_text(found, "conversation_id") or "",
        )


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """How a chat stood when the trigger stopped watching: ended, paused, still going at the deadline, or out of sight.

    A status that this version does not know is Coze's newest word, waited on until the deadline, and no mistake.
    """

    chat: Chat
    started_at: float  # Unix seconds
    error: CozeError | None = None  # why it could not be watched any more
    turn: Turn = field(default_factory=Turn)

    def to_payload(self) -> dict[str, Any]:
        """Return JSON types for ``TriggerEvent``."""
        return {
            "chat_id": self.chat.id,
            "conversation_id": self.chat.conversation_id,
            "bot_id": self.chat.bot_id,
            "status": self.chat.status,
            "usage": self.chat.usage.to_dict() if self.chat.usage else None,
            "logid": self.chat.logid,
            "started_at": self.started_at,
            "error": self.error.to_payload() if self.error else None,
            "turn": self.turn.to_payload(),
        }

    @classmethod
    def from_payload(cls, event: object) -> Self:
        """Read what a trigger of this or an earlier version sent.

        :raises CozeTriggerEventError: it is not one of ours.
        """
        payload = _payload(event, ("chat_id", "conversation_id", "status"), "chat")
        return cls(
            chat=Chat(
                id=str(payload["chat_id"]),
                conversation_id=str(payload["conversation_id"]),
                bot_id=_text(payload, "bot_id") or "",
                status=str(payload["status"]),
                usage=Usage.from_body(payload.get("usage")),
                logid=_text(payload, "logid"),
            ),
            started_at=float(payload["started_at"]),
            error=_error(payload),
            turn=Turn.from_payload(payload.get("turn")),
        )


@dataclass(frozen=True, slots=True)
class RunEvent:
    """How a run stood when the trigger stopped watching; the worker reads its record, which may hold a long output."""

    history: RunHistory
    workflow_id: str
    started_at: float  # Unix seconds
    error: CozeError | None = None  # why it could not be watched any more

    def to_payload(self) -> dict[str, Any]:
        """Return JSON types for ``TriggerEvent``."""
        return {
            "workflow_id": self.workflow_id,
            "execute_id": self.history.execute_id,
            "status": self.history.execute_status,
            "debug_url": self.history.debug_url,
            "logid": self.history.logid,
            "started_at": self.started_at,
            "error": self.error.to_payload() if self.error else None,
        }

    @classmethod
    def from_payload(cls, event: object) -> Self:
        """Read what a trigger of this or an earlier version sent.

        :raises CozeTriggerEventError: it is not one of ours.
        """
        payload = _payload(event, ("workflow_id", "execute_id", "status"), "run")
        return cls(
            history=RunHistory(
                execute_id=str(payload["execute_id"]),
                execute_status=str(payload["status"]),
                debug_url=_text(payload, "debug_url"),
                logid=_text(payload, "logid"),
            ),
            workflow_id=str(payload["workflow_id"]),
            started_at=float(payload["started_at"]),
            error=_error(payload),
        )


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """Which of a batch's chats or runs have ended, or have had their time; the worker reads them."""

    folder: str  # of the batch
    started_at: float  # Unix seconds: when the window was handed over
    deadline: float | None = None  # Unix seconds: the end of the batch
    ended: tuple[str, ...] = ()  # markers
    error: CozeError | None = None  # why they could not be watched

    def to_payload(self) -> dict[str, Any]:
        """Return JSON types for ``TriggerEvent``."""
        return {
            "folder": self.folder,
            "started_at": self.started_at,
            "deadline": self.deadline,
            "ended": list(self.ended),
            "error": self.error.to_payload() if self.error else None,
        }

    @classmethod
    def from_payload(cls, event: object) -> Self:
        """Read what a trigger of this or an earlier version sent.

        :raises CozeTriggerEventError: it is not one of ours.
        """
        found = event if isinstance(event, Mapping) else {}
        folder, started_at, deadline = _text(found, "folder"), found.get("started_at"), found.get("deadline")
        ended = found.get("ended")
        if not folder or not _is_time(started_at) or not isinstance(ended, list):
            raise CozeTriggerEventError(
                "The batch was resumed with an event that is none of ours. What it has going goes on in Coze, and is billed; its journal "
                "knows of it. A retry of the task goes on with it."
            )
        return cls(
            folder=folder,
            started_at=float(started_at),  # type: ignore[arg-type]  # _is_time has looked
            deadline=float(deadline) if _is_time(deadline) else None,  # type: ignore[arg-type]
            ended=tuple(str(marker) for marker in ended),
            error=_error(found),
        )


def _payload(event: object, needed: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if isinstance(event, Mapping):
        missing = [name for name in needed if not isinstance(event.get(name), str)]
        missing += [] if _is_time(event.get("started_at")) else ["started_at"]
        if not missing and (event[needed[0]] and event[needed[1]]):
            return event
        came = f"an event with {sorted(map(str, event))}, in which {missing or 'an id'} is missing"
    else:
        came = "no event" if event is None else f"a {type(event).__name__}"
    raise CozeTriggerEventError(
        f"The task was resumed with {came}. The {what} it waited for may be going on in Coze, and is billed; its ids are in this "
        "task's XComs and in the log above. A retry of the task goes on with it, unless durable is False."
    )


def _error(payload: Mapping[str, Any]) -> CozeError | None:
    """Return why the watch ended, with the ids of what was watched: that a connection cannot be read comes without them."""
    sent = payload.get("error")
    if not isinstance(sent, Mapping):
        return None
    error = CozeError.from_payload(sent)
    for name in ("chat_id", "conversation_id", "workflow_id", "execute_id"):
        if getattr(error, name) is None:
            setattr(error, name, _text(payload, name))
    return error


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000 else 0


def _text(payload: Mapping[str, Any], name: str) -> str | None:
    value = payload.get(name)
    return value if isinstance(value, str) else None


def _is_time(value: object) -> bool:
    """Tell whether it is a moment in Unix seconds that a wait can be measured from; NaN is in no range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _FAR_FUTURE
