"""What a server, a proxy or a person can send: arbitrary values, and recorded answers with parts replaced."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from airflow_provider_coze.protocol.endpoints import account, catalogue, chat, conversation, file, workflow
from airflow_provider_coze.protocol.json_text import read_json
from airflow_provider_coze.protocol.messages import Call, Response
from tests.driving import SAMPLES

__all__ = [
    "CALLS",
    "answers",
    "anything",
    "deep",
    "headers",
    "json_values",
    "kept_values",
    "of_operation",
    "texts",
    "written",
]

_CHAT = {"conversation_id": "7512000000000000100", "chat_id": "7512000000000000201"}
_RUN = {"workflow_id": "7511500000000000001", "execute_id": "7513000000000000002"}

#: One call for each operation, by the folder of its samples.
CALLS: dict[str, Call[Any]] = {
    "benefit": account.benefits(),
    "bot_list": catalogue.list_bots(workspace_id="1"),
    "chat_cancel": chat.cancel_chat(**_CHAT),
    "chat_create": chat.create_chat(bot_id="1", user_id="u", additional_messages=[]),
    "chat_messages": chat.chat_messages(**_CHAT),
    "chat_retrieve": chat.retrieve_chat(**_CHAT),
    "chat_submit": chat.submit_tool_outputs(**_CHAT, tool_outputs=[]),
    "conversation_create": conversation.create_conversation(),
    "conversation_list": conversation.list_conversations(bot_id="1"),
    "conversation_messages": conversation.conversation_messages(conversation_id="1"),
    "conversation_rename": conversation.rename_conversation(conversation_id="1", name="n"),
    "conversation_retrieve": conversation.retrieve_conversation(conversation_id="1"),
    "file_retrieve": file.retrieve_file(file_id="1"),
    "file_upload": file.upload_file(filename="a", content=b""),
    "message_modify": conversation.modify_message(conversation_id="1", message_id="2", meta_data={}),
    "users_me": account.current_user(),
    "workflow_history": workflow.run_history(**_RUN),
    "workflow_info": workflow.workflow_info(workflow_id="1"),
    "workflow_list": catalogue.list_workflows(workspace_id="1"),
    "workflow_node": workflow.node_output(**_RUN, node_execute_uuid="1"),
    "workflow_resume": workflow.resume_workflow(workflow_id="1", event_id="1/2", interrupt_type=2, resume_data="x"),
    "workflow_run": workflow.run_workflow(workflow_id="1", parameters={}, is_async=True),
    "workspace_list": account.list_workspaces(),
}

# --- values

#: Words that branches are made for, and texts that readers of numbers, addresses and JSON stumble over.
_WORDS = st.one_of(
    st.sampled_from(
        ["completed", "failed", "canceled", "requires_action", "in_progress", "Success", "Fail", "Running"]
    ),
    st.sampled_from(["answer", "follow_up", "assistant", "user", "4016", "4314", "", "0", "None", "nan", "1e400"]),
    st.sampled_from(["https://www.coze.cn/work_flow?execute_id=1", "http://[x", "9" * 4300, "9" * 5000]),
    st.sampled_from(["[[[", '{"Output":"{\\"a\\":1}"}', '{"content_type":1,"data":2}']),
)
#: Every character there is, halves of surrogate pairs too: JavaScript cuts texts in the middle of one, and JSON can say so.
texts = st.text(st.characters(), max_size=12) | _WORDS
_EDGES = st.sampled_from([2**31, 2**63, 2**64, 253_402_300_800, 10**400, -(10**4000)])
_WHOLE = st.integers(-1, 5000) | st.integers() | _EDGES
_SCALARS = st.none() | st.booleans() | _WHOLE | st.floats() | texts
#: Stands for lists or objects inside one another, as many as a hostile server likes; see ``written``.
deep = st.builds(
    lambda opening, depth: f"@deep {opening}{depth}@",
    st.sampled_from(["[", '{"a":']),
    st.sampled_from([20, 99, 500, 940, 960, 980, 100_000]),
)


def _fields() -> list[str]:
    """Return the names of all fields in all samples."""

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for item in value.values() for name in names(item)}
        return {name for item in value for name in names(item)} if isinstance(value, list) else set()

    samples = (json.loads(path.read_text("utf-8")) for path in SAMPLES.glob("*/*.json"))
    return sorted({name for sample in samples for name in names(sample["body"])})


_NAMES = st.sampled_from(_fields()) | texts

#: Any value that JSON, as Python reads it, can hold; its objects have Coze's field names more often than others.
json_values = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append({"again": circle})
    return circle


def _nest(depth: int) -> Any:
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


#: Any value that Python code can pass to an operator.
anything = st.recursive(
    _SCALARS | st.binary(max_size=3) | st.builds(object) | st.builds(_circle) | st.sampled_from([50, 5000]).map(_nest),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(_NAMES | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


# --- answers

#: Stands for a part that is taken away.
_GONE = object()
_CHANGES = st.one_of(json_values, _SCALARS, st.just(_GONE), deep)


def written(value: Any) -> bytes:
    """Write JSON as a lax server does: NaN, halves of pairs, and nesting that this very function could not follow."""
    head, *parts = json.dumps(value).split('"@deep ')
    pieces = [head]
    for part in parts:
        told, _, rest = part.partition('@"')
        opening, closing = ("[", "]") if told.startswith("[") else ('{"a":', "}")
        depth = int(re.sub(r"\D", "", told))
        pieces += [opening * depth, "1", closing * depth, rest]
    return "".join(pieces).encode()


def _places(value: Any) -> list[tuple[Any, ...]]:
    """Return the way to every part of *value*, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *rest) for key, item in inner for rest in _places(item))]


