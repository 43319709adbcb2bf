"""Let a bot call plain Python functions that run in Airflow, where the data is."""

from __future__ import annotations

from typing import Any, Literal

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_coze.operators.chat import CozeChatOperator

READINGS = {"B1": 19.5, "B2": 21.0, "C7": 35.5}


# [START howto_coze_tool]
def read_sensor(room: str, unit: Literal["C", "F"] = "C") -> dict[str, Any]:
    """Return the temperature of a room. Reading twice does no harm, and a retry of the task may do so."""
    if room not in READINGS:
        raise LookupError(f"there is no room {room}; the rooms are {', '.join(READINGS)}")
    degrees = READINGS[room]
    return {"room": room, "degrees": degrees if unit == "C" else degrees * 9 / 5 + 32, "unit": unit}


# [END howto_coze_tool]


with DAG(
    dag_id="example_coze_tool_calls",
    doc_md=__doc__,
    schedule=None,
    params={"bot_id": "7511000000000000005"},
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_tool_calls]
    ask = CozeChatOperator(
        task_id="ask",
        bot_id="{{ params.bot_id }}",
        message="Is it too warm in room B2?",
        tools={"read_sensor": read_sensor},
        max_tool_rounds=3,
    )
    # [END howto_coze_tool_calls]
