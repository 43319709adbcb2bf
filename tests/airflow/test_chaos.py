"""A selection of the kill matrix (``make chaos``) on every locked Airflow: one right answer, billed once, wherever the task died."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.airflow.kill_matrix.dags.chaos_cells import Cell, deaths
from tests.airflow.kill_matrix.matrix import Verdict, chaos, run
from tests.airflow.postgres import Postgres
from tests.airflow.runs import stored, written

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.timeout(900)]

#: Before 3.3 there is no task state store: chats are found again in Coze itself, and runs are not.
CELLS = {
    "3.3.2": deaths(small=True),
    "3.1.8": deaths(small=True, kinds=("chat",), store=False),
    "2.11.2": deaths(small=True, kinds=("chat",), store=False),
}


@pytest.fixture(scope="module", params=CELLS)
def verdicts(request: pytest.FixtureRequest, database_server: Postgres) -> Iterator[dict[Cell, Verdict]]:
    version, cells = request.param, CELLS[request.param]
    database = database_server.create(f"chaos_{version.replace('.', '_')}")
    with chaos(version, cells, database=database) as (airflow, coze):
        found = {verdict.cell: verdict for verdict in run(airflow, coze, cells, "deaths")}
        # Records, markers, trigger rows, XComs and logs of tasks that died; a killed process writes what it pleases.
        assert coze.token not in stored(airflow.database)
        assert [path for path, text in written(airflow.home) if coze.token in text] == []
        assert coze.token not in str([entry.as_json() for entry in coze.ledger])
        yield found


def test_every_cell_is_right(verdicts: dict[Cell, Verdict]) -> None:
    wrong = [f"{verdict.row()}\n{verdict.log}" for verdict in verdicts.values() if verdict.problem]
    assert wrong == []


def test_every_process_died_and_a_later_try_took_over(verdicts: dict[Cell, Verdict]) -> None:
    assert verdicts
    assert all(verdict.tries >= 2 for verdict in verdicts.values())
    assert sum(verdict.died for verdict in verdicts.values()) >= len(verdicts) - 2  # Airflow's own race may be first
