"""Run one workflow per region of a table: all at once on Coze, none of them holding a worker."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_workflow",
    doc_md=__doc__,
    schedule=None,
    params={"workflow_id": "7511500000000000001"},
    tags=["example", "coze"],
) as dag:

    @task
    def inputs_per_region() -> list[dict[str, Any]]:
        rows = list(csv.DictReader(CENSUS.read_text(encoding="utf-8").splitlines()))
        inputs = []
        for region in sorted({row["region"] for row in rows}):
            text = io.StringIO()
            writer = csv.DictWriter(text, fieldnames=rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in rows if row["region"] == region)
            inputs.append({"table": text.getvalue(), "top": 1})
        return inputs

    # [START howto_coze_workflow_mapped]
    summaries = CozeWorkflowOperator.partial(
        task_id="summarise",
        workflow_id="{{ params.workflow_id }}",
        deferrable=True,
    ).expand(parameters=inputs_per_region())
    # [END howto_coze_workflow_mapped]

    @task
    def total(summaries: list[dict[str, Any]]) -> int:
        return sum(summary["total"] for summary in summaries)

    total(summaries.output)
