"""Upload many files, run a workflow for each that may take hours, and keep the outputs before Coze forgets them.

So are videos, pictures and voices made: every file is a run of its own, no worker waits for it, and its output is written down as soon
as it is there. Coze keeps outputs for seven days; addresses of pictures and videos in them end sooner, so fetch those in ``keep``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.file import CozeFileUploadOperator, coze_file
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

REGIONS = Path(__file__).parent / "data" / "regions"


def parameters_of(file_id: str) -> dict[str, Any]:
    """Return the workflow's parameters for one uploaded file."""
    return {"file": coze_file(file_id=file_id)}


with DAG(
    dag_id="example_coze_long_runs",
    doc_md=__doc__,
    schedule=None,
    params={
        "workflow_id": "7511500000000000009",
        # With workers on several machines it has to be a place that all of them reach, such as s3://connection@bucket/coze.
        "output_path": str(Path(tempfile.gettempdir()) / "coze-outputs"),
    },
    tags=["example", "coze"],
) as dag:

    @task
    def new_files() -> list[str]:
        return sorted(str(path) for path in REGIONS.glob("*.csv"))

    # [START howto_coze_long_runs]
    upload = CozeFileUploadOperator.partial(task_id="upload").expand(source=new_files())
    make = CozeWorkflowOperator.partial(
        task_id="make",
        workflow_id="{{ params.workflow_id }}",
        execution_mode="async",  # up to 24 hours; never a stream, which would hold a worker as long
        deferrable=True,
        timeout=6 * 3600,
        output_path="{{ params.output_path }}/",  # a folder: the task returns the address of its file
        max_active_tis_per_dag=20,
        retries=3,
    ).expand(parameters=upload.output.map(parameters_of))
    # [END howto_coze_long_runs]

    @task
    def keep(addresses: list[str]) -> int:
        outputs = [json.loads(Path(urlsplit(address).path).read_text(encoding="utf-8")) for address in addresses]
        return sum(output["total"] for output in outputs)

    keep(make.output)
