"""What a try does about the record of the tries before it: one table. No I/O, no logging.

Read it top down; the first row that fits decides. ``tests/state/test_reattach.py`` has a test for each.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_coze.state.record import Intent, Record, Submitted

__all__ = ["REUSES", "Attach", "Decision", "Look", "Reconcile", "Remote", "Submit", "Unknown", "decide"]

#: Values of the operators' ``reuse``.
REUSES = ("unfinished", "always", "never")


class Remote(enum.Enum):
    """How Coze says that a recorded chat or run stands."""

    ALIVE = "alive"  # going on, waiting for input, or in a state that this version does not know
    DONE = "done"
    FAILED = "failed"  # or cancelled: it will not give an answer any more
    GONE = "gone"  # Coze does not know it (any more)


@dataclass(frozen=True, slots=True)
class Submit:
    """Buy one; *reason* is for the log, "" when nothing was bought before."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """Ask Coze how the recorded chat or run stands, and decide again."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Go on with the recorded chat or run."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Look for a chat of which only the conversation is known, before one is sent."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell what was bought; the operator's ``on_unknown`` decides."""

    reason: str


Decision: TypeAlias = Submit | Look | Attach | Reconcile | Unknown


def decide(
    record: Record | None,
    *,
    fingerprint: str,
    generation: int,
    reuse: str = "unfinished",
    remote: Remote | None = None,
    needs_conversation: bool,
) -> Decision:
    """Decide what a try does first.

    :param record: of the tries before; None: there was nothing.
    :param fingerprint: of this try's rendered input.
    :param generation: this try's ``max_tries``; see :class:`~airflow_provider_coze.state.record.Submitted`.
    :param remote: None: not asked yet.
    :param needs_conversation: True for chats, whose intent says where they would be; a run's intent says nothing.
    """
    match record:
        case None:
            return Submit()
        case _ if reuse == "never":
            return Submit('reuse is "never"')
        case _ if record.fingerprint != fingerprint:
            return Submit("the rendered input is not the recorded one's")
        case Submitted(delivered=int(noted)) if noted != generation and reuse != "always":
            return Submit("the task was cleared after it had its answer")
        case Intent(sent_to=None) if needs_conversation:
            return Submit()
        case Intent() if needs_conversation:
            return Reconcile()
        case Intent():
            return Unknown("the process ended between sending the start of a run and saving its id")
    match remote:
        case None:
            return Look()
        case Remote.ALIVE | Remote.DONE:
            return Attach()
        case Remote.FAILED:
            return Submit("the recorded one ended without an answer")
        case Remote.GONE:
            return Unknown("Coze does not know the recorded one any more")


def ids_of(record: Record | None) -> str:
    """Return the recorded ids for a log line."""
    if isinstance(record, Submitted):
        return ", ".join(f"{name} {value}" for name, value in record.ids.items() if value)
    return f"conversation_id {record.sent_to}" if record is not None and record.sent_to else "no ids"
