"""What of the package is public: the names that a page of the API shows, and that do not change without a note.

``module`` stands for all of its ``__all__``, ``module:Name`` for one name of a module whose other names are for the package itself.
``tests/test_docs.py`` holds it against provider info, and against what the documentation and the example DAGs import.
"""

from __future__ import annotations

from typing import NamedTuple

PACKAGE = "airflow_provider_coze"


class Page(NamedTuple):
    """One page of the API."""

    name: str
    title: str
    text: str  # reStructuredText; what the page's names are for
    names: tuple[str, ...]


PAGES = (
    Page(
        "operators",
        "Operators",
        "One for each kind of work. :doc:`Every parameter in a table, with its default </reference/operators>`.",
        (
            "operators.base:CozeOperator",
            "operators.chat",
            "operators.workflow",
            "operators.chatflow",
            "operators.batch",
            "operators.chat_batch",
            "operators.workflow_batch",
            "operators.file",
            "operators.conversations:coze_conversation",
        ),
    ),
    Page("decorators", "Decorators", "The same for TaskFlow: a function says what is asked.", ("decorators",)),
    Page("sensors", "Sensors", "They wait for what another task has started.", ("sensors.coze",)),
    Page(
        "triggers",
        "Triggers and their events",
        "What waits in the triggerer. Operators and sensors make them; a DAG does not.",
        ("triggers.chat", "triggers.workflow", "triggers.batch", "triggers.question", "triggers.events"),
    ),
    Page(
        "hook",
        "Hook",
        "Every operation of the API, for your own tasks and operators.",
        ("hooks.coze", "protocol.retry:RetryPolicy", "settings:Settings", "settings:TokenAuth", "settings:OAuthJWT"),
    ),
    Page("results", "What the hook returns", "Coze's answers, with its names.", ("protocol.models",)),
    Page(
        "questions",
        "Questions and answers",
        "What a function gets that is given as *on_interrupt*, and what it returns.",
        ("protocol.questions", "protocol.answers:Answer"),
    ),
    Page("notifier", "Notifier", "It tells a bot what has happened.", ("notifications.coze",)),
    Page("links", "Links", "The buttons of a task instance.", ("links",)),
    Page(
        "agents",
        "Agents",
        "A bot as a managed agent of common.ai, which has to be installed.",
        ("agents.coze", "agents.failover", "agents.failures:CozeAgentNotAskedError", "protocol.flows:ChatAnswer"),
    ),
    Page("assets", "Assets", "Names of Coze's things, for schedules and lineage.", ("assets.coze",)),
    Page("retries", "Retry policy", "For Airflow 3.3 and later.", ("retry_policy",)),
    Page(
        "errors",
        "Errors",
        "What everything here raises. :doc:`Code by code, with what is billed and what to do </reference/errors>`.",
        ("errors",),
    ),
    Page(
        "emulator",
        "Emulator",
        "A Coze for tests; pytest finds the fixtures by itself. :doc:`What it imitates, and what it does not </reference/emulator>`.",
        (
            "emulator.pytest_plugin",
            "emulator.server",
            "emulator.app:Emulator",
            "emulator.app:ConnectionDropped",
            "emulator.world:World",
            "emulator.world:Plan",
            "emulator.worldfile:read_world",
            "emulator.worldfile:WorldFileError",
            *(
                f"emulator.definitions:{name}"
                for name in (
                    *(
                        "AccessToken",
                        "Bot",
                        "Failure",
                        "Immediate",
                        "Interrupt",
                        "OAuthApp",
                        "OutputNode",
                        "Parameter",
                        "Polls",
                    ),
                    *("Seconds", "Template", "Tokens", "ToolCall", "Workflow"),
                )
            ),
            "emulator.scenarios",
            "emulator.store:LedgerEntry",
        ),
    ),
)
