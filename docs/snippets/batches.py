"""DAGs of the page about batches. Their ids are those of the emulator's default world."""

import json
from collections.abc import Iterator
from typing import Any, Literal

from airflow.sdk import DAG, ObjectStoragePath

from airflow_provider_coze.operators.chat_batch import CozeChatBatchOperator
from airflow_provider_coze.operators.workflow_batch import CozeWorkflowBatchOperator


# [START results]
def results(uri: str) -> Iterator[dict[str, Any]]:
    """Read what result_uri or failed_uri names, wherever it is."""
    place = ObjectStoragePath(uri)
    for part in sorted(place.parent.glob(place.name), key=str):
        with part.open(encoding="utf-8") as lines:
            yield from map(json.loads, iter(lines.readline, ""))  # Airflow 3.0 opens files that no loop can read


# [END results]

with DAG("coze_batches", schedule="@daily", catchup=False) as dag:
    # [START short]
    CozeChatBatchOperator(
        task_id="sort_all_reviews",
        bot_id="7511000000000000008",
        inputs="s3://my_connection@reviews/{{ ds }}.csv",  # or a list, an XCom, JSON lines, Parquet
        message="Is this review good, mixed or bad? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad"],
        result_path="s3://my_connection@reviews/answers",
    )
    # [END short]

    # [START night]
    CozeChatBatchOperator(
        task_id="sort_reviews",
        bot_id="7511000000000000008",
        inputs="s3://my_connection@reviews/{{ ds }}/*.jsonl.gz",
        message="Is this review good, mixed or bad? Answer with that word. {{ row.review }}",
        output_type=Literal["good", "mixed", "bad"],
        result_path="s3://my_connection@reviews/answers",
        max_in_flight=500,
        requests_per_minute=5_000,  # what the plan allows its models, if nothing else uses them
        max_error_ratio=0.02,
        token_budget=20_000_000,
        report=True,
        retries=3,
    )
    # [END night]

    # [START packed]
    CozeChatBatchOperator(
        task_id="sort_titles",
        bot_id="7511000000000000002",
        inputs="s3://my_connection@reviews/titles.csv",
        message="{{ row.title }}",
        pack_instruction="Say of each input in which language it is written, as a code of two letters.",
        rows_per_call=20,
        output_type=str,
        result_path="s3://my_connection@reviews/answers",
    )
    # [END packed]

    # [START typed_parameters]
    CozeWorkflowBatchOperator(
        task_id="price_orders",
        workflow_id="7511500000000000002",
        inputs="s3://my_connection@shop/orders/{{ ds }}.parquet",
        parameters={
            "order": "{{ row.order_id }}",  # one expression: a number stays a number, a list a list
            "note": "Order {{ row.order_id }} of {{ ds }}, row {{ index }}",  # a text
            "country": "{{ row.country | default('CN') }}",
            "currency": "CNY",
        },
        result_path="s3://my_connection@shop/priced",
        deferrable=True,
        max_in_flight=1_000,
        on_unknown="resend",
    )
    # [END typed_parameters]
