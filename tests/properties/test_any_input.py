"""Arguments: whatever a DAG passes is judged in sentences, and what is not complained about can be sent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.protocol.endpoints import chat, workflow
from airflow_provider_coze.protocol.inputs import chat_problems, id_problems, run_problems
from airflow_provider_coze.transports.wire import content_of, url_of
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import anything, json_values, texts

_IDS = st.sampled_from(["7511000000000000001", "a/b?c", "用户"]) | anything
_PAIRS = st.dictionaries(st.text(max_size=70), st.text(max_size=520), max_size=18) | anything
_OBJECTS = st.dictionaries(st.text(max_size=5), json_values, max_size=3) | anything
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant"]) | anything,
            "content": texts | anything,
            "content_type": st.sampled_from(["text", "object_string"]) | anything,
            "meta_data": _PAIRS,
        },
    )
    | anything,
    max_size=3,
)
_CHAT_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("custom_variables", "meta_data", "extra_params"), _PAIRS),
        **dict.fromkeys(("parameters", "shortcut_command"), _OBJECTS),
        "publish_status": st.sampled_from(["published_online", "unpublished_draft"]) | anything,
        "bot_version": texts | anything,
    },
)
_RUN_OPTIONS = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(("bot_id", "app_id", "connector_id"), _IDS), "ext": _PAIRS, "workflow_version": texts | anything}
)  # fmt: skip


def assert_sentences(problems: list[str]) -> None:
    for problem in problems:
        assert problem.strip()
        problem.encode()


@EXAMPLES
@given(
    bot_id=_IDS,
    user_id=_IDS,
    message=st.none() | texts | anything,
    additional_messages=st.none() | _MESSAGES | anything,
    conversation_id=st.none() | _IDS,
    auto_save_history=st.just(True) | anything,
    options=_CHAT_OPTIONS,
)
def test_a_chat_that_nothing_is_wrong_with_can_be_sent(**arguments: Any) -> None:
    problems = chat_problems(**arguments)
    assert_sentences(problems)
    if problems:
        return
    asked = arguments["additional_messages"] or [{"role": "user", "content": arguments["message"]}]
    names = ("bot_id", "user_id", "conversation_id", "options")
    request = chat.create_chat(**{name: arguments[name] for name in names}, additional_messages=asked).request
    assert content_of(request)[0]
    assert url_of("https://api.coze.cn", request).isascii()


@EXAMPLES
@given(workflow_id=_IDS, parameters=_OBJECTS, options=_RUN_OPTIONS)
def test_a_run_that_nothing_is_wrong_with_can_be_started(**arguments: Any) -> None:
    problems = run_problems(**arguments)
    assert_sentences(problems)
    if problems:
        return
    arguments["parameters"] = arguments["parameters"] or {}
    assert content_of(workflow.run_workflow(**arguments, is_async=True).request)[0]


@EXAMPLES
@given(_IDS, _IDS)
def test_an_id_that_nothing_is_wrong_with_can_stand_in_an_address(one: Any, other: Any) -> None:
    for value in (one, other):
        assert_sentences(id_problems("the id", value))
    if id_problems("one", one) or id_problems("other", other):
        return
    path = workflow.run_history(workflow_id=one, execute_id=other).request.path
    assert path.isascii()
    assert path.count("/") == 5
    query = chat.retrieve_chat(conversation_id=one, chat_id=other).request
    assert url_of("https://api.coze.cn", query).isascii()
