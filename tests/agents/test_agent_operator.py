"""A bot as a tool of a real ``AgentOperator``, whose model is pydantic-ai's stand-in: it costs nothing and reaches nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.ai.operators.agent import AgentOperator
from airflow.providers.common.ai.toolsets import ManagedAgentToolset
from pydantic_ai import Agent
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from airflow_provider_coze import errors as e
from airflow_provider_coze.agents.failover import coze_failover
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO_BOT, SLEEPER_BOT
from tests.agents.asking import SEND, agent
from tests.tasks import TOKEN, Coze

TOOL = "ask_policy_bot"


def toolset(coze: Coze, bot_id: str = ECHO_BOT, **options: Any) -> ManagedAgentToolset:
    return ManagedAgentToolset(agent(coze, bot_id), tool_name=TOOL, **options)


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch) -> None:
    """``test`` is pydantic-ai's own: it calls each tool once, with any arguments, and tells what came of it."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_PYDANTICAI_DEFAULT", json.dumps({"conn_type": "pydanticai", "extra": {"model": "test"}})
    )


class Store(dict[str, Any]):
    """As much of Airflow's task state store as the agent's journal needs."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def executed(toolset: ManagedAgentToolset, *, store: Store | None = None, **options: Any) -> Any:
    """Run a task with the toolset as a worker does."""
    decide = AgentOperator(
        task_id="decide", prompt="May I?", llm_conn_id="pydanticai_default", toolsets=[toolset], **options
    )
    ti = SimpleNamespace(
        dag_id="d", task_id="decide", run_id="r", map_index=-1, try_number=1, id="1", xcom_push=lambda **_: None
    )
    return decide.execute({"ti": ti, "task_instance": ti, "task_state_store": store})


def thinking(*steps: Callable[[list[ModelMessage]], ModelResponse]) -> Agent[None, str]:
    """Return an agent that takes these steps, one after the other."""
    left = iter(steps)

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return next(left)(messages)

    return Agent(FunctionModel(model))


def asks(prompt: str) -> Callable[[list[ModelMessage]], ModelResponse]:
    return lambda messages: ModelResponse(parts=[ToolCallPart(TOOL, {"prompt": prompt})])


def repeats(messages: list[ModelMessage]) -> ModelResponse:
    """End with the words of the last tool."""
    return ModelResponse(parts=[TextPart(str(messages[-1].parts[0].content))])


def test_the_operator_asks_the_bot_and_returns_what_comes_of_it(coze: Coze) -> None:
    answer = executed(toolset(coze, description="Knows the travel policy."))
    assert json.loads(answer)[TOOL].startswith("You said: ")
    assert len(coze.ledger) == 1


def test_the_time_that_the_toolset_gives_is_kept_to(coze: Coze) -> None:
    with pytest.raises(e.CozeChatTimeoutError):
        thinking(asks("sleep 100: done"), repeats).run_sync("go", toolsets=[toolset(coze, SLEEPER_BOT, timeout=20)])
    assert coze.times("POST /v3/chat/cancel")[0] == pytest.approx(20, abs=2)


def test_a_failure_of_the_bot_is_the_tasks_own_with_its_class_and_facts(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_other"))
    with pytest.raises(e.CozeAuthError) as caught:
        executed(toolset(coze))
    assert caught.value.code in (4100, 700012006)
    assert "pat_other" not in caplog.text + str(caught.value)


def test_the_model_puts_a_question_otherwise_when_the_bot_wants_that(coze: Coze) -> None:
    coze.script(scenarios.error(4014), on=SEND)

    def again(messages: list[ModelMessage]) -> ModelResponse:
        assert "Rephrase" in str(messages[-1].parts[0].content)
        return asks("in other words")(messages)

    found = thinking(asks("as it came"), again, repeats).run_sync("go", toolsets=[toolset(coze)])
    assert found.output == "You said: in other words"
    assert len(coze.ledger) == 1


def test_a_bot_that_keeps_refusing_is_not_asked_for_ever(coze: Coze) -> None:
    coze.script(scenarios.error(4014), on=SEND, times=99)
    with pytest.raises(UnexpectedModelBehavior):
        thinking(*[asks("please")] * 9).run_sync("go", toolsets=[toolset(coze)])
    assert coze.asked(SEND) == 2


def test_questions_of_one_turn_are_asked_side_by_side(coze: Coze) -> None:
    def both(messages: list[ModelMessage]) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(TOOL, {"prompt": each}) for each in ("one", "two")])

    def told(messages: list[ModelMessage]) -> ModelResponse:
        return ModelResponse(parts=[TextPart(" ".join(str(part.content) for part in messages[-1].parts))])

    found = thinking(both, told).run_sync("go", toolsets=[toolset(coze)])
    assert found.output == "You said: one You said: two"
    assert len(coze.ledger) == 2


def test_sites_that_stand_in_for_each_other_are_one_tool(coze: Coze, stand_in: Coze) -> None:
    coze.script(scenarios.refused())
    sites = coze_failover(agent(coze, ECHO_BOT), agent(stand_in, ECHO_BOT, "coze_com"))
    assert "You said" in executed(ManagedAgentToolset(sites, tool_name=TOOL))
    assert len(stand_in.ledger) == 1


@pytest.mark.parametrize("replayable", [True, False])
def test_a_retry_of_a_durable_task_asks_again_only_what_must_not_be_replayed(
    coze: Coze, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replayable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__COMMON_AI__DURABLE_CACHE_PATH", f"file://{tmp_path}")  # Airflow before 3.3
    store = Store()
    own = toolset(coze, replayable=replayable)

    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("after the bot had answered")

    with monkeypatch.context() as patch:
        patch.setattr(AgentOperator, "_complete_run", fails)
        with pytest.raises(RuntimeError):
            executed(own, store=store, durable=True)
    assert "You said" in executed(own, store=store, durable=True)
    assert len(coze.ledger) == (1 if replayable else 2)


def test_what_was_asked_is_not_in_the_log_at_its_usual_level(coze: Coze, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        executed(toolset(coze))
    assert f"Consulted managed agent {ECHO_BOT} on coze.bot" in caplog.text
    assert "You said" not in "".join(record.getMessage() for record in caplog.records if record.name == "tests.tasks")
    assert TOKEN not in caplog.text
