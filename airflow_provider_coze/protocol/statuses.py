"""Coze's status words, their spellings, and what each means for somebody who waits.

A word that is not here is UNKNOWN: it is logged and waited on until the deadline, because a paid run must never fail on a
new word.
"""

from __future__ import annotations

import enum

__all__ = ["WAITING", "Phase", "chat_phase", "run_phase"]


class Phase(enum.Enum):
    """Where a chat or a run stands."""

    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_INPUT = "needs input"
    UNKNOWN = "unknown"


#: Nothing to do but to look again.
WAITING = (Phase.ACTIVE, Phase.UNKNOWN)  # no set: Python computes the hash of an enum each time

#: www.coze.cn/open/docs/developer_guides/chat_v3 (its prose writes required_action, its enum requires_action), and Coze
#: Studio's spellings: backend/domain/conversation/agentrun/entity/const.go; its cancel stores the event's name.
_CHAT = {
    "created": Phase.ACTIVE,
    "in_progress": Phase.ACTIVE,
    "completed": Phase.DONE,
    "compleated": Phase.DONE,  # as the documents' samples have it
    "failed": Phase.FAILED,
    "expired": Phase.FAILED,
    "deleted": Phase.FAILED,
    "canceled": Phase.CANCELLED,
    "cancelled": Phase.CANCELLED,
    "conversation.chat.cancelled": Phase.CANCELLED,
    "requires_action": Phase.NEEDS_INPUT,
    "required_action": Phase.NEEDS_INPUT,
}

#: www.coze.cn/open/docs/developer_guides/workflow_history; Cancel is Coze Studio's (idl/workflow/workflow.thrift), and so is what it
#: prints for the one state that this enum lacks, a run that was interrupted (backend/domain/workflow/entity/workflow_execution.go).
_RUN = {
    "running": Phase.ACTIVE,
    "success": Phase.DONE,
    "fail": Phase.FAILED,
    "cancel": Phase.CANCELLED,
    "<unset>": Phase.NEEDS_INPUT,
}


def chat_phase(status: str) -> Phase:
    """Return where a chat with this ``status`` stands."""
    return _CHAT.get(status.lower(), Phase.UNKNOWN)


def run_phase(execute_status: str, *, interrupted: bool = False) -> Phase:
    """Return where a run with this ``execute_status`` stands.

    :param interrupted: whether its record carries ``interrupt_data``; no status word of the cloud says so.
    """
    phase = _RUN.get(execute_status.lower(), Phase.UNKNOWN)
    return Phase.NEEDS_INPUT if interrupted and phase in WAITING else phase
