"""What is wrong with arguments is found before anything is sent, all of it at once, each as one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.protocol.inputs import chat_problems, id_problems, run_problems

GOOD_CHAT: dict[str, Any] = {
    "bot_id": "7511000000000000001",
    "user_id": "airflow",
    "message": "How many rows?",
    "additional_messages": None,
    "conversation_id": None,
    "auto_save_history": True,
    "options": {},
}
GOOD_RUN: dict[str, Any] = {"workflow_id": "7511500000000000001", "parameters": {"table": "a,b"}, "options": {}}
ASKED = {"role": "user", "content": "How many rows?"}


def of_chat(**changed: Any) -> list[str]:
    return chat_problems(**(GOOD_CHAT | changed))


def of_messages(*messages: Any) -> list[str]:
    return of_chat(message=None, additional_messages=list(messages))


def of_run(**changed: Any) -> list[str]:
    return run_problems(**(GOOD_RUN | changed))


FULL_OPTIONS = {
    "custom_variables": {"a": "b"},
    "meta_data": {"k" * 64: "v" * 512, **{str(n): "v" for n in range(15)}},
    "extra_params": {"latitude": "1", "longitude": "2"},
    "parameters": {"n": 1, "nested": [{"x": None}, (1.5, True)]},
    "shortcut_command": {"command_id": "1", "parameters": {}},
    "publish_status": "unpublished_draft",
    "bot_version": None,
    "enable_card": True,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"conversation_id": "22"},
        {"message": "42"},
        {"options": FULL_OPTIONS},
        {"options": {"bot_version": "3", "publish_status": "published_online"}},
        {"message": None, "additional_messages": [ASKED]},
        {"message": None, "additional_messages": ({"role": "assistant", "content": "Hi"}, ASKED)},
        {"message": None, "additional_messages": [ASKED] * 100},
        {"message": None, "additional_messages": [{"content": "roles default to user"}]},
        {
            "message": None,
            "additional_messages": [{**ASKED, "content_type": "object_string", "meta_data": {"k": "v"}}],
        },
    ],
)
def test_a_chat_that_may_be_sent_has_no_problems(changed: dict[str, Any]) -> None:
    assert of_chat(**changed) == []


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"parameters": {}},
        {"parameters": {"深": {"list": [1, 2.5, None, True, "x"]}}},
        {"options": {"bot_id": "1", "app_id": None, "ext": {"user_id": "5", "latitude": "1", "longitude": "2"}}},
        {"options": {"app_id": "1", "workflow_version": "v0.0.5", "connector_id": "1024"}},
    ],
)
def test_a_run_that_may_be_started_has_no_problems(changed: dict[str, Any]) -> None:
    assert of_run(**changed) == []


# --- ids


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7511, 'bot_id must be a string, not int; write it in quotes: "7511"'),
        (True, "bot_id must be a string, not bool"),
        (7.5, "bot_id must be a string, not float"),
        (None, "bot_id must be a string, not None"),
        (["7511"], "bot_id must be a string, not list"),
        ("", "bot_id is '': empty, or a template that rendered to nothing"),
        ("  ", "bot_id is '  ': empty, or a template that rendered to nothing"),
        ("None", "bot_id is 'None': empty, or a template that rendered to nothing"),
        (" 7511", "bot_id ' 7511' has white space in it"),
        ("75 11", "bot_id '75 11' has white space in it"),
        ("7511\n", "bot_id '7511\\n' has white space in it"),
    ],
)
def test_an_id_that_is_no_string_of_one_word_is_refused(value: object, problem: str) -> None:
    assert id_problems("bot_id", value) == [problem]


@pytest.mark.parametrize("name", ["bot_id", "user_id", "conversation_id"])
def test_every_id_of_a_chat_is_checked(name: str) -> None:
    assert of_chat(**{name: 5}) == [f'{name} must be a string, not int; write it in quotes: "5"']


@pytest.mark.parametrize("name", ["bot_id", "app_id", "connector_id"])
def test_every_id_of_a_run_is_checked(name: str) -> None:
    assert of_run(workflow_id=5) == ['workflow_id must be a string, not int; write it in quotes: "5"']
    assert of_run(options={name: 5}) == [f'{name} must be a string, not int; write it in quotes: "5"']


# --- the question of a chat


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"message": None}, "exactly one of message and additional_messages is needed; neither given"),
        ({"additional_messages": [ASKED]}, "exactly one of message and additional_messages is needed; both given"),
        ({"message": 42}, "message must be a string, not int"),
        ({"message": " "}, "message is ' ': empty, or a template that rendered to nothing"),
        ({"message": "None"}, "message is 'None': empty, or a template that rendered to nothing"),
        ({"auto_save_history": False}, "auto_save_history must be True"),
        ({"auto_save_history": None}, "auto_save_history must be True"),
        ({"auto_save_history": 1}, "auto_save_history must be True"),
    ],
)
def test_a_chat_needs_one_question_and_its_history(changed: dict[str, Any], problem: str) -> None:
    (found,) = of_chat(**changed)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("messages", "problems"),
    [
        ("hi", ["additional_messages must be a list of messages, not str"]),
        ({"role": "user"}, ["additional_messages must be a list of messages, not dict"]),
        ([], ["additional_messages is empty; the last one is the question of this chat"]),
        ([ASKED] * 101, ["additional_messages has 101 messages; Coze takes at most 100 (code 4004)"]),
        (["hi"], ["additional_messages[0] must be a mapping with role and content, not str"]),
        (
            [{"role": "system", "content": "x"}, ASKED],
            ["additional_messages[0]: role must be one of ('user', 'assistant'), not 'system'"],
        ),
        (
            [ASKED, {**ASKED, "content_type": "card"}],
            ["additional_messages[1]: content_type must be one of ('text', 'object_string'), not 'card'"],
        ),
        ([{"role": "user"}], ["additional_messages[0]: content must be a string, not None"]),
        (
            [{**ASKED, "content": ""}],
            ["additional_messages[0]: content is '': empty, or a template that rendered to nothing"],
        ),
        (
            [{**ASKED, "meta_data": {"k": 1}}],
            ["additional_messages[0]: meta_data['k'] must be a string, not int"],
        ),
        (
            [ASKED, {"role": "assistant", "content": "x"}],
            ["the last of additional_messages is this chat's question, so its role must be user"],
        ),
    ],
)
def test_messages_are_checked_one_by_one(messages: Any, problems: list[str]) -> None:
    assert of_chat(message=None, additional_messages=messages) == problems


# --- options


@pytest.mark.parametrize("name", ["custom_variables", "meta_data", "extra_params"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "{name} must be a mapping of strings to strings, not str"),
        ([("latitude", "1")], "{name} must be a mapping of strings to strings, not list"),
        ({"latitude": 1}, "{name}['latitude'] must be a string, not int"),
        ({"latitude": None}, "{name}['latitude'] must be a string, not None"),
    ],
)
def test_pairs_are_strings_to_strings(name: str, value: Any, problem: str) -> None:
    assert of_chat(options={name: value}) == [problem.format(name=name)]


def test_a_key_that_is_no_string_is_refused() -> None:
    assert of_chat(options={"custom_variables": {5: "x"}}) == ["custom_variables has a key that is no string: 5"]


@pytest.mark.parametrize(
    ("meta_data", "problem"),
    [
        ({str(n): "v" for n in range(17)}, "meta_data has 17 pairs; Coze takes at most 16 (code 4003)"),
        ({"k" * 65: "v"}, f"meta_data key {'k' * 65!r} is over 64 characters"),
        ({"k": "v" * 513}, "meta_data['k'] must have 1 to 512 characters, not 513"),
        ({"k": ""}, "meta_data['k'] must have 1 to 512 characters, not 0"),
    ],
)
def test_meta_data_keeps_to_cozes_limits(meta_data: dict[str, str], problem: str) -> None:
    assert of_chat(options={"meta_data": meta_data}) == [problem]


def test_extra_params_and_ext_know_a_few_names_only() -> None:
    assert of_chat(options={"extra_params": {"altitude": "1"}}) == [
        "extra_params knows only latitude, longitude, not 'altitude'"
    ]
    assert of_run(options={"ext": {"altitude": "1"}}) == ["ext knows only latitude, longitude, user_id, not 'altitude'"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"publish_status": "draft"},
            "publish_status must be one of ('published_online', 'unpublished_draft'), not 'draft'",
        ),
        ({"bot_version": 3}, "bot_version must be a string, not int"),
        (
            {"bot_version": "3", "publish_status": "unpublished_draft"},
            'bot_version cannot be combined with publish_status="unpublished_draft" (code 4000)',
        ),
        ({"shortcut_command": "x"}, "shortcut_command must be a mapping, not str"),
        ({"parameters": [1]}, "parameters must be a mapping, not list"),
    ],
)
def test_the_other_options_of_a_chat_are_checked(options: dict[str, Any], problem: str) -> None:
    (found,) = of_chat(options=options)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"bot_id": "1", "app_id": "2"}, "bot_id and app_id exclude each other (code 4000)"),
        ({"workflow_version": 5}, "workflow_version must be a string, not int"),
        ({"workflow_version": ""}, "workflow_version is ''"),
        ({"ext": {"user_id": 5}}, "ext['user_id'] must be a string, not int"),
    ],
)
def test_the_options_of_a_run_are_checked(options: dict[str, Any], problem: str) -> None:
    (found,) = of_run(options=options)
    assert found.startswith(problem)


# --- parameters have to be JSON


def test_a_template_that_rendered_to_text_is_told_how_to_render_to_a_mapping() -> None:
    (found,) = of_run(parameters='{"a": 1}')
    assert found.startswith("parameters must be a mapping, not str")
    assert "render_template_as_native_obj=True" in found


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, "parameters['when'] is datetime, which JSON cannot hold"),
        ({"a": [1, {"b": {1, 2}}]}, "parameters['a'][1]['b'] is set, which JSON cannot hold"),
        ({"a": float("nan")}, "parameters['a'] is float, which JSON cannot hold"),
        ({"a": float("inf")}, "parameters['a'] is float, which JSON cannot hold"),
        ({"a": b"x"}, "parameters['a'] is bytes, which JSON cannot hold"),
        ({"a": {5: "x"}}, "parameters['a'][5] is int, which JSON cannot hold"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(parameters: dict[str, Any], problem: str) -> None:
    assert of_run(parameters=parameters) == [problem]


# --- all at once


def test_all_problems_are_in_one_list() -> None:
    problems = of_chat(
        bot_id=1,
        user_id="",
        conversation_id="a b",
        message=None,
        auto_save_history=False,
        options={
            "custom_variables": {"a": 1},
            "meta_data": {"k": ""},
            "extra_params": {"x": "1"},
            "parameters": "x",
            "shortcut_command": "x",
            "publish_status": "draft",
            "bot_version": "",
        },
    )
    assert len(problems) == 12
    assert len(of_run(workflow_id="", parameters=[], options={"bot_id": 1, "app_id": 2, "ext": "x"})) == 6


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries({name: anything for name in GOOD_CHAT if name != "options"}),
    st.dictionaries(st.sampled_from(sorted(FULL_OPTIONS)), anything, max_size=3),
    st.lists(st.dictionaries(st.sampled_from(["role", "content", "content_type", "meta_data"]), anything), max_size=2),
)
def test_whatever_is_passed_is_judged_and_never_crashes(arguments: Any, options: Any, messages: Any) -> None:
    for given_messages in (arguments["additional_messages"], messages):
        problems = chat_problems(**{**arguments, "additional_messages": given_messages}, options=options)
        assert all(isinstance(problem, str) for problem in problems)
    run_problems(workflow_id=arguments["bot_id"], parameters=arguments["message"], options=options)
