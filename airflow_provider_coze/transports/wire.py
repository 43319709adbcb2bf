"""What both transports must agree on, and so is written once: proxy, trusted certificates, the bound of an answer, words."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from airflow_provider_coze.errors import CozeConnectionConfigError, CozeTransportError
from airflow_provider_coze.protocol.messages import Request

__all__ = [
    "MAX_BODY_BYTES",
    "USER_AGENT",
    "environment_proxy",
    "handshake_failed",
    "lost",
    "origin_of",
    "tls_context",
    "too_large",
]

#: Coze trims a run's output at about 1 MB, and no documented answer comes near this. It bounds what a broken or hostile
#: server can make a worker or the triggerer hold in memory.
MAX_BODY_BYTES = 64 * 1024 * 1024

USER_AGENT = "airflow-provider-coze"


def origin_of(base_url: str) -> str:
    """Return ``scheme://host:port`` of a base URL."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for this site; None: go direct.

    Read here for both libraries, because their own reading of the environment also lets a .netrc replace the token.
    """
    parts = urlsplit(base_url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(parts.scheme)


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


#: What OpenSSL reports only while a connection is set up, so that nothing of the request has left.
_HANDSHAKE_REASONS = frozenset(
    {
        "CERTIFICATE_VERIFY_FAILED",
        "NO_PROTOCOLS_AVAILABLE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
        "UNKNOWN_PROTOCOL",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)


def handshake_failed(cause: BaseException) -> bool:
    """Tell whether this is TLS failing before any request could leave."""
    return isinstance(cause, ssl.SSLError) and cause.reason in _HANDSHAKE_REASONS


def lost(
    request: Request, origin: str, cause: Exception, *, never_sent: bool, seconds: float | None = None
) -> CozeTransportError:
    """Return the error of a request that got no answer, saying whether Coze can have acted on it.

    :param seconds: the limit that ran out, if one did.
    """
    why = f"no answer within {seconds:g} s" if seconds is not None else f"{type(cause).__name__}: {cause}"[:300]
    if never_sent:
        done = "The request never left, so Coze did nothing. Check the connection's Host, and the network between."
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


def too_large(request: Request, origin: str) -> CozeTransportError:
    """Return the error of an answer that is over the bound; Coze has acted on the request."""
    return CozeTransportError(
        f"{request.method} {request.path} on {origin} was answered with more than {MAX_BODY_BYTES} bytes, and reading stopped "
        "there. Coze has acted on the request.",
        never_sent=False,
        origin=origin,
    )
