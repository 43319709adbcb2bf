"""Write what is asked as a function: a workflow per region, one question about all regions, and a table of reviews."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from airflow.providers.common.compat.sdk import DAG, task

DATA = Path(__file__).parent / "data"

with DAG(
    dag_id="example_coze_taskflow",
    doc_md=__doc__,
    schedule=None,
    params={
        "workflow_id": "7511500000000000001",
        "bot_id": "7511000000000000002",
        "sorter_id": "7511000000000000008",
        # With workers on several machines it has to be a place that all of them reach, such as s3://connection@bucket/coze.
        "result_path": str(Path(tempfile.gettempdir()) / "coze-batches"),
    },
    tags=["example", "coze"],
) as dag:

    def rows_of(name: str) -> Iterator[dict[str, str]]:
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    # [START howto_coze_taskflow_workflow]
    @task.coze_workflow(workflow_id="{{ params.workflow_id }}", deferrable=True)
    def summarise(region: str) -> dict[str, Any]:
        people = [row for row in rows_of("china_population_2020.csv") if row["region"] == region]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=people[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(people)
        return {"table": text.getvalue(), "top": 1}  # the workflow's parameters

    summaries = summarise.expand(region=["Central", "East", "Northeast", "West"])
    # [END howto_coze_taskflow_workflow]

    # [START howto_coze_taskflow_chat]
    @task.coze_chat(bot_id="{{ params.bot_id }}")
    def ask(summaries: list[dict[str, Any]], ds: str) -> str:
        total = sum(summary["total"] for summary in summaries)
        return f"{total:,} people live in {len(summaries)} regions. What is worth a look on {ds}?"  # the message

    ask(summaries)
    # [END howto_coze_taskflow_chat]

    # [START howto_coze_taskflow_batch]
    @task.coze_batch(
        bot_id="{{ params.sorter_id }}",
        message="Is this review good, mixed, bad or unclear? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad", "unclear"],
        result_path="{{ params.result_path }}",
        deferrable=True,
    )
    def sort_reviews() -> Iterator[dict[str, str]]:
        return rows_of("product_reviews.csv")  # the rows

    @task
    def count(counts: dict[str, int]) -> int:
        return counts["succeeded"]

    count(sort_reviews()["counts"])
    # [END howto_coze_taskflow_batch]
