"""What importing the operators costs beyond Airflow itself, and a DAG file with them beyond one without.

``python -m tests.benchmarks.importing JOB PATH`` does one of :data:`JOBS` in a fresh interpreter and prints its CPU time.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: What may be there; each in its own line so that a missing one is left out.
OPERATORS = {
    "CozeChatOperator": ("airflow_provider_coze.operators.chat", {"bot_id": "1", "message": "Hello"}),
    "CozeWorkflowOperator": ("airflow_provider_coze.operators.workflow", {"workflow_id": "2", "parameters": {"n": 1}}),
    "CozeChatBatchOperator": (
        "airflow_provider_coze.operators.chat_batch",
        {"bot_id": "1", "message": "{{ row.text }}", "inputs": ["a"], "result_path": "results"},
    ),
    "CozeWorkflowBatchOperator": (
        "airflow_provider_coze.operators.workflow_batch",
        {"workflow_id": "2", "parameters": {"n": "{{ row.n }}"}, "inputs": ["a"], "result_path": "results"},
    ),
}
#: They must not be there after the operators were imported.
HEAVY = ("aiohttp", "requests", "pydantic_ai", "pandas", "pyarrow", "fsspec", "airflow_provider_coze.batch")


def available() -> list[str]:
    """Return the operators that this version has."""
    return [name for name, (module, _) in OPERATORS.items() if importlib.util.find_spec(module)]


def run(*, quick: bool = False) -> Any:
    """Import and parse in fresh interpreters, each kind in turn, and return the medians."""
    from tests.benchmarks.children import say, told
    from tests.benchmarks.figures import Check, Result, median, table

    rounds = 3 if quick else 9
    say(f"importing: {rounds} rounds of fresh interpreters")
    with tempfile.TemporaryDirectory() as folder:
        files = {"parse plain": Path(folder, "plain.py"), "parse": Path(folder, "coze.py")}
        files["parse plain"].write_text(dag_file([]))
        files["parse"].write_text(dag_file(available()))
        seen: dict[str, list[dict[str, Any]]] = {}
        for number in range(rounds + 1):
            for job in JOBS:
                figures = told("importing", job, str(files.get(job, "")))
                if number:  # the first round has written the bytecode that is kept
                    seen.setdefault(job, []).append(figures)
    ms = {job: median([figures["ms"] for figures in all_]) for job, all_ in seen.items()}
    beyond = median([a["ms"] - b["ms"] for a, b in zip(seen["parse"], seen["parse plain"], strict=True)])
    heavy = sorted({name for figures in seen["import"] for name in figures["heavy"]})
    rows = [
        ["`import airflow.sdk`", ms["sdk"]],
        [f"the modules of {', '.join(available())}, after it", ms["import"]],
        ["a DAG file with as many of Airflow's own operators", ms["parse plain"]],
        ["a DAG file with one of each", ms["parse"]],
    ]
    checks = [
        Check("CPU of importing the operators beyond Airflow", "≤ 40 ms", f"{ms['import']:.0f} ms", ms["import"] <= 40),
        Check("aiohttp, requests and the batch engine load later", "yes", ", ".join(heavy) or "yes", not heavy),
        Check("CPU of parsing a DAG file with them beyond one without", "≤ 40 ms", f"{beyond:.0f} ms", beyond <= 40),
    ]
    return Result("importing", [table(["", "CPU ms"], rows)], checks)


def dag_file(names: list[str]) -> str:
    """Return a DAG file with one of each operator; with none, four of Airflow's own."""
    lines = ["from airflow.sdk import DAG"]
    lines += [f"from {OPERATORS[name][0]} import {name}" for name in names]
    lines += [] if names else ["from airflow.providers.standard.operators.empty import EmptyOperator"]
    lines += ['with DAG(dag_id="measured", schedule=None):']
    lines += [f"    {name}(task_id={name!r}, **{OPERATORS[name][1]!r})" for name in names]
    lines += [] if names else [f'    EmptyOperator(task_id="t{n}")' for n in range(len(OPERATORS))]
    return "\n".join(lines) + "\n"


# --- a fresh interpreter


def sdk(_: str) -> dict[str, Any]:
    began = time.process_time()
    importlib.import_module("airflow.sdk")
    return {"ms": 1000 * (time.process_time() - began)}


def imported(_: str) -> dict[str, Any]:
    importlib.import_module("airflow.sdk")
    before, began = set(sys.modules), time.process_time()
    for name in available():
        getattr(importlib.import_module(OPERATORS[name][0]), name)
    spent = time.process_time() - began
    return {"ms": 1000 * spent, "heavy": [name for name in HEAVY if name in sys.modules and name not in before]}


def parsed(path: str) -> dict[str, Any]:
    """Parse as Airflow's DAG processor does, in a process that has Airflow already."""
    from airflow.dag_processing.dagbag import DagBag

    importlib.import_module("airflow.sdk")
    began = time.process_time()
    bag = DagBag(path)
    spent = time.process_time() - began
    if bag.import_errors or list(bag.dags) != ["measured"]:
        raise RuntimeError(f"{bag.import_errors} {list(bag.dags)}")
    return {"ms": 1000 * spent}


JOBS = {"sdk": sdk, "import": imported, "parse plain": parsed, "parse": parsed}


def main() -> None:
    """Do one job and print what it took."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        print(json.dumps(JOBS[sys.argv[1]](sys.argv[2])), flush=True)


if __name__ == "__main__":
    main()
