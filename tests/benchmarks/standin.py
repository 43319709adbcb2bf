"""A fast stand-in for Coze to measure against: it knows eight requests, answers with prepared bytes, and notes when each arrived.

``python -m tests.benchmarks.standin --port 0`` prints one line of JSON: ``base_url``, and ``connection``, a value for
``AIRFLOW_CONN_COZE_DEFAULT``. It is no emulator: it believes every id and token, and knows no error but 4013. Nothing here is
imported by a client, except :func:`serving` and :class:`Standin`, which start it in a process of its own and ask it what it saw.

``/_…`` is for whoever measures, is not counted, and answers JSON:

``/_stats``           requests by kind and by second, the worst second of each class, how many chats and runs were read
``/_count``           how many requests came so far: the smallest answer there is
``/_begin?count=N``   begin N chats without counting requests; ``&spread=S``: evenly over the next S seconds
``/_chats``           id → [when it began, when it ends, when its end was first read or null], in Unix seconds
``/_reset``           forget all of that
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "pat_standin"
BOT, WORKFLOW, CONVERSATION = "7511000000000000001", "7511500000000000001", "7512000000000000100"
#: The first of them; the others follow. All ids have nineteen digits, as Coze's have.
FIRST_CHAT, FIRST_RUN, FIRST_CONVERSATION = 7512100000000000000, 7513100000000000000, 7512200000000000000
LOGID = "20260101000000ABCDEF0123456789AB"

#: Chats of which it knows what was asked, for those who look for theirs; and how many conversations are on a page.
KEPT, PAGE = 2_000, 50

#: kind of request → whose budget it spends.
CLASSES = {
    "chat": "chat",
    "retrieve": "chat",
    "messages": "chat",
    "run": "workflow",
    "history": "workflow",
    "conversation": "other",
    "conversations": "other",
    "questions": "other",
    "other": "other",
}


# --- what it answers: the bodies of tests/samples, with other ids


def _reply(body: Any, status: str = "200 OK") -> bytes:
    """Return a whole answer; its head is as long as Coze's."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(content)}\r\n"
        f"X-Tt-Logid: {LOGID}\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n"
        "X-Content-Type-Options: nosniff\r\nVary: Accept-Encoding\r\n\r\n"
    )
    return head.encode() + content


def _ok(data: Any, **beside: Any) -> bytes:
    return _reply({"code": 0, "msg": "", "data": data, **beside, "detail": {"logid": LOGID}})


def _chat(chat_id: str, conversation_id: str, status: str) -> dict[str, Any]:
    done = status == "completed"
    usage = {"token_count": 120, "output_count": 20, "input_count": 100} if done else dict.fromkeys(_USAGE, 0)
    chat = {
        "id": chat_id,
        "conversation_id": conversation_id,
        "bot_id": BOT,
        "created_at": 1764800000,
        "last_error": {"code": 0, "msg": ""},
        "meta_data": {"airflow_key": "dag42/run1/task/-1"},
        "status": status,
        "usage": usage,
        "section_id": "7512000000000000101",
    }
    return {**chat, "completed_at": 1764800004} if done else chat


_USAGE = ("token_count", "output_count", "input_count")


def _messages(chat_id: str, conversation_id: str) -> list[dict[str, Any]]:
    def message(number: int, kind: str, content: str) -> dict[str, Any]:
        return {
            "id": f"751200000000000030{number}",
            "conversation_id": conversation_id,
            "bot_id": BOT,
            "chat_id": chat_id,
            "role": "assistant",
            "type": kind,
            "content": content,
            "content_type": "text",
            "created_at": 1764800003,
            "updated_at": 1764800004,
        }

    finish = '{"msg_type":"generate_answer_finish","data":"{\\"finish_reason\\":0}","from_module":null}'
    return [message(1, "answer", "Run 42 succeeded: positive."), message(2, "verbose", finish)]


