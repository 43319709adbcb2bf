"""Files of a batch, on this machine and in a storage of fsspec's that lives in memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_coze.batch import files
from airflow_provider_coze.errors import CozeInputError, CozeStateError, CozeTransportError


@pytest.fixture(params=["path", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place, once for each way of naming one. No test may ask which."""
    if request.param != "memory":
        yield str(tmp_path) if request.param == "path" else f"file://{tmp_path}"
        return
    name = f"memory://batch-{uuid.uuid4().hex}/in"
    MemoryFileSystem().makedirs(name.removeprefix("memory://"))
    yield name
    MemoryFileSystem().rm(name.removeprefix("memory://").partition("/")[0], recursive=True)


def _read(uri: str) -> bytes:
    with files.open_read(uri) as file:
        return file.read()


def test_what_was_written_is_read(folder: str) -> None:
    uri = files.joined(folder, "parts", "a.jsonl")
    assert not files.exists(uri)
    files.write_whole(uri, b"one")
    files.write_whole(uri, b"two\n")
    assert files.exists(uri)
    assert files.exists(files.joined(folder, "parts"))
    assert _read(uri) == b"two\n"
    files.remove(uri)
    files.remove(uri)
    assert not files.exists(uri)


def test_a_folder_lists_its_files_by_name_without_what_lies_beside_the_data(folder: str) -> None:
    for name in ("b.jsonl", "a.jsonl", "_SUCCESS", ".a.jsonl.crc", "deeper/c.jsonl"):
        files.write_whole(files.joined(folder, name), b"{}")
    both = [files.joined(folder, "a.jsonl"), files.joined(folder, "b.jsonl")]
    assert files.list_files(folder) == both
    assert files.list_files(folder + "/") == both
    assert files.list_files(both[0]) == [both[0]]
    assert [_read(uri) for uri in both] == [b"{}", b"{}"]


def test_a_glob_lists_what_it_fits(folder: str) -> None:
    for name in ("a-1.jsonl", "a-2.jsonl", "b.csv", "_a-3.jsonl", "deeper/a-4.jsonl"):
        files.write_whole(files.joined(folder, name), b"{}")

    def names(pattern: str) -> list[str]:
        return [uri.removeprefix(folder + "/") for uri in files.list_files(files.joined(folder, pattern))]

    assert names("a-*.jsonl") == ["a-1.jsonl", "a-2.jsonl"]
    assert names("*/a-[0-9].jsonl") == ["deeper/a-4.jsonl"]
    assert names("**/a-*.jsonl") == ["a-1.jsonl", "a-2.jsonl", "deeper/a-4.jsonl"]
    assert names("_a*") == ["_a-3.jsonl"]
    assert names("nothing-*") == []


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text("{}")
    assert files.list_files(f"{tmp_path}/a[1].jsonl") == [f"{tmp_path}/a[1].jsonl"]


def test_what_is_not_there_is_one_error_that_names_it(folder: str) -> None:
    for attempt in (files.open_read, files.list_files):
        with pytest.raises(CozeInputError, match=r"gone\.jsonl' does not exist.*nothing is billed"):
            attempt(files.joined(folder, "gone.jsonl"))


def test_a_path_without_a_folder_is_beside_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.write_whole("a.jsonl", b"{}")
    assert files.list_files("*.jsonl") == ["a.jsonl"]
    assert files.joined("/", "a") == "/a"
    assert files.joined("s3://c@b/x/", "y", "z") == "s3://c@b/x/y/z"


class TestWriting:
    def test_a_folder_that_can_be_written_is_left_as_it_was(self, folder: str) -> None:
        files.check_writable(folder)
        assert files.list_files(folder) == []

    def test_a_folder_that_is_not_there_is_made(self, tmp_path: Path) -> None:
        files.check_writable(f"{tmp_path}/a/b")
        assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b"]

    def test_a_folder_that_cannot_be_written_is_told_before_anything_is_paid_for(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("a file")
        for place in (f"{tmp_path}/taken", f"{tmp_path}/taken/below"):
            with pytest.raises(CozeInputError, match=r"taken.*cannot be written \(\w+ \w+\)\. Nothing was sent"):
                files.check_writable(place)

    def test_a_storage_that_nobody_knows_cannot_be_written_and_keeps_its_password(self) -> None:
        with pytest.raises(CozeInputError, match=r"unheardof://user:\*\*\*@bucket") as caught:
            files.check_writable("unheardof://user:hunter2@bucket/results")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(("error", "kind"), [(TimeoutError(), CozeTransportError), (OSError(), CozeInputError)])
    def test_trouble_that_passes_is_worth_a_retry(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
        with pytest.raises(kind, match="cannot be written") as caught:
            files.check_writable("memory://x")
        assert type(caught.value) is kind

    def test_a_writer_that_dies_leaves_the_file_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        uri = f"{tmp_path}/a.jsonl"
        files.write_whole(uri, b"before")

        def fail(_: int) -> None:
            raise OSError(28, "full")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(CozeStateError, match=r"a\.jsonl' could not be written \(OSError ENOSPC\).*retry goes on"):
            files.write_whole(uri, b"after")
        assert _read(uri) == b"before"
        assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]

    def test_every_append_is_there_at_once(self, tmp_path: Path) -> None:
        uri = f"file://{tmp_path}/new/a.jsonl"
        with files.append_open(uri) as one, files.append_open(uri) as other:
            assert one.write(b"1\n") == 2
            other.write(b"2\n")
            one.write(b"3\n")
            assert _read(uri) == b"1\n2\n3\n"

    def test_objects_cannot_be_appended_to(self) -> None:
        assert not files.is_local("s3://c@bucket/x")
        with pytest.raises(ValueError, match="cannot be appended to"):
            files.append_open("memory://x/y")

    @pytest.mark.parametrize("attempt", [files.append_open, files.remove])
    def test_what_cannot_be_kept_stops_the_batch(self, tmp_path: Path, attempt: Any) -> None:
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(
            CozeStateError, match=r"taken/x' could not be (opened|removed) \((FileExists|NotADirectory)Error E"
        ):
            attempt(f"{tmp_path}/taken/x")


class TestTrouble:
    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(CozeInputError, match="is a folder"):
            files.open_read(str(tmp_path))

    def test_a_storage_that_nobody_reads_says_what_is_missing(self) -> None:
        with pytest.raises(CozeInputError, match=r"unheardof.*nothing is installed that reads"):
            files.open_read("unheardof://bucket/a.jsonl")

    def test_a_storage_in_trouble_is_worth_a_retry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("token hunter2 expired")

        monkeypatch.setattr(MemoryFileSystem, "open", fail)
        with pytest.raises(CozeTransportError, match=r"could not be read \(RuntimeError\)") as caught:
            files.open_read("memory://x/a.jsonl")
        assert caught.value.never_sent
        assert "hunter2" not in str(caught.value)

    def test_a_storage_that_does_not_say_whether_a_file_is_there_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise TimeoutError

        monkeypatch.setattr(MemoryFileSystem, "exists", fail)
        with pytest.raises(CozeStateError, match=r"could not be looked for \(TimeoutError\)"):
            files.exists("memory://x/a.jsonl")

    def test_no_signature_of_an_address_is_shown(self) -> None:
        assert files.shown("https://host/a.csv?X-Signature=hunter2") == "'https://host/a.csv'"
        assert files.shown("s3://conn@bucket/a.csv") == "'s3://conn@bucket/a.csv'"
