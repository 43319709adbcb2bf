"""What Airflow's Test button asks Coze, and the words in which it answers. Free, and two calls at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow_provider_coze.errors import (
    CozeAPIError,
    CozeAuthError,
    CozeConnectionConfigError,
    CozeError,
    CozePermissionError,
    CozeTransportError,
)
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import account, conversation
from airflow_provider_coze.protocol.messages import Call, changed
from airflow_provider_coze.protocol.retry import RetryPolicy

if TYPE_CHECKING:
    from airflow_provider_coze.hooks.coze import CozeHook

__all__ = ["tested"]

T = TypeVar("T")

#: The button should answer within some seconds.
_READ_SECONDS = 8.0
#: The most that Coze puts on one page of workspaces.
_WORKSPACES_PAGE = 50


def tested(hook: CozeHook) -> tuple[bool, str]:
    """Say whether the host of a hook's connection answers and accepts the token; whatever is wrong is an answer as well."""
    try:
        return _on_studio(hook) if hook.settings.dialect == "studio" else _on_cloud(hook)
    except CozeAuthError as error:
        return False, f"Token invalid: {error}"
    except CozeTransportError as error:
        return False, f"Host unreachable: {error}"
    except CozeConnectionConfigError as error:
        return False, str(error)
    except CozeError as error:
        how = "but not as Coze does" if error.code is None else "which says nothing about the token"
        return False, f"{hook.settings.base_url} answered, {how}: {error}"
    except Exception as error:  # Airflow shows what is returned, and a stack trace to nobody
        return False, f"{type(error).__name__}: {error}"


def _on_cloud(hook: CozeHook) -> tuple[bool, str]:
    site, own = hook.settings.base_url, hook.settings.workspace_id
    try:
        page = _asked(hook, account.list_workspaces(page_size=_WORKSPACES_PAGE))
    except CozePermissionError as refused:
        return _by_user(hook, refused)
    covered = f"{site} accepts the token; it covers {page.total_count} workspace(s)."
    # One page, because the test spends two calls at most; an account with more workspaces is believed.
    if own and own not in {space.id for space in page.workspaces} and page.total_count <= _WORKSPACES_PAGE:
        return False, (
            f"Token fine, workspace missing: {covered} The connection's workspace_id {own} is not among them: add it to the "
            "token in Coze's console, or correct the id."
        )
    return True, covered


def _by_user(hook: CozeHook, refused: CozePermissionError) -> tuple[bool, str]:
    """Make the second call: it tells a missing permission from a token of no use."""
    site = hook.settings.base_url
    try:
        user = _asked(hook, account.current_user())
    except CozePermissionError:
        return False, (
            f"Token fine, permission missing: {site} knows the token, but it may neither list workspaces (listWorkspace) "
            f"nor read its own user. Give it the permissions of the operations you use. {refused}"
        )
    return True, (
        f"Token fine, permission missing: {site} accepts the token of {user.user_name or user.user_id!r}, but it lacks "
        "listWorkspace. Chats and workflows do not need that one; theirs are seen only when they are used."
    )


def _on_studio(hook: CozeHook) -> tuple[bool, str]:
    """Coze Studio knows no workspaces and no users; any answer about conversations proves the token."""
    try:
        _asked(hook, conversation.list_conversations(bot_id="0", page_size=1))
    except CozeAuthError:
        raise
    except CozeAPIError as error:
        if (error.status or 0) >= 500 or error.status == 404:
            raise
    return True, f"{hook.settings.base_url} (Coze Studio) accepts the token."


def _asked(hook: CozeHook, what: Call[T]) -> T:
    quick = changed(what, request=changed(what.request, read_seconds=_READ_SECONDS))
    return hook.perform(flows.call(quick, RetryPolicy(attempts=1)))
