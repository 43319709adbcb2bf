"""What a script with cozepy looks like before it becomes a DAG."""

# [START before]
import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor

from cozepy import COZE_CN_BASE_URL, Coze, Message, MessageType, TokenAuth

coze = Coze(auth=TokenAuth(os.environ["COZE_TOKEN"]), base_url=os.environ.get("COZE_API", COZE_CN_BASE_URL))


def summarise(workflow_id, table):
    result = coze.workflows.runs.create(workflow_id=workflow_id, parameters={"table": table, "top": 1})
    return json.loads(result.data)


def mood(bot_id, row):
    question = f"Is this review good, mixed, bad or unclear? Answer with that word. {row['review']}"
    message = Message.build_user_question_text(question)
    poll = coze.chat.create_and_poll(bot_id=bot_id, user_id="script", additional_messages=[message])
    return next(message.content for message in poll.messages if message.type == MessageType.ANSWER)


def moods(bot_id, path):
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with ThreadPoolExecutor(max_workers=5) as pool:
        return list(pool.map(lambda row: mood(bot_id, row), rows))


# [END before]
