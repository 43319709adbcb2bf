"""Turn the fields of an Airflow connection into ``Settings``, or into one error that lists every wrong field.

Nothing here reads the environment, a file or the clock, and nothing here knows Airflow: fields arrive as plain values.
What may stand in each extra is in ``extras``; how host, schema and port become one address is in ``base_url``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from airflow_provider_coze.errors import CozeConnectionConfigError
from airflow_provider_coze.settings.base_url import CLOUD_HOSTS, DEFAULT_BASE_URL, read_base_url
from airflow_provider_coze.settings.extras import AUTH_EXTRAS, EXTRAS, VISIBLE, WrongValue, is_empty, shape

__all__ = ["DEFAULT_BASE_URL", "EXTRAS", "OAuthJWT", "Settings", "TokenAuth", "parse"]

Dialect: TypeAlias = Literal["cloud", "studio"]
#: Requests per second; "plan": as many as Coze says that the account is granted; None: not limited here.
Budget: TypeAlias = float | Literal["plan"] | None


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """A personal or service access token: made in Coze's console, sent as it is until it expires."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OAuthJWT:
    """An OAuth app of the kind "service": tokens are minted with its private key, and again before they expire."""

    client_id: str
    public_key_id: str  # the fingerprint Coze shows next to the public key
    private_key: str = field(repr=False)  # PEM with real newlines
    token_ttl: int = 3600  # seconds
    session_name: str | None = None  # None: conversations are not separated by end user


@dataclass(frozen=True, slots=True)
class Settings:
    """One connection, checked. Hashable, because it is the key of connection pools; its repr shows no secret."""

    base_url: str  # scheme://host[:port][/path], without a slash at the end
    auth: TokenAuth | OAuthJWT
    connect_seconds: float = 5.0
    read_seconds: float = 100.0
    proxy: str | None = field(default=None, repr=False)  # may hold a password. None: the connection names no proxy
    verify: bool | str = True  # a string is the path of a CA bundle; whether it exists is found out when it is used
    dialect: Dialect = "cloud"
    workspace_id: str | None = None
    chat_qps: Budget = None
    workflow_qps: Budget = None
    upload_qps: float = 10.0  # requests per second; what the plan with the least grants
    workflow_run_path: str = "/v1/workflow/run"


def parse(
    *,
    host: str | None,
    password: str | None,
    extra: Mapping[str, Any] | str | None,
    schema: str | None = None,
    port: int | str | None = None,
    login: str | None = None,
    conn_id: str = "coze_default",
) -> Settings:
    """Check every field of a connection and return what they say together.

    :param extra: The connection's extra, decoded or as JSON text. Values may be text, as all are in a URI.
    :param schema: ``http`` or ``https``, used when *host* names no scheme.
    :param port: Used when *host* names no port.
    :param login: Not used by Coze; only looked at to recognise a token that a missing colon has put there.
    :param conn_id: For the error message.
    :raises CozeConnectionConfigError: Fields are wrong. All of them are named, and no secret is quoted.
    """
    problems: list[str] = []
    given = _given_extras(extra, problems)
    values: dict[str, Any] = {}
    for name, read in EXTRAS.items():
        try:
            values[name] = read(given.get(name))
        except WrongValue as wrong:
            problems.append(f"`{name}` {wrong}")
    base_url = read_base_url(host, schema, port, problems)
    auth = _auth(values, password, login, problems)
    _check_dialect(values, base_url, problems)
    if problems or auth is None:
        places = "1 place" if len(problems) == 1 else f"{len(problems)} places"
        raise CozeConnectionConfigError(
            f"Airflow connection {conn_id!r} is wrong in {places}:\n"
            + "".join(f"- {problem}\n" for problem in problems)
            + "Nothing was sent to Coze. A retry reads the connection again, so correct it first."
        )
    plain = {name: value for name, value in values.items() if name not in AUTH_EXTRAS}
    return Settings(base_url=base_url, auth=auth, **plain)


