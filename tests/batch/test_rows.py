"""Rows of a batch: what a source yields, what is wrong with one of them, and what is wrong with all."""

from __future__ import annotations

import builtins
import dataclasses
import datetime as dt
import decimal
import gzip
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.batch.rows import BadRow, Row, count_rows, plain, read_rows
from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.errors import CozeInputError, CozeTransportError
from tests.properties.profiles import EXAMPLES
from tests.properties.strategies import json_values

MB = 1_000_000


def _read(source: object, **options: Any) -> list[Row | BadRow]:
    return list(read_rows(source, **options))


def _values(source: object, **options: Any) -> list[Any]:
    rows = _read(source, **options)
    assert all(isinstance(row, Row) for row in rows), rows
    assert [row.index for row in rows] == list(range(len(rows)))
    return [row.value for row in rows]


def _bad(source: object, **options: Any) -> list[tuple[int, str]]:
    return [(row.index, row.code) for row in _read(source, **options) if isinstance(row, BadRow)]


def _written(path: Path, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


class TestFromPython:
    def test_a_list_has_its_rows_in_their_order(self) -> None:
        assert _values(["one", {"text": "two"}, ["three"], 4, False]) == ["one", {"text": "two"}, ["three"], 4, False]

    def test_no_rows_are_a_batch_of_none(self, tmp_path: Path) -> None:
        for source in ([], (), iter([]), "[]", _written(tmp_path / "a.jsonl", ""), _written(tmp_path / "a.csv", "a,b")):
            assert _read(source) == []

    def test_whatever_yields_is_taken_from_as_rows_are_wanted(self) -> None:
        taken = []

        def numbers() -> Iterator[str]:
            for number in itertools.count():
                taken.append(number)
                yield f"row {number}"

        rows = read_rows(numbers())
        assert taken == []
        assert list(itertools.islice(rows, 3)) == [Row(0, "row 0"), Row(1, "row 1"), Row(2, "row 2")]
        assert taken == [0, 1, 2]

    def test_a_list_that_a_template_made_text_of_is_a_list_again(self) -> None:
        assert _values(' ["one", {"text": "二"}]\n') == ["one", {"text": "二"}]

    def test_a_row_is_a_copy(self) -> None:
        given: dict[str, Any] = {"text": ["one"]}

        def same() -> Iterator[Any]:
            for number in range(2):
                given["number"] = number
                yield given

        assert _values(same()) == [{"text": ["one"], "number": 0}, {"text": ["one"], "number": 1}]

    def test_what_databases_and_models_yield_becomes_json(self) -> None:
        import pydantic

        @dataclasses.dataclass
        class Point:
            x: decimal.Decimal

        class Model(pydantic.BaseModel):
            at: dt.date

        day = dt.date(2024, 2, 29)
        assert _values([Point(decimal.Decimal("1.10")), Model(at=day), {"at": day}, {1: ("a", None)}]) == [
            {"x": "1.10"},
            {"at": "2024-02-29"},
            {"at": "2024-02-29"},
            {"1": ["a", None]},
        ]

    @pytest.mark.parametrize("row", [None, "", " \n", {}, []])
    def test_a_row_with_nothing_in_it_is_empty(self, row: Any) -> None:
        assert _read(["one", row, "two"]) == [
            Row(0, "one"),
            BadRow(1, "empty", "there is nothing in it", row),
            Row(2, "two"),
        ]

    @pytest.mark.parametrize(
        ("row", "told"),
        [
            (b"bytes", "bytes"),
            ({"x": object()}, "object"),
            ({"x": float("nan")}, "NaN"),
            ({(1, 2): "x"}, "key"),
            (lambda: 1, "function"),
        ],
    )
    def test_a_row_that_is_no_json_is_of_a_wrong_type(self, row: Any, told: str) -> None:
        (bad,) = _read([row])
        assert isinstance(bad, BadRow)
        assert (bad.code, bad.value) == ("wrong_type", None)
        assert told in bad.msg

    def test_a_row_that_holds_itself_or_is_endlessly_deep_is_of_a_wrong_type(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        deep: list[Any] = []
        for _ in range(5_000):
            deep = [deep]
        hundred: Any = "x"
        for _ in range(150):
            hundred = [hundred]
        assert _bad([loop, deep, hundred]) == [(0, "wrong_type"), (1, "wrong_type"), (2, "wrong_type")]

    def test_a_row_may_have_so_many_bytes_and_no_more(self) -> None:
        rows = ["x" * 98, "x" * 99, "中" * 32, "中" * 33, {"t": "x" * 91}, {"t": "x" * 92}]
        assert _bad(rows, max_bytes=100) == [(1, "too_large"), (3, "too_large"), (5, "too_large")]

    def test_half_an_emoji_is_replaced(self) -> None:
        assert _values(["a\ud83d", {"t": "\ude00"}]) == ["a\ufffd", {"t": "\ufffd"}]

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("", "rendered to nothing"),
            ("None", "rendered to nothing"),
            (None, "must not be NoneType"),
            (7, "must not be int"),
            (b"[]", "must not be bytes"),
            ({"a", "b"}, "no order"),
            ({"text": "one"}, "one mapping, and no rows"),
            ({"result_uri": "x", "failed_uri": None}, "manifest.*failed_uri or result_uri"),
            ('{"counts": 1, "failed_uri": "x"}', "manifest.*failed_uri or result_uri"),
            ("[{'text': 'one'}]", "no JSON.*tojson.*native"),
            ("[NaN]", "NaN is no number"),
        ],
    )
    def test_what_has_no_rows_is_one_error_before_anything_is_sent(self, source: Any, words: str) -> None:
        with pytest.raises(CozeInputError, match=f"(?s)^inputs .*{words}.*Nothing was sent"):
            read_rows(source)

    def test_a_table_of_pandas_says_how_to_give_its_rows(self) -> None:
        class DataFrame:
            itertuples = __iter__ = lambda self: iter(["column"])

        with pytest.raises(CozeInputError, match=r"DataFrame.*to_dict\(\"records\"\)"):
            read_rows(DataFrame())

    @EXAMPLES
    @given(st.lists(json_values, max_size=5))
    def test_any_values_are_one_row_each_that_json_can_hold(self, values: list[Any]) -> None:
        rows = _read(values)
        assert len(rows) == len(values)
        for row in rows:
            json.dumps(row.value, allow_nan=False).encode()
            assert plain(row.value) == row.value


