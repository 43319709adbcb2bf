"""``POST /api/permission/oauth2/token``: a signed JWT against an access token.

Only the service-app flow (JWT) is there. Source: docs.coze.cn/developer_guides/oauth_jwt. Which error code goes with which
mistake is not documented; HTTP 400 was seen (github.com/coze-dev/coze-js/issues/212).
"""

from __future__ import annotations

import hashlib
from typing import Any

from airflow_provider_coze.emulator.auth import bearer
from airflow_provider_coze.emulator.definitions import AccessToken, OAuthApp
from airflow_provider_coze.emulator.schema import INTEGER, MAP, STRING, required
from airflow_provider_coze.emulator.wire import Call, Reply, Route, answer

__all__ = ["GRANT_TYPE", "ROUTES"]

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_SECONDS = 86_399
DEFAULT_SECONDS = 900
#: How far a client's clock may be ahead. Undocumented; enough for machines that are synchronised at all.
SKEW_SECONDS = 60


class _Mistake(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def token(call: Call) -> Reply:
    """Check the JWT and issue a token. The answer has no envelope, and ``expires_in`` is a point in time."""
    try:
        app, claims = _checked(call)
        seconds = call.body.get("duration_seconds") or DEFAULT_SECONDS
        if not 0 < seconds <= MAX_SECONDS:
            raise _Mistake("invalid_request", f"invalid request: duration_seconds must be between 1 and {MAX_SECONDS}")
    except _Mistake as mistake:
        return answer({"error_code": mistake.code, "error_message": mistake.message}, status=400)
    now = int(call.store.now())
    issued = AccessToken(
        # Derived from the JWT, whose jti makes it different every time.
        token="czs_" + hashlib.sha256(bearer(call.headers).encode()).hexdigest()[:48],
        permissions=app.permissions,
        user_id=app.user_id,
        expires_at=now + seconds,
        session_name=str(claims.get("session_name") or ""),
    )
    call.store.issued[issued.token] = issued
    return answer({"access_token": issued.token, "expires_in": now + seconds, "token_type": "Bearer"})


def _checked(call: Call) -> tuple[OAuthApp, dict[str, Any]]:
    import jwt  # needs cryptography, which takes long to import and is used here only

    if call.body.get("grant_type") != GRANT_TYPE:
        raise _Mistake("unsupported_grant_type", f"unsupported grant type: {call.body.get('grant_type')}")
    assertion = bearer(call.headers)
    try:
        header = jwt.get_unverified_header(assertion)
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise _Mistake("invalid_request", f"invalid request: the bearer token is not a JWT: {error}") from None
    app = next((app for app in call.world.oauth_apps if app.client_id == str(claims.get("iss"))), None)
    if app is None:
        raise _Mistake("invalid_client", f"invalid client: no app {claims.get('iss')!r}")
    if header.get("alg") != "RS256":
        raise _Mistake("invalid_request", f"invalid request: alg is {header.get('alg')!r}, not RS256")
    key = app.public_keys.get(str(header.get("kid")))
    if key is None:
        raise _Mistake("invalid_client", f"invalid client: the app has no public key {header.get('kid')!r}")
    try:
        # Times are checked below, on the emulator's clock.
        jwt.decode(
            assertion,
            key,
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise _Mistake("invalid_client", f"invalid client: the signature does not match: {error}") from None
    _check_claims(call, app, claims)
    return app, claims


def _check_claims(call: Call, app: OAuthApp, claims: dict[str, Any]) -> None:
    now = call.store.now()
    issued_at, expires_at, jti = claims.get("iat"), claims.get("exp"), claims.get("jti")
    if not isinstance(issued_at, int) or not isinstance(expires_at, int) or not jti:
        raise _Mistake("invalid_request", "invalid request: iat, exp and jti are required")
    if issued_at > now + SKEW_SECONDS or expires_at <= issued_at:
        raise _Mistake("invalid_request", "invalid request: iat is in the future, or exp is not after it")
    if expires_at <= now:
        raise _Mistake("invalid_request", "invalid request: the JWT has expired")
    host = call.headers.get("host", "")
    # In memory there is no Host to compare with. Coze wants the host alone, its Python client sends host:port.
    if host and claims.get("aud") not in (host, host.rpartition(":")[0] or host):
        raise _Mistake("invalid_request", f"invalid request: aud is {claims.get('aud')!r}, this is {host!r}")
    if (app.client_id, str(jti)) in call.store.used_jti:
        raise _Mistake("invalid_request", "invalid request: jti has been used before; a JWT is good for one token")
    call.store.used_jti.add((app.client_id, str(jti)))


ROUTES = [
    Route(
        "POST",
        "/api/permission/oauth2/token",
        token,
        body={
            "grant_type": required(STRING),
            "duration_seconds": INTEGER,
            "scope": MAP,
            # Fields of the flows that are not imitated; they end as unsupported_grant_type, not as unknown fields.
            "client_id": STRING,
            "code": STRING,
            "code_verifier": STRING,
            "redirect_uri": STRING,
            "refresh_token": STRING,
            "device_code": STRING,
        },
        signed=False,
    ),
]
