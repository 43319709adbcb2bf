"""Give a workflow a file and get a typed row back; give an uploaded file to a bot; and do the first for each of many files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.file import CozeFileUploadOperator, coze_file
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

CENSUS = Path(__file__).parent / "data" / "china_population_2020.csv"


# [START howto_coze_file_row]
class Row(TypedDict):
    """What the workflow says of a table."""

    file_name: str
    rows: int
    total: int
    largest: str
    largest_value: int


# [END howto_coze_file_row]


def file_of(path: str) -> dict[str, Any]:
    """Return the workflow's parameters for one file."""
    return {"file": coze_file(path)}


with DAG(
    dag_id="example_coze_file_to_row",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000002", "workflow_id": "7511500000000000009"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_file]
    describe = CozeWorkflowOperator(
        task_id="describe",
        workflow_id="{{ params.workflow_id }}",
        parameters={"file": coze_file(CENSUS)},
        output_type=Row,
        deferrable=True,
    )
    # [END howto_coze_file]

    @task
    def share_of_largest(row: dict[str, Any]) -> float:
        return round(row["largest_value"] / row["total"], 3)

    share_of_largest(describe.output)

    # [START howto_coze_file_upload]
    upload = CozeFileUploadOperator(task_id="upload", source=CENSUS)
    ask = CozeChatOperator(
        task_id="ask",
        bot_id="{{ params.bot_id }}",
        additional_messages=[{"content": ["Which division is the largest?", coze_file(file_id=upload.output)]}],
    )
    # [END howto_coze_file_upload]

    # [START howto_coze_file_mapped]
    @task
    def new_files() -> list[str]:
        return sorted(str(path) for path in CENSUS.parent.glob("china_*.csv"))

    describe_each = CozeWorkflowOperator.partial(
        task_id="describe_each",
        workflow_id="{{ params.workflow_id }}",
        deferrable=True,
    ).expand(parameters=new_files().map(file_of))
    # [END howto_coze_file_mapped]
