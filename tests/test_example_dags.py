"""The example DAGs: one idea each, importable in a second, runnable against the emulator, quotable by the documentation."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.airflow.emulator import EmulatorProcess
from tests.airflow.emulator import emulator as emulator_process
from tests.airflow.stack import prepare
from tests.env.bootstrap import MAIN, ROOT, python_of

FOLDER = ROOT / "example_dags"
EXAMPLES = sorted(FOLDER.glob("*.py"))
#: Asks people, for whom `dag.test()` waits for ever; tests/airflow/test_questions.py answers it.
OF_PEOPLE = "example_coze_hitl_question"
#: Needs common.ai, which is in an environment of its own; tests/agents/test_examples.py runs it there.
OF_AGENTS = "example_coze_agent"
#: How `dag.test()` is called where it needs more than the DAG. Approvals are Airflow's own, and are given here by nobody.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "example_coze_report_approval": {"mark_success_pattern": "^approve$"},
    "example_coze_report_to_feishu": {"run_conf": {"feishu_conn_id": "feishu_reports"}},
}

ANSWER = (
    "The table has 31 rows and population adds up to 1409778724. "
    "The largest is Guangdong, 广东, East with 126012510, the smallest Tibet, 西藏, West with 3648100."
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_shows_and_is_named_like_its_dag(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert f'dag_id="{path.stem}"' in text


def test_the_reviews_are_rows_of_a_table() -> None:
    with (FOLDER / "data" / "product_reviews.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"r{number:02}" for number in range(1, 13)]
    assert all(row["review"] for row in rows)


def test_the_regions_are_the_divisions_of_the_census() -> None:
    def rows_of(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    census = rows_of(FOLDER / "data" / "china_population_2020.csv")
    for path in (FOLDER / "data" / "regions").glob("*.csv"):
        of_region = [row for row in census if row["region"].lower() == path.stem]
        assert rows_of(path) == [{name: row[name] for name in ("division", "population")} for row in of_region]
        census = [row for row in census if row not in of_region]
    assert not census


def test_every_marker_is_opened_and_closed_once() -> None:
    markers = Counter(re.findall(r"# \[(START|END) (\w+)\]", "\n".join(path.read_text() for path in EXAMPLES)))
    assert markers
    for (_, name), count in markers.items():
        assert count == 1, name
        assert markers["START", name] == markers["END", name] == 1


def test_the_census_adds_up_as_its_source_says() -> None:
    with (FOLDER / "data" / "china_population_2020.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["division"] for row in rows}) == 31
    people: Counter[str] = Counter()
    for row in rows:
        people[row["region"]] += int(row["population"])
    # National Bureau of Statistics, Communiqué of the Seventh National Population Census (No. 3), table 3-1.
    assert people == {"East": 563_717_119, "Central": 364_694_362, "West": 382_852_295, "Northeast": 98_514_948}
    assert people.total() == 1_409_778_724


@dataclass
class Result:
    """What a DAG left in the database, and on Coze's bill."""

    output: str
    states: Counter[tuple[str, str]]
    xcoms: dict[tuple[str, str], list[Any]]
    billed: Counter[str]
    continued: int  # requests that were paid for besides, to go on with the same executions
    cards: list[tuple[str, Any]]  # what a group of Feishu got

    def returned(self, task_id: str) -> Any:
        """Return what a task returned; a list if it was mapped."""
        values = self.xcoms[task_id, "return_value"]
        return values[0] if len(values) == 1 else values


#: `dag.test()` runs every task in its own process and the triggers beside it; it needs a migrated database and no server.
#: The file is imported and stays so, as Airflow does it: the names in its annotations are looked up later.
PROGRAM = (
    "import importlib, json, sys; dag = importlib.import_module(sys.argv[1]).dag; "
    "sys.exit(dag.test(**json.loads(sys.argv[2])).state != 'success')"
)


