"""Put a token on every request: a fixed one, or one minted with an OAuth app's private key and shared by a process.

Knows the token endpoint, the JWT it wants and when a token is due; reads no file, no clock and no connection.

The JWT login is described at www.coze.cn/docs/developer_guides/oauth_jwt; cozepy's ``cozepy/auth/__init__.py`` fills in
what the page leaves open (the audience of a server with a port).
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from airflow_provider_coze.errors import (
    CozeAPIError,
    CozeAuthError,
    CozeConnectionConfigError,
    CozeError,
    CozeProtocolError,
    CozeRateLimitedError,
    CozeUnavailableError,
)
from airflow_provider_coze.protocol.envelope import is_expired_token, logid_in, open_envelope
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.layers import through
from airflow_provider_coze.protocol.messages import Call, Flow, Replay, Request, Response, Send, Sleep, changed
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["Credential", "FixedToken", "TokenCache", "TokenCaches", "signed", "with_token", "without"]

T = TypeVar("T")

_SHORTEST_TOKEN = 8
#: Returns Unix seconds.
Clock = Callable[[], float]

_TOKEN_PATH = "/api/permission/oauth2/token"  # noqa: S105 - a path
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: Fields of an answer that say why there is no token.
_WORDS = ("code", "msg", "message", "error_message", "detail")
#: Life of the JWT, not of the token; the documents' own example.
_JWT_SECONDS = 600
#: A token is replaced this long before it expires, so that none dies between leaving here and being read by Coze.
_EARLY_SECONDS = 60.0
#: The token call does no work on Coze's side, so it need not wait as long as a workflow run may take.
_READ_SECONDS = 30.0
_RETRIES = RetryPolicy(attempts=3, base_seconds=1.0, cap_seconds=8.0, budget_seconds=30.0)
#: The first look for a token that another caller mints comes after this long; later ones wait up to a second, because
#: a triggerer may have a thousand waiting flows.
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.05, 1.0
#: Longer than a minting with all its retries takes. Who has waited this long stops counting on it: the process may have
#: been forked while another thread was minting, and then nobody is.
_PATIENCE_SECONDS = 150.0


@runtime_checkable
class _FixedAuth(Protocol):
    """What is read of ``settings.TokenAuth``."""

    @property
    def token(self) -> str: ...


class _JwtAuth(Protocol):
    """What is read of ``settings.OAuthJWT``. Hashable, because it is the key of the caches."""

    @property
    def client_id(self) -> str: ...
    @property
    def public_key_id(self) -> str: ...
    @property
    def private_key(self) -> str: ...
    @property
    def token_ttl(self) -> int: ...
    @property
    def session_name(self) -> str | None: ...


class Credential(Protocol):
    """Something that yields a token when asked, perhaps after a request or a wait."""

    def token(self, clock: Clock, refused: str | None = None) -> Flow[str]:
        """Return a token; not *refused* again, if there is any way to get another one."""
        ...


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A personal or service access token. When Coze refuses it, only a person can get another."""

    text: str = field(repr=False)

    def token(self, clock: Clock, refused: str | None = None) -> Flow[str]:
        """Return the token, whatever was refused."""
        yield from ()  # a flow that asks for nothing
        return self.text


def signed(flow: Flow[T], credential: Credential, *, clock: Clock) -> Flow[T]:
    """Wrap *flow* so that its requests carry a token, and one that is refused is replaced once per request.

    Sending a request again after such a refusal is safe for billed ones too: it was turned away before anything began.
    When no token can be had, the reason is raised inside *flow*, where an error of the request itself would be.
    """
    # A look is sent again and again: it is signed once per token.
    last: tuple[Request, str, Request] | None = None

    def layer(effect: Send) -> Flow[Response]:
        nonlocal last
        request = effect.request
        if not request.signed:
            return (yield effect)  # type: ignore[no-any-return]  # a Send is answered with a Response
        # Most have a token that never changes, and need not ask for it.
        token = credential.text if isinstance(credential, FixedToken) else (yield from credential.token(clock))
        if last is None or last[0] is not request or last[1] != token:
            last = (request, token, with_token(request, token))
        response: Response = yield effect.of(last[2])
        if not isinstance(credential, FixedToken) and is_expired_token(response):
            other = yield from credential.token(clock, refused=token)
            if other != token:
                response = yield Send(with_token(request, other))  # at once: its turn has come
                response = without(other, response)
        return without(token, response)

    return through(flow, layer)


