"""Several sites for one agent: who is asked when the first one cannot be, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.ai.exceptions import ManagedAgentRejected
from airflow.providers.common.ai.managed_agents import FailoverManagedAgentClient, ManagedAgentRequest

from airflow_provider_coze import errors as e
from airflow_provider_coze.agents.failover import coze_failover
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import BROKE_BOT, ECHO_BOT, SLEEPER_BOT
from airflow_provider_coze.emulator.scenarios import Fault
from tests.agents.asking import SEND, agent
from tests.tasks import Coze

QUESTION = ManagedAgentRequest(prompt="hello", timeout=60)


def group(coze: Coze, stand_in: Coze, first: str = ECHO_BOT, **options: Any) -> FailoverManagedAgentClient:
    return coze_failover(agent(coze, first), agent(stand_in, ECHO_BOT, "coze_com"), **options)


def test_the_first_site_answers_while_it_can(coze: Coze, stand_in: Coze) -> None:
    assert group(coze, stand_in).invoke(QUESTION).text == "You said: hello"
    assert (len(coze.ledger), stand_in.seen) == (1, [])


def _away(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    coze.script(scenarios.refused())


def _without_token(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_other"))


def _without_connection(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")


def _too_busy(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    coze.script(scenarios.rate_limited(), on=SEND, times=99)


def _down_before_the_question(coze: Coze, monkeypatch: pytest.MonkeyPatch) -> None:
    coze.script(scenarios.bad_gateway(after_commit=True), on="POST /v1/conversation/create", times=99)


@pytest.mark.parametrize(
    "trouble",
    [_away, _without_token, _without_connection, _too_busy, _down_before_the_question],
    ids=lambda t: t.__name__,
)
def test_a_site_that_certainly_did_not_take_the_question_is_stood_in_for(
    coze: Coze, stand_in: Coze, monkeypatch: pytest.MonkeyPatch, trouble: Any
) -> None:
    trouble(coze, monkeypatch)
    assert group(coze, stand_in).invoke(QUESTION).text == "You said: hello"
    assert (len(coze.ledger), len(stand_in.ledger)) == (0, 1)


def test_a_lost_reply_is_looked_for_on_its_own_site(coze: Coze, stand_in: Coze) -> None:
    coze.script(scenarios.reset(after_commit=True), on=SEND)
    assert group(coze, stand_in).invoke(QUESTION).text == "You said: hello"
    assert (len(coze.ledger), stand_in.seen) == (1, [])


@pytest.mark.parametrize(
    ("bot_id", "prompt", "fault", "kind"),
    [
        (BROKE_BOT, "hello", None, e.CozeChatFailedError),
        (SLEEPER_BOT, "sleep 100: done", None, e.CozeChatTimeoutError),
        (BROKE_BOT, "hello", scenarios.reset(after_commit=True), e.CozeOutcomeUnknownError),
    ],
    ids=["failed", "late", "unknown"],
)
@pytest.mark.parametrize("even_if_asked", [False, True])
def test_a_site_that_may_have_taken_the_question_is_stood_in_for_only_when_that_was_asked_for(
    coze: Coze,
    stand_in: Coze,
    bot_id: str,
    prompt: str,
    fault: Fault | None,
    kind: type[e.CozeError],
    even_if_asked: bool,
) -> None:
    if fault is not None:
        coze.script(fault, on=SEND)
    sites = group(coze, stand_in, bot_id, even_if_asked=even_if_asked)
    request = ManagedAgentRequest(prompt=prompt, timeout=60)
    if even_if_asked:
        assert sites.invoke(request).text == f"You said: {prompt}"
    else:
        with pytest.raises(kind):
            sites.invoke(request)
    assert (len(coze.ledger), len(stand_in.ledger)) == (1, int(even_if_asked))


def test_a_question_that_has_to_be_put_otherwise_is_put_to_no_other_site(coze: Coze, stand_in: Coze) -> None:
    coze.script(scenarios.error(4014), on=SEND)
    with pytest.raises(ManagedAgentRejected):
        group(coze, stand_in, even_if_asked=True).invoke(QUESTION)
    assert stand_in.seen == []


def test_studio_stands_in_for_the_cloud(
    coze: Coze, stand_in: Coze, studio: Coze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_COZE_STUDIO", studio.connection())
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection())
    coze.script(scenarios.refused())
    stand_in.script(scenarios.error(4011, "No tokens left."), on=SEND)
    sites = coze_failover(
        agent(coze, ECHO_BOT), agent(stand_in, ECHO_BOT, "coze_com"), agent(studio, ECHO_BOT, "coze_studio")
    )
    with pytest.raises(e.CozeQuotaError):  # of code 4011 nothing proves that it was said before anything ran
        sites.invoke(QUESTION)
    assert studio.seen == []
    stand_in.script(scenarios.error(4009), on=SEND, times=99)
    assert sites.invoke(QUESTION).text == "You said: hello"
    assert [len(site.ledger) for site in (coze, stand_in, studio)] == [0, 0, 1]


def test_a_group_needs_a_stand_in_and_keeps_no_conversation(coze: Coze, stand_in: Coze) -> None:
    with pytest.raises(ValueError, match="at least two"):
        coze_failover(agent(coze, ECHO_BOT))
    sites = group(coze, stand_in)
    assert not sites.capabilities.sessions
    assert sites.capabilities.usage
    with pytest.raises(ValueError, match="conversation"):
        sites.invoke(ManagedAgentRequest(prompt="hello", session_id="1"))
