"""What an attempt reads of those before it: the same as a simple model says, wherever they were killed."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.batch.lines import to_line
from airflow_provider_coze.batch.past import Past, read_past
from airflow_provider_coze.batch.results import BUCKETS, RESULT_PREFIX, RowResult, bucket_of
from tests.batch.keeping import failed_row, good_row
from tests.properties.profiles import EXAMPLES

HEADER = b'{"t":"segment","version":1,"at":7.0}\n'


def segment(folder: Path, generation: int, content: bytes, number: int = 0) -> Path:
    (folder / "_journal").mkdir(exist_ok=True)
    path = folder / "_journal" / f"{generation:05d}-a.x-{number:05d}.jsonl"
    path.write_bytes(content)
    return path


def intent(marker: str, *rows: int) -> dict[str, Any]:
    return {"t": "intent", "rows": list(rows), "marker": marker, "hash": f"h{marker}", "at": 1.0}


def bought(marker: str, number: int = 1) -> dict[str, Any]:
    return {"t": "bought", "marker": marker, "ids": {"execute_id": str(number)}, "at": 2.0}


def nothing(marker: str) -> dict[str, Any]:
    return {"t": "nothing", "marker": marker}


def written(event: dict[str, Any] | RowResult) -> bytes:
    return (RESULT_PREFIX + event.to_line()[1:] if isinstance(event, RowResult) else to_line(event)) + b"\n"


def read(folder: Path, *attempts: list[Any]) -> Past:
    for generation, events in enumerate(attempts, 1):
        segment(folder, generation, HEADER + b"".join(map(written, events)))
    return read_past(str(folder))


def state_of(past: Past) -> dict[str, Any]:
    return {
        "open": {found.marker: (found.rows, found.hash, dict(found.ids)) for found in past.open},
        "done": {known.index: (known.bucket, known.input_hash) for known in past.results()},
        "tries": {row: past.tries(row) for row in range(6)},
        "tokens": past.usage.token_count,
        "notes": past.notes,
    }


# --- single rules


def test_a_request_is_open_until_all_of_its_rows_have_an_outcome(tmp_path: Path) -> None:
    past = read(tmp_path, [intent("m", 1, 2), bought("m"), good_row(1)])
    assert [(found.marker, found.rows) for found in past.open] == [("m", (1, 2))]
    assert read(tmp_path, [intent("m", 1, 2), bought("m"), good_row(1), failed_row(2)]).open == []


def test_rows_that_were_sent_anew_are_not_open_twice(tmp_path: Path) -> None:
    past = read(tmp_path, [intent("m", 1, 2), bought("m")], [intent("n", 1), intent("o", 2)])
    assert [found.marker for found in past.open] == ["n", "o"]
    assert (past.tries(1), past.tries(2)) == (2, 2)


def test_a_request_that_started_nothing_is_no_try(tmp_path: Path) -> None:
    past = read(tmp_path, [intent("m", 1), nothing("m"), intent("n", 1), {"t": "over", "marker": "n", "usage": None}])
    assert (past.open, past.tries(1)) == ([], 1)


def test_a_later_outcome_counts_in_the_order_of_attempts(tmp_path: Path) -> None:
    past = read(
        tmp_path, [failed_row(1), good_row(2, input_hash="old")], [good_row(1), failed_row(2, input_hash="new")]
    )
    first, second = past.result(1), past.result(2)
    assert first is not None
    assert second is not None
    assert (first.ok, second.ok, second.input_hash) == (True, False, "new")


def test_a_failure_does_not_take_the_place_of_an_output_that_is_paid_for(tmp_path: Path) -> None:
    past = read(tmp_path, [good_row(1), failed_row(1)])
    known = past.result(1)
    assert known is not None
    assert known.ok


def test_rows_that_are_to_be_asked_again_have_no_outcome_and_no_tries(tmp_path: Path) -> None:
    again = {"t": "again"}
    events: list[Any] = [intent("m", 1), failed_row(1), good_row(2), intent("n", 3), failed_row(3), intent("o", 3)]
    past = read(tmp_path, events, [again])
    assert ([past.result(n) for n in (1, 3)], len(past)) == ([None, None], 1)
    assert [past.tries(n) for n in (1, 3)] == [0, 1]
    assert read(tmp_path, events, [again, nothing("o"), good_row(1)]).tries(3) == 0
    assert len(read_past(str(tmp_path))) == 2


def test_conversations_that_coze_has_made_for_known_chats_are_known_when_those_are_over(tmp_path: Path) -> None:
    ids = {"chat_id": "c", "conversation_id": "made by Coze"}
    own = {**intent("n", 2), "conversation_id": "made before"}
    others = {"chat_id": "d", "conversation_id": "made before"}
    events = [intent("m", 1), {**bought("m"), "ids": ids}, good_row(1), own, {**bought("n"), "ids": others}]
    assert read(tmp_path, events).conversations == {"made by Coze"}


def test_rows_that_nobody_knows_about_are_asked_again_only_if_that_is_said(tmp_path: Path) -> None:
    unknown = failed_row(1, "CozeOutcomeUnknownError")
    past = read(tmp_path, [unknown, failed_row(2), {"t": "again", "unknown": False}])
    assert [known and known.bucket for known in map(past.result, (1, 2))] == ["unknown", None]
    assert read(tmp_path, [unknown, {"t": "again", "unknown": True}]).result(1) is None


def test_a_name_that_it_gave_to_the_end_is_of_the_last_attempt(tmp_path: Path) -> None:
    done = {"t": "ended", "reason": "complete"}
    assert read(tmp_path, [done]).ended == "complete"
    assert read(tmp_path, [done], [intent("m", 1)]).ended is None
    assert read(tmp_path, [done], [intent("m", 1)], [done]).ended == "complete"


def test_attempts_are_in_the_order_of_their_numbers_and_not_of_their_digits(tmp_path: Path) -> None:
    for generation in (9, 10, 99_999, 100_000):
        segment(tmp_path, generation, HEADER + written({"t": "note", "facts": {"last": generation}}))
    past = read_past(str(tmp_path))
    assert (past.notes, past.attempts, past.started_at) == ({"last": 100_000}, 4, 7.0)


# --- kills

EVENTS: list[Any] = [
    intent("m", 1, 2),
    bought("m"),
    good_row(1, "好\n"),
    intent("n", 3),
    {"t": "note", "facts": {"shown": True}},
    bought("n", 2),
    failed_row(3, value={"text": "\u2028\r"}),
    failed_row(2),
    intent("o", 2, 3),
    nothing("o"),
]


@pytest.mark.parametrize("every", [37, pytest.param(1, marks=pytest.mark.matrix)])
def test_a_kill_at_any_byte_leaves_the_events_before_it(tmp_path: Path, every: int) -> None:
    lines = [HEADER, *map(written, EVENTS)]
    content = b"".join(lines)
    ends = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
    path = segment(tmp_path, 1, content)
    states: dict[int, dict[str, Any]] = {}
    near_ends = {end + off for end in ends for off in (-1, 0, 1)}
    for size in sorted({*range(0, len(content), every), *near_ends} & set(range(len(content) + 1))):
        path.write_bytes(content[:size])
        whole = max(n for n, end in enumerate(ends) if end <= size)
        state = state_of(read_past(str(tmp_path)))
        assert state == states.setdefault(whole, state)
    for whole, state in states.items():
        assert state == model([EVENTS[: max(0, whole - 1)]])


# --- the model


@dataclass
class Model:
    """Says of a list of events what is open and done, by looking at all of it again for each question."""

    events: list[Any] = field(default_factory=list)

    def is_open(self, start: int, until: int) -> bool:
        """Whether the intent at *start* is open after the events before *until*."""
        made = self.events[start]
        after = self.events[start + 1 : until]
        if any(_kind(event) in ("nothing", "over") and event["marker"] == made["marker"] for event in after):
            return False
        return any(not any(_settles(event, row) for event in after) for row in made["rows"])

    def intents(self) -> list[int]:
        return [n for n, event in enumerate(self.events) if _kind(event) == "intent"]

    def ids(self, start: int) -> dict[str, str]:
        ids: dict[str, str] = {}
        for event in self.events[start:]:
            if _kind(event) == "bought" and event["marker"] == self.events[start]["marker"]:
                ids = event["ids"]
        return ids

    def tries(self, row: int) -> int:
        made = [start for start in self.intents() if row in self.events[start]["rows"]]
        forgotten = max([n for n, event in enumerate(self.events) if self._forgets(n, event, row)], default=-1)
        return sum(
            not self._never_started(start, row)
            for start in made
            if start > forgotten or (start == made_before(made, forgotten) and self._awaits(start, row, forgotten))
        )

    def _forgets(self, n: int, event: Any, row: int) -> bool:
        """Whether this is where the failure of a row is forgotten, and its tries with it."""
        if _kind(event) != "again":
            return False
        outcome = Model(self.events[:n]).outcome(row)
        return outcome is not None and outcome[0] != "succeeded"

    def _awaits(self, start: int, row: int, until: int) -> bool:
        after = self.events[start + 1 : until]
        return self.is_open(start, until) and not any(_settles(event, row) for event in after)

    def _never_started(self, start: int, row: int) -> bool:
        marker = self.events[start]["marker"]
        return any(
            _kind(event) == "nothing" and event["marker"] == marker and n > start and self._awaits(start, row, n)
            for n, event in enumerate(self.events)
        )

    def outcome(self, row: int) -> tuple[str, str] | None:
        found: tuple[str, str] | None = None
        for event in self.events:
            if isinstance(event, RowResult) and event.index == row:
                new = (bucket_of(event.error and event.error.type), event.input_hash)
                if found is None or not (found[0] == "succeeded" != new[0] and found[1] == new[1]):
                    found = new
            elif _kind(event) == "again" and found is not None and found[0] != "succeeded":
                found = None
        return found


def made_before(made: list[int], until: int) -> int:
    return max([start for start in made if start < until], default=-1)


def model(attempts: list[list[Any]]) -> dict[str, Any]:
    of = Model([event for events in attempts for event in events])
    rows = range(6)
    notes: dict[str, Any] = {}
    for event in of.events:
        notes |= event["facts"] if _kind(event) == "note" else {}
    return {
        "open": {
            of.events[n]["marker"]: (tuple(of.events[n]["rows"]), of.events[n]["hash"], of.ids(n))
            for n in of.intents()
            if of.is_open(n, len(of.events))
        },
        "done": {row: outcome for row in rows if (outcome := of.outcome(row)) is not None},
        "tries": {row: of.tries(row) for row in rows},
        "tokens": sum(e.usage.token_count for e in of.events if isinstance(e, RowResult) and e.usage)
        + sum(e["usage"]["token_count"] for e in of.events if _kind(e) == "over" and e["usage"]),
        "notes": notes,
    }


def _kind(event: Any) -> str:
    return "result" if isinstance(event, RowResult) else event["t"]


def _settles(event: Any, row: int) -> bool:
    if isinstance(event, RowResult):
        return event.index == row
    return event["t"] == "intent" and row in event["rows"]


_ROWS = st.integers(0, 5)
_HASHES = st.sampled_from(["h", "g"])
_STEPS = st.one_of(
    st.tuples(st.just("intent"), st.lists(_ROWS, min_size=1, max_size=3, unique=True)),
    st.tuples(st.sampled_from(["bought", "nothing", "over"]), st.integers(0, 9)),
    st.builds(good_row, _ROWS, input_hash=_HASHES, tokens=st.integers(1, 9)),
    st.builds(failed_row, _ROWS, st.sampled_from(["CozeRunFailedError", "CozeOutcomeUnknownError"]), _HASHES),
    st.just(("again", None)),
    st.tuples(st.just("note"), st.dictionaries(st.sampled_from("ab"), _ROWS, max_size=2)),
)


def events_of(attempts: list[list[Any]]) -> list[list[Any]]:
    """Return events for steps; each intent has a marker of its own, and those about markers are about one that was made."""
    made: list[str] = []
    everything = []
    for steps in attempts:
        events: list[Any] = []
        for step in steps:
            if isinstance(step, RowResult):
                events.append(step)
                continue
            kind, what = step
            if kind == "intent":
                made.append(f"m{len(made)}")
                events.append(intent(made[-1], *what))
            elif kind == "again":
                events.append({"t": "again"})
            elif kind == "note":
                events.append({"t": "note", "facts": what})
            elif made:
                marker = made[what % len(made)]
                usage = {"token_count": what, "input_count": what, "output_count": 0} if what % 2 else None
                about: dict[str, Any] = {"over": {"t": "over", "marker": marker, "usage": usage}}
                about |= {"bought": bought(marker, what), "nothing": nothing(marker)}
                events.append(about[kind])
        everything.append(events)
    return everything


@EXAMPLES
@given(
    st.lists(st.lists(_STEPS, max_size=14), min_size=1, max_size=3).map(events_of),
    st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
    st.booleans(),
)
def test_whatever_happens_and_whenever_attempts_are_killed_the_past_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, attempts: list[list[Any]], kills: list[int], in_parts: bool
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    left: list[list[Any]] = []
    for generation, (events, kill) in enumerate(zip(attempts, kills, strict=False), 1):
        lines = [HEADER, *map(written, events)]
        content = b"".join(lines)
        size = len(content) if kill > 5_000 else kill * len(content) // 5_000
        whole = [n for n in range(len(lines) + 1) if sum(map(len, lines[:n])) <= size]
        left.append(events[: max(0, max(whole) - 1)])
        if in_parts:
            for number, event in enumerate(left[-1]):
                segment(folder, generation, HEADER + written(event), number)
        else:
            segment(folder, generation, content[:size])
    assert state_of(read_past(str(folder))) == model(left)


# --- size


@pytest.mark.matrix
def test_the_past_of_50_000_rows_fits_into_20_megabytes(tmp_path: Path) -> None:
    with segment(tmp_path, 1, HEADER).open("ab") as file:
        for n in range(50_000):
            print_ = f"{n:040x}"
            file.write(written({**intent(f"{n}", n), "hash": print_}) + written(bought(f"{n}")))
            file.write(written(good_row(n, "x" * 2_000, print_)))
    tracemalloc.start()
    past = read_past(str(tmp_path))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(past) == 50_000
    assert kept < 15e6
    assert peak < 20e6


def test_every_bucket_has_a_name_of_its_own() -> None:
    assert len(set(BUCKETS)) == len(BUCKETS)
    assert {bucket_of(None), bucket_of("CozeChatTimeoutError"), bucket_of("AnythingElse")} <= set(BUCKETS)
