"""Which conversation a task's chat goes to, where it is not one of its own: the DAG run's, the task's, or the user's.

Nothing is stored in Airflow for it: who the conversation is of is in Coze, with the conversation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.purchase import began
from airflow_provider_coze.protocol import shared_conversation
from airflow_provider_coze.protocol.inputs import id_problems
from airflow_provider_coze.protocol.shared_conversation import Shared

if TYPE_CHECKING:
    from airflow_provider_coze.compat import Context

__all__ = ["CONVERSATIONS", "ConversationChoice", "coze_conversation"]

#: Values of ``conversation`` that are no id.
CONVERSATIONS = ("new", "dag_run", "task")
_MARKER_DIGITS = 40
_NAME_LENGTH = 100


class ConversationChoice:
    """The conversation that a task's ``conversation`` means.

    :param choice: ``dag_run``: of the DAG run, for all its tasks that ask this bot; ``task``: of the task (and, of a mapped one, of the
        index), for all DAG runs; an id: that one; ``new``: none, each chat gets its own.
    :param context: Airflow's.
    :param bot_id: the bot; it lists its conversations apart from those of other bots.
    :param task_id: of another task, for ``task``. None: the running one.
    """

    def __init__(
        self,
        choice: str,
        context: Context | Mapping[str, Any],
        *,
        bot_id: str,
        task_id: str | None = None,
        map_index: int | None = None,
    ) -> None:
        self._choice, self._context, self._bot_id = choice, context, bot_id
        self._task_id, self._map_index = task_id, map_index

    def problems(self) -> list[str]:
        """Return what is wrong with the choice."""
        problems = id_problems("conversation", self._choice)
        if problems or self._choice in CONVERSATIONS or self._choice.isdecimal():
            return problems
        return [
            f"conversation must be one of {CONVERSATIONS} or the id of a conversation, which is digits, not {self._choice!r}"
        ]

    def find_or_create(self, hook: CozeHook, log: Any) -> str | None:
        """Return the id of the conversation; None for ``new``. Making one is free.

        :raises CozeInputError: the choice is wrong, or the server cannot keep such a conversation.
        :raises CozeError: it could not be found or made. Nothing was started, so nothing is billed.
        """
        if problems := self.problems():
            raise CozeInputError(f"{problems[0]}. Nothing was sent, so nothing is billed; a retry fails the same way.")
        if self._choice == "new":
            return None
        if self._choice not in CONVERSATIONS:
            return self._choice
        found, is_new = hook.perform(shared_conversation.open_shared(self._shared(hook), hook.retry))
        owner = "DAG run" if self._choice == "dag_run" else "task"
        log.info("Conversation %s of this %s: %s", found.id, owner, "made" if is_new else "found")
        return found.id

    def _shared(self, hook: CozeHook) -> Shared:
        ti: Any = self._context["ti"]
        if self._choice == "dag_run":
            parts, since = (ti.dag_id, ti.run_id), began(self._context)
        else:
            index = getattr(ti, "map_index", None) if self._task_id is None else self._map_index
            own = [] if index is None or index < 0 else [str(index)]
            parts, since = (ti.dag_id, self._task_id or ti.task_id, *own), None
        # Joined by a character that none of them can hold.
        text = "\x00".join((self._choice, *parts, self._bot_id))
        name = " ".join(("airflow:", *parts))[:_NAME_LENGTH]
        # Coze Studio has no field for a name when a conversation is made (idl/conversation/conversation.thrift).
        return Shared(
            bot_id=self._bot_id,
            marker=hashlib.sha256(text.encode()).hexdigest()[:_MARKER_DIGITS],
            name=None if hook.settings.dialect == "studio" else name,
            since=since,
        )


def coze_conversation(
    context: Context | Mapping[str, Any],
    *,
    bot_id: str,
    conversation: str = "dag_run",
    task_id: str | None = None,
    map_index: int | None = None,
    coze_conn_id: str = CozeHook.default_conn_name,
) -> str:
    """Return the id of the conversation that the chats of this DAG run, or of a task, share; it is made if there is none yet.

    For tasks that are no Coze operators and want to read it, put something into it, or clear it.

    :param context: Airflow's, as a ``@task`` function gets it as ``**context``.
    :param bot_id: the bot that the chats ask.
    :param conversation: ``dag_run`` or ``task``, as the operator has it.
    :param task_id: the task whose conversation is meant, with ``task``.
    :param map_index: its index, if it is a mapped one.
    :param coze_conn_id: the connection, of type ``coze``.
    :raises CozeError: as :meth:`ConversationChoice.find_or_create`.
    """
    hook = CozeHook(coze_conn_id)
    choice = ConversationChoice(conversation, context, bot_id=bot_id, task_id=task_id, map_index=map_index)
    found = choice.find_or_create(hook, hook.log)
    if found is None:
        raise CozeInputError('conversation="new" has no conversation to share; nothing was sent.')
    return found
