"""Ordered faults, the clock, the ledger: what the control plane does, in memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_coze.emulator import scenarios
from airflow_provider_coze.emulator.app import ConnectionDropped
from airflow_provider_coze.emulator.definitions import AccessToken, OutputNode
from airflow_provider_coze.protocol.messages import Request, Response
from tests.emulator.conftest import NOON, Coze, chat_body

ECHO = "7511000000000000002"
ECHO_FLOW = "7511500000000000002"


def _chat(coze: Coze) -> Response:
    return coze.send("POST", "/v3/chat", chat_body(ECHO, "x"))


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("fault", [scenarios.reset, scenarios.closed])
def test_a_connection_breaks_before_or_after_the_request_is_carried_out(
    coze: Coze, fault: type[scenarios.Fault], after_commit: bool
) -> None:
    coze.emulator.script(fault(after_commit=after_commit))  # type: ignore[call-arg]
    with pytest.raises(ConnectionDropped) as dropped:
        _chat(coze)
    assert dropped.value.after_commit is after_commit
    assert len(coze.emulator.ledger) == after_commit
    assert _chat(coze).status == 200


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_gateway_answers_with_a_page(coze: Coze, after_commit: bool) -> None:
    coze.emulator.script(scenarios.bad_gateway(after_commit=after_commit))
    response = _chat(coze)
    assert (response.status, response.headers["content-type"]) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in response.body
    assert len(coze.emulator.ledger) == after_commit


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (scenarios.server_error(), 500, 5000),
        (scenarios.server_trouble(), 200, 720702222),
        (scenarios.error(4009), 200, 4009),
        (scenarios.error(4016, "busy", status=409), 409, 4016),
        (scenarios.rate_limited(), 429, 4013),
    ],
)
def test_a_fault_answers_in_cozes_envelope(coze: Coze, fault: scenarios.Fault, status: int, code: int) -> None:
    coze.emulator.script(fault)
    response = _chat(coze)
    body = json.loads(response.body)
    assert (response.status, body["code"]) == (status, code)
    assert body["msg"]
    assert body["detail"]["logid"] == response.headers["x-tt-logid"]
    assert coze.emulator.ledger == []


def test_a_fault_can_carry_retry_after_or_any_answer(coze: Coze) -> None:
    coze.emulator.script(scenarios.rate_limited(retry_after=7))
    assert _chat(coze).headers["retry-after"] == "7"
    coze.emulator.script(scenarios.answer(418, {"code": 0, "tea": True}, X_Pot="short"))
    response = _chat(coze)
    assert (response.status, json.loads(response.body), response.headers["x-pot"]) == (
        418,
        {"code": 0, "tea": True},
        "short",
    )
    coze.emulator.script(scenarios.answer(200, "not json"))
    assert _chat(coze).body == b"not json"


def test_a_slow_answer_is_carried_out_at_once(coze: Coze) -> None:
    coze.emulator.script(scenarios.slow(40))
    with pytest.raises(ConnectionDropped):
        coze.send("POST", "/v3/chat", chat_body(ECHO, "x"), read_seconds=30)
    assert (coze.emulator.now(), len(coze.emulator.ledger)) == (NOON + 30, 1)
    coze.emulator.script(scenarios.slow(40))
    assert _chat(coze).status == 200
    assert coze.emulator.now() == NOON + 70


# --- connections that are refused


def test_connections_are_refused_for_so_many_seconds_and_nothing_is_carried_out(coze: Coze) -> None:
    script = coze.emulator.script(scenarios.refused(seconds=2))
    for _ in range(3):
        with pytest.raises(ConnectionDropped) as dropped:
            _chat(coze)
        assert (dropped.value.refused, dropped.value.after_commit) == (True, False)
    coze.emulator.advance(1.9)
    assert coze.emulator.refusing
    coze.emulator.advance(0.1)
    assert _chat(coze).status == 200
    assert (len(coze.emulator.ledger), script.times) == (1, 0)


def test_so_many_connections_are_refused(coze: Coze) -> None:
    coze.emulator.script(scenarios.refused(connections=2))
    for _ in range(2):
        with pytest.raises(ConnectionDropped):
            _chat(coze)
    assert _chat(coze).status == 200
    assert coze.emulator.requests["POST /v3/chat"] == 1  # what is refused is no request


def test_connections_are_refused_until_the_faults_are_cleared_over_the_control_plane(coze: Coze) -> None:
    assert _control(coze, "POST", "faults", {"fault": {"kind": "refuse"}})[0] == 200
    coze.emulator.advance(1e9)
    with pytest.raises(ConnectionDropped):
        _chat(coze)
    assert _control(coze, "DELETE", "faults")[0] == 200
    assert _chat(coze).status == 200


def test_a_refusal_that_is_over_is_not_listed(coze: Coze) -> None:
    coze.emulator.script(scenarios.refused(seconds=2))
    coze.emulator.advance(1)
    assert len(_control(coze, "GET", "faults")[1]["faults"]) == 1  # type: ignore[arg-type]
    coze.emulator.advance(1)
    assert _control(coze, "GET", "faults")[1]["faults"] == []


@pytest.mark.parametrize("when", [{"on": "POST /v3/chat"}, {"skip": 1}, {"share": 0.5}])
def test_a_refused_connection_has_no_request_to_choose_by(coze: Coze, when: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no request"):
        coze.emulator.script(scenarios.refused(), **when)  # type: ignore[arg-type]


# --- answers that do not come, or not whole, or without an end


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize(
    "fault", [scenarios.no_reply, scenarios.drip, lambda **given: scenarios.half_body(how="never", **given)]
)
def test_an_answer_that_never_ends_costs_the_client_its_patience(
    coze: Coze, fault: Callable[..., scenarios.Fault], after_commit: bool
) -> None:
    coze.emulator.script(fault(after_commit=after_commit))
    with pytest.raises(ConnectionDropped) as dropped:
        coze.send("POST", "/v3/chat", chat_body(ECHO, "x"), read_seconds=30)
    assert (dropped.value.timed_out, dropped.value.after_commit) == (True, after_commit)
    assert (coze.emulator.now(), len(coze.emulator.ledger)) == (NOON + 30, after_commit)


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_half_a_body_is_a_broken_connection(coze: Coze, how: Any, after_commit: bool) -> None:
    coze.emulator.script(scenarios.half_body(how=how, after_commit=after_commit))
    with pytest.raises(ConnectionDropped, match="bytes of the body") as dropped:
        _chat(coze)
    assert dropped.value.after_commit is after_commit
    assert len(coze.emulator.ledger) == after_commit


def test_half_a_body_can_look_whole(coze: Coze) -> None:
    whole = _chat(coze).body
    coze.emulator.script(scenarios.half_body(how="end"))
    half = _chat(coze).body
    assert len(half) == len(whole) // 2
    assert half[:20] == whole[:20]
    assert len(coze.emulator.ledger) == 2


def test_half_a_stream_is_cut_within_an_event(coze: Coze) -> None:
    body = chat_body(ECHO, "x", stream=True)
    whole = coze.send("POST", "/v3/chat", body).body
    coze.emulator.script(scenarios.half_body(how="end"))
    half = coze.send("POST", "/v3/chat", body).body
    assert len(half) == len(whole) // 2
    assert not half.endswith(b"\n\n")
    for how in ("reset", "never"):
        coze.emulator.script(scenarios.half_body(how=how))  # type: ignore[arg-type]
        with pytest.raises(ConnectionDropped) as dropped:
            coze.send("POST", "/v3/chat", body)
        assert (dropped.value.after_commit, dropped.value.timed_out) == (True, how == "never")


def test_a_huge_body_is_the_right_answer_behind_white_space(coze: Coze) -> None:
    coze.emulator.script(scenarios.huge_body(size_bytes=100_000))
    body = _chat(coze).body
    assert len(body) == 100_000
    assert json.loads(body)["code"] == 0
    assert len(coze.emulator.ledger) == 1


def test_the_right_answer_can_have_the_wrong_type(coze: Coze) -> None:
    coze.emulator.script(scenarios.wrong_type())
    response = _chat(coze)
    assert response.headers["content-type"] == "text/plain; charset=gbk"
    assert json.loads(response.body)["code"] == 0


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_web_page_can_answer_in_place_of_the_api(coze: Coze, after_commit: bool) -> None:
    coze.emulator.script(scenarios.web_page(after_commit=after_commit))
    response = _chat(coze)
    assert (response.status, response.headers["content-type"]) == (200, "text/html")
    assert response.body.startswith(b"<!doctype html>")
    assert len(coze.emulator.ledger) == after_commit


def test_a_token_that_expires_is_refused_from_then_on_and_another_is_not(coze: Coze) -> None:
    coze.emulator.world.tokens.append(AccessToken("pat_other"))
    coze.emulator.script(scenarios.token_expired(), on="POST /v3/chat", skip=1)
    codes = [json.loads(_chat(coze).body)["code"] for _ in range(3)]
    assert codes == [0, 4100, 4100]
    assert coze.code("GET", "/v1/users/me") == 4100
    assert coze.code("GET", "/v1/users/me", token="pat_other") == 0
    assert len(coze.emulator.ledger) == 1


def test_a_script_chooses_its_requests(coze: Coze) -> None:
    coze.emulator.script(scenarios.error(4009), on="POST /v3/chat", times=2, skip=1)
    coze.emulator.script(scenarios.error(4013), on="/v1/workflow*", times=None)
    codes = [json.loads(_chat(coze).body)["code"] for _ in range(4)]
    assert codes == [0, 4009, 4009, 0]
    assert [coze.run(ECHO_FLOW)["code"] for _ in range(3)] == [4013] * 3
    assert coze.code("GET", "/v1/users/me") == 0


def test_chance_is_seeded(coze: Coze) -> None:
    def codes() -> list[int]:
        coze.emulator.reset()
        coze.emulator.script(scenarios.error(4009), share=0.3, times=None, seed=7)
        return [coze.code("GET", "/v1/users/me") for _ in range(200)]

    first = codes()
    assert codes() == first
    assert 30 < first.count(4009) < 90


@pytest.mark.parametrize("events", [0, 1, 3])
def test_a_stream_can_simply_stop(coze: Coze, events: int) -> None:
    coze.emulator.script(scenarios.stream_cut(after_events=events))
    stream = coze.send("POST", "/v3/chat", chat_body(ECHO, "x", stream=True)).body
    assert stream.count(b"\n\n") == events
    assert b"done" not in stream


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_stream_can_break(coze: Coze, how: str) -> None:
    coze.emulator.script(scenarios.stream_cut(after_events=2, how=how))  # type: ignore[arg-type]
    with pytest.raises(ConnectionDropped) as dropped:
        coze.send("POST", "/v3/chat", chat_body(ECHO, "x", stream=True))
    assert dropped.value.after_commit
    assert len(coze.emulator.ledger) == 1


def test_a_stream_can_fall_silent(coze: Coze) -> None:
    coze.emulator.script(scenarios.stream_stall(after_events=2, seconds=300))
    assert coze.events("POST", "/v3/chat", chat_body(ECHO, "x", stream=True))[-1][0] == "done"
    assert coze.emulator.now() == NOON + 300


def test_pings_come_between_events_and_keep_the_numbers_whole(coze: Coze) -> None:
    workflow = coze.emulator.add_workflow(output={}, nodes=[OutputNode("Message", ["a", "b"])])
    coze.emulator.script(scenarios.pings(every_events=2))
    stream = coze.send("POST", "/v1/workflow/stream_run", {"workflow_id": workflow.id}).body.decode()
    numbers = [line for line in stream.splitlines() if line.startswith("id: ")]
    assert numbers == [f"id: {n}" for n in range(5)]
    assert 'id: 2\nevent: PING\ndata: {"content":"{}"}\n\n' in stream


def test_what_does_not_apply_to_an_answer_changes_nothing(coze: Coze) -> None:
    coze.emulator.script(scenarios.stream_cut(after_events=1))
    assert json.loads(_chat(coze).body)["code"] == 0


# --- the control plane over requests


def _control(coze: Coze, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    given = None if body is None else json.dumps(body).encode()
    response = coze.emulator.respond(Request(method, f"/_emulator/{path}", body=given))
    return response.status, json.loads(response.body)


def test_the_control_plane_needs_no_token_and_is_not_counted(coze: Coze) -> None:
    _chat(coze)
    status, stats = _control(coze, "GET", "stats")
    assert (status, stats["requests"]) == (200, {"POST /v3/chat": 1})


def test_faults_can_be_ordered_listed_and_cleared(coze: Coze) -> None:
    order = {"fault": {"kind": "answer", "code": 4009}, "on": "POST /v3/chat", "times": 2}
    status, made = _control(coze, "POST", "faults", order)
    assert (status, made["on"], made["times"]) == (200, "POST /v3/chat", 2)
    assert json.loads(_chat(coze).body)["code"] == 4009
    _, left = _control(coze, "GET", "faults")
    assert [script["times"] for script in left["faults"]] == [1]  # type: ignore[index, attr-defined]
    _control(coze, "DELETE", "faults")
    assert json.loads(_chat(coze).body)["code"] == 0


@pytest.mark.parametrize(
    ("kind", "billed"),
    [("slow", 1), ("half", 1), ("huge", 1), ("mistyped", 1), ("drop", 0), ("expire", 0), ("answer", 0)],
)
def test_a_fault_that_is_ordered_from_outside_is_carried_out_as_its_function_says(
    coze: Coze, kind: str, billed: int
) -> None:
    _control(coze, "POST", "faults", {"fault": {"kind": kind}})
    with contextlib.suppress(ConnectionDropped):
        _chat(coze)
    assert len(coze.emulator.ledger) == billed


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"fault": {}},
        {"fault": {"kind": "fire"}},
        {"fault": {"kind": "slow", "minutes": 1}},
        {"fault": {"kind": "slow"}, "when": 1},
        {"fault": {"kind": "slow", "seconds": -1}},
        {"fault": {"kind": "slow", "after_commit": False}},
        {"fault": {"kind": "half", "how": "quickly"}},
        {"fault": {"kind": "expire", "after_commit": True}},
        {"fault": {"kind": "refuse"}, "on": "POST /v3/chat"},
    ],
)
def test_a_fault_that_is_not_understood_is_refused(coze: Coze, order: object) -> None:
    status, body = _control(coze, "POST", "faults", order)
    assert status == 400
    assert body["error"]


def test_the_clock_moves_forward_only(coze: Coze) -> None:
    assert _control(coze, "POST", "clock", {"advance": 5}) == (200, {"now": NOON + 5})
    assert _control(coze, "GET", "clock") == (200, {"now": NOON + 5})
    for wrong in ({"advance": -1}, {"advance": "5"}, {}, {"to": 5}, {"advance": True}):
        assert _control(coze, "POST", "clock", wrong)[0] == 400


def test_the_ledger_can_be_read(coze: Coze) -> None:
    coze.run(ECHO_FLOW, {"marker": "m"})
    _, body = _control(coze, "GET", "ledger")
    (entry,) = body["ledger"]  # type: ignore[misc]
    assert (entry["kind"], entry["workflow_id"], entry["marker"]) == (
        "workflow",
        ECHO_FLOW,
        {"parameters": {"marker": "m"}},
    )


def test_a_reset_forgets_what_happened_and_keeps_the_world(coze: Coze) -> None:
    bot = coze.emulator.add_bot(answer="hi")
    chat = coze.chat(bot.id, "x")
    coze.emulator.advance(5)
    coze.emulator.script(scenarios.reset(), times=None)
    assert _control(coze, "POST", "reset")[0] == 200
    assert (coze.emulator.ledger, coze.emulator.now()) == ([], NOON)
    query = {"conversation_id": chat["conversation_id"], "chat_id": chat["id"]}
    assert coze.code("GET", "/v3/chat/retrieve", query=query) == 4002
    coze.chat(bot.id, "x")


def test_the_world_can_be_looked_at(coze: Coze) -> None:
    coze.chat(ECHO, "x")
    _, world = _control(coze, "GET", "world")
    assert (world["dialect"], world["plan"], world["chats"], world["conversations"]) == (
        "cloud",
        "personal_advanced",
        1,
        1,
    )
    assert len(world["bots"]) == 8  # type: ignore[arg-type]


def test_the_seconds_of_the_world_can_be_changed(coze: Coze) -> None:
    status, seconds = _control(coze, "POST", "world", {"history_delay_seconds": 1, "message_list_delay_seconds": 0.5})
    assert (status, seconds["history_delay_seconds"], seconds["message_list_delay_seconds"]) == (200, 1.0, 0.5)
    assert coze.emulator.world.history_delay_seconds == 1.0
    for wrong in ({"plan": "team"}, {"history_delay_seconds": -1}, {"history_delay_seconds": "1"}):
        assert _control(coze, "POST", "world", {"sync_run_seconds": 7, **wrong})[0] == 400
    assert coze.emulator.world.sync_run_seconds == 600.0


def test_an_unknown_control_path_names_the_known_ones(coze: Coze) -> None:
    status, body = _control(coze, "GET", "nothing")
    assert status == 404
    assert "POST /_emulator/faults" in body["known"]  # type: ignore[operator]
