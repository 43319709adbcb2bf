"""What a bot is told of a context: what has happened, and no secret."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_coze.notifications.wording import what_happened, without_secrets


def instance(**facts: Any) -> Any:
    known = {"dag_id": "daily", "task_id": "load", "map_index": -1, "try_number": 2, "max_tries": 2, "state": "failed"}
    return SimpleNamespace(**{**known, "log_url": "http://airflow/dags/daily/load", **facts})


def test_a_failed_task_is_told_with_its_run_its_error_and_its_log() -> None:
    context = {"ti": instance(), "run_id": "manual__1", "exception": ValueError("no rows\n in the table")}
    assert what_happened(context).split("\n") == [
        "Airflow: task 'load' of DAG 'daily' failed, in try 2 of 3.",
        "Run: manual__1",
        "Error: ValueError: no rows in the table",
        "Log: http://airflow/dags/daily/load",
    ]


@pytest.mark.parametrize(
    ("context", "headline"),
    [
        ({"ti": instance(state="success")}, "Airflow: task 'load' of DAG 'daily' succeeded, in try 2 of 3."),
        (
            {"ti": instance(state="up_for_retry", map_index=4)},
            "Airflow: task 'load' (index 4) of DAG 'daily' failed, and will be retried, in try 2 of 3.",
        ),
        ({"ti": instance(state=SimpleNamespace(value="skipped"), try_number=0)}, "Airflow: task 'load' of DAG 'daily' was skipped."),
        ({"ti": instance(state=None, max_tries=0), "exception": "x"}, "Airflow: task 'load' of DAG 'daily' failed, in try 2."),
        ({"dag": SimpleNamespace(dag_id="daily"), "reason": "task_failure", "ti": instance()}, "Airflow: DAG 'daily' failed."),
        ({"dag": SimpleNamespace(dag_id="daily"), "reason": "success"}, "Airflow: DAG 'daily' succeeded."),
        ({"dag_run": {"dag_id": "daily", "state": "running"}}, "Airflow: DAG 'daily' has begun."),
        (
            {"dag": SimpleNamespace(dag_id="daily"), "task_list": "load on\n2025-12-04", "blocking_task_list": ""},
            "Airflow: DAG 'daily' missed an SLA: load on 2025-12-04.",
        ),
        ({}, "Airflow: a DAG has something to tell."),
    ],
)  # fmt: skip
def test_each_kind_of_callback_has_its_headline(context: dict[str, Any], headline: str) -> None:
    assert what_happened(context).split("\n")[0] == headline


def test_the_log_of_the_last_task_is_not_given_for_a_dag() -> None:
    assert "Log:" not in what_happened({"ti": instance(), "reason": "task_failure"})


def test_a_missed_deadline_says_which_run_and_when() -> None:
    context = {
        "dag_run": {"dag_id": "daily", "dag_run_id": "scheduled__1", "state": "running"},
        "deadline": {"id": "7", "deadline_time": "2025-12-04 12:00:00+00:00"},
    }
    assert what_happened(context).split("\n") == [
        "Airflow: DAG 'daily' missed its deadline.",
        "Run: scheduled__1",
        "Deadline: 2025-12-04 12:00:00+00:00",
    ]


def test_a_context_that_cannot_tell_something_goes_without() -> None:
    class Unbound:
        task_id, dag_id, state = "load", "daily", "failed"

        @property
        def log_url(self) -> str:
            raise RuntimeError("no configuration here")

    assert what_happened({"ti": Unbound()}) == "Airflow: task 'load' of DAG 'daily' failed."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot reach postgres://etl:s3cret@db:5432/x", "cannot reach postgres://db:5432/x"),
        ("403 for https://b.s3.amazonaws.com/k?X-Amz-Signature=s3cret&b=1", "403 for https://b.s3.amazonaws.com/k"),
        ("Authorization: Bearer s3cret.s3cret-x", "Authorization: ***"),
        ("used Bearer s3cret.s3cret-x here", "used Bearer *** here"),
        ("token pat_S3cretS3cretS3cret is bad", "token *** is bad"),
        ("{'password': 's3 cret', 'user': 'etl'}", "{'password': ***, 'user': 'etl'}"),
        ('api_key="s3cret", client_secret = s3cret;', "api_key=***, client_secret = ***;"),
        ("key -----BEGIN PRIVATE KEY-----\ns3cret\n-----END", "key ***"),
        ("jwt eyJhbGciOiJS3cret.eyJzS3cret.s3cret", "jwt ***"),
        ("the token budget of 4000 is used up", "the token budget of 4000 is used up"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, told: str) -> None:
    assert without_secrets(text) == told


def test_what_airflow_masks_is_masked_and_a_long_text_is_cut() -> None:
    assert without_secrets("my hunter2", lambda text: text.replace("hunter2", "***")) == "my ***"
    assert len(without_secrets("x " * 10_000)) == 501
    assert "s3cret" not in without_secrets("a://b?" * 660 + " token=" + "s3cret" * 100)


def test_no_text_takes_long_to_read() -> None:
    for piece in ("x", "a:", "://", "token", "token=", "eyJ", "'", "bearer "):
        began = time.process_time()
        without_secrets(piece * 4_000 + " y")
        assert time.process_time() - began < 0.2