#: Names that other tools use, and where the thing lives here.
_ELSEWHERE = {
    "token": "the token is the connection's password",
    "access_token": "the token is the connection's password",
    "api_token": "the token is the connection's password",
    "api_key": "the token is the connection's password",
    "base_url": "the base URL is the connection's host",
    "api_base": "the base URL is the connection's host",
    "timeout": "it is `connect_seconds` and `read_seconds` here",
    "qps_limit": "it is `chat_qps` and `workflow_qps` here",
}


def _given_extras(extra: Mapping[str, Any] | str | None, problems: list[str]) -> Mapping[str, Any]:
    if isinstance(extra, str):
        try:
            extra = json.loads(extra) if extra.strip() else None
        except (ValueError, RecursionError):
            # The message of the error is not passed on: it holds the text, which may hold the private key.
            problems.append("`extra` is a text that is not JSON; allowed: a JSON object")
            return {}
    if extra is None:
        return {}
    if not isinstance(extra, Mapping):
        problems.append(f"`extra` is {shape(extra)}; allowed: a JSON object")
        return {}
    given = {
        **_prefixed(extra),
        **{key: value for key, value in extra.items() if not str(key).startswith(_FORM_PREFIX)},
    }
    problems.extend(_unknown(str(key)) for key in given if key not in EXTRAS and not str(key).startswith("__"))
    return given


#: What Airflow 2's form puts before a field's name when its Test button sends it, and old connections still have in the database.
_FORM_PREFIX = "extra__coze__"


def _prefixed(extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(key).removeprefix(_FORM_PREFIX): value for key, value in extra.items() if str(key).startswith(_FORM_PREFIX)
    }


def _unknown(key: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", key):  # not a name: perhaps a token that lost its "key="
        return f"`extra` has an entry named by {shape(key)}; allowed: {', '.join(EXTRAS)}"
    name = key.lower().replace("-", "_")
    if name in _ELSEWHERE:
        return f"`{key}` is not an extra of this connection; {_ELSEWHERE[name]}"
    close = difflib.get_close_matches(name, EXTRAS, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"allowed: {', '.join(EXTRAS)}"
    return f"`{key}` is not an extra of this connection; {hint}"


def _auth(
    values: Mapping[str, Any], password: str | None, login: str | None, problems: list[str]
) -> TokenAuth | OAuthJWT | None:
    match values.get("auth_type"):
        case "token":
            return _token(values, password, login, problems)
        case "oauth_jwt":
            for name in ("client_id", "public_key_id", "private_key"):
                if name in values and values[name] is None:
                    problems.append(f"`{name}` is empty; needed because `auth_type` is oauth_jwt")
            if not problems:
                return OAuthJWT(**{name: values[name] for name in AUTH_EXTRAS if name != "auth_type"})
    return None


def _token(values: Mapping[str, Any], password: str | None, login: str | None, problems: list[str]) -> TokenAuth | None:
    token = password.strip() if isinstance(password, str) else ""
    if not token:
        hint = ""
        if not is_empty(login):
            hint = ". `login` is not empty: in a URI the token needs a colon before it, coze://:TOKEN@host"
        elif values.get("private_key"):
            hint = ". `private_key` is not empty: set `auth_type` to oauth_jwt to use it"
        problems.append(f"`password` is empty; allowed: a personal or service access token{hint}")
        return None
    if not VISIBLE.fullmatch(token):
        wrong = WrongValue(password, "an access token in one line of ASCII without blanks", secret=True)
        problems.append(
            f"`password` {wrong}{', without the word Bearer' if token.lower().startswith('bearer ') else ''}"
        )
        return None
    return TokenAuth(token)


def _check_dialect(values: Mapping[str, Any], base_url: str, problems: list[str]) -> None:
    if values.get("dialect") != "studio":
        return
    if urlsplit(base_url).hostname in CLOUD_HOSTS:
        problems.append("`dialect` is studio, but `host` is Coze's cloud; allowed: cloud, or a `host` of your own")
    if values.get("auth_type") == "oauth_jwt":
        # coze-studio backend/api/middleware/openapi_auth.go knows personal access tokens and nothing else.
        problems.append("`auth_type` is oauth_jwt, but Coze Studio accepts only personal access tokens; allowed: token")
