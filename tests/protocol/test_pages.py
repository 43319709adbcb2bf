"""``protocol.pages``: which page a link may lead to, and that no other address becomes one."""

from __future__ import annotations

import pytest

from airflow_provider_coze.protocol.pages import Pages

SPACE, BOT, FLOW = "7510000000000000001", "7511000000000000001", "7511500000000000001"
DEBUG_URL = f"https://www.coze.cn/work_flow?execute_id=7513&space_id={SPACE}&workflow_id={FLOW}&execute_mode=2"
CN = Pages("https://api.coze.cn", "cloud", SPACE)
COM = Pages("https://api.coze.com", "cloud", SPACE)
STUDIO = Pages("http://studio:8888", "studio", SPACE)
#: A gateway of one's own in front of Coze.
GATEWAY = Pages("https://coze.example.com", "cloud", SPACE)


def test_a_bot_is_found_in_its_workspace_on_the_site_of_its_api() -> None:
    assert CN.bot(BOT) == f"https://www.coze.cn/space/{SPACE}/bot/{BOT}"
    assert COM.bot(BOT) == f"https://www.coze.com/space/{SPACE}/bot/{BOT}"
    assert STUDIO.bot(BOT) == f"http://studio:8888/space/{SPACE}/bot/{BOT}"


def test_a_workflow_is_found_in_its_workspace_on_the_site_of_its_api() -> None:
    assert CN.workflow(FLOW) == f"https://www.coze.cn/work_flow?space_id={SPACE}&workflow_id={FLOW}"
    assert COM.workflow(FLOW) == f"https://www.coze.com/work_flow?space_id={SPACE}&workflow_id={FLOW}"
    assert STUDIO.workflow(FLOW) == f"http://studio:8888/work_flow?space_id={SPACE}&workflow_id={FLOW}"


@pytest.mark.parametrize(
    "pages", [GATEWAY, Pages("https://api.coze.cn", "cloud"), Pages("http://studio:8888", "studio")]
)
def test_without_a_known_site_and_workspace_nothing_is_guessed(pages: Pages) -> None:
    assert pages.bot(BOT) is None
    assert pages.workflow(FLOW) is None


def test_a_run_knows_best_where_its_workflow_is() -> None:
    other = DEBUG_URL.replace(SPACE, "42")
    expected = f"https://www.coze.cn/work_flow?space_id=42&workflow_id={FLOW}"
    assert CN.workflow(FLOW, other) == GATEWAY.workflow(FLOW, other) == expected


def test_a_run_of_another_workflow_says_nothing_of_this_one() -> None:
    assert GATEWAY.workflow(FLOW, DEBUG_URL.replace(FLOW, "8")) is None


def test_a_run_has_the_page_that_coze_names() -> None:
    assert CN.run(DEBUG_URL) == GATEWAY.run(DEBUG_URL) == DEBUG_URL


@pytest.mark.parametrize("host", ["https://www.coze.cn", "http://127.0.0.1:3000"])
def test_a_studio_names_a_host_that_is_not_its_own_which_is_put_right(host: str) -> None:
    named = DEBUG_URL.replace("https://www.coze.cn", host)
    assert STUDIO.run(named) == DEBUG_URL.replace("https://www.coze.cn", "http://studio:8888")
    assert STUDIO.workflow(FLOW, named) == STUDIO.workflow(FLOW)


@pytest.mark.parametrize(
    "address",
    [
        *(None, "", "javascript:alert(1)", "javascript://www.coze.cn/%0aalert(1)", "data:text/html,x"),
        *(
            "//www.coze.cn/x",
            "https://[",
            "https://www.coze.cn/a b",
            "https://www.coze.cn/\n",
            "work_flow?execute_id=1",
        ),
    ],
)
@pytest.mark.parametrize("pages", [CN, STUDIO], ids=["cloud", "studio"])
def test_no_other_address_becomes_a_page(pages: Pages, address: str | None) -> None:
    assert pages.run(address) is None


@pytest.mark.parametrize("wrong", ["", "abc", "1/../2", "1?x", "１２", "1" * 21, 5, None])
def test_what_is_no_id_has_no_page(wrong: object) -> None:
    assert CN.bot(wrong) is None
    assert CN.workflow(wrong, DEBUG_URL) is None