@contextmanager
def feishu() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Stand in for a group of Feishu: take cards, and remember where they were sent and what they are."""
    taken: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"code": 0, "msg": "success", "data": {}}')

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Run every example with ``dag.test()``, all at once: they sleep more than they work."""
    results = {}
    with ExitStack() as running:
        group, cards = running.enter_context(feishu())
        started = []
        for path in EXAMPLES:
            if path.stem in (OF_PEOPLE, OF_AGENTS):
                continue
            home, coze = tmp_path_factory.mktemp(path.stem), running.enter_context(emulator_process())
            # Without a scheduler there is no race to keep away from, so a deferral may be as short as it likes.
            given = {**coze.env, "AIRFLOW__COZE__MIN_DEFERRAL_SECONDS": "0", "TMPDIR": str(home)}
            given["AIRFLOW_CONN_FEISHU_REPORTS"] = json.dumps(
                {"conn_type": "http", "host": group, "password": "a-hook"}
            )
            env = prepare(MAIN, home, dags=[FOLDER], env=given)
            process = running.enter_context(
                subprocess.Popen(
                    [str(python_of(MAIN)), "-c", PROGRAM, path.stem, json.dumps(ARGUMENTS.get(path.stem, {}))],
                    env={**env, "PYTHONPATH": str(home / "dags")},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            running.callback(process.kill)
            started.append((path.stem, home, coze, process))
        for dag_id, home, coze, process in started:
            output, _ = process.communicate(timeout=400)
            results[dag_id] = _result(output, home / "airflow.db", coze, cards)
    return results


def _result(output: str, database: Path, coze: EmulatorProcess, cards: list[tuple[str, Any]]) -> Result:
    with closing(sqlite3.connect(database)) as connection:
        states = Counter(connection.execute("SELECT task_id, state FROM task_instance"))
        xcoms = defaultdict(list)
        rows = connection.execute("SELECT task_id, key, value FROM xcom ORDER BY task_id, key, map_index")
        for task_id, key, value in rows:
            # SQLite keeps a JSON number as a number.
            xcoms[task_id, key].append(json.loads(value) if isinstance(value, str) else value)
    continued = sum(entry["continued"] for entry in coze.control("ledger")["ledger"])
    return Result(output, states, dict(xcoms), coze.billed(), continued, cards)


#: Airflow's own is imported once; each example then in a process that has imported nothing else, the quickest of three.
IMPORTING = """
import json, os, runpy, sys, time
import airflow.sdk, airflow.providers.common.compat.sdk, airflow.providers.standard.operators.python
taken = {}
for path in sys.argv[1:] * 3:
    told, tell = os.pipe()
    if os.fork() == 0:
        begun = time.process_time()
        runpy.run_path(path)
        os.write(tell, repr(time.process_time() - begun).encode())
        os._exit(0)
    os.close(tell)
    taken[path] = min(taken.get(path, 99.0), float(os.read(told, 99)))
    os.wait()
print(json.dumps(taken))
"""


@pytest.mark.airflow
def test_an_example_is_imported_within_150_ms_of_airflow(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(python_of(MAIN)), "-c", IMPORTING, *map(str, EXAMPLES)],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    slow = {path: cpu for path, cpu in json.loads(done.stdout.splitlines()[-1]).items() if cpu > 0.150}
    assert not slow


@pytest.mark.airflow
@pytest.mark.timeout(600)
class TestByDagTest:
    """Each example, by ``dag.test()`` on the main Airflow."""

    def test_the_quickstart_asks_a_bot_and_runs_a_workflow(self, results: dict[str, Result]) -> None:
        found = results["example_coze_quickstart"]
        assert found.states == Counter({(task, "success"): 1 for task in ("read_table", "ask_bot", "run_workflow")}), (
            found.output
        )
        assert found.returned("ask_bot") == ANSWER
        assert found.returned("run_workflow")["total"] == 1_409_778_724
        assert found.billed == Counter(chat=1, workflow=1)

    def test_the_chat_example_renders_its_templates_and_hands_follow_ups_on(self, results: dict[str, Result]) -> None:
        found = results["example_coze_chat"]
        assert found.states == Counter({(task, "success"): 1 for task in ("ask", "next_question")}), found.output
        assert re.fullmatch(r"You said: What is on in Chengdu on \d{4}-\d\d-\d\d\?", found.returned("ask"))
        assert found.returned("next_question") == "Would you like to say something else?"
        assert found.billed == Counter(chat=1)

    def test_the_workflow_example_maps_over_the_regions(self, results: dict[str, Result]) -> None:
        found = results["example_coze_workflow"]
        assert found.states["summarise", "success"] == 4, found.output
        largest = [summary["largest"]["division"] for summary in found.returned("summarise")]
        assert largest == ["Henan", "Guangdong", "Liaoning", "Sichuan"]
        assert found.returned("total") == 1_409_778_724
        assert found.billed == Counter(workflow=4)

    def test_the_sensor_example_waits_for_what_another_task_started(self, results: dict[str, Result]) -> None:
        found = results["example_coze_sensor"]
        assert found.states.total() == sum(n for (_, state), n in found.states.items() if state == "success"), (
            found.output
        )
        assert found.returned("wait_for_chat") == ANSWER
        assert found.returned("wait_for_run")["rows"] == 31
        assert found.billed == Counter(chat=1, workflow=1)

    def test_the_file_example_returns_typed_rows_and_uploads_for_a_bot(self, results: dict[str, Result]) -> None:
        found = results["example_coze_file_to_row"]
        tasks = ("describe", "share_of_largest", "upload", "ask", "new_files", "describe_each")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        row = {
            "file_name": "china_population_2020.csv",
            "rows": 31,
            "total": 1_409_778_724,
            "largest": "Guangdong",
            "largest_value": 126_012_510,
        }
        assert found.returned("describe") == row
        assert found.returned("describe_each") == {**row, "column": "population"}  # has no output_type
        assert found.returned("share_of_largest") == 0.089
        assert found.returned("ask") == "You said: Which division is the largest?"
        assert found.billed == Counter(chat=1, workflow=2)

    def test_the_budget_example_reports_what_was_used(self, results: dict[str, Result]) -> None:
        found = results["example_coze_budget"]
        assert found.states == Counter({(task, "success"): 1 for task in ("sort_review", "report")}), found.output
        assert found.returned("sort_review") == {"mood": "mixed", "stars": 3}
        [usage] = found.xcoms["sort_review", "usage"]
        assert usage["complete"]
        assert usage["token_count"] > 0
        assert found.returned("report") == f"{usage['token_count']} tokens (chat: {usage['token_count']})"
        assert found.billed == Counter(chat=1)

    def test_the_tools_example_answers_with_what_its_function_returned(self, results: dict[str, Result]) -> None:
        found = results["example_coze_tool_calls"]
        assert found.states == Counter({("ask", "success"): 1}), found.output
        said = found.returned("ask").removeprefix("Sensor B2 says: ")
        assert json.loads(said) == {"room": "B2", "degrees": 21.0, "unit": "C"}
        assert found.billed == Counter(chat=1)
        assert found.continued == 1

    def test_the_conversation_example_remembers_what_the_task_before_has_said(self, results: dict[str, Result]) -> None:
        found = results["example_coze_multi_turn"]
        assert found.states == Counter({(task, "success"): 1 for task in ("introduce", "ask", "minutes")}), found.output
        told = r"We sell tea in Chengdu\. Today is \d{4}-\d\d-\d\d\."
        assert re.fullmatch(rf"This is turn 1\. First I was told: {told}", found.returned("introduce"))
        assert re.fullmatch(rf"This is turn 2\. First I was told: {told}", found.returned("ask"))
        minutes = found.returned("minutes")
        assert [line.partition(": ")[0] for line in minutes] == ["user", "assistant"] * 2
        assert minutes[2:] == ["user: What did I say we sell?", f"assistant: {found.returned('ask')}"]
        assert found.billed == Counter(chat=2)

    def test_the_streaming_example_logs_what_it_reads_and_returns_the_whole(self, results: dict[str, Result]) -> None:
        found = results["example_coze_streaming"]
        tasks = ("ask_and_watch", "run_and_watch")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        assert found.returned("ask_and_watch") == ANSWER
        assert f"The bot says: {ANSWER}" in found.output
        assert (found.returned("run_and_watch")["rows"], found.returned("run_and_watch")["total"]) == (
            31,
            1_409_778_724,
        )
        assert found.billed == Counter(chat=1, workflow=1)

    def test_the_batch_example_asks_again_what_has_failed_and_counts_all_rows(self, results: dict[str, Result]) -> None:
        found = results["example_coze_batch_table"]
        tasks = ("sort_reviews", "sort_the_rest", "count_moods")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        first, second = found.returned("sort_reviews"), found.returned("sort_the_rest")
        assert (first["counts"]["succeeded"], first["counts"]["invalid_output"]) == (10, 2)
        assert (second["counts"]["succeeded"], second["failed_uri"]) == (2, None)
        assert found.returned("count_moods") == {"good": 5, "bad": 3, "mixed": 2, "unclear": 2}
        # A row that has failed was asked twice in the first batch, and once in the second one.
        assert found.billed == Counter(chat=12 + 2 + 2)
        assert Path(first["report_uri"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def test_the_batch_of_runs_is_one_task_that_waits_in_the_triggerer(self, results: dict[str, Result]) -> None:
        found = results["example_coze_workflow_batch"]
        tasks = ("rows_per_region", "summarise", "total")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        assert "waiting for them in the triggerer" in found.output
        assert found.returned("summarise")["counts"]["succeeded"] == 4
        assert found.returned("total") == 1_409_778_724
        assert found.billed == Counter(workflow=4)

    def test_the_taskflow_example_asks_what_its_functions_return(self, results: dict[str, Result]) -> None:
        found = results["example_coze_taskflow"]
        assert found.states == Counter(
            {("summarise", "success"): 4} | {(task, "success"): 1 for task in ("ask", "sort_reviews", "count")}
        ), found.output
        said = r"You said: 1,409,778,724 people live in 4 regions\. What is worth a look on \d{4}-\d\d-\d\d\?"
        assert re.fullmatch(said, found.returned("ask"))
        largest = [summary["largest"]["division"] for summary in found.returned("summarise")]
        assert largest == ["Henan", "Guangdong", "Liaoning", "Sichuan"]
        assert found.returned("count") == 12
        assert "waiting for them in the triggerer" in found.output
        assert found.billed == Counter(chat=1 + 12, workflow=4)

    def test_the_notifier_example_tells_a_bot_of_the_task_that_fails(self, results: dict[str, Result]) -> None:
        found = results["example_coze_notifier"]
        assert found.states == Counter({("check_table", "failed"): 1, ("tidy_up", "success"): 1}), found.output
        assert "answered in chat" in found.output
        assert "You said: Airflow: task 'check_table' of DAG 'example_coze_notifier' failed" in found.output
        assert found.billed == Counter(chat=1)

    def test_the_report_is_sent_to_the_group_as_a_card(self, results: dict[str, Result]) -> None:
        found = results["example_coze_report_to_feishu"]
        tasks = ("read_table", "report", "send_card")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        [(path, message)] = found.cards
        assert path == "/open-apis/bot/v2/hook/a-hook"
        assert message == found.returned("send_card")
        assert message["card"]["elements"] == [{"tag": "markdown", "content": ANSWER}]
        assert "a-hook" not in found.output
        assert found.billed == Counter(chat=1)

    def test_the_approved_report_is_published(self, results: dict[str, Result]) -> None:
        found = results["example_coze_report_approval"]
        tasks = ("report", "approve", "publish")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        assert found.returned("publish") == "31 divisions, 1,409,778,724 people, most of them in Guangdong"
        assert found.billed == Counter(workflow=1)

    def test_the_long_runs_are_one_for_each_file_and_their_outputs_are_kept(self, results: dict[str, Result]) -> None:
        found = results["example_coze_long_runs"]
        assert found.states == Counter(
            {("upload", "success"): 4, ("make", "success"): 4, ("new_files", "success"): 1, ("keep", "success"): 1}
        ), found.output
        addresses = found.returned("make")
        assert len(set(addresses)) == 4
        assert all(address.startswith("file:///") for address in addresses)
        assert found.returned("keep") == 1_409_778_724
        assert found.billed == Counter(workflow=4)

    def test_rows_that_are_sure_are_stored_and_the_others_left_to_people(self, results: dict[str, Result]) -> None:
        found = results["example_coze_extract_to_table"]
        assert found.states == Counter(
            {("read_region", "success"): 4} | {(task, "success"): 1 for task in ("sort_rows", "store", "ask_people")}
        ), found.output
        assert found.returned("store") == 1_409_778_724 - 98_514_948
        assert found.returned("ask_people") == ["northeast.csv: is it right that it has 3 rows?"]
        assert found.billed == Counter(workflow=4)

    def test_the_draft_of_a_bot_is_compared_with_what_is_published(self, results: dict[str, Result]) -> None:
        found = results["example_coze_bot_regression"]
        tasks = ("ask_published_online", "ask_unpublished_draft", "compare")
        assert found.states == Counter({(task, "success"): 1 for task in tasks}), found.output
        assert found.returned("compare") == {"questions": 10, "published": 10, "draft": 10}
        assert found.billed == Counter(chat=20)

    def test_every_example_is_run_here_or_where_it_can_be(self, results: dict[str, Result]) -> None:
        assert {*results, OF_PEOPLE, OF_AGENTS} == {path.stem for path in EXAMPLES}
