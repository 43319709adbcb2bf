"""The DAG of the README and of the tutorial. Its ids are those of the emulator's default world."""

# [START first_dag]
from airflow.sdk import DAG  # on Airflow 2.11: from airflow import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

# Every two minutes, to see it run. For a Coze that costs money take "@daily".
with DAG("ask_coze", schedule="*/2 * * * *", catchup=False):
    answer = CozeChatOperator(
        task_id="ask",
        bot_id="7511000000000000002",  # the number after /bot/ in the bot's URL
        message="What should we look at on {{ ds }}?",
        deferrable=True,  # no worker is held while the bot thinks
    )
    CozeWorkflowOperator(
        task_id="file_report",
        workflow_id="7511500000000000002",  # the number after workflow_id= in the workflow's URL
        parameters={"text": answer.output},
        deferrable=True,
    )
# [END first_dag]
