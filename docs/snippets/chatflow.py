"""DAGs of the page about chatflows. Their ids are those of the emulator's default world."""

from airflow.sdk import DAG

from airflow_provider_coze.operators.chatflow import CozeChatflowOperator

with DAG("coze_chatflow", schedule=None) as dag:
    # [START ask]
    first = CozeChatflowOperator(
        task_id="first",
        workflow_id="7511500000000000008",
        bot_id="7511000000000000002",  # the bot that it is bound to; for a chatflow of an app: app_id
        message="What should we look at on {{ ds }}?",
    )
    # [END ask]

    # [START ask_again]
    second = CozeChatflowOperator(
        task_id="second",
        workflow_id="7511500000000000008",
        bot_id="7511000000000000002",
        conversation_id=first.output["conversation_id"],
        message="And what after that?",
    )
    # [END ask_again]

with DAG("coze_chatflow_asks", schedule=None) as asking:
    begin = CozeChatflowOperator(
        task_id="begin",
        workflow_id="7511500000000000008",
        bot_id="7511000000000000002",
        message="Plan a trip.",
    )
    # [START answer]
    reply = CozeChatflowOperator(
        task_id="reply",
        workflow_id="7511500000000000008",
        bot_id="7511000000000000002",
        conversation_id="{{ ti.xcom_pull(task_ids='begin', key='conversation_id') }}",
        message="Hangzhou",
        trigger_rule="all_failed",  # the task that was asked has failed with CozeChatRequiresActionError
    )
    begin >> reply
    # [END answer]
