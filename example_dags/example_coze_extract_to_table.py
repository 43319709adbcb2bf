"""Read files into rows of a known type, store those that are sure in a table, and leave the others to people.

The table is SQLite here; with a database of yours it is a task of that database's provider.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_coze.operators.file import coze_file
from airflow_provider_coze.operators.workflow import CozeWorkflowOperator

REGIONS = Path(__file__).parent / "data" / "regions"


# [START howto_coze_extract_type]
class Region(TypedDict):
    """A row of the table, and what tells whether it is sure."""

    file_name: str
    rows: int
    total: int
    largest: str


# [END howto_coze_extract_type]


with DAG(
    dag_id="example_coze_extract_to_table",
    doc_md=__doc__,
    schedule=None,
    params={
        "workflow_id": "7511500000000000009",
        "database": str(Path(tempfile.gettempdir()) / "coze-regions.sqlite"),
    },
    tags=["example", "coze"],
) as dag:
    # [START howto_coze_extract]
    read_region = CozeWorkflowOperator.partial(
        task_id="read_region",
        workflow_id="{{ params.workflow_id }}",
        output_type=Region,
        deferrable=True,
    ).expand(parameters=[{"file": coze_file(path)} for path in sorted(REGIONS.glob("*.csv"))])
    # [END howto_coze_extract]

    # [START howto_coze_extract_sort]
    @task(multiple_outputs=True)
    def sort_rows(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        sure = [row for row in rows if row["rows"] >= 5]  # so few divisions: did it read all of them?
        return {"sure": sure, "doubtful": [row for row in rows if row not in sure]}

    # [END howto_coze_extract_sort]

    # [START howto_coze_extract_store]
    @task
    def store(rows: list[dict[str, Any]], params: dict[str, Any]) -> int:
        with closing(sqlite3.connect(params["database"])) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS regions (file TEXT PRIMARY KEY, people INT, largest TEXT)")
            database.executemany(  # a retry replaces what it has written
                "INSERT OR REPLACE INTO regions VALUES (:file_name, :total, :largest)", rows
            )
            return int(database.execute("SELECT sum(people) FROM regions").fetchone()[0])

    # [END howto_coze_extract_store]

    @task
    def ask_people(rows: list[dict[str, Any]]) -> list[str]:
        return [f"{row['file_name']}: is it right that it has {row['rows']} rows?" for row in rows]

    sorted_rows = sort_rows(read_region.output)
    store(sorted_rows["sure"])
    ask_people(sorted_rows["doubtful"])
