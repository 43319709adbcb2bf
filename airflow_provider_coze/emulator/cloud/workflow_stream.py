"""``/v1/workflow/stream_run`` and ``/v1/workflow/stream_resume``.

Sources: docs.coze.cn/developer_guides/workflow_stream_run, workflow_resume; key order from the recordings in tests/testdata of
github.com/coze-dev/coze-py at 6b0f4cd.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_coze.emulator.cloud.workflow import (
    RESUME_BODY,
    RUN_BODY,
    begin,
    debug_url,
    interrupt_json,
    pending_run,
    published_workflow,
)
from airflow_provider_coze.emulator.runs import STREAM, Run
from airflow_provider_coze.emulator.sse import workflow_event
from airflow_provider_coze.emulator.wire import Call, Frame, Reply, Route, event_stream

__all__ = ["ROUTES", "workflow_frames"]


def stream_run(call: Call) -> Reply:
    """``POST /v1/workflow/stream_run``."""
    started = begin(call, published_workflow(call), STREAM)
    return event_stream(workflow_frames(call, started))


def stream_resume(call: Call) -> Reply:
    """``POST /v1/workflow/stream_resume``; ids start at 0 again."""
    paused = pending_run(call, streamed=True)
    paused.resume(call.body["resume_data"], polled=False)
    return event_stream(workflow_frames(call, paused))


def workflow_frames(call: Call, run: Run) -> list[Frame]:
    """Write the events of the present leg of a run."""
    story: list[tuple[float, str, dict[str, Any]]] = []
    start = run.progress.started_at
    end = start + min(run.progress.seconds, run.limit_seconds)
    error, question = run.coming_error, run.coming_question
    if question is not None:
        asked = {
            "content": question.interrupt.question,
            "content_type": "text",
            **_place(0, question.interrupt.node_title),
        }
        # The question itself came as a Message; in the recording the interrupt's data is empty then.
        interrupt = interrupt_json(question)
        interrupted = _sorted(interrupt if question.interrupt.parameters else {**interrupt, "data": ""})
        story.append((end, "Message", _sorted(asked)))
        story.append((end, "Interrupt", {"interrupt_data": interrupted, "node_title": question.interrupt.node_title}))
    else:
        story.extend(_node_messages(run, start, end))
        if error is not None:
            story.append((end, "Error", {"error_code": error.code, "error_message": error.msg}))
        else:
            last = {"content": run.planned_data, "cost": "0.00", **_place(0, ""), "token": 0}
            story.append((end, "Message", _sorted(last)))
            done = {"debug_url": debug_url(call, run)} if call.world.done_carries_debug_url else {}
            story.append((end, "Done", done))
    return [Frame(at, workflow_event(number, event, data)) for number, (at, event, data) in enumerate(story)]


def _node_messages(run: Run, start: float, end: float) -> list[tuple[float, str, dict[str, Any]]]:
    pieces = [(node.title, number, piece, node) for node in run.nodes for number, piece in enumerate(node.pieces)]
    return [
        (
            start + (end - start) * (index + 1) / (len(pieces) + 1),
            "Message",
            _sorted({"content": piece, **_place(number, title, last=number == len(node.pieces) - 1)}),
        )
        for index, (title, number, piece, node) in enumerate(pieces)
    ]


def _place(number: int, title: str, *, last: bool = True) -> dict[str, Any]:
    return {"node_is_finish": last, "node_seq_id": str(number), "node_title": title}


def _sorted(data: dict[str, Any]) -> dict[str, Any]:
    # The recordings have these keys in alphabetical order: a Go map.
    return {key: data[key] for key in sorted(data)}


ROUTES = [
    Route("POST", "/v1/workflow/stream_run", stream_run, "run", body=RUN_BODY, rate="workflow"),
    Route("POST", "/v1/workflow/stream_resume", stream_resume, "run", body=RESUME_BODY, rate="workflow"),
]
