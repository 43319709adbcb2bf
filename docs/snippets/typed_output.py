"""DAGs of the page about typed output. Their ids are those of the emulator's default world."""

from dataclasses import dataclass
from typing import Any, Literal

from airflow.sdk import DAG, task
from pydantic import BaseModel, Field

from airflow_provider_coze.operators.chat import CozeChatOperator
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator


# [START dataclass]
@dataclass
class Review:
    mood: Literal["good", "mixed", "bad"]
    stars: int
    language: str = "unknown"


# [END dataclass]
# [START model]
class Region(BaseModel):
    name: str
    population: int = Field(ge=0)


# [END model]

with DAG("coze_typed_output", schedule=None, params={"review": "Noodles fine, wait long."}) as dag:
    # [START chat]
    sort_review = CozeChatOperator(
        task_id="sort_review",
        bot_id="7511000000000000002",
        message='Sort this: {{ params.review }} Answer with JSON only, such as {"mood": "mixed", "stars": 3}',
        output_type=Review,
    )

    @task
    def stars(answer: dict[str, Any]) -> int:
        return Review(**answer).stars

    stars(sort_review.output)
    # [END chat]

    # [START workflow]
    CozeWorkflowOperator(
        task_id="largest",
        workflow_id="7511500000000000002",
        parameters={"name": "East", "population": 563_717_119},
        output_type=Region,
        deferrable=True,
    )
    # [END workflow]