class TestFromLines:
    def test_each_line_is_a_row_and_blank_ones_are_none(self, tmp_path: Path) -> None:
        text = '\ufeff{"text": "一"}\r\n\n   \n"two"\n["three"]'
        for name in ("a.jsonl", "a.ndjson", "a.json", "a.JSONL", "a.jsonl.gz"):
            uri = _written(tmp_path / name, text)
            assert _values(uri) == [{"text": "一"}, "two", ["three"]]
            assert count_rows(uri) == 3
        assert _values(tmp_path / "a.jsonl") == _values(object_storage_path(f"file://{tmp_path}/a.jsonl"))

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"{", "line 2 is no JSON: Expecting property name enclosed in double quotes, at character 1"),
            (b'{"text": NaN}', "line 2 is no JSON that can be read: NaN is no number of JSON"),
            (b'"\xd6\xd0\xce\xc4"', "line 2 is not UTF-8"),
            (b"plain words", "line 2 is no JSON: Expecting value, at character 0"),
            (b"[" * 3000 + b"]" * 3000, "line 2 is no JSON that can be read: nested too deep"),
        ],
    )
    def test_a_line_that_cannot_be_read_says_which_it_is_and_the_others_go_on(
        self, tmp_path: Path, line: bytes, words: str
    ) -> None:
        rows = _read(_written(tmp_path / "a.jsonl", b'"one"\n' + line + b'\n"three"\n'))
        assert rows == [Row(0, "one"), BadRow(1, "undecodable", words), Row(2, "three")]

    def test_a_last_line_that_is_half_written_says_so(self, tmp_path: Path) -> None:
        *_, last = _read(_written(tmp_path / "a.jsonl", '"one"\n{"text": "tw'))
        assert isinstance(last, BadRow)
        assert last.code == "undecodable"
        assert "cut off" in last.msg
        assert "tw" not in last.msg.replace("between", "")

    def test_words_that_look_like_numbers_are_words(self, tmp_path: Path) -> None:
        assert _values(_written(tmp_path / "a.jsonl", '"NaN and Infinity"\n')) == ["NaN and Infinity"]

    @pytest.mark.parametrize("size", [0, 1, 255 * 1024, 256 * 1024 - 3, 256 * 1024, 300 * 1024])
    def test_lines_are_whole_however_the_file_is_cut(self, tmp_path: Path, size: int) -> None:
        rows = ["x" * size or "y", "中文", "z" * 1000] * 2
        assert _values(_written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))) == rows

    @pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz"])
    def test_a_line_of_20_mb_is_a_bad_row_that_never_is_in_memory(self, tmp_path: Path, name: str) -> None:
        long = '"' + "x" * (20 * MB) + '"'
        uri = _written(tmp_path / name, f'"text"\n{long}\n"after"\n')
        del long
        tracemalloc.start()
        try:
            rows = _read(uri)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        at = 1 if "jsonl" in name else 0
        assert _bad(uri) == [(at, "too_large")]
        assert isinstance(rows[at], BadRow)
        assert f"line 2 {'has' if at else 'begins a row of'} over 1000000 bytes" in rows[at].msg
        assert rows[-1].value in ("after", {"text": "after"})
        assert peak < 6 * MB

    def test_a_large_file_is_never_in_memory(self, tmp_path: Path) -> None:
        uri = _written(tmp_path / "a.jsonl", '{"text": "0123456789012345678901234567890123456789"}\n' * 20_000)
        tracemalloc.start()
        try:
            for number, _ in enumerate(read_rows(uri)):
                if number == 5_000:
                    break
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * MB

    @pytest.mark.parametrize(
        "text",
        ['[{"text": "one"}, {"text": "two"}]', '[\n  {"text": "one"}\n]\n', '{\n  "text": "one"\n}', '\n\n[ "one" ]'],
    )
    def test_one_json_document_is_no_file_of_lines(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(CozeInputError, match=r"a\.json' is one JSON document.*on each line"):
            read_rows(_written(tmp_path / "a.json", text))

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
    def test_a_file_in_another_encoding_is_one_error(self, tmp_path: Path, encoding: str) -> None:
        with pytest.raises(CozeInputError, match="UTF-16"):
            read_rows(_written(tmp_path / "a.jsonl", '"one"\n"two"\n'.encode(encoding)))


class TestFromTables:
    def test_each_record_is_a_mapping_of_texts(self, tmp_path: Path) -> None:
        text = '\ufeffid,text\r\n1,"one, ""quoted"",\nover two lines"\r\n\r\n2,二\r\n3,'
        for name in ("a.csv", "a.csv.gz"):
            uri = _written(tmp_path / name, text)
            assert _values(uri) == [
                {"id": "1", "text": 'one, "quoted",\nover two lines'},
                {"id": "2", "text": "二"},
                {"id": "3", "text": ""},
            ]
            assert count_rows(uri) == 3

    @pytest.mark.parametrize(
        ("line", "code", "words"),
        [
            (b"1", "undecodable", "line 3 has 1 columns, and the header 2"),
            (b"1,2,3", "undecodable", "line 3 has 3 columns, and the header 2"),
            (b'1,"a"b', "undecodable", "line 3 is no CSV: ',' expected after '\"'"),
            (b"1,\xd6\xd0", "undecodable", "line 3 begins a row that is not UTF-8"),
            (b" , ", "empty", "line 3 has nothing in its columns"),
        ],
    )
    def test_a_record_that_does_not_fit_says_where_and_the_others_go_on(
        self, tmp_path: Path, line: bytes, code: str, words: str
    ) -> None:
        rows = _read(_written(tmp_path / "a.csv", b"a,b\n1,2\n" + line + b"\n3,4\n"))
        assert rows == [Row(0, {"a": "1", "b": "2"}), BadRow(1, code, words), Row(2, {"a": "3", "b": "4"})]

    def test_a_field_may_be_as_large_as_a_row(self, tmp_path: Path) -> None:
        assert _values(_written(tmp_path / "a.csv", f"a\n{'x' * 500_000}\n")) == [{"a": "x" * 500_000}]

    def test_a_quote_without_an_end_swallows_the_rest_and_no_memory(self, tmp_path: Path) -> None:
        uri = _written(tmp_path / "a.csv", 'a,b\n1,2\n3,"4\n' + "5,6\n" * 20_000)
        tracemalloc.start()
        try:
            rows = _read(uri, max_bytes=10_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert [row.index for row in rows] == [0, 1]
        assert isinstance(rows[1], BadRow)
        assert (rows[1].code, rows[1].msg[:6]) == ("too_large", "line 3")
        assert "quotes" in rows[1].msg
        assert peak < 2 * MB

    def test_quotes_that_end_late_lose_their_own_row_only(self, tmp_path: Path) -> None:
        uri = _written(tmp_path / "a.csv", 'a,b\n1,"' + "x\n" * 100 + 'x"\n3,4\n')
        assert _read(uri, max_bytes=50)[1:] == [Row(1, {"a": "3", "b": "4"})]
        assert _bad(uri, max_bytes=50) == [(0, "too_large")]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"a,b,a\n1,2,3\n", "header has 'a' more than once"),
            (b"\xd6\xd0,b\n1,2\n", "not UTF-8"),
            ("a,b\n".encode("utf-16"), "UTF-16"),
        ],
    )
    def test_columns_that_cannot_be_told_apart_are_one_error(self, tmp_path: Path, text: bytes, words: str) -> None:
        with pytest.raises(CozeInputError, match=f"{words}.*nothing is billed"):
            read_rows(_written(tmp_path / "a.csv", text))