def _history(execute_id: str, status: str) -> list[dict[str, Any]]:
    done = status == "Success"
    return [
        {
            "execute_id": execute_id,
            "execute_status": status,
            "bot_id": "0",
            "connector_id": "1024",
            "connector_uid": "3901000000000000",
            "run_mode": 2,
            "logid": LOGID,
            "create_time": 1764800000,
            "update_time": 1764800065,
            "output": '{"Output":"{\\"output\\":\\"42 rows\\"}"}' if done else "",
            "error_code": "",
            "error_message": "",
            "is_output_trimmed": False,
            "token": "0",
            "usage": {"token_count": 150, "output_count": 100, "input_count": 50} if done else dict.fromkeys(_USAGE, 0),
            "debug_url": _debug_url(execute_id),
            "node_execute_status": {},
        }
    ]


def _debug_url(execute_id: str) -> str:
    return f"https://www.coze.cn/work_flow?execute_id={execute_id}&space_id=7510000000000000001&workflow_id={WORKFLOW}&execute_mode=2"


def _template(make: Callable[..., bytes], *ids: str) -> Callable[..., bytes]:
    """Return *make* with its work done beforehand: its ids, all as long as *ids* are, are put into bytes that are ready."""
    marks = [f"{digit}" * 19 for digit in range(1, len(ids) + 1)]
    # One %b for each place, in the order in which they stand.
    made = make(*marks).replace(b"%", b"%%")
    found = sorted((at, n) for n, mark in enumerate(marks) for at in _places(made, mark.encode()))
    order = [n for _, n in found]
    for mark in marks:
        made = made.replace(mark.encode(), b"%b")
    return lambda *given: made % tuple([given[n] for n in order])


