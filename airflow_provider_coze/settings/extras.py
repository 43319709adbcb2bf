"""What may stand in each extra of the connection: one reader per field, converting from text where needed.

The form of the same fields is in ``get_provider_info``; a test holds the two lists of names together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

__all__ = ["AUTH_EXTRAS", "EXTRAS", "VISIBLE", "WrongValue", "is_empty", "read_whole", "shape", "split_url"]

#: Gets the value as it came, None when absent; returns it converted or raises WrongValue.
Reader: TypeAlias = Callable[[object], Any]

VISIBLE = re.compile(r"[!-~]+")  # ASCII without blanks: what may stand in a header or a URL
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


class WrongValue(ValueError):
    """The rest of a sentence that starts with the field's name. It says the value's shape and never the value."""

    def __init__(self, value: object, allowed: str, *, secret: bool = False) -> None:
        super().__init__(f"is {shape(value, secret=secret)}; allowed: {allowed}")


def shape(value: object, *, secret: bool = False) -> str:
    """Describe *value* without quoting it, because a secret may have been put into any field.

    Short numbers are the exception, unless *secret*: nobody's token is one, and seeing "0" is seeing the mistake.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        # nan is not less than anything; an int may be too large for a float
        return f"the number {value:.12g}" if not secret and abs(value) < 1e12 else "a number"
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return "empty"
        if not secret and len(text) <= 12 and _NUMBER.fullmatch(text):
            return f"the number {text}"
        return f"a text of {len(value)} character{'s' if len(value) > 1 else ''}"
    if isinstance(value, Mapping):
        return "a JSON object"
    if isinstance(value, list | tuple):
        return "a JSON list"
    return f"a value of type {type(value).__name__}"


def is_empty(value: object) -> bool:
    """Tell whether a field was left alone, for which forms send null or ``""``."""
    return value is None or (isinstance(value, str) and not value.strip())


def split_url(url: str) -> SplitResult | None:
    """Return the parts of *url*, or None when a part cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # urlsplit checks these only when they are asked for
    except ValueError:
        return None
    return parts


def _choice(*names: str) -> Reader:
    def read(value: object) -> str:
        if is_empty(value):
            return names[0]
        if isinstance(value, str) and value.strip().lower() in names:
            return value.strip().lower()
        raise WrongValue(value, " or ".join(names))

    return read


def _number(value: object, allowed: str, low: float, high: float) -> float:
    number: float = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= 20 and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    if not low <= number <= high:  # also when it is nan
        raise WrongValue(value, allowed)
    return float(number)


def read_whole(value: object, allowed: str, low: int, high: int) -> int:
    """Return *value* as an int between the limits, both included."""
    number = _number(value, allowed, low, high)
    if not number.is_integer():
        raise WrongValue(value, allowed)
    return int(number)


def _seconds(low: float, high: float, *, default: float) -> Reader:
    return lambda value: default if is_empty(value) else _number(value, f"seconds from {low:g} to {high:g}", low, high)


def _qps(value: object) -> float | str | None:
    if isinstance(value, str) and value.strip().lower() == "plan":
        return "plan"
    allowed = "requests per second from 0.01 to 10000, plan, or empty for no limit"
    return None if is_empty(value) else _number(value, allowed, 0.01, 10_000)


def _upload_qps(value: object) -> float:
    # Uploads per second: 10 on personal plans, 20 with a team (www.coze.cn/open/docs/developer_guides/coze_api_overview).
    return 10.0 if is_empty(value) else _number(value, "requests per second from 0.01 to 10000", 0.01, 10_000)


def _token_ttl(value: object) -> int:
    # Coze's own default is 900 s, its limit 86399 s (www.coze.cn/docs/developer_guides/oauth_jwt). An hour means 24
    # token calls a day where 900 s mean 96, and a leaked token is dead within the hour.
    return 3600 if is_empty(value) else read_whole(value, "whole seconds from 60 to 86399", 60, 86_399)


def _text(allowed: str, pattern: re.Pattern[str] = VISIBLE, default: str | None = None) -> Reader:
    def read(value: object) -> str | None:
        if is_empty(value):
            return default
        # Some Airflow versions decode the values of a URI as JSON, so an id of digits may arrive as a number.
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20 else value
        if isinstance(text, str) and pattern.fullmatch(text.strip()):
            return text.strip()
        raise WrongValue(value, allowed)

    return read


def _private_key(value: object) -> str | None:
    r"""Return the PEM with its newlines put back: text carries them as ``\n``, one-line form fields lose them."""
    if is_empty(value):
        return None
    text = value.replace("\\r", "").replace("\\n", "\n").strip() if isinstance(value, str) else ""
    found = re.fullmatch(r"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*)-----END \1-----", text, re.DOTALL)
    if found is None:
        allowed = "the whole PEM file, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
        raise WrongValue(value, allowed, secret=True)
    kind, body = found[1], "".join(found[2].split())
    if "ENCRYPTED" in kind or "ENCRYPTED" in body:
        allowed = "a key without a passphrase; `openssl pkey -in key.pem` takes it off"
        raise WrongValue(value, allowed, secret=True)
    if kind not in ("PRIVATE KEY", "RSA PRIVATE KEY"):
        raise WrongValue(value, f"a PEM of the kind PRIVATE KEY or RSA PRIVATE KEY; this is a {kind}", secret=True)
    if len(body) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", body):
        allowed = "a PEM with base64 between its first and last line; this one is damaged (in a URI, + is written %2B)"
        raise WrongValue(value, allowed, secret=True)
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def _proxy(value: object) -> str | None:
    if is_empty(value):
        return None
    if isinstance(value, str) and VISIBLE.fullmatch(value.strip()):
        parts = split_url(value.strip())
        if parts and parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment):
            return value.strip()
    raise WrongValue(value, "http://[user:password@]host:port or https://…, percent-encoded in a URI", secret=True)


def _verify(value: object) -> bool | str:
    if is_empty(value):
        return True
    if isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith("/"):  # absolute only: else a path would depend on the worker's directory, and "flase" be one
        return text
    raise WrongValue(value, "true, false, or the absolute path of a CA bundle")


#: Every extra there is, in the order of the form.
EXTRAS: Mapping[str, Reader] = {
    "auth_type": _choice("token", "oauth_jwt"),
    "client_id": _text("the OAuth app's id, without blanks"),
    "public_key_id": _text("the public key's fingerprint as Coze shows it, without blanks"),
    "private_key": _private_key,
    "token_ttl": _token_ttl,
    "session_name": _text("a text of at most 256 characters in one line", re.compile(r"[^\x00-\x1f\x7f]{1,256}")),
    "dialect": _choice("cloud", "studio"),
    "workspace_id": _text("the digits after /space/ in the console's address", re.compile(r"[0-9]{1,20}")),
    "connect_seconds": _seconds(0.1, 300, default=5.0),  # cozepy's connect timeout (cozepy/config.py)
    # Coze ends a synchronous workflow run after 90 s (www.coze.cn/docs/developer_guides/workflow_run); staying above
    # that lets its answer win.
    "read_seconds": _seconds(0.1, 3600, default=100.0),
    "proxy": _proxy,
    "verify": _verify,
    "chat_qps": _qps,
    "workflow_qps": _qps,
    "upload_qps": _upload_qps,
    "workflow_run_path": _text(
        "a path that starts with /, without ? and #", re.compile(r"(/[A-Za-z0-9._~-]+)+"), "/v1/workflow/run"
    ),
}

#: The extras that end in ``Settings.auth``.
AUTH_EXTRAS = ("auth_type", "client_id", "public_key_id", "private_key", "token_ttl", "session_name")
