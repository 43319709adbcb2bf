"""The file that tells a trigger what to watch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_coze.batch.asks import Ask, Item, Live
from airflow_provider_coze.batch.window import Watched, read_window, write_window
from airflow_provider_coze.errors import CozeStateError

ROW = Item(0, "the row's words", "Classify: the row's words", "h0")
CHAT = Live(Ask((ROW,)), "m1", 1_000.5, {"chat_id": "7", "conversation_id": "8"}, "8")
RUN = Live(Ask((ROW,)), "m2", 1_001.0, {"execute_id": "9", "debug_url": "https://www.coze.cn/work_flow?execute_id=9"})


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    uri = write_window(str(tmp_path), [CHAT, RUN])
    assert read_window(uri) == [Watched("m1", 1_000.5, "7", "8"), Watched("m2", 1_001.0, "9")]


def test_the_next_one_takes_its_place(tmp_path: Path) -> None:
    write_window(str(tmp_path), [CHAT, RUN])
    assert read_window(write_window(str(tmp_path), [RUN])) == [Watched("m2", 1_001.0, "9")]


def test_it_holds_ids_and_no_words_of_a_row(tmp_path: Path) -> None:
    uri = write_window(str(tmp_path), [CHAT])
    assert "words" not in Path(uri).read_text()


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"version": 2, "live": []}', '{"version": 1}', '{"version": 1, "live": [["m"]]}']
)
def test_what_cannot_be_read_is_one_error_that_says_what_goes_on(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "window.json").write_text(content)
    with pytest.raises(CozeStateError, match=r"window\.json.*goes on in Coze, and is billed.*A retry"):
        read_window(f"{tmp_path}/window.json")


def test_a_whole_window_is_one_small_file(tmp_path: Path) -> None:
    uri = write_window(str(tmp_path), [CHAT] * 10_000)
    assert len(json.loads(Path(uri).read_text())["live"]) == 10_000
    assert Path(uri).stat().st_size < 1_000_000
