"""An agent of Airflow consults a Coze bot: its own model decides when to ask, and the bot answers as one of its tools.

It needs ``pip install 'airflow-provider-coze[common-ai]'``; without that this file has no DAG. The connection ``pydanticai_default``
says which model thinks: ``"model": "test"`` is a stand-in that costs nothing, calls each tool once and tells what it answered.
"""

from __future__ import annotations

from importlib.util import find_spec

from airflow.providers.common.compat.sdk import DAG

if find_spec("airflow.providers.common.ai"):
    from airflow.providers.common.ai.operators.agent import AgentOperator
    from airflow.providers.common.ai.toolsets import ManagedAgentToolset

    from airflow_provider_coze.agents.coze import CozeManagedAgentHook

    with DAG(
        dag_id="example_coze_agent",
        doc_md=__doc__,
        schedule=None,
        params={"case": "A ticket to Chengdu, first class, 1,284 yuan."},
        tags=["example", "coze"],
    ) as dag:
        # [START howto_coze_agent]
        policy_bot = ManagedAgentToolset(
            CozeManagedAgentHook("coze_default").agent("7511000000000000002"),
            tool_name="ask_policy_bot",
            description="Knows the company's travel policy. Ask it about one expense at a time; it cannot see receipts.",
            timeout=120,  # seconds for each answer
            replayable=True,  # it only answers, so a retry need not ask it again
        )

        decide = AgentOperator(
            task_id="decide",
            llm_conn_id="pydanticai_default",
            system_prompt="You check travel expenses. Ask the policy bot, and end with 'approved' or 'rejected' and the reason.",
            prompt="{{ params.case }}",
            toolsets=[policy_bot],
            durable=True,
        )
        # [END howto_coze_agent]
