"""The check of a run's parameters against its workflow: what it costs, what it remembers, and that it stops no run by mistake."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.default_world import ECHO, SUMMARY
from airflow_provider_coze.emulator.definitions import AccessToken, Parameter, Workflow
from airflow_provider_coze.operators.parameter_check import MAX_AGE_SECONDS, ParameterCheck
from tests.tasks import LOGGER, TOKEN, Coze

LOG = logging.getLogger(LOGGER)
INFO = f"GET /v1/workflows/{SUMMARY}"
GOOD, BAD = {"table": "a,b"}, {"top": "many"}
UNCHECKED = "Parameters are not checked before a run is paid for, with connection coze_default: "


@pytest.fixture
def check(coze: Coze) -> ParameterCheck:
    return ParameterCheck()


def checked(check: ParameterCheck, coze: Coze, parameters: Any, workflow_id: str = SUMMARY, **more: Any) -> list[str]:
    return check.check(coze.hook(), workflow_id, parameters, LOG, **more)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_all_that_is_wrong_comes_back_and_nothing_is_billed(coze: Coze, check: ParameterCheck) -> None:
    found = checked(check, coze, {"tabel": "a,b", "top": "many"})
    assert [problem.partition("]")[0] for problem in found] == [
        "parameters['table'",
        "parameters['tabel'",
        "parameters['top'",
    ]
    assert coze.ledger == []
    assert [name for name, _, _ in coze.seen] == [INFO]


def test_what_fits_is_asked_about_once_in_ten_minutes(coze: Coze, check: ParameterCheck) -> None:
    for _ in range(5):
        assert checked(check, coze, GOOD) == []
    assert coze.asked(INFO) == 1
    coze.time.now += MAX_AGE_SECONDS
    assert checked(check, coze, GOOD) == []
    assert coze.asked(INFO) == 2


def test_workflows_and_connections_are_told_apart(
    coze: Coze, check: ParameterCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", coze.connection())
    checked(check, coze, GOOD)
    assert checked(check, coze, BAD, ECHO) == []
    check.check(coze.hook("other"), SUMMARY, GOOD, LOG)
    assert coze.asked(INFO) == 2


def test_a_workflow_that_was_published_again_is_not_refused_for_what_it_was(coze: Coze, check: ParameterCheck) -> None:
    assert checked(check, coze, GOOD) == []
    coze.emulator.add_workflow(Workflow(id=SUMMARY, parameters={"rows": Parameter("array", required=True)}))
    assert checked(check, coze, {"rows": [1]}) == []
    assert checked(check, coze, GOOD) != []


def test_a_run_of_an_older_version_is_not_checked(coze: Coze, check: ParameterCheck) -> None:
    assert checked(check, coze, BAD, workflow_version="v0.0.1") == []
    assert coze.seen == []


def test_without_the_permission_it_is_said_once_and_asked_once(
    coze: Coze, check: ParameterCheck, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    coze.world.tokens = [AccessToken("pat_run_only", permissions=["run"])]
    monkeypatch.setenv("AIRFLOW_CONN_COZE_DEFAULT", coze.connection(password="pat_run_only"))
    for workflow_id in (SUMMARY, SUMMARY, ECHO):
        assert checked(check, coze, BAD, workflow_id) == []
    reason = "the token lacks the permission getMetaData, or the workflow's workspace (code 4101)"
    assert said(caplog) == [f"{UNCHECKED}{reason}. Runs go on without the check"]
    assert coze.asked(INFO) == 1


def test_a_studio_does_not_tell_the_inputs_and_that_is_said_once(
    studio: Coze, caplog: pytest.LogCaptureFixture
) -> None:
    check = ParameterCheck()
    for _ in range(3):
        assert checked(check, studio, BAD) == []
    assert said(caplog) == [
        f"{UNCHECKED}Coze Studio does not tell the inputs of workflows. Runs go on without the check"
    ]
    assert studio.seen == []


def test_an_answer_without_details_is_a_server_that_does_not_tell(
    coze: Coze, check: ParameterCheck, caplog: pytest.LogCaptureFixture
) -> None:
    coze.script(scenarios.answer(200, {"code": 0, "data": {"role": None}}), on="GET /v1/workflows/*", times=None)
    assert checked(check, coze, BAD) == checked(check, coze, BAD) == []
    assert said(caplog) == [
        f"{UNCHECKED}this server does not tell the inputs of workflows. Runs go on without the check"
    ]
    assert coze.asked(INFO) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (scenarios.server_trouble(), "CozeUnavailableError"),
        (scenarios.answer(200, {"code": 4100, "msg": "no"}), r"CozeAuthError, code 4100"),
        (scenarios.answer(200, {"code": 123456, "msg": "no"}), r"CozeAPIError, code 123456"),
        (scenarios.answer(502, "<html>"), "CozeUnavailableError, HTTP 502"),
        (scenarios.answer(200, "<html>"), r"could not be read \(CozeProtocolError\)"),
    ],
    ids=["trouble", "auth", "unknown", "gateway", "page"],
)
def test_trouble_stops_no_run_is_said_once_and_is_looked_at_again(
    coze: Coze, check: ParameterCheck, caplog: pytest.LogCaptureFixture, fault: Any, reason: str
) -> None:
    coze.script(fault, on="GET /v1/workflows/*", times=None)
    assert checked(check, coze, BAD) == checked(check, coze, BAD) == []
    (line,) = said(caplog)
    assert re.search(reason, line)
    assert sum(coze.time.slept) <= 10
    coze.emulator.clear_faults()
    assert checked(check, coze, BAD) != []


def test_a_workflow_that_does_not_exist_is_the_starts_to_say(
    coze: Coze, check: ParameterCheck, caplog: pytest.LogCaptureFixture
) -> None:
    assert checked(check, coze, BAD, "7511500000000000999") == []
    assert said(caplog) == []


def test_a_connection_of_no_use_is_no_matter_of_the_check(
    coze: Coze, check: ParameterCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_COZE_DEFAULT")
    with pytest.raises(e.CozeConnectionUnreadableError):
        checked(check, coze, GOOD)


def test_the_log_holds_neither_token_nor_parameters(
    coze: Coze, check: ParameterCheck, caplog: pytest.LogCaptureFixture
) -> None:
    coze.script(scenarios.server_trouble(), on="GET /v1/workflows/*", times=None)
    checked(check, coze, {"table": "confidential"})
    for secret in (TOKEN, "confidential"):
        assert secret not in caplog.text