def without(secret: str, response: Response) -> Response:
    """Return *response* without the credentials that it repeats: its words end in errors, and an answer in XCom."""
    known = secret.encode()
    # What is shorter than any token is in every text; Airflow masks nothing under five characters either.
    repeats = len(known) >= _SHORTEST_TOKEN and known in response.body
    return changed(response, body=response.body.replace(known, b"***")) if repeats else response


def with_token(request: Request, token: str) -> Request:
    """Return *request* with *token* in its header."""
    return changed(request, headers={**request.headers, "Authorization": f"Bearer {token}"})


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    refresh_at: float  # Unix seconds


class TokenCache:
    """The current token of one OAuth app on one site, for all threads and event loops of a process.

    One caller mints, the others wait for it: whoever pops the baton is the one. ``deque.pop`` is atomic, so this needs
    neither a lock (which would block an event loop) nor an asyncio primitive (which would belong to one loop). A caller
    that fails gets its error; those who waited try for themselves. The baton goes back when a caller is cancelled, too.
    """

    def __init__(self, auth: _JwtAuth, base_url: str, on_mint: Callable[[str], None] | None = None) -> None:
        self._auth = auth
        self._base_url = base_url
        self._on_mint = on_mint
        self._held: _Token | None = None
        self._baton = deque([None], maxlen=1)  # maxlen: there are never two, even when one that was lost comes back

    def token(self, clock: Clock, refused: str | None = None) -> Flow[str]:
        """Return a token that lives a while longer, minting it if nobody else has.

        :param refused: A token that Coze turned down. If the cache holds another by now, that one is returned.
        :raises CozeAuthError: Coze will not give this app a token.
        :raises CozeConnectionConfigError: The private key cannot be used.
        """
        waited, look = 0.0, _LOOK_SECONDS
        while (token := self._usable(clock, refused)) is None:
            try:
                self._baton.pop()
            except IndexError:
                if waited < _PATIENCE_SECONDS:
                    yield Sleep(look)
                    waited, look = waited + look, min(2 * look, _LONGEST_LOOK_SECONDS)
                    continue
            try:
                # The one who had the baton may have finished between our look and our pop.
                if self._usable(clock, refused) is None:
                    self._held = yield from self._mint(clock)
                    return self._held.text
            finally:
                self._baton.append(None)
        return token

    def _usable(self, clock: Clock, refused: str | None) -> str | None:
        held = self._held
        return held.text if held and held.text != refused and clock() < held.refresh_at else None

    def _mint(self, clock: Clock) -> Flow[_Token]:
        attempt, waited = 0, 0.0
        while True:
            attempt += 1
            now = clock()
            call = _token_call(
                self._auth, self._base_url, now
            )  # each JWT is accepted once, so every attempt has its own
            try:
                response = yield Send(call.request)
                response = without(call.request.headers["Authorization"].removeprefix("Bearer "), response)
                token = call.parse(_opened(response, call))
            except CozeError as error:
                wait = _RETRIES.next_wait(error, attempt, call.replay, waited)
                if wait is None:
                    raise self._explained(error) from error
            else:
                # Called here, not left to the hook to find: the secret masker has to know the token before the first
                # request that carries it is handed to a transport, and before another caller can see it in the cache.
                if self._on_mint is not None:
                    self._on_mint(token.text)
                return token
            yield Sleep(wait)
            waited += wait

    def _explained(self, error: CozeError) -> CozeError:
        """Return *error* as what it means to the request that needed the token: that one was never sent."""
        facts = {**error.facts(), "never_sent": True}
        who = f"OAuth app {self._auth.client_id!r} (public key {self._auth.public_key_id!r}) at {self._base_url}"
        if isinstance(error, CozeAPIError) and not isinstance(error, CozeUnavailableError | CozeRateLimitedError):
            said = ", ".join(
                [f"HTTP {error.status}", *([repr(error.msg)] if error.msg else [])]
                + [f"{name} {value}" for name in ("code", "logid") if (value := getattr(error, name)) is not None]
            )
            return CozeAuthError(
                f"Coze gave no token to {who}: {said}. Check that the app belongs to this site (one of coze.cn is unknown "
                "on coze.com), that `client_id` and `public_key_id` are the app's, that `private_key` is the half of that "
                "public key, and that the clock of this machine is right. Nothing was started; a retry asks for a token "
                "again.",
                **facts,
            )
        return type(error)(f"No token for {who}: {error} Nothing else was sent, so nothing was started.", **facts)


