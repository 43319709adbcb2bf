"""DAGs of the page about questions of workflows. Their ids are those of the emulator's default world."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_coze.operators.workflow import CozeWorkflowOperator
from airflow_provider_coze.protocol.questions import Question

with DAG("coze_questions", schedule=None) as dag:
    # [START people]
    CozeWorkflowOperator(
        task_id="plan_trip",
        workflow_id="7511500000000000005",
        on_interrupt="hitl",
    )
    # [END people]

    # [START people_in_time]
    CozeWorkflowOperator(
        task_id="plan_trip_in_time",
        workflow_id="7511500000000000005",
        on_interrupt="hitl",
        hitl_users=["ann", {"id": "7", "name": "Bob"}],
        hitl_timeout=timedelta(hours=4),
        hitl_default="Hangzhou",
    )
    # [END people_in_time]


# [START function]
def answer(question: Question) -> str | dict[str, int]:
    """Know the answers to what the workflow may ask."""
    if "city" in question.text:
        return "Hangzhou"
    return {field.name: 3 for field in question.fields if field.type == "integer"}


with DAG("coze_questions_answered", schedule=None) as answered:
    CozeWorkflowOperator(task_id="plan_trip", workflow_id="7511500000000000005", on_interrupt=answer)
# [END function]
