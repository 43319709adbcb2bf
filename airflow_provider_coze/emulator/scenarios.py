"""Faults and answers to order, in the words that tests use for them; ``faults`` makes them happen.

``emulator.script(scenarios.bad_gateway(), on="POST /v3/chat", times=2)``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_coze.emulator.faults import Fault, Script
from airflow_provider_coze.emulator.wire import encoded

__all__ = [
    "Fault",
    "Script",
    "answer",
    "bad_gateway",
    "closed",
    "drip",
    "error",
    "half_body",
    "huge_body",
    "no_reply",
    "pings",
    "rate_limited",
    "refused",
    "reset",
    "server_error",
    "server_trouble",
    "slow",
    "stream_cut",
    "stream_stall",
    "token_expired",
    "web_page",
    "wrong_type",
]

BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
WEB_PAGE = "<!doctype html>\n<html><head><title>Sign in</title></head><body><form method=post></form></body></html>\n"


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


def refused(*, seconds: float | None = None, connections: int | None = None) -> Fault:
    """Refuse connections from now on; those that are open are closed once they are idle. The script ends it by itself.

    A refused connection has no request, so the script takes neither ``on`` nor ``skip`` nor ``share``.

    :param seconds: For so long on the emulator's clock. None: until the faults are cleared, or the emulator reset.
    :param connections: Refuse so many. In memory only: a server is not told of connections that its kernel refuses.
    """
    return Fault("refuse", seconds=seconds, connections=connections)


def reset(*, after_commit: bool = False) -> Fault:
    """Reset the connection: before the request is carried out, or after it, when only the answer is lost."""
    return Fault("drop", after_commit=after_commit, how="reset")


def closed(*, after_commit: bool = False) -> Fault:
    """Close the connection in an orderly way, without an answer."""
    return Fault("drop", after_commit=after_commit, how="close")


def no_reply(*, after_commit: bool = True) -> Fault:
    """Never answer, and leave the connection open: the request is lost on its way, or its answer."""
    return Fault("drop", after_commit=after_commit, how="never")


def slow(seconds: float) -> Fault:
    """Carry the request out at once and hold the first byte of the answer back."""
    return Fault("slow", after_commit=True, seconds=seconds)


def half_body(*, how: Literal["reset", "close", "end", "never"] = "close", after_commit: bool = True) -> Fault:
    """Send half of the answer; of a stream, half of its bytes.

    :param how: ``close`` and ``reset`` break the transfer off, ``end`` makes the half look whole, ``never`` falls silent.
    """
    return Fault("half", after_commit=after_commit, how=how)


def drip(*, every_seconds: float = 1.0, part: Literal["head", "body"] = "body", after_commit: bool = True) -> Fault:
    """Send an answer that never ends, byte by byte; no pause in it is long.

    :param every_seconds: Seconds of real time between two bytes.
    :param part: ``body``: the headers come at once. ``head``: not even they end.
    """
    return Fault("drip", after_commit=after_commit, seconds=every_seconds, part=part)


def huge_body(*, size_bytes: int = 65 * 1024 * 1024, after_commit: bool = True) -> Fault:
    """Send the answer behind so much white space that the body has this size. JSON allows that; a client may not."""
    return Fault("huge", after_commit=after_commit, size_bytes=size_bytes)


def wrong_type(content_type: str = "text/plain; charset=gbk") -> Fault:
    """Send the right answer under a wrong Content-Type."""
    return Fault("mistyped", after_commit=True, headers={"content-type": content_type})


def web_page(*, after_commit: bool = False) -> Fault:
    """Answer HTTP 200 with an HTML page, as a login page in front of the API does."""
    return Fault("answer", after_commit=after_commit, body=WEB_PAGE, headers={"content-type": "text/html"})


def token_expired() -> Fault:
    """Let the token of this request expire before it is looked at, for good."""
    return Fault("expire")


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
