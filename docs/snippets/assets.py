"""The DAGs of the page about links and assets. Their ids are those of the emulator's default world."""

from airflow.sdk import DAG, Asset, task

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

# [START outlet]
prices = Asset("coze://dataset/7511600000000000001")

with DAG("coze_refresh", schedule="@daily") as refresh:
    CozeWorkflowOperator(
        task_id="write_prices",
        workflow_id="7511500000000000002",
        parameters={"day": "{{ ds }}"},
        outlets=[prices],
    )
# [END outlet]

# [START schedule]
with DAG("coze_after_refresh", schedule=[prices]) as after:

    @task(inlets=[prices])
    def compare() -> None: ...

    compare()
# [END schedule]