def _changed(text: str, changes: list[tuple[int, Any]]) -> bytes:
    """Return a recorded body with some of its parts replaced or taken away."""
    value = json.loads(text)
    for place, change in changes:
        places = _places(value)
        *way, last = places[place % len(places)] or (None,)
        if last is None:
            value = {} if change is _GONE else change
            continue
        around = functools.reduce(operator.getitem, way, value)
        if change is _GONE:
            del around[last]
        else:
            around[last] = change
    return written(value)


#: Values as they are after Airflow kept them.
kept_values = json_values.map(written).map(read_json)


@functools.cache
def _bodies(operation: str) -> st.SearchStrategy[bytes]:
    recorded = [json.loads(path.read_text("utf-8"))["body"] for path in sorted((SAMPLES / operation).glob("*.json"))]
    texts_ = st.sampled_from([json.dumps(body) for body in recorded if isinstance(body, dict)])
    return st.builds(_changed, texts_, st.lists(st.tuples(st.integers(0, 999), _CHANGES), max_size=4))


def _damaged(content: bytes, place: int, length: int, other: bytes) -> bytes:
    """Return *content* with a piece of it replaced by other bytes."""
    place %= len(content) + 1
    return content[:place] + other + content[place + length :]


#: Headers that are read, with whatever a server or a proxy puts there.
headers: st.SearchStrategy[Mapping[str, str]] = st.fixed_dictionaries(
    {},
    optional={
        "retry-after": st.one_of(
            st.sampled_from(["7", "0", "-1", "1e400", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "Mon, 01 Jan 99999999999 00:00:00 GMT"]),
            st.floats().map(str),
            st.from_regex(r"\A(Mon, )?\d{1,12} Jan \d{1,12} \d{1,3}:\d\d:\d\d ([+-]\d{4,20}|GMT|)\Z"),
            texts,
        ),
        "date": st.sampled_from(["Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 -0000", "today"]),
        "x-tt-logid": texts,
        "x-log-id": texts,
        "content-type": texts,
    },
)  # fmt: skip
_STATUSES = st.sampled_from([200, 200, 200, 201, 302, 400, 401, 403, 404, 429, 500, 502, 503]) | st.integers(100, 599)


def of_operation(operation: str) -> st.SearchStrategy[Response]:
    """Return answers to an operation that say yes more often than not: recorded ones with parts replaced."""
    return st.builds(
        Response, st.sampled_from([200, 200, 201]), headers, _bodies(operation), st.just("https://api.coze.cn")
    )


#: Any answer at all.
answers = st.builds(
    Response,
    _STATUSES,
    headers,
    st.one_of(
        st.binary(max_size=40),
        json_values.map(written),
        st.sampled_from(sorted({*CALLS, "errors"})).flatmap(_bodies),
        st.builds(
            _damaged,
            st.sampled_from(sorted(CALLS)).flatmap(_bodies),
            st.integers(0, 9999),
            st.integers(0, 8),
            st.binary(max_size=4),
        ),
    ),
    st.sampled_from(["https://api.coze.cn", ""]),
)
