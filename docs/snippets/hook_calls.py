"""What a Python task can do that no operator does; in docs/howto/chat.md and docs/howto/workflow.md."""

from __future__ import annotations

from airflow_provider_coze.hooks.coze import CozeHook


# [START answer_tools]
def answer_tools(conversation_id, chat_id, run_tool):
    hook = CozeHook()
    chat = hook.retrieve_chat(conversation_id=conversation_id, chat_id=chat_id)
    outputs = [
        {"tool_call_id": call["id"], "output": run_tool(call["function"]["name"], call["function"]["arguments"])}
        for call in chat.tool_calls
    ]
    hook.submit_tool_outputs(conversation_id=conversation_id, chat_id=chat_id, tool_outputs=outputs)


# [END answer_tools]


# [START answer_question]
def answer_question(workflow_id, execute_id, answer):
    hook = CozeHook()
    question = hook.run_history(workflow_id=workflow_id, execute_id=execute_id).interrupt
    hook.resume_workflow(
        workflow_id=workflow_id,
        event_id=question["event_id"],
        interrupt_type=question["type"],
        resume_data=answer,
    )


# [END answer_question]
