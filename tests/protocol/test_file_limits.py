"""Which files Coze takes, and how a request refers to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.emulator.cloud.file import FORMATS
from airflow_provider_coze.emulator.cloud.file import MAX_BYTES as EMULATED_MAX_BYTES
from airflow_provider_coze.protocol import file_limits as limits


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_type_of_cozes_table_may_be_uploaded_in_any_case(suffix: str) -> None:
    assert limits.name_problems(f"a.{suffix}") == limits.name_problems(f"报告.{suffix.upper()}") == []
    assert not limits.is_unconfirmed(f"a.{suffix}")


@pytest.mark.parametrize("name", ["notes.txt", "README.md"])
def test_plain_text_is_in_no_list_and_may_be_tried(name: str) -> None:
    assert limits.name_problems(name) == []
    assert limits.is_unconfirmed(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "has no name"),
        ("  ", "has no name"),
        ("report", "has no extension"),
        (".csv", "has no extension"),
        ("report.", "has no extension"),
        ("setup.exe", "'exe' is no type that Coze takes (code 4303)"),
        ("a/b.csv", "is no file name"),
        ("a\\b.csv", "is no file name"),
        ("a\nb.csv", "is no file name"),
        ("\ud83d.csv", "is no file name"),
        ("x" * 252 + ".csv", "has a name of 256 characters"),
    ],
)
def test_a_name_that_coze_cannot_use_is_a_problem(name: str, problem: str) -> None:
    (found,) = limits.name_problems(name)
    assert problem in found


def test_a_server_without_a_list_takes_any_type_but_not_any_name() -> None:
    assert limits.name_problems("page.html", any_type=True) == []
    assert limits.name_problems("page", any_type=True) != []


@given(st.text())
def test_a_name_that_passes_can_stand_in_a_header(name: str) -> None:
    if not limits.name_problems(name):
        assert name.encode().decode() == name
        assert not set(name) & set("\r\n/\\\0")


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (0, "is empty (code 4300)"),
        (1, None),
        (limits.MAX_BYTES, None),
        (limits.MAX_BYTES + 1, "has 536870913 bytes; Coze takes at most 536870912 (512 MB, code 4302)"),
    ],
)
def test_a_file_has_at_least_a_byte_and_at_most_512_mb(size: int, problem: str | None) -> None:
    assert limits.size_problem(size) == problem
    assert limits.MAX_BYTES == EMULATED_MAX_BYTES


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image"),
        ("a.JPEG", "image"),
        ("a.mp3", "audio"),
        ("a.mp4", "file"),
        ("a.pdf", "file"),
        ("a", "file"),
        ("png", "file"),
    ],
)
def test_the_extension_tells_images_and_audio_from_files(name: str, kind: str) -> None:
    assert limits.kind_of(name) == kind


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/data/a.csv", "a.csv"),
        ("a.csv", "a.csv"),
        ("s3://aws@bucket/in/报告.pdf", "报告.pdf"),
        ("C:\\data\\a.csv", "a.csv"),
        ("https://example.com/a.png?width=3#top", "a.png"),
        ("https://example.com", ""),
        ("/data/a?b.csv", "a?b.csv"),
    ],
)
def test_the_name_is_the_last_part_of_the_path(source: str, name: str) -> None:
    assert limits.last_part(source) == name


@pytest.mark.parametrize(
    ("source", "web"),
    [("https://a/b", True), ("HTTP://a/b", True), ("s3://a/b", False), ("httpx", False), (b"x", False)],
)
def test_only_addresses_of_the_web_are_fetched_by_coze(source: object, web: bool) -> None:
    assert limits.is_url(source) is web


def test_a_parameter_is_json_in_a_string() -> None:
    assert json.loads(limits.parameter_of("7514000000000000001")) == {"file_id": "7514000000000000001"}


TEXT, IMAGE = {"type": "text", "text": "What is 这个?"}, {"type": "image", "file_id": "1"}


def test_text_alone_is_a_plain_message_and_text_with_a_file_is_not() -> None:
    assert limits.message_content([TEXT]) == ("What is 这个?", "text")
    content, kind = limits.message_content([TEXT, IMAGE])
    assert (json.loads(content), kind) == ([TEXT, IMAGE], "object_string")
    assert "这个" in content


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([TEXT], None),
        ([TEXT, IMAGE, {"type": "file", "file_url": "https://a/b.pdf"}], None),
        ([], "is an empty list"),
        ([TEXT, IMAGE, TEXT], "has 2 texts; Coze takes at most one a message, so join them"),
        ([{"type": "card", "text": "x"}], "[0]: type must be one of ('text', 'image', 'file', 'audio'), not 'card'"),
        ([{"text": "x"}], "[0]: type must be one of ('text', 'image', 'file', 'audio'), not None"),
        ([{"type": "text", "text": " "}], "[0] is a text without text"),
        ([{"type": "text"}], "[0] is a text without text"),
        ([TEXT, {"type": "file"}], "[1] needs a file_id or a file_url"),
        ([TEXT, {"type": "audio", "file_id": 7}], "[1] needs a file_id or a file_url"),
    ],
)
def test_the_parts_of_a_message_follow_cozes_rules(parts: list[dict[str, Any]], problem: str | None) -> None:
    assert limits.part_problems(parts) == ([problem] if problem else [])