class TokenCaches:
    """The token caches of a process, one per credentials and site."""

    def __init__(self, on_mint: Callable[[str], None] | None = None) -> None:
        """:param on_mint: Gets every token before anybody else does; Airflow's ``mask_secret``, for one."""
        self._on_mint = on_mint
        self._caches: dict[tuple[_JwtAuth, str], TokenCache] = {}

    def for_(self, auth: _FixedAuth | _JwtAuth, base_url: str) -> Credential:
        """Return what signs requests to *base_url*; equal arguments get the same cache."""
        if isinstance(auth, _FixedAuth):
            return FixedToken(auth.token)
        # setdefault, because two threads may come here at the same moment and must leave with one cache
        return self._caches.setdefault((auth, base_url), TokenCache(auth, base_url, self._on_mint))


def _token_call(auth: _JwtAuth, base_url: str, now: float) -> Call[_Token]:
    """Ask for a token. Free, and harmless to repeat with a new JWT: an earlier token stays good.

    Source: www.coze.cn/docs/developer_guides/oauth_jwt
    """
    return Call(
        Request(
            "POST",
            _TOKEN_PATH,
            headers={"Authorization": f"Bearer {_jwt(auth, base_url, now)}"},
            json={"grant_type": _GRANT_TYPE, "duration_seconds": auth.token_ttl},
            signed=False,
            read_seconds=_READ_SECONDS,
        ),
        parse=lambda body: _read_token(body, auth.token_ttl, now),
        replay=Replay.ALWAYS,
    )


def _jwt(auth: _JwtAuth, base_url: str, now: float) -> str:
    # Imported here because PyJWT brings `cryptography` along: 100 to 300 ms that connections with a fixed token need not
    # spend. Signing takes 0.5 ms and parsing a 2048-bit key about 50 ms (PyJWT 2.15, cryptography 50, 2-core VM): once
    # per token that is not worth keeping a parsed key for.
    import jwt

    claims: dict[str, Any] = {
        "iss": auth.client_id,
        "aud": urlsplit(base_url).netloc,  # host, or host:port when the base URL names a port
        "iat": int(now),
        "exp": int(now) + _JWT_SECONDS,
        "jti": secrets.token_hex(32),
    }
    if auth.session_name is not None:
        claims["session_name"] = auth.session_name
    try:
        return jwt.encode(claims, auth.private_key, algorithm="RS256", headers={"kid": auth.public_key_id})
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        # `from None`: what these libraries say is no help, and it is not ours to promise that it never quotes the key.
        raise CozeConnectionConfigError(
            f"The Airflow connection's `private_key` cannot sign ({type(error).__name__}); allowed: the RSA private key "
            f"of OAuth app {auth.client_id!r} as a complete PEM without a passphrase. Nothing was sent to Coze."
        ) from None


def _opened(response: Response, call: Call[_Token]) -> Mapping[str, Any]:
    """Return the body. This endpoint answers ``{"error_code": word, "error_message"}`` where others have an envelope."""
    try:
        body = read_json(response.body)
    except ValueError:
        body = None
    word = body.get("error_code") if isinstance(body, dict) else None
    # Trouble of the server stays what the envelope says of it, because it is asked again.
    if word and response.status != 429 and response.status < 500:
        raise CozeAuthError(
            f"{call.request.method} {call.request.path}: {word}",
            msg=f"{word}: {body.get('error_message') or 'no message'}"[:500],
            status=response.status,
            origin=response.origin or None,
            logid=logid_in(response, body),
        )
    if b"access_token" not in response.body:
        return open_envelope(response, call)
    # What the envelope cannot read it quotes, and this may be a token: with a 502 around it, or cut off before its end.
    words = {name: body[name] for name in _WORDS if name in body} if isinstance(body, dict) else None
    opened = open_envelope(changed(response, body=b"" if words is None else json.dumps(words).encode()), call)
    return body if isinstance(body, dict) else opened


def _read_token(body: Mapping[str, Any], ttl: int, now: float) -> _Token:
    text = body.get("access_token")
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text or not text:
        raise CozeProtocolError(
            f"POST {_TOKEN_PATH} was answered without an access_token; the answer has {sorted(body)}."
        )
    try:
        life = float(body["expires_in"]) - now  # Coze's expires_in is a moment in Unix seconds, against RFC 6749's name
    except (KeyError, TypeError, ValueError):
        life = 0.0
    # Not between 0 and what was asked for: the clocks differ, or a gateway answers in RFC 6749's seconds from now. What
    # was asked for is then the best guess; a wrong one costs one refused request.
    if not 0 < life <= ttl:
        life = float(ttl)
    return _Token(text, now + (life - _EARLY_SECONDS if life >= 2 * _EARLY_SECONDS else life / 2))
