"""A bot is told when a DAG run takes longer than it should: Airflow 3.1 and later."""

# [START deadline]
from datetime import timedelta

from airflow.sdk import DAG
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference

from airflow_provider_coze.notifications.coze import CozeNotifier

with DAG(
    dag_id="nightly",
    schedule="@daily",
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=2),
        callback=AsyncCallback(CozeNotifier, kwargs={"bot_id": "7511000000000000002"}),
    ),
) as dag:
    ...
# [END deadline]
