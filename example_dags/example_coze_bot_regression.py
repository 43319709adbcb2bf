"""Ask the draft of a bot and the published one the same questions, and say yes to the draft only if it answers no worse.

Publishing stays with people: press the button in Coze when this is green, or let it be the last task through ``CozeHook.request``.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Literal

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator

GOLDEN = Path(__file__).parent / "data" / "golden_reviews.csv"

with DAG(
    dag_id="example_coze_bot_regression",
    doc_md=__doc__,
    schedule=None,
    params={
        "bot_id": "7511000000000000008",
        # With workers on several machines it has to be a place that all of them reach, such as s3://connection@bucket/coze.
        "result_path": str(Path(tempfile.gettempdir()) / "coze-batches"),
    },
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_regression]
    published, draft = (
        CozeChatBatchOperator(
            task_id=f"ask_{status}",
            bot_id="{{ params.bot_id }}",
            publish_status=status,
            inputs=str(GOLDEN),
            message="Is this review good, mixed, bad or unclear? Answer with that word. {{ row.review }}",
            output_type=Literal["good", "mixed", "bad", "unclear"],
            result_path="{{ params.result_path }}",
        )
        for status in ("published_online", "unpublished_draft")
    )
    # [END howto_coze_regression]

    # [START howto_coze_regression_gate]
    @task
    def compare(published_uri: str, draft_uri: str) -> dict[str, int]:
        with GOLDEN.open(encoding="utf-8", newline="") as file:
            expected = [row["expected"] for row in csv.DictReader(file)]

        def right(uri: str) -> int:
            results = map(json.loads, Path(uri).read_text(encoding="utf-8").splitlines())
            return sum(result["output"] == expected[result["index"]] for result in results)

        found = {"questions": len(expected), "published": right(published_uri), "draft": right(draft_uri)}
        if found["draft"] < found["published"]:
            raise AirflowFailException(f"The draft answers worse: {found}")
        return found

    # [END howto_coze_regression_gate]
    compare(published.output["result_uri"], draft.output["result_uri"])
