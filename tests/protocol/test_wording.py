"""What logs and errors say alike."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import airflow_provider_coze
from airflow_provider_coze.protocol.models import Chat, RunHistory
from airflow_provider_coze.protocol.wording import in_brackets
from airflow_provider_coze.triggers.progress import log_chat, log_run


def test_a_logid_is_named_where_there_is_one() -> None:
    assert in_brackets("2026") == " (logid 2026)"
    assert in_brackets(None) == in_brackets("") == ""


def test_what_studio_gives_no_logid_for_is_logged_without(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tests.wording")
    with caplog.at_level(logging.INFO, "tests.wording"):
        log_chat(log, Chat("1", "2", "completed"), 3.0)
        log_run(log, RunHistory("4", "Success"), 5.0)
    assert caplog.messages == ["Chat 1: completed after 3 s", "Run 4: Success after 5 s"]


@pytest.mark.parametrize("spelt", ["(logid %s", "(logid {"])
def test_nobody_writes_a_logid_by_himself(spelt: str) -> None:
    package = Path(airflow_provider_coze.__file__).parent
    places = [path.name for path in package.rglob("*.py") if spelt in path.read_text("utf-8")]
    assert places == ([] if spelt == "(logid %s" else ["wording.py"])