class TestFromParquet:
    def test_without_pyarrow_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        imported = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.partition(".")[0] == "pyarrow":
                raise ImportError(name)
            return imported(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(CozeInputError, match=r"needs pyarrow.*airflow-provider-coze\[batch\]"):
            read_rows(_written(tmp_path / "a.parquet", b""))

    def test_rows_come_in_batches_of_the_file(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = [{"n": n, "text": f"row {n}", "at": dt.datetime(2024, 1, 1), "tags": ["a"]} for n in range(2_500)]
        rows[7]["text"] = None
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=700)
        uri = f"{tmp_path}/a.parquet"
        assert _values(uri) == [{**row, "at": "2024-01-01T00:00:00"} for row in rows]
        assert count_rows(uri) == 2_500

    def test_values_that_are_no_json_are_bad_rows(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"x": [b"1", None], "y": [1.0, float("nan")]})
        parquet.write_table(table, tmp_path / "a.parquet")
        assert _bad(tmp_path / "a.parquet") == [(0, "wrong_type"), (1, "wrong_type")]

    def test_one_that_is_half_written_is_one_error(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        whole = tmp_path / "whole.parquet"
        parquet.write_table(pyarrow.table({"x": list(range(1_000))}), whole)
        for content in (b"", b"PAR1", whole.read_bytes()[:-20], b"x" * 100):
            with pytest.raises(CozeInputError, match=r"cut off.*nothing is billed"):
                read_rows(_written(tmp_path / "a.parquet", content))


class TestFromFolders:
    def test_parts_follow_one_another_by_name_and_say_which_they_are(self, tmp_path: Path) -> None:
        _written(tmp_path / "part-1.jsonl", '"b"\n{\n')
        _written(tmp_path / "part-0.csv", "t\na\n")
        _written(tmp_path / "_SUCCESS", "")
        _written(tmp_path / "report.html", "<html>")
        for place in (str(tmp_path), f"{tmp_path}/part-*", f"file://{tmp_path}/"):
            rows = _read(place)
            assert rows[:2] == [Row(0, {"t": "a"}), Row(1, "b")]
            assert isinstance(rows[2], BadRow)
            assert rows[2].msg.startswith("part-1.jsonl, line 2 is no JSON")
            assert count_rows(place) == 3

    @pytest.mark.parametrize("place", ["", "/*.jsonl", "/notes.txt", "/gone.csv", "/a.parquet.gz", "/gone/"])
    def test_a_place_without_rows_is_one_error(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / "a.parquet.gz").write_text("x")
        words = "does not exist|has no files with rows in it|is of a kind that is not known"
        with pytest.raises(CozeInputError, match=f"({words}).*nothing is billed"):
            read_rows(f"{tmp_path}{place}")

    @pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
    def test_a_gz_that_is_half_written_is_one_error_before_its_first_row(self, tmp_path: Path, name: str) -> None:
        whole = gzip.compress(b'"one"\n' * 100_000)
        path = tmp_path / name
        for content in (whole[:-4], whole[: len(whole) // 2], whole[:5], b"no gzip", whole[:200] + b"?" + whole[201:]):
            path.write_bytes(content)
            with pytest.raises(CozeInputError, match=r"no gzip file, is damaged or is cut off.*nothing is billed"):
                read_rows(path)

    def test_a_later_part_that_is_damaged_is_found_before_the_first_row_of_the_first(self, tmp_path: Path) -> None:
        _written(tmp_path / "a.jsonl", '"one"\n')
        _written(tmp_path / "b.csv", "x,x\n")
        with pytest.raises(CozeInputError, match=r"b\.csv"):
            read_rows(tmp_path)
        rows = read_rows(tmp_path, check=False)
        assert next(rows) == Row(0, "one")
        with pytest.raises(CozeInputError, match=r"b\.csv"):
            next(rows)

    def test_a_storage_that_breaks_off_is_worth_a_retry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

        MemoryFileSystem().pipe_file("/rows-break/a.jsonl", b'"one"\n')

        def fail(*_: Any) -> bytes:
            raise ConnectionResetError

        monkeypatch.setattr(MemoryFile, "read", fail)
        with pytest.raises(CozeTransportError, match=r"could not be read.*retry reads it again"):
            read_rows("memory://rows-break/a.jsonl")


def _failed(index: Any, value: Any, **error: Any) -> dict[str, Any]:
    return {"index": index, "input": value, "output": None, "error": {"type": "CozeRunFailedError", **error}}


class TestFailedRows:
    def test_they_keep_their_index_and_are_asked_again(self) -> None:
        assert _read([_failed(7, {"t": "x"}), _failed(3, "y")]) == [Row(7, {"t": "x"}), Row(3, "y")]

    def test_one_that_comes_twice_is_asked_once(self) -> None:
        first, second = _read([_failed(7, "x"), _failed(7, "y")])
        assert first == Row(7, "x")
        assert second == BadRow(-1, "duplicate", "row 2 has the index 7, which was there before", "y")

    def test_one_whose_input_nobody_kept_stays_what_it_was(self) -> None:
        rows = _read([_failed(7, None, code="too_large"), _failed(8, None, code=4000)])
        assert [(row.index, row.code) for row in rows if isinstance(row, BadRow)] == [(7, "too_large"), (8, "empty")]

    def test_lines_that_are_none_have_indexes_of_their_own(self, tmp_path: Path) -> None:
        lines = [
            "{",
            json.dumps(_failed(0, "a")),
            json.dumps(_failed(-1, "b")),
            '"other"',
            json.dumps(_failed(-2, "c")),
        ]
        rows = _read(_written(tmp_path / "failed.jsonl", "\n".join(lines)))
        assert [(row.index, getattr(row, "code", None)) for row in rows] == [
            (-1, "undecodable"),
            (0, None),
            (-2, "duplicate"),
            (-3, "wrong_type"),
            (-4, "duplicate"),
        ]

    def test_among_results_they_are_no_rows(self) -> None:
        result = {"index": 0, "output": "x", "error": None}
        rows = _read([result, _failed(1, "y")])
        assert rows[0] == Row(0, result)
        assert isinstance(rows[1], BadRow)
        assert (rows[1].index, rows[1].code) == (1, "wrong_type")
        assert "failed_uri" in rows[1].msg

    @pytest.mark.parametrize(
        "row",
        [
            _failed("7", "x"),
            _failed(True, "x"),
            {"index": 7, "error": {"code": 1}},
            {"index": 7, "input": "x", "error": None},
            {"index": 7, "input": "x", "error": "none"},
        ],
    )
    def test_what_only_looks_like_one_is_a_row_like_others(self, row: Any) -> None:
        assert _read([row]) == [Row(0, row)]

    @EXAMPLES
    @given(st.lists(st.integers(-70, 140), max_size=60))
    def test_every_row_has_an_index_of_its_own(self, indexes: list[int]) -> None:
        rows = _read([_failed(index, "x") for index in indexes])
        assert len({row.index for row in rows}) == len(rows) == len(indexes)
        assert {row.index for row in rows if isinstance(row, Row)} <= set(indexes)


def test_neither_reprs_nor_errors_tell_what_is_in_a_row() -> None:
    assert "hunter2" not in repr(Row(0, "hunter2"))
    assert "hunter2" not in repr(BadRow(0, "empty", "x", "hunter2"))
