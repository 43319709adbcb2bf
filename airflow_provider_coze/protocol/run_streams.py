"""Fold the events of a workflow's stream into what became of its run. No sockets, no clock; see ``streams``.

https://www.coze.cn/open/docs/developer_guides/workflow_stream_run, and the recordings of github.com/coze-dev/coze-py,
tests/testdata/workflow_run_stream_resp.txt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_coze.protocol import outputs
from airflow_provider_coze.protocol.endpoints.workflow import execute_id_in
from airflow_provider_coze.protocol.flows import RunResult
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import LastError, RunHistory, Usage, integer, mapping, text_or_none
from airflow_provider_coze.protocol.sse import Event
from airflow_provider_coze.protocol.streams import Lines, payload_of, reported_error

__all__ = ["RunFold"]


@dataclass(slots=True)
class _Node:
    """What one execution of one node says, in pieces."""

    title: str
    kind: str  # "" where Coze does not say
    pieces: list[str] = field(default_factory=list, repr=False)
    next_piece: int = 0
    is_finished: bool = False
    looks_like_end: bool = False
    lines: Lines = field(default_factory=Lines, repr=False)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class RunFold:
    """The stream of a run, or of what follows an answer to its question.

    :param execute_id: the run's, where it is known: on the cloud a stream says it only at its end.
    :param logid: of the answer that the stream is, for errors.
    """

    def __init__(self, *, execute_id: str = "", logid: str | None = None) -> None:
        self.execute_id = execute_id  # "": not said yet
        self.debug_url: str | None = None  # valid for 7 days
        self.interrupt: Mapping[str, Any] | None = None  # interrupt_data, with the node_title beside it
        self.error: LastError | None = None
        self.usage: Usage | None = None
        self.ended = False
        self.done = False
        self.lost = 0  # events and pieces that the numbers say are missing
        self.unknown: Counter[str] = Counter()  # events that nobody knows, by name
        self.logid = logid
        self._status = "Running"
        self._nodes: list[_Node] = []
        self._latest: dict[tuple[str, str], _Node] = {}
        self._last_id = -1  # they count from 0

    @property
    def is_whole(self) -> bool:
        """False: something got lost on the way, so the output is better read from the run's record."""
        return self.lost == 0

    @property
    def question(self) -> str:
        """What the node that interrupts the run said before it; the interrupt's own data can be empty then."""
        title = (self.interrupt or {}).get("node_title")
        said = [node.text for node in self._nodes if title and node.title == title]
        return said[-1] if said else ""

    def ids(self) -> dict[str, str | None]:
        """Return what finds the run again, as facts of an error."""
        return {"execute_id": self.execute_id or None, "debug_url": self.debug_url}

    def feed(self, event: Event) -> list[str]:
        """Take the next event, and return the whole lines that it completes of what nodes before the end say.

        :raises CozeProtocolError: its data cannot be understood; the run goes on.
        """
        self._count(event)
        match event.event:
            case "Message":
                return self._say(self._read(event))
            case "Interrupt":
                self._ask(self._read(event))
            case "Error":
                data = self._read(event)
                self._place(data)
                self._fail(reported_error(event), known=True)
            case "error":  # plain text: the stream broke inside the server, which says nothing of the run
                self._fail(reported_error(event), known=False)
            case "Done" | "done":
                if event.data.strip().startswith("{"):
                    self._place(self._read(event))
                self._end("Success")
            case "PING":
                pass
            case name:
                self.unknown[name] += 1
        return []

    def rescue(self, cut: Event) -> None:
        """Take the run's id out of an event that the end of the stream cut off."""
        found = re.search(r'(?:"event_id"\s*:\s*"(\d+)/|[?&]execute_id=(\d+)[&"\\])', cut.data.replace("\\u0026", "&"))
        if found and not self.execute_id:
            self.execute_id = found[1] or found[2]

    def output(self) -> JsonValue:
        """Return the result: the same value that ``outputs.history_output`` gives of the run's record.

        That is what the end node says: the one whose node_type is ``End``; where Coze names no types, the one whose message has
        token or cost beside it, or no title, as the recordings have it; else the last that finished. Where types are named and
        none is the end, only output nodes spoke: an object of their results by title. None: nobody said anything.
        """
        end = self._end_node()
        if end is not None:
            return outputs.run_output(end.text)
        spoken = self._spoken()
        return {title: outputs.run_output(text) for title, text in spoken.items()} if spoken else None

    def record(self) -> RunHistory:
        """Return how the run stands in the shape of its record, for whoever words its failure or waits on."""
        end, written = self._end_node(), dict[str, str](self._spoken())
        if end is not None:
            written["Output"] = end.text
        return RunHistory(
            execute_id=self.execute_id,
            execute_status=self._status,
            output=json.dumps(written, ensure_ascii=False) if written and self._status == "Success" else None,
            error_code=self.error.code if self.error else 0,
            error_message=self.error.msg if self.error else "",
            debug_url=self.debug_url,
            usage=self.usage,
            interrupt=self.interrupt,
            logid=self.logid,
        )

    def result(self) -> RunResult:
        """Return what a run that is done returned."""
        return RunResult(self.output(), self.execute_id, self.debug_url, self.usage, self.logid)

    # --- one event each

    def _read(self, event: Event) -> dict[str, Any]:
        which = f"Run {self.execute_id!r}" if self.execute_id else "The run"
        return payload_of(event, which, **self.ids(), logid=self.logid)

    def _count(self, event: Event) -> None:
        """Notice events that are missing. Whether a PING takes a number is not documented, so one does not prove a loss."""
        if event.id is None or not event.id.isdecimal() or len(event.id) > 18:
            return
        number = int(event.id)
        if event.event == "PING" and number != self._last_id + 1:
            return
        self.lost += max(0, number - self._last_id - 1)
        self._last_id = number

    def _say(self, data: Mapping[str, Any]) -> list[str]:
        self._place(data)
        if self.usage is None and (tokens := integer(data.get("token"))):
            self.usage = Usage(token_count=tokens)
        number = integer(data["node_seq_id"]) if data.get("node_seq_id") not in (None, "") else None
        node = self._node(data, number)
        if number is not None:
            self.lost += max(0, number - node.next_piece)
            node.next_piece = max(node.next_piece, number + 1)
        piece = text_or_none(data.get("content")) or ""
        node.pieces.append(piece)
        node.is_finished = node.is_finished or bool(data.get("node_is_finish"))
        node.looks_like_end = node.looks_like_end or not node.title or "token" in data or "cost" in data
        if node.looks_like_end or node.kind.lower() == "end":
            return []  # it is the result
        lines = node.lines.add(piece)
        return [*lines, *node.lines.end()] if node.is_finished else lines

    def _node(self, data: Mapping[str, Any], number: int | None) -> _Node:
        """Return the node that speaks: the one that spoke before, or, in a loop, the same once more."""
        title = str(data.get("node_title") or "")
        key = (title, str(data.get("node_execute_uuid") or data.get("node_id") or ""))
        node = self._latest.get(key)
        if node is None or (node.is_finished and number in (None, 0)):
            node = self._latest[key] = _Node(title, str(data.get("node_type") or ""))
            self._nodes.append(node)
        return node

    def _ask(self, data: Mapping[str, Any]) -> None:
        self._place(data)
        self.interrupt = {**mapping(data.get("interrupt_data")), "node_title": str(data.get("node_title") or "")}
        self.execute_id = str(self.interrupt.get("event_id") or "").partition("/")[0] or self.execute_id
        self._end("Running")

    def _fail(self, error: LastError, *, known: bool) -> None:
        self.error = error
        if known or error.code:
            self._end("Fail")

    def _place(self, data: Mapping[str, Any]) -> None:
        """Keep where the run can be seen, and what it has used, if the event says so."""
        self.usage = Usage.from_body(data.get("usage")) or self.usage
        self.debug_url = text_or_none(data.get("debug_url")) or self.debug_url
        self.execute_id = str(data.get("execute_id") or "") or execute_id_in(self.debug_url) or self.execute_id

    def _end(self, status: str) -> None:
        if not self.ended:
            self._status = status
        self.ended = self.done = True

    def _end_node(self) -> _Node | None:
        finished = [node for node in self._nodes if node.is_finished]
        ends = [node for node in finished if node.kind.lower() == "end"]
        if not any(node.kind for node in finished):
            ends = [node for node in finished if node.looks_like_end] or finished[-1:]
        return ends[-1] if ends else None

    def _spoken(self) -> dict[str, str]:
        end = self._end_node()
        return {node.title: node.text for node in self._nodes if node.is_finished and node is not end}
