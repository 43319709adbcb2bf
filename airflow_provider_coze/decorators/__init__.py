"""TaskFlow: a function says what is asked, and everything else is an argument of its decorator.

``@task.coze_chat``, ``@task.coze_workflow`` and ``@task.coze_batch`` are registered with Airflow. The functions here are the same, with
types for editors and type checkers (``__init__.pyi``)::

    from airflow_provider_coze.decorators import coze_chat_task

    @coze_chat_task(bot_id="7511000000000000002")
    def ask(text: str) -> str:
        return f"Summarise: {text}"

The function is called once in every try of the task, before anything is sent, and not again after a deferral. It has to be deterministic:
a retry calls it again, and goes on with the chat, run or rows of the try before only where it returns what was sent then. Where it does not
(``now()``, a random number, a query whose rows have changed), something new is bought, and the log says that the rendered input is not the
recorded one's.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["coze_batch_task", "coze_chat_task", "coze_workflow_task"]

#: Imported when it is asked for: a DAG file pays for the decorators that it uses.
_HOMES = {"coze_batch_task": "batch", "coze_chat_task": "chat", "coze_workflow_task": "workflow"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
