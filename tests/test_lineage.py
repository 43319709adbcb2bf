"""What OpenLineage is told of a task, with its own classes where they are installed and with stand-ins of the same shape elsewhere."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from airflow_provider_coze import errors as e
from airflow_provider_coze.emulator.default_world import BROKEN, ECHO, ECHO_BOT
from airflow_provider_coze.observing import lineage
from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from tests import tasks
from tests.tasks import Coze, Run

coze_site, coze, run = tasks.coze_site, tasks.coze, tasks.run

SECRET_WORDS = "what nobody else may read"


@attrs.define
class RunFacet:
    """As much of OpenLineage's as ours need."""

    _producer: str = attrs.field(default="", kw_only=True)


@attrs.define
class Dataset:
    """As above."""

    namespace: str
    name: str


@attrs.define
class OperatorLineage:
    """As above."""

    inputs: list[Any] = attrs.Factory(list)
    outputs: list[Any] = attrs.Factory(list)
    run_facets: dict[str, Any] = attrs.Factory(dict)
    job_facets: dict[str, Any] = attrs.Factory(dict)


@pytest.fixture(autouse=True)
def _openlineage(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("openlineage") is not None:
        return
    stand_ins = {
        "airflow.providers.openlineage.extractors": {"OperatorLineage": OperatorLineage},
        "openlineage.client.generated.base": {"Dataset": Dataset, "RunFacet": RunFacet},
    }
    for path, names in stand_ins.items():
        parts = path.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            if name not in sys.modules:
                monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for name, kind in names.items():
            setattr(sys.modules[path], name, kind)


def told(run: Run, task: Any) -> dict[str, Any]:
    """Return what OpenLineage gets, as JSON has it."""
    found = task.get_openlineage_facets_on_complete(run.ti)
    facets = {name: attrs.asdict(facet) for name, facet in found.run_facets.items()}
    kept = {
        name: {key: value for key, value in facet.items() if value is not None and not key.startswith("_")}
        for name, facet in facets.items()
    }
    assert not found.job_facets
    inputs, outputs = ([(each.namespace, each.name) for each in side] for side in (found.inputs, found.outputs))
    return {"inputs": inputs, "outputs": outputs, **kept}


def test_a_chat_is_told_of_by_ids_and_tokens(run: Run) -> None:
    arguments = {"bot_id": ECHO_BOT, "message": SECRET_WORDS}
    assert SECRET_WORDS in run(CozeChatOperator, **arguments)
    found = told(run, run.task(CozeChatOperator, **arguments))
    assert found["inputs"] == [("coze", f"bot/{ECHO_BOT}")]
    assert found["coze_run"] == {name: run.xcoms[name] for name in ("chat_id", "conversation_id", "logid")}
    assert found["coze_usage"] == {
        name: run.xcoms["usage"][name] for name in ("token_count", "input_count", "output_count")
    }


def test_neither_questions_nor_answers_are_told(run: Run) -> None:
    arguments = {"workflow_id": ECHO, "parameters": {"text": SECRET_WORDS}}
    assert SECRET_WORDS in json.dumps(run(CozeWorkflowOperator, **arguments))
    assert SECRET_WORDS not in json.dumps(told(run, run.task(CozeWorkflowOperator, **arguments)))


def test_a_run_that_failed_is_told_of_too(run: Run) -> None:
    with pytest.raises(e.CozeRunFailedError):
        run(CozeWorkflowOperator, workflow_id=BROKEN)
    found = told(run, run.task(CozeWorkflowOperator, workflow_id=BROKEN))
    assert found["inputs"] == [("coze", f"workflow/{BROKEN}")]
    assert found["coze_run"]["execute_id"] == run.xcoms["execute_id"]
    assert found["coze_run"]["debug_url"] == run.xcoms["debug_url"]


def test_a_batch_is_told_of_by_counts_and_where_its_results_are(run: Run) -> None:
    run.ti.xcoms["manifest"] = {
        "batch_id": "b1",
        "request_count": 3,
        "counts": {"succeeded": 3},
        "usage": {"token_count": 9, "input_count": 6, "output_count": 3},
        "result_uri": "s3://aws_default@bucket/batches/b1/results-1.jsonl",
    }
    task = CozeChatBatchOperator(task_id="rows", bot_id=ECHO_BOT, inputs=["a"], result_path="s3://bucket/batches")
    assert told(run, task) == {
        "inputs": [("coze", f"bot/{ECHO_BOT}")],
        "outputs": [("s3://bucket", "batches/b1/results-1.jsonl")],
        "coze_run": {"batch_id": "b1", "request_count": 3, "counts": {"succeeded": 3}},
        "coze_usage": {"token_count": 9, "input_count": 6, "output_count": 3},
    }


def test_a_task_that_sent_nothing_is_told_of_by_its_bot_alone(run: Run) -> None:
    assert told(run, run.task(CozeChatOperator, bot_id=ECHO_BOT)) == {
        "inputs": [("coze", f"bot/{ECHO_BOT}")],
        "outputs": [],
    }


def test_an_airflow_that_does_not_answer_makes_facts_missing_and_no_noise(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Airflow's API does not answer")

    monkeypatch.setattr(run.ti, "xcom_pull", broken)
    assert told(run, run.task(CozeChatOperator, bot_id=ECHO_BOT))["inputs"] == [("coze", f"bot/{ECHO_BOT}")]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b.jsonl", ("s3://bucket", "a/b.jsonl")),
        ("s3://aws_default@bucket/a", ("s3://bucket", "a")),
        ("ftp://u:p@host:21/a", ("ftp://host:21", "a")),
        ("file:///data/a.jsonl", ("file", "/data/a.jsonl")),
        ("/data/a.jsonl", ("file", "/data/a.jsonl")),
    ],
)
def test_files_are_named_as_openlineage_does_and_without_who_reads_them(uri: str, expected: tuple[str, str]) -> None:
    assert lineage.dataset_of(uri) == expected


def test_an_operator_answers_openlineage_by_the_name_that_it_looks_for(coze: Coze) -> None:
    base = pytest.importorskip("airflow.providers.openlineage.extractors.manager", reason="not installed here")
    task = CozeChatOperator(task_id="ask", bot_id=ECHO_BOT, message="hi")
    assert base.ExtractorManager().get_extractor_class(task).__name__ == "DefaultExtractor"


def test_every_field_of_a_facet_is_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    section = page.partition("## Lineage")[2]
    names = {"coze_run", "coze_usage", *lineage._RUN_FIELDS, *lineage._ROW_FIELDS, *lineage._USAGE_FIELDS}
    assert {name for name in names if f"`{name}`" not in section} == set()
