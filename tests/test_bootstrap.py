"""What the making of environments takes from pip's settings."""

from __future__ import annotations

from tests.env.bootstrap import index_of

LISTED = r"""
:env:.disable-pip-version-check='1'
global.index-url='https://mirror.example/simple'
global.extra-index-url='\nhttps://one.example/simple\nhttps://two.example/simple'
global.timeout='60'
"""


def test_a_mirror_that_pip_is_told_of_is_used_by_uv_too() -> None:
    assert index_of(LISTED) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
    }


def test_the_environment_beats_the_files_as_in_pip() -> None:
    listed = LISTED + "install.index-url='https://command.example/simple'\n"
    assert index_of(listed)["UV_DEFAULT_INDEX"] == "https://command.example/simple"
    listed += ":env:.index-url='https://environment.example/simple'\n"
    assert index_of(listed)["UV_DEFAULT_INDEX"] == "https://environment.example/simple"


def test_without_settings_uv_asks_the_usual_index() -> None:
    assert index_of(":env:.default-timeout='60'\n") == {}
