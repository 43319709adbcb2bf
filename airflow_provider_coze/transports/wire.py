"""What both transports must agree on, and so is written once: a request's bytes, proxy, certificates, bounds, words."""

from __future__ import annotations

import functools
import json
import secrets
import ssl
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from airflow_provider_coze.errors import (
    CozeConnectionConfigError,
    CozeInputError,
    CozeStreamTimeoutError,
    CozeTransportError,
)
from airflow_provider_coze.protocol.messages import Request, changed

__all__ = [
    "MAX_BODY_BYTES",
    "USER_AGENT",
    "WHOLE_ANSWER",
    "broken_off",
    "content_of",
    "environment_proxy",
    "is_stream",
    "late",
    "lost",
    "origin_of",
    "patience",
    "query_of",
    "tls_context",
    "too_large",
    "url_of",
]

#: Coze trims a run's output at about 1 MB, and no documented answer comes near this. It bounds what a broken or hostile
#: server can make a worker or the triggerer hold in memory.
MAX_BODY_BYTES = 64 * 1024 * 1024

#: An answer has to be whole within this many times ``read_seconds`` after its request was sent. One such time passes at most
#: until its first byte, so two are left for the rest: by default 200 s, in which the 1 MB of the longest output comes at 5 kB/s.
#: Without it, a server that sends a byte now and then keeps a worker for ever, because each read ends in time.
WHOLE_ANSWER = 3

_encode = json.JSONEncoder(allow_nan=False).encode

USER_AGENT = "airflow-provider-coze"


