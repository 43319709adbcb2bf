"""Server-sent events: any bytes, cut anywhere, give what the standard's own algorithm gives of the whole."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_coze.errors import CozeError, CozeProtocolError
from airflow_provider_coze.protocol.sse import Decoder, Event
from tests.properties.profiles import EXAMPLES

#: Pieces that streams are made of, and pieces that they are broken with.
_PIECES = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\0"),
        *(
            b"data: ",
            b"data:",
            b"event: ",
            b"id: 7",
            b'"[DONE]"',
            b"{}",
            "星期三".encode(),
            b"\xe6\x98",
            b"\x9f",
            b"\xff",
        ),
        *(
            b"\xef\xbb\xbf",
            b"\xef\xbb",
            b"\xbf",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x98",
            b"\x85",
            b"\xe2\x80\xa8",
            b"DATA",
            b"x",
        ),
    ]
)
streams = st.lists(_PIECES | st.binary(max_size=3), max_size=24).map(b"".join)


def _cut(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(stream)), max_size=8).map(sorted)
    return places.map(lambda cuts: [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])


chunked = streams.flatmap(lambda stream: st.tuples(st.just(stream), _cut(stream)))


def standard(stream: bytes) -> list[Event]:
    """Read a whole stream, word for word as the standard has it, but for ids, which are not inherited here.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # what the end cut off is no line
    events: list[Event] = []
    data, event, last_id = "", "", None
    for line in lines:
        if line == "":
            if data:
                events.append(Event(event or "message", data.removesuffix("\n"), last_id))
            data, event, last_id = "", "", None
        elif not line.startswith(":"):
            field, colon, value = line.partition(":")
            value = value[1:] if colon and value.startswith(" ") else value
            match field:
                case "event":
                    event = value
                case "data":
                    data += value + "\n"
                case "id" if "\0" not in value:
                    last_id = value
    return events


def fed(decoder: Decoder, chunks: Sequence[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@EXAMPLES
@given(chunked)
def test_any_stream_gives_the_events_of_the_standard_wherever_it_is_cut(drawn: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = drawn
    assert fed(Decoder(), chunks) == standard(stream)


@EXAMPLES
@given(chunked)
def test_what_a_stream_ends_with_does_not_depend_on_the_cuts(drawn: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = drawn
    whole, pieces = Decoder(), Decoder()
    fed(whole, [stream])
    fed(pieces, chunks)
    cut = whole.close()
    assert pieces.close() == cut
    if cut is not None:  # an end of the line, and the blank line, would have completed it, if it has data at all
        completed = standard(stream + b"\n\n")[len(standard(stream)) :]
        assert completed in ([cut], [])
        assert completed or not cut.data


@EXAMPLES
@given(chunked, st.integers(0, 40))
def test_a_bound_gives_the_same_events_and_the_same_refusal_wherever_the_stream_is_cut(
    drawn: tuple[bytes, list[bytes]], bound: int
) -> None:
    def read(chunks: Sequence[bytes]) -> tuple[list[Event], Event | str | None]:
        decoder, events = Decoder(max_event_bytes=bound), []
        try:
            for chunk in chunks:
                events += decoder.feed(chunk)
            return events, decoder.close()
        except CozeProtocolError as error:
            return events, str(error)

    stream, chunks = drawn
    events, end = read(chunks)
    assert (events, end) == read([stream])
    assert events == standard(stream)[: len(events)]
    assert isinstance(end, str) or events == standard(stream)


@EXAMPLES
@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 200))
def test_bytes_that_are_no_stream_are_no_exception_but_ours(chunks: list[bytes], bound: int) -> None:
    decoder = Decoder(max_event_bytes=bound)
    with contextlib.suppress(CozeError):
        for event in [*fed(decoder, chunks), decoder.close()]:
            assert event is None or len(event.data.encode()) <= 3 * bound  # a byte that is no UTF-8 becomes three


#: One line each: everything but line ends, and nothing that the decoding of UTF-8 would replace.
_LINES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)


@EXAMPLES
@given(
    st.lists(st.tuples(_LINES, st.lists(_LINES, min_size=1, max_size=3), st.none() | _LINES), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_what_a_server_writes_comes_out_again(
    sent: list[tuple[str, list[str], str | None]], end: str, data: st.DataObject
) -> None:
    """Written as the standard asks servers to."""
    stream = "".join(
        "".join(f"{line}{end}" for line in [*([] if id is None else [f"id: {id}"]), f"event: {name}", *(f"data: {d}" for d in said), ""])
        for name, said, id in sent
    )  # fmt: skip
    expected = [
        Event(name or "message", "\n".join(said), None if id is None or "\0" in id else id) for name, said, id in sent
    ]
    assert fed(Decoder(), data.draw(_cut(stream.encode()))) == expected
