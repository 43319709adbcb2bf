"""Run a workflow for every row that another task has made, in one task that holds no worker while the runs go on."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_workflow_batch",
    doc_md=__doc__,
    schedule=None,
    params={
        "workflow_id": "7511500000000000001",
        # With workers on several machines it has to be a place that all of them reach, such as s3://connection@bucket/coze.
        "result_path": str(Path(tempfile.gettempdir()) / "coze-batches"),
    },
    tags=["example", "coze"],
) as dag:

    @task
    def rows_per_region() -> list[dict[str, str]]:
        people = list(csv.DictReader(CENSUS.read_text(encoding="utf-8").splitlines()))
        rows = []
        for region in sorted({row["region"] for row in people}):
            text = io.StringIO()
            writer = csv.DictWriter(text, fieldnames=people[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for row in people if row["region"] == region)
            rows.append({"region": region, "csv": text.getvalue()})
        return rows

    # [START howto_coze_workflow_batch]
    summarise = CozeWorkflowBatchOperator(
        task_id="summarise",
        workflow_id="{{ params.workflow_id }}",
        inputs=rows_per_region(),
        parameters={"table": "{{ row.csv }}", "top": 1},
        result_path="{{ params.result_path }}",
        max_in_flight=50,
        deferrable=True,
    )
    # [END howto_coze_workflow_batch]

    @task
    def total(result_uri: str) -> int:
        results = map(json.loads, Path(result_uri).read_text(encoding="utf-8").splitlines())
        return sum(result["output"]["total"] for result in results)

    total(summarise.output["result_uri"])
