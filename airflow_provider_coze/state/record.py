"""What one task instance has bought, as its later tries read it: two types, one for each side of the paid request.

Pure: identity, fingerprint and JSON. No record holds a prompt, an answer or a secret.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from airflow_provider_coze.errors import CozeStateError

__all__ = [
    "Intent",
    "Record",
    "Submitted",
    "decode",
    "delivered",
    "encode",
    "fingerprint",
    "fingerprint_in",
    "identity",
    "new_marker",
]

#: Of the JSON form. A reader refuses what it does not know: taking it for "nothing there" would buy again.
VERSION = 1
#: Enough of a SHA-256 that two tasks never share one, and short enough for Coze's meta_data (512 characters a value).
_KEY_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Intent:
    """Stored before the paid request is sent: from here on something may have been bought.

    :ivar fingerprint: of the rendered input.
    :ivar marker: what the request carries to be known by again; differs between the submissions of one task instance.
    :ivar at: Unix seconds.
    :ivar sent_to: the conversation that the chat is sent to. None while nothing can have been sent there.
    """

    fingerprint: str
    marker: str
    at: float
    sent_to: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """Stored when Coze has named what was bought.

    :ivar ids: by Coze's names: conversation_id and chat_id, or workflow_id, execute_id and debug_url.
    :ivar notes: what else its tries have to tell each other: which question of a run was asked, and answered, last.
    :ivar delivered: ``max_tries`` of the try that handed the answer to Airflow. An automatic retry keeps ``max_tries``, and a
        clear by hand raises it, on every Airflow version: so a later try can tell a death between the answer and Airflow's
        note of it from a person who wants the work done anew. None: not handed over yet.
    """

    fingerprint: str
    marker: str
    at: float
    ids: Mapping[str, str] = field(default_factory=dict)
    delivered: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


Record: TypeAlias = Intent | Submitted


def identity(*, dag_id: str, run_id: str, task_id: str, map_index: int, part: str = "") -> str:
    """Return the key under which all tries of one task instance find the same record; the number of the try is not in it.

    :param part: which of several records of the task instance.

    The parts are joined by a character that none of them can hold: with "_" the tasks ``a_b`` of DAG ``c`` and ``b`` of ``c_a`` would meet.
    """
    parts = (dag_id, run_id, task_id, str(map_index), *filter(None, [part]))
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_KEY_DIGITS]


def new_marker(key: str, fingerprint: str, now: float) -> str:
    """Return what the requests of a new submission carry: whose it is, when it was decided on, and of which input.

    The time (milliseconds) makes it another one for every submission, also of a task whose earlier ones nobody knows any more.
    """
    return f"{key}/{round(now * 1000)}/{fingerprint}"


def fingerprint_in(marker: str) -> str:
    """Return the fingerprint that a marker ends with; "" if it is none of ours."""
    return marker.rpartition("/")[2] if marker.count("/") == 2 else ""


def fingerprint(arguments: Mapping[str, Any]) -> str:
    """Return a digest of the rendered input; equal input, in whatever order of its keys, has an equal one."""
    text = json.dumps(arguments, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_DIGITS]


def delivered(record: Submitted, generation: int) -> Submitted:
    """Return the record of an answer that is about to be handed to Airflow by a try of this ``max_tries``."""
    return replace(record, delivered=generation)


def encode(record: Record) -> dict[str, Any]:
    """Return the record as JSON types."""
    common = {
        "version": VERSION,
        "phase": "intent" if isinstance(record, Intent) else "submitted",
        "fingerprint": record.fingerprint,
        "marker": record.marker,
        "at": record.at,
    }
    if isinstance(record, Intent):
        return {**common, "sent_to": record.sent_to}
    notes = {"notes": dict(record.notes)} if record.notes else {}
    return {**common, "ids": dict(record.ids), "delivered": record.delivered, **notes}


def decode(value: object) -> Record:
    """Read what :func:`encode` made.

    :raises CozeStateError: it is something else. That is never "nothing there": a chat or run may be paid for.
    """
    if not isinstance(value, Mapping):
        raise _unreadable(f"a {type(value).__name__}")
    if value.get("version") != VERSION:
        raise _unreadable(f"version {value.get('version')!r}, where {VERSION} is known")
    facts: dict[str, Any] = {name: value.get(name) for name in ("fingerprint", "marker", "at")}
    sound = isinstance(facts["fingerprint"], str) and isinstance(facts["marker"], str) and _is_time(facts["at"])
    match value.get("phase"):
        case "intent" if sound and isinstance(value.get("sent_to"), str | None):
            return Intent(**facts, sent_to=value.get("sent_to"))
        case "submitted" if sound and _is_texts(value.get("ids")) and _is_generation(value.get("delivered")):
            notes = value.get("notes")
            return Submitted(
                **facts,
                ids=dict(value["ids"]),
                delivered=value.get("delivered"),
                notes=dict(notes) if isinstance(notes, Mapping) and _is_texts(notes) else {},
            )
    raise _unreadable(f"fields {sorted(map(str, value))} that do not fit together")


def _is_time(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _is_generation(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair)


def _unreadable(what: str) -> CozeStateError:
    return CozeStateError(
        f"The record of what earlier tries of this task bought holds {what}. Nothing was sent, because a chat or run may be going "
        "on and be paid for. A retry reads it again. If a newer version of this provider wrote it, use that one; if it is to be "
        'forgotten, run the task once with reuse="never".'
    )
