"""What goes wrong, at which requests, and what becomes of the answer. The words for it are in ``scenarios``.

Seeded where there is chance. Nothing here waits or sends: an answer leaves with instructions, for a server to follow.
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from airflow_provider_coze.emulator.wire import Drip, Drop, Ending, Frame, Refusal, Reply

__all__ = ["Fault", "Kind", "Script", "applied", "refusal_of"]

Kind = Literal[
    "answer", "drop", "refuse", "expire", "slow", "half", "drip", "huge", "mistyped", "cut", "stall", "pings"
]
#: Kinds that stand in place of what the request does, unless they are told to come after it.
_INSTEAD = frozenset({"answer", "drop", "refuse", "expire"})
#: Kinds that keep it from being carried out.
_BEFORE = frozenset({"refuse", "expire"})
#: Kinds that can only come after it: they change the answer that it gets.
_AFTER = frozenset({"slow", "mistyped", "cut", "stall", "pings"})

#: Texts that were seen, or that the error code page has: docs.coze.cn/developer_guides/coze_error_codes.
_TEXTS: Mapping[int, str] = {
    4000: "Request parameter error",
    4009: "The service has reached its capacity. Please try again later.",
    4013: "The request frequency exceeds the limit. Please try again later.",
    4016: "Conversation occupied, please try again later.",
    4020: "The purchased peak of requests per minute has been exceeded.",
    4028: "Your free quota has been used up.",
    4100: "authentication is invalid",
    4101: "Your token does not have permission to access resource. "
    "Please verify whether the resource ID or token is correct.",
    5000: "We're currently experiencing server issues. Please try your request again after a short delay.",
    700012006: "access token invalid",
    720702222: "We're currently experiencing server issues. Please try your request again after a short delay.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. The functions of ``scenarios`` make them; their names are the words to use."""

    kind: Kind
    after_commit: bool = False  # True: the request is carried out, and billed, before it goes wrong
    status: int = 200
    code: int | None = None
    msg: str | None = None
    body: str | None = None  # instead of code and msg: the raw body
    headers: Mapping[str, str] = field(default_factory=dict)
    how: Ending = "reset"
    seconds: float | None = None  # None: 0, or, of a refusal, until it is taken back
    events: int = 0
    connections: int | None = None
    size_bytes: int = 0
    part: Literal["head", "body"] = "body"

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> Fault:
        """Read a fault as the control plane takes it; ``after_commit`` is what the function of that kind has by default.

        :raises ValueError: An unknown key, kind or word, or an impossible number.
        """
        known = {known.name for known in fields(Fault)}
        if unknown := given.keys() - known:
            raise ValueError(f"unknown keys {sorted(unknown)}; known: {sorted(known)}")
        for name, words in (("kind", get_args(Kind)), ("how", get_args(Ending)), ("part", ("head", "body"))):
            if given.get(name, words[0]) not in words:
                raise ValueError(f"unknown {name} {given[name]!r}; known: {sorted(words)}")
        for name in ("seconds", "events", "connections", "size_bytes"):
            number = given.get(name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int | float) or number < 0):
                raise ValueError(f"{name} is {number!r}; allowed: a number, not negative")
        fault = Fault(**{"after_commit": given.get("kind") not in _INSTEAD, **given})
        if fault.kind in _AFTER and not fault.after_commit:
            raise ValueError(
                f"after_commit is false, but {fault.kind} changes the answer of a request that was carried out"
            )
        if fault.kind in _BEFORE and fault.after_commit:
            raise ValueError(f"after_commit is true, but {fault.kind} keeps requests from being carried out")
        return fault


