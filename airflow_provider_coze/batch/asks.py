"""The shapes of a batch on its way: a row that can be asked, a request that carries rows, and how one ended. No deciding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from airflow_provider_coze.errors import CozeError
from airflow_provider_coze.protocol.messages import Discreet, JsonValue
from airflow_provider_coze.protocol.models import Usage

__all__ = ["Answered", "Ask", "Failed", "Item", "Live", "Outcome"]


class Item(Discreet, frozen=True):
    """One row that can be asked."""

    hidden = frozenset({"value", "request"})

    index: int
    value: JsonValue  # the row as it came in
    request: JsonValue  # what is sent for it: a message, or the parameters of a run
    hash: str  # of what is sent, and to whom


class Ask(msgspec.Struct, frozen=True):
    """One billed request for one row, or for several that are packed together."""

    items: tuple[Item, ...]
    tries: int = 0  # requests for these rows that were billed before this one, and ended without an answer
    waits: int = 0  # times that it was turned away unbilled
    first_at: float = 0.0  # Unix seconds: when these rows were first asked. 0: not yet

    @property
    def indexes(self) -> tuple[int, ...]:
        """The rows."""
        return tuple(item.index for item in self.items)


class Live(msgspec.Struct, frozen=True):
    """A request that was sent, and bought something."""

    ask: Ask
    marker: str
    at: float  # Unix seconds: when it was sent
    ids: Mapping[str, str] = msgspec.field(default_factory=dict)  # {}: not known
    conversation_id: str | None = None  # made for this chat alone, before it was sent
    answered: Answered | None = None  # by the very reply to the start
    is_old: bool = False  # another process sent it, so it may be over by now
    looks: int = 0  # times that it could not be read, although Coze could be reached
    waits: int = 0  # times that Coze could not be reached for it


class Answered(Discreet, frozen=True):
    """What came back for a request: an output for each of its rows, or why a row has none."""

    hidden = frozenset({"outputs"})

    outputs: Mapping[int, JsonValue]
    usage: Usage | None
    ids: Mapping[str, str]
    # Row → what is wrong with its output; never the output.
    invalid: Mapping[int, str] = msgspec.field(default_factory=dict)
    missing: tuple[str, ...] = ()  # what Coze has trimmed off a long output and does not hand out by itself, in words


class Failed(msgspec.Struct, frozen=True):
    """Why a request has no answer."""

    error: CozeError
    ids: Mapping[str, str] = msgspec.field(default_factory=dict)
    usage: Usage | None = None


Outcome: TypeAlias = Answered | Failed
