"""Faults and answers to order: what goes wrong, at which requests, how often. Seeded where there is chance.

``emulator.script(scenarios.bad_gateway(), on="POST /v3/chat", times=2)``
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from airflow_provider_coze.emulator.wire import Drop, Frame, Refusal, Reply, encoded

__all__ = [
    "Fault",
    "Script",
    "answer",
    "bad_gateway",
    "closed",
    "error",
    "pings",
    "rate_limited",
    "reset",
    "server_error",
    "server_trouble",
    "slow",
    "stream_cut",
    "stream_stall",
]

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

BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. The functions of this module make them; their names are the words to use."""

    kind: Literal["answer", "drop", "slow", "cut", "stall", "pings"]
    after_commit: bool = False  # True: the request is carried out, and billed, before it goes wrong
    status: int = 200
    code: int | None = None
    msg: str | None = None
    body: str | None = None  # instead of code and msg: the raw body
    headers: Mapping[str, str] = field(default_factory=dict)
    how: Literal["reset", "close", "end"] = "reset"
    seconds: float = 0.0
    events: int = 0

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> Fault:
        """Read a fault as the control plane takes it.

        :raises ValueError: An unknown key or kind.
        """
        known = {known.name for known in fields(Fault)}
        if unknown := given.keys() - known:
            raise ValueError(f"unknown keys {sorted(unknown)}; known: {sorted(known)}")
        fault = Fault(**given)
        if fault.kind not in ("answer", "drop", "slow", "cut", "stall", "pings"):
            raise ValueError(f"unknown kind {fault.kind!r}")
        return fault


def answer(status: int, body: str | Mapping[str, Any], *, after_commit: bool = False, **headers: str) -> Fault:
    """Answer with this status and body; underscores in header names become hyphens."""
    text = body if isinstance(body, str) else encoded(dict(body)).decode()
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    named.setdefault("content-type", "text/plain" if isinstance(body, str) else "application/json; charset=utf-8")
    return Fault("answer", after_commit=after_commit, status=status, body=text, headers=named)


def error(code: int, msg: str | None = None, *, status: int = 200, after_commit: bool = False) -> Fault:
    """Answer with a code of Coze in its usual envelope."""
    return Fault("answer", after_commit=after_commit, status=status, code=code, msg=msg)


def rate_limited(*, retry_after: float | None = None, status: int = 429) -> Fault:
    """Answer 4013, by default with HTTP 429; *retry_after* in seconds becomes a header."""
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return Fault("answer", status=status, code=4013, headers=headers)


def server_error(*, after_commit: bool = False) -> Fault:
    """Answer HTTP 500 with code 5000."""
    return error(5000, status=500, after_commit=after_commit)


def server_trouble(*, after_commit: bool = False) -> Fault:
    """Answer 720702222, which Coze gives for minutes when it has trouble."""
    return error(720702222, after_commit=after_commit)


def bad_gateway(*, after_commit: bool = False) -> Fault:
    """Answer HTTP 502 with a gateway's HTML page."""
    return Fault(
        "answer",
        after_commit=after_commit,
        status=502,
        body=BAD_GATEWAY_PAGE.decode(),
        headers={"content-type": "text/html"},
    )


def reset(*, after_commit: bool = False) -> Fault:
    """Reset the connection: before the request is carried out, or after it, when only the answer is lost."""
    return Fault("drop", after_commit=after_commit, how="reset")


def closed(*, after_commit: bool = False) -> Fault:
    """Close the connection in an orderly way, without an answer."""
    return Fault("drop", after_commit=after_commit, how="close")


def slow(seconds: float) -> Fault:
    """Carry the request out at once and hold the first byte of the answer back."""
    return Fault("slow", after_commit=True, seconds=seconds)


def stream_cut(*, after_events: int, how: Literal["reset", "close", "end"] = "end") -> Fault:
    """End a stream early.

    :param how: ``end`` looks like a normal end of the body, ``close`` and ``reset`` break the transfer off.
    """
    return Fault("cut", after_commit=True, events=after_events, how=how)


def stream_stall(*, after_events: int, seconds: float) -> Fault:
    """Let a stream fall silent for so long."""
    return Fault("stall", after_commit=True, events=after_events, seconds=seconds)


def pings(*, every_events: int = 1) -> Fault:
    """Put a ``PING`` after every so many events of a workflow's stream, as Coze does on long ones."""
    return Fault("pings", after_commit=True, events=every_events)


@dataclass(slots=True)
class Script:
    """A fault, and the requests that are to meet it."""

    fault: Fault
    on: str | None = None  # "POST /v3/chat", "/v1/workflow/*", None: every request
    times: int | None = 1  # None: for ever
    skip: int = 0  # let the first so many matching requests pass
    share: float = 1.0  # hit this share of the matching requests
    seed: int = 0
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - reproducible is the point

    def meets(self, method: str, path: str) -> bool:
        """Whether this request is to go wrong; counts it."""
        if self.times == 0 or not self._matches(method, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.share < 1.0 and self._chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True

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
    """Return *reply* as it arrives when the request was carried out and then *fault* happened."""
    match fault.kind:
        case "drop":
            return Reply(ready_at=reply.ready_at, drop=Drop(after_commit=True, reset=fault.how == "reset"))
        case "slow":
            reply.ready_at = max(reply.ready_at or now, now + fault.seconds)
        case "cut" if reply.frames is not None:
            if fault.how == "end":
                reply.frames = reply.frames[: fault.events]
            else:
                reply.drop = Drop(after_commit=True, reset=fault.how == "reset", after_frames=fault.events)
        case "stall" if reply.frames is not None:
            late = [Frame(frame.at + fault.seconds, frame.data) for frame in reply.frames[fault.events :]]
            reply.frames = reply.frames[: fault.events] + late
        case "pings" if reply.frames is not None:
            reply.frames = _with_pings(reply.frames, fault.events)
    return reply


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
