"""Which permissions a token has, found out by reading. Nothing here is billed and nothing changes anything on Coze.

Where there is something to look at, Coze's 4101 means a missing permission. Where an id had to be made up, what the documents promise is
"not found"; a 4101 there is a missing permission, or an id that is nobody's.
Permission points: the page of each operation at https://www.coze.cn/open/docs/developer_guides.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_coze.errors import (
    CozeAPIError,
    CozeAuthError,
    CozeNotFoundError,
    CozePermissionError,
    CozeRejectedError,
    CozeUnavailableError,
)
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol import flows
from airflow_provider_coze.protocol.endpoints import account, catalogue, chat, conversation, file, workflow
from airflow_provider_coze.protocol.messages import Call, changed
from airflow_provider_coze.protocol.retry import RetryPolicy

__all__ = ["Finding", "Held", "permissions"]

T = TypeVar("T")

#: An id that nothing has.
_NOBODY = "1"
_READ_SECONDS = 10.0
_RETRY = RetryPolicy(attempts=2, budget_seconds=5.0)


class Held(enum.Enum):
    """What can be said about a permission."""

    YES = "yes"
    NO = "no"
    PROBABLY_NOT = "probably not"
    BILLED = "cannot be told without spending"
    CHANGES = "cannot be told without changing something"
    NOTHING = "cannot be told, there is nothing to look at"
    TROUBLE = "cannot be told now"


@dataclass(frozen=True, slots=True)
class Finding:
    """One permission, whether the token has it, and what needs it."""

    permission: str
    held: Held
    used_for: str


#: Not asked for: to find out would start something that is paid for, or leave something behind.
_UNASKED = (
    Finding("chat", Held.BILLED, "asking a bot"),
    Finding("run", Held.BILLED, "running a workflow"),
    Finding("cancelChat", Held.CHANGES, "cancelling a chat"),
    Finding("submitToolChat", Held.CHANGES, "answering a bot's tool calls"),
    Finding("createConversation", Held.CHANGES, "asking a bot"),
    Finding("editConversation", Held.CHANGES, "finding chats again without a record"),
    Finding("modifyMessage", Held.CHANGES, "finding chats again in your own conversations"),
    Finding("uploadFile", Held.CHANGES, "files"),
)


def permissions(hook: CozeHook) -> list[Finding]:
    """Ask for everything that can be asked for, and return a finding for each permission.

    :raises CozeAuthError: the token is not accepted.
    :raises CozeTransportError: Coze cannot be reached.
    """
    found: list[Finding] = []

    def asked(what: Call[T], used_for: str, *, made_up: bool = False) -> T | None:
        held, answers = _asked(hook, what, made_up=made_up)
        found.append(Finding(what.permission or "", held, used_for))
        return answers[0] if answers else None

    spaces = asked(account.list_workspaces(), "the Test button, airflow coze bots and workflows")
    known = spaces.workspaces if spaces else ()
    own = hook.settings.workspace_id or (known[0].id if known else "")
    space_id, no_space = own or _NOBODY, not own
    bots = asked(catalogue.list_bots(workspace_id=space_id), "airflow coze bots", made_up=no_space)
    listed = asked(catalogue.list_workflows(workspace_id=space_id), "airflow coze workflows", made_up=no_space)
    bot_id = _first(bots.bots if bots else (), lambda one: one.id)
    workflow_id = _first(listed.workflows if listed else (), lambda one: one.id)
    asked(
        workflow.workflow_info(workflow_id=workflow_id or _NOBODY),
        "the check of parameters, airflow coze scaffold",
        made_up=not workflow_id,
    )
    asked(
        workflow.run_history(workflow_id=workflow_id or _NOBODY, execute_id=_NOBODY),
        "waiting for a workflow",
        made_up=True,
    )
    talks = asked(
        conversation.list_conversations(bot_id=bot_id or _NOBODY),
        "finding chats again without a record",
        made_up=not bot_id,
    )
    talk_id = _first(talks.conversations if talks else (), lambda one: one.id)
    asked(
        conversation.retrieve_conversation(conversation_id=talk_id or _NOBODY),
        "conversations",
        made_up=not talk_id,
    )
    asked(
        conversation.conversation_messages(conversation_id=talk_id or _NOBODY, limit=1),
        "a bot's answer",
        made_up=not talk_id,
    )
    asked(chat.retrieve_chat(conversation_id=talk_id or _NOBODY, chat_id=_NOBODY), "waiting for a bot", made_up=True)
    asked(file.retrieve_file(file_id=_NOBODY), "files", made_up=True)
    return [*found, *_UNASKED]


def _asked(hook: CozeHook, what: Call[T], *, made_up: bool) -> tuple[Held, list[T]]:
    quick = changed(what, request=changed(what.request, read_seconds=_READ_SECONDS))
    try:
        return Held.YES, [hook.perform(flows.call(quick, _RETRY))]
    except CozePermissionError:
        return (Held.PROBABLY_NOT if made_up else Held.NO), []
    except CozeNotFoundError:
        return Held.YES, []  # said by what stands behind the permission
    except CozeAuthError:
        raise
    except (CozeRejectedError, CozeUnavailableError):
        # An id that nothing has can get 4000 or 5000 as well (github.com/coze-dev/coze-js/issues/179).
        return (Held.NOTHING if made_up else Held.TROUBLE), []
    except CozeAPIError:
        return Held.TROUBLE, []


def _first(listed: tuple[T, ...], its: Callable[[T], str]) -> str:
    return its(listed[0]) if listed else ""