def _places(text: bytes, mark: bytes) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        yield at
        at = text.find(mark, at + 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A chat as it was sent."""

    id: str
    conversation_id: str
    at: float
    body: bytes


IDS = ("chat or run", "conversation")
CHAT_STARTED = _template(lambda chat, conversation: _ok(_chat(chat, conversation, "in_progress")), *IDS)
CHAT_GOES_ON = CHAT_STARTED
CHAT_COMPLETED = _template(lambda chat, conversation: _ok(_chat(chat, conversation, "completed")), *IDS)
MESSAGES = _template(lambda chat, conversation: _ok(_messages(chat, conversation)), *IDS)
RUN_STARTED = _template(
    lambda run: _reply(
        {"code": 0, "msg": "", "execute_id": run, "debug_url": _debug_url(run), "detail": {"logid": LOGID}}
    ),
    IDS[0],
)
RUN_GOES_ON = _template(lambda run: _ok(_history(run, "Running")), IDS[0])
RUN_SUCCEEDED = _template(lambda run: _ok(_history(run, "Success")), IDS[0])
CONVERSATION_CREATED = _template(
    lambda conversation: _ok({"id": conversation, "created_at": 1764800000, "meta_data": {}, "connector_id": "1024"}),
    IDS[1],
)


def _conversation(id_: str, at: float) -> dict[str, Any]:
    return {"id": id_, "created_at": int(at), "meta_data": {}, "creator_id": "3901000000000000", "connector_id": "1024"}


def _question(chat: Asked) -> dict[str, Any]:
    """Return the question of a chat, with the meta_data it was sent with; read from its body only when somebody asks."""
    sent = json.loads(chat.body)["additional_messages"][-1]
    return {
        "id": "7512000000000000300",
        "conversation_id": chat.conversation_id,
        "bot_id": "",
        "chat_id": chat.id,
        "created_at": int(chat.at),
        **{name: sent.get(name) for name in ("role", "type", "content", "content_type")},
        "meta_data": sent.get("meta_data", {}),
    }


TOO_MANY = _reply({"code": 4013, "msg": "Request too frequent", "detail": {"logid": LOGID}}, "429 Too Many Requests")
#: To whatever else is asked, such as what the peers ask their services: it goes on.
GOES_ON = _reply(
    {
        "id": "batch_1",
        "object": "batch",
        "status": "in_progress",
        "state": {"life_cycle_state": "RUNNING", "result_state": None, "state_message": ""},
        "data": {"id": 1, "status": 3, "is_complete": False, "is_success": False, "is_error": False},
        "run_id": 1,
        "input_file_id": "file_1",
        "endpoint": "/v1/responses",
        "completion_window": "24h",
        "created_at": 1764800000,
        "run_page_url": "http://127.0.0.1/",
        "request_counts": {"total": 1, "completed": 0, "failed": 0},
        "tasks": [],
    }
)


# --- what it knows


@dataclass(slots=True)
class Work:
    """A chat or a run."""

    began: float  # Unix seconds, of this machine's clock
    ends: float  # inf: never
    noticed: float | None = None  # when its end was first read
    reads: int = 0


def _took(work: Work) -> bytes:
    """Return when it ended if it began at 1764800000, in whole seconds, as Coze tells it."""
    return b"%d" % (1764800000 + int(work.ends) - int(work.began))


class Site:
    """What happened, and what is to be answered.

    :param seconds: how long chats and runs take: ``inf``, ``3``, ``uniform:2..20``, ``log:2..20``.
    :param limit: requests of each class that are answered in any one second; the others get 4013. 0: all are.
    """

    def __init__(self, seconds: str = "inf", limit: int = 0) -> None:
        self._duration = duration(seconds)
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        self.arrivals: dict[str, array[float]] = {kind: array("d") for kind in CLASSES}
        self.refused = 0
        self.chats: dict[str, Work] = {}
        self.runs: dict[str, Work] = {}
        self.conversations = 0
        self._recent: deque[Asked] = deque(maxlen=KEPT)
        self._windows = {name: array("d") for name in set(CLASSES.values())}
        self._heads = dict.fromkeys(self._windows, 0)

    def answer(self, method: bytes, target: bytes, body: bytes = b"") -> bytes:
        """Return the bytes for one request."""
        now = time.time()
        if target.startswith(b"/_"):
            return self._told(target.decode())
        path, _, query = target.partition(b"?")
        if path == b"/v3/chat/retrieve":
            return self._refusal("retrieve", now) or self._chat(query, now)
        if path == b"/v3/chat":
            return self._refusal("chat", now) or self._started(query, now, body)
        if path == b"/v3/chat/message/list":
            if refusal := self._refusal("messages", now):
                return refusal
            chat, conversation = _ids(query)
            return MESSAGES(chat, conversation)
        if path.startswith(b"/v1/workflows/") and b"/run_histories/" in path:
            return self._refusal("history", now) or self._history(path.rpartition(b"/")[2], now)
        if path == b"/v1/workflow/run":
            if refusal := self._refusal("run", now):
                return refusal
            run = str(FIRST_RUN + len(self.runs))
            self.runs[run] = self._begun(now)
            return RUN_STARTED(run.encode())
        if path == b"/v1/conversation/create":
            if refusal := self._refusal("conversation", now):
                return refusal
            self.conversations += 1
            return CONVERSATION_CREATED(b"%d" % (FIRST_CONVERSATION + self.conversations))
        if path == b"/v1/conversations":
            return self._refusal("conversations", now) or self._listed(query)
        if path == b"/v1/conversation/message/list":
            return self._refusal("questions", now) or self._questions(query)
        self._refusal("other", now)
        return GOES_ON

    def _refusal(self, kind: str, now: float) -> bytes | None:
        """Note a request, and return an answer if there were too many."""
        self.arrivals[kind].append(now)
        if not self._limit:
            return None
        window, head = self._windows[CLASSES[kind]], self._heads[CLASSES[kind]]
        while head < len(window) and window[head] <= now - 1:
            head += 1
        self._heads[CLASSES[kind]] = head
        if len(window) - head >= self._limit:
            self.refused += 1
            return TOO_MANY
        window.append(now)
        return None

    def _begun(self, now: float) -> Work:
        return Work(now, now + self._duration())

    def _started(self, query: bytes, now: float, body: bytes) -> bytes:
        chat = str(FIRST_CHAT + len(self.chats))
        self.chats[chat] = self._begun(now)
        conversation = _ids(query)[1]
        if not conversation:
            self.conversations += 1
            conversation = b"%d" % (FIRST_CONVERSATION + self.conversations)
        self._recent.append(Asked(chat, conversation.decode(), now, body))
        return CHAT_STARTED(chat.encode(), conversation)

    def _listed(self, query: bytes) -> bytes:
        """Return a page of the conversations of the last chats, newest first."""
        page = int(dict(field.split(b"=") for field in query.split(b"&")).get(b"page_num", 1)) if query else 1
        newest = list(reversed(self._recent))[(page - 1) * PAGE : page * PAGE]
        listed = [_conversation(chat.conversation_id, chat.at) for chat in newest]
        return _ok({"conversations": listed, "has_more": len(self._recent) > page * PAGE})

    def _questions(self, query: bytes) -> bytes:
        """Return the questions of a conversation, if it is one of the last."""
        wanted = _ids(query)[1].decode()
        found = [_question(chat) for chat in self._recent if chat.conversation_id == wanted]
        return _reply({"code": 0, "msg": "", "data": found, "has_more": False, "detail": {"logid": LOGID}})

    def _chat(self, query: bytes, now: float) -> bytes:
        chat, conversation = _ids(query)
        if not self._ended(self.chats, chat, now):
            return CHAT_GOES_ON(chat, conversation)
        return CHAT_COMPLETED(chat, conversation).replace(b"1764800004", _took(self.chats[chat.decode()]))

    def _history(self, run: bytes, now: float) -> bytes:
        if not self._ended(self.runs, run, now):
            return RUN_GOES_ON(run)
        return RUN_SUCCEEDED(run).replace(b"1764800065", _took(self.runs[run.decode()]))

    def _ended(self, known: dict[str, Work], id_: bytes, now: float) -> bool:
        name = id_.decode()
        work = known.get(name)
        if work is None:  # begun elsewhere
            work = known[name] = self._begun(now)
        work.reads += 1
        if now < work.ends:
            return False
        if work.noticed is None:
            work.noticed = now
        return True

    # --- for whoever measures

    def _told(self, target: str) -> bytes:
        parts = urlsplit(target)
        query = {name: float(values[0]) for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/_stats":
                return _reply(self.stats())
            case "/_count":
                return _reply({"count": sum(map(len, self.arrivals.values()))})
            case "/_begin":
                return _reply(self.begin(int(query.get("count", 1)), query.get("spread", 0.0)))
            case "/_chats":
                # JSON has no infinity.
                finite = {
                    id_: [work.began, None if work.ends == math.inf else work.ends, work.noticed]
                    for id_, work in self.chats.items()
                }
                return _reply(finite)
            case "/_reset":
                self.reset()
                return _reply({})
        return _reply({"error": "unknown"}, "404 Not Found")

    def begin(self, count: int, spread: float) -> list[str]:
        now, begun = time.time(), []
        for number in range(count):
            chat = str(FIRST_CHAT + len(self.chats))
            self.chats[chat] = self._begun(now + spread * number / count)
            begun.append(chat)
        return begun

    def stats(self) -> dict[str, Any]:
        """Return what came: ``worst`` is of a window that slides, ``per_second`` of whole seconds since the first request."""
        classes: dict[str, list[float]] = {}
        for kind, times in self.arrivals.items():
            classes.setdefault(CLASSES[kind], []).extend(times)
        for times in classes.values():
            times.sort()
        first = min((times[0] for times in classes.values() if times), default=0.0)
        return {
            "requests": {kind: len(times) for kind, times in self.arrivals.items()},
            "refused": self.refused,
            "first": first,
            "worst": {name: worst_second(times) for name, times in classes.items()},
            "per_second": {name: per_second(times, first) for name, times in classes.items()},
            "distinct": {"chats": len(self.chats), "runs": len(self.runs)},
            "reads": {
                "chats": sum(work.reads for work in self.chats.values()),
                "runs": sum(work.reads for work in self.runs.values()),
            },
            "noticed": sum(work.noticed is not None for work in self.chats.values()),
        }


def _ids(query: bytes) -> tuple[bytes, bytes]:
    """Return the chat's and the conversation's id of a query, whatever their order."""
    chat = conversation = b""
    for field in query.split(b"&"):
        if field.startswith(b"chat_id="):
            chat = field[8:]
        elif field.startswith(b"conversation_id="):
            conversation = field[16:]
    return chat, conversation


def duration(text: str) -> Callable[[], float]:
    """Return what draws seconds: ``inf``, ``3``, ``uniform:2..20`` or ``log:2..20`` (the logarithm is uniform).

    Not by chance, which makes medians of some hundreds differ by a tenth: steps of the golden ratio, taken modulo 1, spread any
    number of them evenly, in an order without a pattern (D. Knuth, The Art of Computer Programming, vol. 3, 6.4).
    """
    step, drawn = (math.sqrt(5) - 1) / 2, itertools.count(1)

    kind, _, bounds = text.rpartition(":")
    if not kind:
        fixed = float(bounds)
        return lambda: fixed
    low, high = map(float, bounds.split(".."))
    if kind == "uniform":
        return lambda: low + (high - low) * (next(drawn) * step % 1)
    if kind == "log":
        return lambda: low * (high / low) ** (next(drawn) * step % 1)
    raise ValueError(f"{text!r}: a number, uniform:a..b or log:a..b")


def worst_second(times: list[float]) -> int:
    """Return the most of *times*, which are sorted, that are in any one second."""
    worst = head = 0
    for n, now in enumerate(times):
        while times[head] <= now - 1:
            head += 1
        worst = max(worst, n - head + 1)
    return worst


def per_second(times: list[float], first: float) -> list[int]:
    """Return how many of *times* are in each second since *first*."""
    counts = [0] * (int(times[-1] - first) + 1) if times else []
    for at in times:
        counts[int(at - first)] += 1
    return counts


# --- the server


class Connection(asyncio.Protocol):
    """One connection: requests are answered in their order, each after the latency."""

    def __init__(self, site: Site, latency: float) -> None:
        self._site, self._latency = site, latency
        self._unread = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._unread + data if self._unread else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            method, target, _ = data.split(b" ", 2)
            whole = end + 4
            if method != b"GET":
                whole += _length(data[:end])
                if len(data) < whole:
                    break
            answer = self._site.answer(method, target, data[end + 4 : whole])
            if self._latency and not target.startswith(b"/_"):
                self._loop.call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)
            data = data[whole:]
        self._unread = data


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])


async def serve(site: Site, port: int, latency: float, extra: dict[str, Any], parent: int = 0) -> None:
    """Serve until a signal comes, or until the process *parent* (0: any) is not there any more."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site, latency), "127.0.0.1", port, backlog=4096)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    connection = {"conn_type": "coze", "host": base_url, "password": TOKEN, "extra": extra}
    print(json.dumps({"base_url": base_url, "connection": json.dumps(connection)}), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set() and (not parent or os.getppid() == parent):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
    server.close()


# --- for those who measure


class Standin:
    """A stand-in that runs in a process of its own."""

    def __init__(self, base_url: str, connection: str) -> None:
        self.base_url, self.connection = base_url, connection

    def ask(self, target: str) -> Any:
        """Return what one of the ``/_…`` says."""
        parts = urlsplit(self.base_url)
        asked = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        with contextlib.closing(asked):
            asked.request("GET", target)
            return json.loads(asked.getresponse().read())


@contextlib.contextmanager
def serving(
    *, latency_ms: float = 0, seconds: str = "inf", limit: int = 0, extra: dict[str, Any] | None = None
) -> Iterator[Standin]:
    """Start a stand-in in another process, for the length of a ``with`` block.

    :param latency_ms: how long each answer takes.
    :param seconds: how long chats and runs take; see :class:`Site`.
    :param limit: requests of each class in any one second before 4013 is answered. 0: never.
    :param extra: the connection's extras, such as ``chat_qps``.
    """
    options = ["--latency-ms", str(latency_ms), "--seconds", seconds, "--limit", str(limit)]
    options += ["--extra", json.dumps(extra or {}), "--parent", str(os.getpid())]
    command = [sys.executable, "-m", "tests.benchmarks.standin", "--port", "0", *options]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Standin(**json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    """Be the stand-in until a signal comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent", type=int, default=0, help="end with the process that has this id")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--seconds", default="inf", help="how long chats take: inf, 3, uniform:2..20, log:2..20")
    parser.add_argument("--limit", type=int, default=0, help="requests of a class in one second before 4013; 0: never")
    parser.add_argument("--extra", type=json.loads, default={}, help="extras of the connection, as JSON")
    given = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    site = Site(given.seconds, given.limit)
    asyncio.run(serve(site, given.port, given.latency_ms / 1000, given.extra, given.parent))


if __name__ == "__main__":
    main()
