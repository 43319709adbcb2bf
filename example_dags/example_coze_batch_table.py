"""Ask a bot about every row of a table in one task, ask again what it could not answer, and count the answers."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Literal

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator

REVIEWS = Path(__file__).parent / "data" / "product_reviews.csv"

with DAG(
    dag_id="example_coze_batch_table",
    doc_md=__doc__,
    schedule=None,
    params={
        "bot_id": "7511000000000000008",
        # With workers on several machines it has to be a place that all of them reach, such as s3://connection@bucket/coze.
        "result_path": str(Path(tempfile.gettempdir()) / "coze-batches"),
    },
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_chat_batch]
    sort_reviews = CozeChatBatchOperator(
        task_id="sort_reviews",
        bot_id="{{ params.bot_id }}",
        inputs=str(REVIEWS),
        message="Is this review good, mixed or bad? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad"],
        result_path="{{ params.result_path }}",
        max_in_flight=20,
        report=True,
    )
    # [END howto_coze_chat_batch]

    # [START howto_coze_batch_failed]
    sort_the_rest = CozeChatBatchOperator(
        task_id="sort_the_rest",
        bot_id="{{ params.bot_id }}",
        inputs=sort_reviews.output["failed_uri"],  # None if no row has failed: then there is nothing to do
        message="Is this review good, mixed, bad or unclear? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad", "unclear"],
        result_path="{{ params.result_path }}",
        on_error="fail",
    )
    # [END howto_coze_batch_failed]

    # [START howto_coze_batch_results]
    @task
    def count_moods(*result_uris: str) -> dict[str, int]:
        moods: dict[int, str] = {}
        for uri in result_uris:
            for line in Path(uri).read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                if result["error"] is None:
                    moods[result["index"]] = result["output"]  # rows that are asked again keep their index
        return dict(Counter(moods.values()))

    count_moods(sort_reviews.output["result_uri"], sort_the_rest.output["result_uri"])
    # [END howto_coze_batch_results]
