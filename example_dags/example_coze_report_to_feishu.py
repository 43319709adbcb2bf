"""Have a bot read a table that Excel has saved, and send what it says to a group in Feishu (飞书) as a card.

The group needs a custom bot (自定义机器人): its address ends with an id, which is a secret. Make a connection of the type HTTP with
the host ``https://open.feishu.cn`` and that id as its password, and start the DAG with its name in ``feishu_conn_id``. Without one
the card is made, and not sent. Source: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.chat import CozeChatOperator

#: What Excel calls "CSV UTF-8"; utf-8-sig reads it with the mark that Excel puts at its beginning, and without.
TABLE = Path(__file__).parent / "data" / "china_population_2020.csv"

with DAG(
    dag_id="example_coze_report_to_feishu",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000001", "feishu_conn_id": ""},
    tags=["example", "coze"],
) as dag:

    @task
    def read_table() -> str:
        return TABLE.read_text(encoding="utf-8-sig")

    # [START howto_coze_report]
    report = CozeChatOperator(
        task_id="report",
        bot_id="{{ params.bot_id }}",
        message="What stands out in this table?\n\n{{ ti.xcom_pull(task_ids='read_table') }}",
        deferrable=True,
        retries=3,  # goes on with the chat that was sent, and does not send another
    )
    # [END howto_coze_report]

    # [START howto_coze_feishu]
    @task
    def send_card(text: str, ds: str, params: dict[str, Any]) -> dict[str, Any]:
        title = {"tag": "plain_text", "content": f"Report of {ds}"}
        card = {"header": {"title": title}, "elements": [{"tag": "markdown", "content": text}]}
        message = {"msg_type": "interactive", "card": card}
        if params["feishu_conn_id"]:
            import requests
            from airflow.providers.common.compat.sdk import BaseHook

            feishu = BaseHook.get_connection(params["feishu_conn_id"])
            answer = requests.post(
                f"{feishu.host}/open-apis/bot/v2/hook/{feishu.password}", json=message, timeout=10
            ).json()
            if answer["code"] != 0:  # Feishu says no with HTTP 200, as Coze does
                raise RuntimeError(f"Feishu took no card: {answer['code']} {answer['msg']}")
        return message

    # [END howto_coze_feishu]
    read_table() >> report
    send_card(report.output)
