"""Worlds: the default one, worlds made in Python, and world files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.default_world import Table, default_world
from airflow_provider_coze.emulator.definitions import Bot, Failure, Inputs, Polls, Seconds, Template, Tokens, Turn
from airflow_provider_coze.emulator.world import World
from airflow_provider_coze.emulator.worldfile import WorldFileError, read_world, world_from
from tests.emulator.conftest import NOON, Coze

EVERYTHING = """
plan: team
rate_limits: false
legacy_workflow_path: true
bots:
  - id: 7511000000000000042
    name: greeter
    answer: {template: "Hello {message}"}
    duration: {seconds: 2.5}
    follow_ups: ["More?"]
    tokens: {input: 10, output: 5}
  - name: counter
    answer: {call: "tests.emulator.test_emulated_worlds:count"}
    duration: {polls: 2}
    tool_calls: [{name: read_sensor, arguments: {room: B2}}]
  - name: broken
    failure: {code: 4028, msg: used up}
    duration: immediate
    published: true
workflows:
  - name: doubler
    parameters: {n: integer, note: {type: string, required: true}}
    output: {call: "tests.emulator.test_emulated_worlds:double"}
    duration: {call: "tests.emulator.test_emulated_worlds:as_long_as_n"}
    nodes: [{title: Message, content: [a, b]}]
  - name: constant
    output: {rows: 3}
  - name: asking
    interrupt: {question: "Which city?", accepts: [Hangzhou]}
    output: {template: "{answer} it is"}
  - name: asking shortly
    interrupt: Really?
tokens:
  - {token: pat_weak, permissions: [getChat]}
  - {token: pat_old, expired: true}
oauth_apps:
  - {client_id: "1150", public_keys: {kid1: PEM}}
"""


def count(turn: Turn) -> str:
    return str(len(turn))


def double(inputs: Inputs) -> dict[str, Any]:
    return {"n": inputs["n"] * 2}


def as_long_as_n(inputs: Inputs) -> Seconds:
    return Seconds(inputs["n"])


@pytest.fixture
def everything(tmp_path: Path) -> World:
    path = tmp_path / "world.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    return read_world(path)


def test_a_world_file_says_what_python_says(everything: World) -> None:
    assert (everything.plan, everything.rate_limits, everything.legacy_workflow_path) == ("team", False, True)
    greeter, counter, broken = everything.bots
    assert (greeter.id, greeter.answer, greeter.duration) == (
        "7511000000000000042",
        Template("Hello {message}"),
        Seconds(2.5),
    )
    assert (greeter.tokens, greeter.follow_ups) == (Tokens(10, 5), ["More?"])
    assert (counter.answer, counter.duration, counter.tool_calls[0].name) == (count, Polls(2), "read_sensor")
    assert broken.failure is not None
    assert broken.failure.code == 4028
    assert [token.permissions for token in everything.tokens] == [["getChat"], "all"]
    assert everything.oauth_apps[0].public_keys == {"kid1": "PEM"}


def test_a_world_from_a_file_runs(everything: World) -> None:
    coze = Coze(Emulator(everything, clock=lambda: NOON))
    doubler, constant, asking, _ = everything.workflows
    assert json.loads(coze.run(doubler.id, {"n": 3, "note": "x"})["data"]) == {"n": 6}
    assert coze.emulator.now() == NOON + 3
    assert coze.run(doubler.id, {"n": 3})["code"] == 4000
    assert json.loads(coze.run(constant.id)["data"]) == {"rows": 3}
    event_id = coze.run(asking.id)["interrupt_data"]["event_id"]
    body = {"workflow_id": asking.id, "event_id": event_id, "interrupt_type": 2, "resume_data": "Hangzhou"}
    assert coze.data("POST", "/v1/workflows/resume", body) == "Hangzhou it is"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bots: [{name: a, colour: red}]", "world.bots[0] has unknown keys ['colour']"),
        ("bots: {name: a}", "world.bots must be a list"),
        ("plan: gold", "plan 'gold' is not one of"),
        ("colour: red", "world has unknown keys ['colour']"),
        ("- a", "world must be a mapping"),
        ("bots: [{duration: {minutes: 1}}]", "world.bots[0].duration must be immediate"),
        ("bots: [{answer: {call: 'nowhere:f'}}]", "world.bots[0].answer: cannot import 'nowhere:f'"),
        ("bots: [{answer: {call: 'json'}}]", "is not of the form module:function"),
        ("bots: [{failure: 4028}]", "world.bots[0].failure must be {code: number, msg: text}"),
        ("workflows: [{parameters: [a]}]", "world.workflows[0].parameters must be a mapping"),
        ("bots: [", "while parsing"),
    ],
)
def test_a_world_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WorldFileError) as error:
        read_world(path)
    assert said in str(error.value)


def test_an_empty_world_is_a_world() -> None:
    assert world_from({}).bots == []


def test_what_has_no_id_gets_the_next_free_one() -> None:
    world = World(bots=[Bot(), Bot(id="7511000000000000003"), Bot(), Bot()])
    assert [bot.id[-1] for bot in world.bots] == ["1", "3", "2", "4"]


def test_adding_what_is_there_replaces_it() -> None:
    world = default_world()
    world.add_bot(id="7511000000000000002", answer="changed")
    assert len(world.bots) == 8
    bot = world.bot("7511000000000000002")
    assert bot is not None
    assert bot.answer == "changed"


def test_default_worlds_do_not_share_anything() -> None:
    first = default_world()
    first.bots[0].answer = "changed"
    assert callable(default_world().bots[0].answer)


@pytest.mark.parametrize(
    "text",
    [
        "Look at this, please:\ncity,sales\nA,10\nB,20.5\n\nWhat stands out?",
        "city,sales\r\nA,10\r\nB,20.5",
        "```\ncity, sales\nA, 10\nB, 20.5\n```",
    ],
)
def test_a_table_is_found_in_prose(text: str) -> None:
    table = Table(text)
    assert (len(table.rows), table.total, table.label(table.largest(1)[0])) == (2, 30.5, "B")


@pytest.mark.parametrize("text", ["", "no table", "a,b", "a,b\nx,y"])
def test_without_a_table_or_a_numeric_column_the_execution_fails(text: str) -> None:
    with pytest.raises(Failure):
        Table(text)


def test_the_last_numeric_column_counts() -> None:
    table = Table("id,name,amount,note\n1,a,5,x\n2,b,7,y")
    assert (table.header[table.value_column], table.total) == ("amount", 12)


def test_a_turn_is_its_text_and_can_be_made_in_a_test() -> None:
    turn = Turn("hello")
    assert (turn, turn.upper(), turn.history, turn.tool_outputs) == ("hello", "HELLO", [], {})