@dataclass(slots=True)
class Script:
    """A fault, and the requests that are to meet it."""

    fault: Fault
    on: str | None = None  # "POST /v3/chat", "/v1/workflow/*", None: every request
    times: int | None = 1  # None: for ever
    skip: int = 0  # let the first so many matching requests pass
    share: float = 1.0  # hit this share of the matching requests
    seed: int = 0
    begun_at: float = 0.0  # on the emulator's clock; refused connections count from here
    _refused: int = field(default=0, init=False, repr=False)
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - reproducible is the point

    def meets(self, method: str, path: str) -> bool:
        """Whether this request is to go wrong; counts it."""
        if self.times == 0 or self.fault.kind == "refuse" or not self._matches(method, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.share < 1.0 and self._chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def refuses(self, now: float) -> bool:
        """Whether connections are refused on its account at *now*; once that is over, it is over for good."""
        if self.times == 0 or self.fault.kind != "refuse":
            return False
        seconds, connections = self.fault.seconds, self.fault.connections
        if (seconds is not None and now >= self.begun_at + seconds) or self._refused == connections:
            self.times = 0
            return False
        return True

    def count_refusal(self) -> None:
        """Count a connection that was refused; only in memory can they be seen."""
        self._refused += 1

    def as_json(self) -> dict[str, Any]:
        """Return the script as JSON types."""
        return {
            "fault": asdict(self.fault),
            "on": self.on,
            "times": self.times,
            "skip": self.skip,
            "share": self.share,
            "seed": self.seed,
        }

    def _matches(self, method: str, path: str) -> bool:
        if self.on is None:
            return True
        wanted_method, _, wanted_path = self.on.rpartition(" ")
        return (not wanted_method or wanted_method.upper() == method) and fnmatch.fnmatchcase(path, wanted_path)


def refusal_of(fault: Fault) -> Refusal:
    """Return the code and text a fault answers with."""
    code = fault.code if fault.code is not None else 5000
    return Refusal(code, fault.msg if fault.msg is not None else _TEXTS.get(code, ""), status=fault.status)


def applied(fault: Fault, reply: Reply, now: float) -> Reply:
    """Return *reply* as it arrives when *fault* happens to it; what does not apply to an answer leaves it as it is."""
    seconds = fault.seconds or 0.0
    match fault.kind:
        case "drop":
            return Reply(ready_at=reply.ready_at, drop=Drop(fault.how), carried_out=reply.carried_out)
        case "slow":
            reply.ready_at = max(reply.ready_at or now, now + seconds)
        case "half":
            _halve(reply, fault.how)
        case "drip":
            reply.drip = Drip(seconds, in_head=fault.part == "head")
        case "huge" if reply.frames is None:
            reply.blanks = max(0, fault.size_bytes - len(reply.body))
        case "mistyped":
            reply.headers.update(fault.headers)
        case "cut" if reply.frames is not None:
            if fault.how == "end":
                reply.frames = reply.frames[: fault.events]
            else:
                reply.drop = Drop(fault.how, after_frames=fault.events)
        case "stall" if reply.frames is not None:
            late = [Frame(frame.at + seconds, frame.data) for frame in reply.frames[fault.events :]]
            reply.frames = reply.frames[: fault.events] + late
        case "pings" if reply.frames is not None:
            reply.frames = _with_pings(reply.frames, fault.events)
    return reply


def _halve(reply: Reply, how: Ending) -> None:
    if reply.frames is None:
        half = len(reply.body) // 2
        if how == "end":
            reply.body = reply.body[:half]
        else:
            reply.drop = Drop(how, after_bytes=half)
        return
    left, kept = sum(len(frame.data) for frame in reply.frames) // 2, []
    for frame in reply.frames:
        kept.append(Frame(frame.at, frame.data[:left]))
        left -= len(kept[-1].data)
        if not left:
            break
    reply.frames = kept
    if how != "end":
        reply.drop = Drop(how, after_frames=len(kept))


def _with_pings(frames: list[Frame], every: int) -> list[Frame]:
    # Numbers go on counting, because gaps in them mean lost packets to a client.
    # Data of a PING: github.com/coze-dev/coze-py/issues/249.
    made: list[Frame] = []
    for index, frame in enumerate(frames, 1):
        made.append(Frame(frame.at, _renumbered(frame.data, len(made))))
        if index % max(1, every) == 0 and index < len(frames) and frame.data.startswith(b"id: "):
            made.append(Frame(frame.at, b'id: %d\nevent: PING\ndata: {"content":"{}"}\n\n' % len(made)))
    return made


def _renumbered(data: bytes, number: int) -> bytes:
    if not data.startswith(b"id: "):
        return data
    return b"id: %d\n" % number + data.partition(b"\n")[2]
