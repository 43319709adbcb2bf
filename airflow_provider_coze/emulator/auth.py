"""Who is calling: tokens and permission points. How they are refused is a matter of the dialect."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_coze.emulator.definitions import AccessToken
from airflow_provider_coze.emulator.store import Store
from airflow_provider_coze.emulator.wire import Refusal
from airflow_provider_coze.emulator.world import World

__all__ = ["admit", "bearer", "token_of"]


def bearer(headers: Mapping[str, str]) -> str:
    """Return the token of an ``Authorization: Bearer`` header; empty when there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def token_of(text: str, own: AccessToken, world: World, store: Store) -> AccessToken | None:
    """Find the token; None: unknown or expired."""
    if text in store.expired:
        return None
    known = own if text == own.token else store.issued.get(text)
    known = known or next((token for token in world.tokens if token.token == text), None)
    if known is None or known.expired or (known.expires_at is not None and store.now() >= known.expires_at):
        return None
    return known


def admit(
    headers: Mapping[str, str], permission: str | None, own: AccessToken, world: World, store: Store
) -> AccessToken:
    """Let the caller in as Coze's cloud does.

    Source of the texts: replies quoted in public issues and the error code page, docs.coze.cn/developer_guides/coze_error_codes.

    :raises Refusal: 4100 or 700012006 for the token, 4101 for the permission.
    """
    token = token_of(bearer(headers), own, world, store)
    if token is None:
        if world.auth_failure_code == 4100:
            raise Refusal(4100, "authentication is invalid", status=401)
        raise Refusal(700012006, "access token invalid", status=401)
    if not token.allows(permission):
        raise Refusal(
            4101,
            "Your token does not have permission to access resource. "
            f"Please verify whether the resource ID or token is correct. (emulator: permission {permission})",
            status=world.permission_status,
        )
    return token
