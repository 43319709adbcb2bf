"""What a script with requests looks like before it becomes a DAG."""

# [START before]
import json
import os
import time

import requests

API = os.environ.get("COZE_API", "https://api.coze.cn")
HEADERS = {"Authorization": f"Bearer {os.environ['COZE_TOKEN']}"}


def ask(bot_id, question):
    message = {"role": "user", "content": question, "content_type": "text"}
    body = {"bot_id": bot_id, "user_id": "script", "stream": False, "additional_messages": [message]}
    chat = requests.post(f"{API}/v3/chat", headers=HEADERS, json=body, timeout=30).json()["data"]
    ids = {"conversation_id": chat["conversation_id"], "chat_id": chat["id"]}
    for _ in range(60):
        time.sleep(2)
        seen = requests.get(f"{API}/v3/chat/retrieve", headers=HEADERS, params=ids, timeout=30).json()
        if seen["data"]["status"] == "completed":
            break
    found = requests.get(f"{API}/v3/chat/message/list", headers=HEADERS, params=ids, timeout=30).json()
    return next(message["content"] for message in found["data"] if message["type"] == "answer")


def run(workflow_id, parameters):
    body = {"workflow_id": workflow_id, "parameters": parameters}
    done = requests.post(f"{API}/v1/workflow/run", headers=HEADERS, json=body, timeout=120).json()
    return json.loads(done["data"])


# [END before]
