"""The code of the pages about streams, chatflows and typed output, run as it stands there."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.definitions import Interrupt, Template
from airflow_provider_coze.errors import CozeChatRequiresActionError
from tests.tasks import Coze, TaskInstance

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"


def of_page(name: str) -> dict[str, Any]:
    return runpy.run_path(str(SNIPPETS / f"{name}.py"))


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
