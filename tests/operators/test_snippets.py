"""The code of the pages about streams, chatflows, typed output and batches, run as it stands there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.definitions import Interrupt, Template
from airflow_provider_coze.errors import CozeChatRequiresActionError
from tests.pages import SNIPPETS, run_page
from tests.tasks import Coze, TaskInstance


def of_page(name: str) -> dict[str, Any]:
    return run_page(SNIPPETS / f"{name}.py")


def execute(coze: Coze, task: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """Return what a task of a page returns on a worker, and its XComs. *arguments* are what Airflow would have rendered."""
    for name, value in {"deferrable": False, **arguments}.items():
        setattr(task, name, value)
    ti = TaskInstance()
    return coze.prepared(task).execute({"ti": ti, "task": task}), ti.xcoms


def test_the_pages_about_streams_show_answers_as_they_grow(
    coze: Coze, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    dag = of_page("streaming")["dag"]
    answer, _ = execute(coze, dag.get_task("ask_and_watch"))
    assert answer.startswith("You said: Write a report")
    assert f"The bot says: {answer}" in caplog.text
    assert execute(coze, dag.get_task("run_and_watch"))[0] == {"output": {"day": "{{ ds }}"}}
    path = tmp_path / "long.json"
    assert execute(coze, dag.get_task("long_report"), output_path=str(path))[0] == f"file://{path}"
    assert "day" in path.read_text()


def test_the_page_about_chatflows_asks_and_asks_again(coze: Coze) -> None:
    dag = of_page("chatflow")["dag"]
    answer, first = execute(coze, dag.get_task("first"))
    assert answer.startswith("You said: What should we look at")
    assert {"chat_id", "conversation_id", "execute_id", "debug_url", "usage", "logid"} <= set(first)
    answer, second = execute(coze, dag.get_task("second"), conversation_id=first["conversation_id"])
    assert (answer, second["conversation_id"]) == ("You said: And what after that?", first["conversation_id"])


def test_the_page_about_chatflows_answers_a_question(coze: Coze) -> None:
    asking = coze.emulator.add_workflow(
        mode="chatflow", interrupt=Interrupt("Which city?"), output=Template("{message} {answer}")
    )
    begin, reply = (of_page("chatflow")["asking"].get_task(name) for name in ("begin", "reply"))
    begin.workflow_id = reply.workflow_id = asking.id
    ti = TaskInstance()
    with pytest.raises(CozeChatRequiresActionError):
        coze.prepared(begin).execute({"ti": ti, "task": begin})
    answer, _ = execute(coze, reply, conversation_id=ti.xcoms["conversation_id"])
    assert answer == "Plan a trip. Hangzhou"
    assert [entry.continued for entry in coze.ledger] == [1]


def test_the_page_about_typed_output_gets_what_it_asks_for(coze: Coze) -> None:
    made = of_page("typed_output")
    answer, _ = execute(coze, made["dag"].get_task("sort_review"))
    assert answer == {"mood": "mixed", "stars": 3, "language": "unknown"}
    assert made["Review"](**answer).stars == 3
    assert execute(coze, made["dag"].get_task("largest"))[0] == {"name": "East", "population": 563_717_119}
    assert len(coze.ledger) == 2


# --- batches


def batch(coze: Coze, task: Any, tmp_path: Path, **arguments: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return the manifest of a batch of a page, and its outputs. Time passes here as fast as it can, so nothing has an end by time."""
    given = {"deferrable": False, "timeout": None, "row_timeout": None, "result_path": str(tmp_path), **arguments}
    for name, value in given.items():
        setattr(task, name, value)
    manifest = coze.prepared(task).execute({"ti": TaskInstance(), "task": task, "ds": "2025-12-04"})
    lines = Path(manifest["result_uri"]).read_text(encoding="utf-8").splitlines()
    return manifest, [json.loads(line)["output"] for line in lines]


@pytest.mark.parametrize("name", ["sort_reviews", "sort_all_reviews"])
def test_the_page_about_batches_sorts_reviews_of_a_file(coze: Coze, tmp_path: Path, name: str) -> None:
    reviews = Path(__file__).parents[2] / "example_dags" / "data" / "product_reviews.csv"
    task = of_page("batches")["dag"].get_task(name)
    manifest, moods = batch(coze, task, tmp_path, inputs=str(reviews), max_error_ratio=None)
    assert moods[:3] == ["good", "bad", "mixed"]
    assert manifest["counts"]["succeeded"] == 10
    read = of_page("batches")["results"]
    assert [row["output"] for row in read(manifest["result_uri"])] == moods
    assert [row["index"] for row in read(manifest["failed_uri"].replace("00000", "*"))] == [4, 11]
    assert len(Path(manifest["failed_uri"]).read_text(encoding="utf-8").splitlines()) == 2


def test_the_page_about_batches_keeps_the_types_of_parameters(coze: Coze, tmp_path: Path) -> None:
    task = of_page("batches")["dag"].get_task("price_orders")
    _, outputs = batch(coze, task, tmp_path, inputs=[{"order_id": 7}, {"order_id": 8, "country": "FR"}])
    notes = ["Order 7 of 2025-12-04, row 0", "Order 8 of 2025-12-04, row 1"]
    assert [output["output"] for output in outputs] == [
        {"order": 7, "note": notes[0], "country": "CN", "currency": "CNY"},
        {"order": 8, "note": notes[1], "country": "FR", "currency": "CNY"},
    ]


def test_the_page_about_batches_lets_rows_share_a_request(coze: Coze, tmp_path: Path) -> None:
    def languages(message: str) -> str:
        rows = json.loads(message[message.rindex("\n[{") :])
        return json.dumps([{"index": row["index"], "output": "zh" if row["input"] > "z" else "en"} for row in rows])

    task = of_page("batches")["dag"].get_task("sort_titles")
    task.bot_id = coze.emulator.add_bot(answer=languages).id
    titles = [{"title": title} for title in ("茶", "Tea", "Cup") * 10]
    manifest, outputs = batch(coze, task, tmp_path, inputs=titles)
    assert outputs == ["zh", "en", "en"] * 10
    assert len(coze.ledger) == 2
    assert manifest["terminal_reason"] == "succeeded"


def test_the_page_about_mapped_tasks_gives_them_a_pool() -> None:
    assert of_page("mapped")["dag"].get_task("write_report").partial_kwargs["pool"] == "coze_reports"


def test_the_page_about_assets_names_a_knowledge_base_that_another_dag_waits_for(coze: Coze) -> None:
    made = of_page("assets")
    task = made["refresh"].get_task("write_prices")
    assert [asset.uri for asset in task.outlets] == [made["prices"].uri] == ["coze://dataset/7511600000000000001"]
    assert execute(coze, task)[0] == {"output": {"day": "{{ ds }}"}}
    assert made["after"].get_task("compare").inlets == [made["prices"]]
