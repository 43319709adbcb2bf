"""Workflow runs: synchronous, asynchronous, interrupted; their histories and their bill."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import ConnectionDropped
from airflow_provider_coze.emulator.definitions import (
    Failure,
    Inputs,
    Interrupt,
    OutputNode,
    Polls,
    Seconds,
    Template,
    Tokens,
)
from airflow_provider_coze.protocol.messages import FilePart
from tests.emulator.conftest import NOON, Coze

SUMMARY, ECHO, DRAFT, BROKEN, ASKING, PLAIN, SLEEPER, CHATFLOW = (f"751150000000000000{n}" for n in range(1, 9))
TABLE = {"table": "city,sales\nA,10\nB,20.5\nC,3", "top": 2}


def test_a_synchronous_run_answers_when_it_is_over_with_text_in_data(coze: Coze) -> None:
    answer = coze.run(SUMMARY, TABLE)
    assert coze.emulator.now() == NOON + 7
    assert isinstance(answer["data"], str)
    assert json.loads(answer["data"]) == {
        "rows": 3,
        "total": 33.5,
        "largest": {"city": "B", "sales": 20.5},
        "top": [{"city": "B", "sales": 20.5}, {"city": "A", "sales": 10}],
    }
    assert answer["execute_id"] == ""
    assert f"execute_id={coze.emulator.ledger[0].id}" in answer["debug_url"]


def test_output_that_is_text_stays_text(coze: Coze) -> None:
    assert coze.run(PLAIN)["data"] == "All 42 rows are fine."


def test_an_asynchronous_run_is_a_handle_and_its_history_an_array_of_one(coze: Coze) -> None:
    started = coze.run(SUMMARY, TABLE, is_async=True)
    assert "data" not in started
    assert started["debug_url"].endswith("execute_mode=2")
    running = coze.history(SUMMARY, started["execute_id"])
    assert (running["execute_status"], running["output"], running["error_code"]) == ("Running", "", "")
    coze.emulator.advance(7)
    done = coze.history(SUMMARY, started["execute_id"])
    assert (done["execute_status"], done["run_mode"], done["bot_id"]) == ("Success", 2, "0")
    assert json.loads(json.loads(done["output"])["Output"])["rows"] == 3
    assert done["update_time"] == NOON + 7


def test_histories_count_polls(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(duration=Polls(2), output={"a": 1})
    execute_id = coze.run(workflow.id, is_async=True)["execute_id"]
    assert [coze.history(workflow.id, execute_id)["execute_status"] for _ in range(3)] == [
        "Running",
        "Running",
        "Success",
    ]


def test_a_failed_synchronous_run_is_a_code_with_a_debug_url(coze: Coze) -> None:
    failed = coze.run(BROKEN)
    assert failed["code"] == 720701002
    assert "execute_id=" in failed["debug_url"]
    assert len(coze.emulator.ledger) == 1


def test_a_failed_asynchronous_run_says_so_in_its_history_only(coze: Coze) -> None:
    started = coze.run(BROKEN, is_async=True)
    assert started["code"] == 0
    failed = coze.history(BROKEN, started["execute_id"])
    assert (failed["execute_status"], failed["error_code"], failed["output"]) == ("Fail", "720701002", "")


def test_the_connection_is_cut_after_ninety_seconds_while_the_run_goes_on_and_is_billed(coze: Coze) -> None:
    with pytest.raises(ConnectionDropped) as dropped:
        coze.run(SLEEPER, {"seconds": 100, "value": 1})
    assert dropped.value.after_commit
    assert coze.emulator.now() == NOON + 90
    (entry,) = coze.emulator.ledger
    assert coze.history(SLEEPER, entry.id)["execute_status"] == "Running"
    coze.emulator.advance(10)
    assert coze.history(SLEEPER, entry.id)["execute_status"] == "Success"


def test_a_client_that_waits_less_sees_a_timeout_and_the_run_goes_on(coze: Coze) -> None:
    with pytest.raises(ConnectionDropped) as dropped:
        coze.send("POST", "/v1/workflow/run", {"workflow_id": SLEEPER, "parameters": {"seconds": 50}}, read_seconds=30)
    assert dropped.value.timed_out
    assert coze.emulator.now() == NOON + 30
    assert len(coze.emulator.ledger) == 1


def test_runs_that_take_too_long_are_ended(coze: Coze) -> None:
    with pytest.raises(ConnectionDropped):
        coze.run(SLEEPER, {"seconds": 601})
    coze.emulator.advance(510)
    failed = coze.history(SLEEPER, coze.emulator.ledger[0].id)
    assert (failed["execute_status"], failed["update_time"]) == ("Fail", NOON + 600)


@pytest.mark.parametrize(
    ("plan", "code"), [("personal_free", 6003), ("personal_advanced", 0), ("team", 0), ("enterprise", 0)]
)
def test_the_free_plan_runs_nothing_asynchronously(coze: Coze, plan: str, code: int) -> None:
    coze.emulator.world.plan = plan
    assert coze.run(ECHO, is_async=True)["code"] == code
    assert len(coze.emulator.ledger) == (code == 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"workflow_id": "1"}, 4200),
        ({"workflow_id": DRAFT}, 4200),
        ({"workflow_id": SUMMARY}, 4000),
        ({"workflow_id": SUMMARY, "parameters": {"table": 7}}, 4000),
        ({"workflow_id": SUMMARY, "parameters": '{"table": "x"}'}, 4000),
        ({"workflow_id": ECHO, "bot_id": "7511000000000000002", "app_id": "1"}, 4000),
        ({"workflow_id": ECHO, "bot_id": "1"}, 4200),
        ({"workflow_id": ECHO, "ext": {"priority": "1"}}, 4000),
        ({"workflow_id": ECHO, "version": "v1"}, 4000),
        ({}, 4000),
    ],
)
def test_a_bad_request_is_refused_and_costs_nothing(coze: Coze, body: dict[str, Any], code: int) -> None:
    assert coze.code("POST", "/v1/workflow/run", body) == code
    assert coze.emulator.ledger == []


def test_the_ledger_knows_a_run_by_its_parameters(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(output={}, tokens=Tokens(5, 6))
    coze.run(workflow.id, {"marker": "dag42/run1"}, bot_id="7511000000000000002")
    (entry,) = coze.emulator.ledger
    assert (entry.kind, entry.workflow_id, entry.conversation_id) == ("workflow", workflow.id, None)
    assert (entry.marker, entry.tokens) == ({"parameters": {"marker": "dag42/run1"}}, 11)


def test_the_user_of_a_run_comes_back_as_connector_uid(coze: Coze) -> None:
    started = coze.run(ECHO, is_async=True, ext={"user_id": "u1"}, bot_id="7511000000000000002")
    history = coze.history(ECHO, started["execute_id"])
    assert (history["connector_uid"], history["bot_id"]) == ("u1", "7511000000000000002")


def test_the_old_path_exists_only_where_the_world_says_so(coze: Coze) -> None:
    body = {"workflow_id": ECHO, "parameters": {"a": 1}}
    missing = coze.send("POST", "/v3/workflows/run", body)
    assert (missing.status, json.loads(missing.body)["code"]) == (404, 4000)
    coze.emulator.world.legacy_workflow_path = True
    assert json.loads(coze.data("POST", "/v3/workflows/run", body)) == {"output": {"a": 1}}


def test_a_synchronous_run_that_asks_is_resumed_synchronously(coze: Coze) -> None:
    asked = coze.run(ASKING)
    interrupt = asked["interrupt_data"]
    assert (asked["code"], asked["data"], interrupt["type"]) == (0, "", 2)
    body = {"workflow_id": ASKING, "event_id": interrupt["event_id"], "interrupt_type": 2, "resume_data": "Hangzhou"}
    assert json.loads(coze.data("POST", "/v1/workflows/resume", body)) == {"output": "Hangzhou"}
    assert coze.code("POST", "/v1/workflows/resume", body) == 4315
    (entry,) = coze.emulator.ledger
    assert entry.continued == 1


def test_an_asynchronous_run_that_asks_shows_it_in_its_history(coze: Coze) -> None:
    started = coze.run(ASKING, is_async=True)
    history = coze.history(ASKING, started["execute_id"])
    assert history["execute_status"] == "Running"
    event_id = history["interrupt_data"]["event_id"]
    assert event_id.startswith(started["execute_id"] + "/")
    body = {"workflow_id": ASKING, "event_id": event_id, "interrupt_type": 2, "resume_data": "Hangzhou"}
    assert coze.body("POST", "/v1/workflows/resume", body)["execute_id"] == started["execute_id"]
    assert coze.history(ASKING, started["execute_id"])["execute_status"] == "Success"


def test_an_input_node_names_its_fields(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(interrupt=Interrupt("?", type=5, parameters={"city": "string"}))
    interrupt = coze.run(workflow.id)["interrupt_data"]
    assert interrupt["required_parameters"] == {"city": {"type": "string", "required": True}}
    assert json.loads(json.loads(interrupt["data"])["content"]) == [
        {"type": "string", "name": "city", "required": True}
    ]


def test_a_resume_must_echo_event_and_type(coze: Coze) -> None:
    event_id = coze.run(ASKING)["interrupt_data"]["event_id"]
    body = {"workflow_id": ASKING, "event_id": event_id, "interrupt_type": 2, "resume_data": "x"}
    assert coze.code("POST", "/v1/workflows/resume", {**body, "interrupt_type": 5}) == 4000
    assert coze.code("POST", "/v1/workflows/resume", {**body, "event_id": event_id[:-1] + "?"}) == 4000
    assert coze.code("POST", "/v1/workflows/resume", {**body, "event_id": "1/2"}) == 4200
    assert coze.code("POST", "/v1/workflows/resume", {**body, "resume_data": {"a": 1}}) == 4000
    assert coze.code("POST", "/v1/workflow/stream_resume", body) == 4000


def test_the_third_wrong_answer_fails_the_run(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(interrupt=Interrupt("yes?", accepts=["yes"]), output={"ok": True})
    answer = coze.run(workflow.id)
    for _ in range(3):
        body = {
            "workflow_id": workflow.id,
            "event_id": answer["interrupt_data"]["event_id"],
            "interrupt_type": 2,
            "resume_data": "no",
        }
        answer = coze.body("POST", "/v1/workflows/resume", body)
    assert answer["code"] == 720701002


def test_histories_are_not_found_for_strangers_too_early_or_too_late(coze: Coze) -> None:
    coze.emulator.world.history_delay_seconds = 2
    execute_id = coze.run(ECHO, is_async=True)["execute_id"]
    path = f"/v1/workflows/{ECHO}/run_histories/{execute_id}"
    assert coze.code("GET", path) == 4314
    coze.emulator.advance(2)
    assert coze.code("GET", path) == 0
    assert coze.code("GET", path.replace(ECHO, SUMMARY)) == 4314
    coze.emulator.advance(8 * 86_400)
    assert coze.code("GET", path) == 4314


def test_output_nodes_are_in_the_history_for_a_day(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(nodes=[OutputNode("Message", ["read", "ing"])], output={"a": 1})
    execute_id = coze.run(workflow.id, is_async=True)["execute_id"]
    history = coze.history(workflow.id, execute_id)
    assert json.loads(history["output"]) == {"Output": '{"a":1}', "Message": "reading"}
    uuid = history["node_execute_status"]["Message"]["node_execute_uuid"]
    path = f"/v1/workflows/{workflow.id}/run_histories/{execute_id}/execute_nodes/"
    assert coze.data("GET", path + uuid) == {"is_finish": True, "node_output": "reading"}
    assert coze.code("GET", path + "1") == 4314
    coze.emulator.advance(86_401)
    assert coze.code("GET", path + uuid) == 4314
    assert json.loads(coze.history(workflow.id, execute_id)["output"]) == {"Output": '{"a":1}'}


def test_large_outputs_are_trimmed_in_the_history(coze: Coze) -> None:
    coze.emulator.world.trim_output_bytes = 20
    workflow = coze.emulator.add_workflow(output="数" * 100)
    history = coze.history(workflow.id, coze.run(workflow.id, is_async=True)["execute_id"])
    assert history["is_output_trimmed"]
    assert len(history["output"].encode()) <= 20


def test_an_output_may_be_worked_out_from_all_that_went_in(coze: Coze) -> None:
    def output(inputs: Inputs) -> Any:
        if inputs["n"] < 0:
            raise Failure(720701002, "negative")
        return {"n": inputs["n"] * 2, "user": inputs.user_id}

    workflow = coze.emulator.add_workflow(output=output, duration=lambda inputs: Seconds(inputs["n"]))
    assert json.loads(coze.run(workflow.id, {"n": 4}, ext={"user_id": "u"})["data"]) == {"n": 8, "user": "u"}
    assert coze.emulator.now() == NOON + 4
    assert coze.run(workflow.id, {"n": -1})["msg"] == "negative"
    template = coze.emulator.add_workflow(output=Template("{a} and {b}"))
    assert coze.run(template.id, {"a": 1, "b": 2})["data"] == "1 and 2"


def test_a_workflow_can_refuse_to_run_asynchronously(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(allow_async=False)
    assert coze.run(workflow.id, is_async=True)["code"] == 4000


FILE_ROW = "7511500000000000009"


def test_a_workflow_reads_what_was_uploaded(coze: Coze) -> None:
    part = FilePart("file", "sales.csv", b"city,sales\nA,10\nB,20.5\n")
    file_id = coze.data("POST", "/v1/files/upload", files=(part,))["id"]
    answer = coze.run(FILE_ROW, {"file": json.dumps({"file_id": file_id})})
    assert json.loads(answer["data"]) == {
        "file_name": "sales.csv",
        "rows": 2,
        "column": "sales",
        "total": 30.5,
        "largest": "B",
        "largest_value": 20.5,
    }


def test_the_emulator_fetches_no_address(coze: Coze) -> None:
    assert coze.run(FILE_ROW, {"file": "https://example.com/sales.csv"})["code"] == 5000


def test_the_catalogue_shows_what_the_world_has(coze: Coze) -> None:
    space = {"workspace_id": coze.data("GET", "/v1/workspaces")["workspaces"][0]["id"]}
    listed = coze.data("GET", "/v1/workflows", query={**space, "page_size": "3"})
    assert ([item["workflow_id"] for item in listed["items"]], listed["has_more"]) == ([SUMMARY, ECHO, BROKEN], True)
    everything = coze.data("GET", "/v1/workflows", query={**space, "page_size": "100", "publish_status": "all"})
    assert len(everything["items"]) == 9
    chatflows = coze.data("GET", "/v1/workflows", query={**space, "workflow_mode": "chatflow"})
    assert [item["workflow_id"] for item in chatflows["items"]] == [CHATFLOW]
    info = coze.data("GET", f"/v1/workflows/{SUMMARY}", query={"include_input_output": "true"})
    assert info["input"]["parameters"]["table"]["required"]
    assert isinstance(info["workflow_detail"]["created_at"], int)
    assert isinstance(listed["items"][0]["created_at"], str)
    assert coze.data("GET", f"/v1/workflows/{SUMMARY}/versions")["items"][0]["version"] == "v0.0.1"
    assert coze.code("GET", "/v1/workflows/1") == 4200
    assert coze.code("GET", "/v1/workflows", query={"workspace_id": "1"}) == 4101


def test_bots_can_be_listed_and_looked_up(coze: Coze) -> None:
    space = {"workspace_id": coze.emulator.world.workspace_id}
    listed = coze.data("GET", "/v1/bots", query=space)
    assert listed["total"] == len(listed["items"]) == 7
    drafts = coze.data("GET", "/v1/bots", query={**space, "publish_status": "unpublished_draft"})
    assert [item["id"] for item in drafts["items"]] == ["7511000000000000003"]
    second = coze.data("GET", "/v1/bots", query={**space, "page_index": "2", "page_size": "4"})
    assert len(second["items"]) == 3
    assert coze.data("GET", "/v1/bots/7511000000000000002")["name"] == "echo"
    assert coze.data("GET", "/v1/bot/get_online_info", query={"bot_id": "7511000000000000002"})["name"] == "echo"
    assert coze.code("GET", "/v1/bots/7511000000000000003") == 4015
    assert coze.code("GET", "/v1/bots/7511000000000000003", query={"is_published": "false"}) == 0
    assert coze.code("GET", "/v1/bots/1") == 4200


def test_the_plan_is_told(coze: Coze) -> None:
    path = "/v1/commerce/benefit/benefits/get"
    assert coze.data("GET", path) == {"basic_info": {"user_level": "pro_personal"}}
    coze.emulator.world.plan = "team"
    query = {"benefit_type_list": "api_run_qps", "resource_id": "workflow"}
    (info,) = coze.data("GET", path, query=query)["benefit_info"]
    assert info["effective"]["item_info"]["total"] == 200