@functools.lru_cache(maxsize=64)
def origin_of(base_url: str) -> str:
    """Return ``scheme://host:port`` of a base URL."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def url_of(base_url: str, request: Request) -> str:
    """Return the address of a request, encoded: left to themselves, the libraries write the same query differently."""
    query = f"?{query_of(request)}" if request.query else ""
    return f"{base_url}{request.path}{query}"


def query_of(request: Request) -> str:
    """Return the query of a request, encoded."""
    for value in request.query.values():
        if not (value.isalnum() and value.isascii()):
            return urlencode(request.query)
    # Ids need no encoding, names never do; urlencode takes twice as long.
    return "&".join([f"{name}={value}" for name, value in request.query.items()])


def content_of(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """Return a request's body as bytes, None if it has none, and its headers with the body's type.

    :raises CozeInputError: JSON cannot hold the body.
    """
    if request.stream:
        # What is compressed may be held back until a block of it is full.
        request = changed(request, headers={"Accept-Encoding": "identity", **request.headers})
    if request.files:
        content, kind = _multipart(request)
        return content, {**request.headers, "Content-Type": kind}
    if request.json is None:
        return request.body, dict(request.headers)
    try:
        text = _encode(request.json)
    except (TypeError, ValueError, RecursionError) as error:
        raise CozeInputError(
            f"The body of {request.method} {request.path} cannot be written as JSON: {error}. Nothing was sent."
        ) from error
    return text.encode(), {**request.headers, "Content-Type": "application/json"}


def _multipart(request: Request) -> tuple[bytes, str]:
    """Write files as browsers do (html.spec.whatwg.org, multipart/form-data): names in UTF-8, three characters escaped."""
    boundary = secrets.token_hex(16)
    escapes = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
    pieces: list[bytes] = []
    for part in request.files:
        field, filename = part.field.translate(escapes), part.filename.translate(escapes)
        head = f'Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\nContent-Type: {part.content_type}'
        pieces += [f"--{boundary}\r\n{head}\r\n\r\n".encode(), part.content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for this site; None: go direct.

    Read here for both libraries, because their own reading of the environment also lets a .netrc replace the token.
    """
    parts = urlsplit(base_url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"  # curl's short form


@functools.lru_cache(maxsize=16)
def tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return the context in which both libraries trust the same certificates: the system's, certifi's, and the connection's own.

    Left alone, requests trusts certifi's and aiohttp the system's, so a worker and the triggerer could disagree. Loading
    takes about 20 ms, hence the cache.

    :param verify: True, False (any certificate), or the path of a file or folder of CA certificates.
    :raises CozeConnectionConfigError: that path holds none.
    """
    context = ssl.create_default_context()
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cafile=certifi.where())
    if isinstance(verify, str):
        try:
            if Path(verify).is_dir():
                context.load_verify_locations(capath=verify)
            else:
                context.load_verify_locations(cafile=verify)
        except OSError as error:  # ssl.SSLError, for a file that is no certificate, is one too
            raise CozeConnectionConfigError(
                f"The connection's verify names {verify!r}, which cannot be read as CA certificates on this machine "
                f"({type(error).__name__}: {error}). Nothing was sent. Allowed: true, false, or the path of a PEM file or of a "
                "folder of them, which has to exist on workers and triggerers alike."
            ) from error
    return context


def is_stream(request: Request, status: int, content_type: str) -> bool:
    """Tell whether an answer is to be handed out as it comes. What Coze refuses is JSON, whatever was asked for."""
    kind = content_type.partition(";")[0].strip().lower()
    return request.stream and status == 200 and kind == "text/event-stream"


def patience(request: Request, origin: str, read_seconds: float, *, never_sent: bool = True) -> tuple[float, bool]:
    """Return how long one read of an answer may take, and whether it is the caller's deadline that says so.

    :param never_sent: whether the request is still to be sent.
    :raises CozeStreamTimeoutError: that has passed already.
    """
    if request.left is None:
        return read_seconds, False
    left = request.left()
    if left <= 0:
        raise late(request, origin, never_sent=never_sent)
    return min(read_seconds, left), left < read_seconds


def lost(
    request: Request,
    origin: str,
    cause: Exception,
    *,
    never_sent: bool,
    root: BaseException | None = None,
    seconds: float | None = None,
    begun: bool = False,
) -> CozeTransportError:
    """Return the error of a request that got no answer, saying whether Coze can have acted on it.

    :param root: what has the words, where the cause itself buries them.
    :param seconds: the limit that ran out, if one did.
    :param begun: that limit was the one of the whole answer, which kept coming.
    """
    if seconds is None:
        why = _words_of(cause, root)
    else:
        why = (
            f"no whole answer within {seconds:g} s, {WHOLE_ANSWER} times read_seconds"
            if begun
            else f"no answer within {seconds:g} s"
        )
    if never_sent:
        done = "The request never left, so Coze did nothing. Check the connection's base URL (`host`), and the network between."
    elif request.method == "GET":
        done = "It only reads, so nothing was changed."
    else:
        done = (
            "Coze may have received the request and be carrying it out, and billing it; "
            "a retry of the task may start, and pay for, another."
        )
    return CozeTransportError(
        f"{request.method} {request.path} on {origin} got no answer ({why}). {done}",
        never_sent=never_sent,
        origin=origin,
    )


def broken_off(
    request: Request,
    origin: str,
    cause: Exception,
    *,
    root: BaseException | None = None,
    seconds: float | None = None,
) -> CozeTransportError:
    """Return the error of a stream that did not come to its end.

    :param root: what has the words, where the cause itself buries them.
    :param seconds: how long nothing came, if that is why.
    """
    why = _words_of(cause, root) if seconds is None else f"nothing came for {seconds:g} s"
    return CozeTransportError(
        f"The stream that answers {request.method} {request.path} on {origin} broke off ({why}). Coze goes on with what was begun, "
        "and bills it. Only where its id is known can a retry of the task find it again.",
        never_sent=False,
        origin=origin,
    )


def late(request: Request, origin: str, *, never_sent: bool = False) -> CozeStreamTimeoutError:
    """Return the error of a stream whose reader had no more time."""
    done = (
        "Nothing was sent."
        if never_sent
        else "Coze goes on with what was begun, and bills it. Only where its id is known can a retry of the task find it again."
    )
    return CozeStreamTimeoutError(
        f"The stream that answers {request.method} {request.path} on {origin} was not over when the time for it was. {done}",
        never_sent=never_sent,
        origin=origin,
    )


def _words_of(cause: Exception, root: BaseException | None) -> str:
    # The system's errors read as sentences, those of libraries need their names.
    words = str(cause) if root in (None, cause) else str(root) if isinstance(root, OSError) else repr(root)
    return f"{type(cause).__name__}: {' '.join(words.split())}"[:300]


def too_large(request: Request, origin: str) -> CozeTransportError:
    """Return the error of an answer that is over the bound; Coze has acted on the request."""
    return CozeTransportError(
        f"{request.method} {request.path} on {origin} was answered with more than {MAX_BODY_BYTES} bytes, and reading stopped "
        "there. Coze has acted on the request.",
        never_sent=False,
        origin=origin,
    )
