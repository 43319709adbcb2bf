"""``make chaos``: the whole kill matrix, as a table; the exit code says whether every cell is right."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.airflow.kill_matrix.dags.chaos_cells import OUTAGES, Cell, deaths, outages
from tests.airflow.kill_matrix.matrix import HEADER, Verdict, chaos, run
from tests.airflow.postgres import postgres
from tests.airflow.processes import ending_on_sigterm
from tests.env.bootstrap import MAIN


def main() -> int:
    """Run the matrix and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a selection of the deaths, and no outages")
    given = parser.parse_args()
    began = time.monotonic()
    parts: dict[str, Sequence[Cell]] = {"deaths": deaths(small=given.small)}
    if not given.small:
        parts |= {name: outages(name) for name in OUTAGES}
    cells = [cell for part in parts.values() for cell in part]
    verdicts: list[Verdict] = []
    with (
        ending_on_sigterm(),
        postgres() as server,
        chaos(MAIN, cells, database=server.create("chaos")) as (airflow, coze),
    ):
        for name, part in parts.items():
            print(f"{time.monotonic() - began:5.0f} s  {name}: {len(part)} cells …", flush=True)
            verdicts += run(airflow, coze, part, name)
    print(HEADER)
    for verdict in verdicts:
        print(verdict.row())
    wrong = [verdict for verdict in verdicts if verdict.problem]
    for verdict in wrong:
        print(f"--- {verdict.cell.id}: {verdict.problem}\n{verdict.log}")
    print(f"{len(verdicts)} cells in {time.monotonic() - began:.0f} s on Airflow {MAIN}; {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
