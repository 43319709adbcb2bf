"""A world: which bots, workflows and tokens exist, and how strict, slow and generous this Coze is. No HTTP, no run-time state.

Every setting that stands for something Coze's documents leave open says so, and is a setting for that reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_coze.emulator.definitions import AccessToken, Bot, OAuthApp, Workflow

__all__ = ["PLANS", "Plan", "World"]

FIRST_BOT_ID = 7511000000000000001
FIRST_WORKFLOW_ID = 7511500000000000001


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls per second of each rate-limit class, and what the plan includes."""

    level: str  # as the benefits endpoint spells it
    chat: int
    workflow: int
    upload: int
    run_async: bool


#: Source: Coze, "API overview" (docs.coze.cn/developer_guides/coze_api_overview), table of QPS limits, December 2025;
#: asynchronous runs by plan: docs.coze.cn/developer_guides/workflow_run, ``is_async``.
PLANS: Mapping[str, Plan] = {
    "personal_free": Plan("free", chat=20, workflow=50, upload=10, run_async=False),
    "personal_advanced": Plan("pro_personal", chat=100, workflow=100, upload=10, run_async=True),
    "team": Plan("team", chat=200, workflow=200, upload=20, run_async=True),
    "enterprise": Plan("enterprise", chat=500, workflow=500, upload=20, run_async=True),
}


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that is there before the first request. Change it at will while the emulator runs."""

    bots: list[Bot] = field(default_factory=list)
    workflows: list[Workflow] = field(default_factory=list)
    tokens: list[AccessToken] = field(default_factory=list)
    oauth_apps: list[OAuthApp] = field(default_factory=list)

    plan: str = "personal_advanced"
    #: None: on when the world is served over HTTP, off in memory, where a test's clock may stand still.
    rate_limits: bool | None = None
    #: Undocumented which of the two Coze uses; seen: 200 with code 4013. With 429 the code is 4013 as well.
    rate_limit_status: Literal[200, 429] = 200
    #: Seconds, sent as ``Retry-After``; Coze documents no such header, so None sends none.
    retry_after: float | None = None
    #: Calls this account may make in its life; 500 is what Coze's free plan allows. None: any number.
    call_allowance: int | None = None

    #: A non-streaming run is cut off after this long without an answer, while it goes on and is billed.
    #: Source: docs.coze.cn/developer_guides/workflow_run, limits.
    sync_wait_seconds: float = 90.0
    #: How long a run may take before Coze ends it: 10 minutes, and 24 hours when asynchronous. Same source.
    sync_run_seconds: float = 600.0
    async_run_seconds: float = 86_400.0
    #: For so long a new run's history still answers 4314. Undocumented whether there is such a delay.
    history_delay_seconds: float = 0.0
    #: For so long a new conversation is missing from the list of a bot's conversations, and a new message from the list of its
    #: conversation's messages; by their ids they can be read at once. Undocumented whether there are such delays.
    conversation_list_delay_seconds: float = 0.0
    message_list_delay_seconds: float = 0.0
    #: Whether a conversation that Coze makes for a chat is in the list of its bot's. The documents say that only one which was created
    #: with a bot_id is listed, and do not say whether those count.
    made_conversations_listed: bool = False
    #: Outputs longer than this are trimmed in the history. Source: docs.coze.cn/developer_guides/workflow_history (1 MB).
    trim_output_bytes: int = 1_000_000
    #: Old documents call the run endpoint /v3/workflows/run; on Coze itself that path does not exist.
    legacy_workflow_path: bool = False
    #: What ``Done`` of a workflow's stream carries: newer documents show a debug_url, recordings of 2024 an empty object.
    done_carries_debug_url: bool = True

    #: What the create reply says; clients were written for "in_progress". An example in the documents shows "completed",
    #: which here makes the reply tell the true status.
    first_chat_status: Literal["created", "in_progress", "completed"] = "in_progress"
    #: Undocumented whether a question can be listed while its chat runs.
    question_listed_at_once: bool = True
    #: Undocumented; users report that a ``chat_id`` filter does not return the question.
    question_carries_chat_id: bool = False

    #: 4100 with HTTP 401, or 700012006 with HTTP 401: both have been seen for a bad token.
    auth_failure_code: Literal[4100, 700012006] = 4100
    #: HTTP status that goes with 4101; undocumented.
    permission_status: int = 200
    #: Refuse request fields that Coze does not document. Coze ignores them, so a typo would go unnoticed.
    refuse_unknown_fields: bool = True

    user_id: str = "3901000000000000"
    user_name: str = "emulator"
    workspace_id: str = "7510000000000000001"
    site: str = "https://www.coze.cn"  # where debug_url points

    def __post_init__(self) -> None:
        if self.plan not in PLANS:
            raise ValueError(f"plan {self.plan!r} is not one of {sorted(PLANS)}")
        bots, workflows = self.bots, self.workflows
        self.bots, self.workflows = [], []
        for bot in bots:
            self.add_bot(bot)
        for workflow in workflows:
            self.add_workflow(workflow)

    def add_bot(self, bot: Bot | None = None, **fields: Any) -> Bot:
        """Add a bot, or replace the one with its id; keyword arguments are those of :class:`Bot`."""
        bot = bot or Bot(**fields)
        bot.id = bot.id or _free_id(FIRST_BOT_ID, {known.id for known in self.bots})
        bot.name = bot.name or f"bot {bot.id}"
        self.bots = [known for known in self.bots if known.id != bot.id] + [bot]
        return bot

    def add_workflow(self, workflow: Workflow | None = None, **fields: Any) -> Workflow:
        """Add a workflow, or replace the one with its id; keyword arguments are those of :class:`Workflow`."""
        workflow = workflow or Workflow(**fields)
        workflow.id = workflow.id or _free_id(FIRST_WORKFLOW_ID, {known.id for known in self.workflows})
        workflow.name = workflow.name or f"workflow {workflow.id}"
        self.workflows = [known for known in self.workflows if known.id != workflow.id] + [workflow]
        return workflow

    def bot(self, bot_id: str) -> Bot | None:
        """Find a bot."""
        return next((bot for bot in self.bots if bot.id == bot_id), None)

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Find a workflow."""
        return next((workflow for workflow in self.workflows if workflow.id == workflow_id), None)

    @property
    def limits(self) -> Plan:
        """What the plan allows."""
        return PLANS[self.plan]


def _free_id(first: int, taken: set[str]) -> str:
    number = first
    while str(number) in taken:
        number += 1
    return str(number)
