"""The examples of Coze's official Python client, unmodified, against the emulator. They are not part of this repository.

``git clone https://github.com/coze-dev/coze-py`` at v0.20.0, then ``python -m tests.emulator.cozepy_examples coze-py`` prints a
table. They read base URL, token and ids from the environment, so nothing in them has to change.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_coze.emulator.app import Emulator
from airflow_provider_coze.emulator.definitions import Interrupt, Polls, Template, ToolCall, Turn
from airflow_provider_coze.emulator.server import Server, serve
from airflow_provider_coze.protocol.messages import Request

__all__ = ["EXAMPLES", "Example", "ran", "world"]

STORY, SECRETARY, READER = (f"75110000000000000{n}" for n in (71, 72, 73))
ASKS, PATIENT, CHATFLOW = (f"75115000000000000{n}" for n in (71, 72, 73))
SECONDS = 60


@dataclass(frozen=True)
class Example:
    """A file of the client's ``examples``, and what it has to print."""

    name: str
    prints: str  # a regular expression for all of it
    ids: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


EXAMPLES = (
    Example(
        "chat_stream",
        r"logid: \w{32}\n----- reasoning_content start -----\n> A story it is\.----- reasoning_content end -----\n"
        r"Once upon a time\.\ntoken usage: \d\d+\n",
        {"COZE_BOT_ID": STORY},
    ),
    Example(
        "chat_local_plugin",
        r"function call: get_schedule {}\n.*two interviews in the afternoon.*\ntoken usage: \d\d\n"
        r"function call: screenshot {}\n.*a little dog running on the beach.*\ntoken usage: \d\d\n",
        {"BOT_ID": SECRETARY},
    ),
    Example(
        "workflow_stream",
        r"got message content='Who\?'.*\ngot message content='Sure\?'.*\ngot message content='hey hey'.*\n",
        {"COZE_WORKFLOW_ID": ASKS},
    ),
    Example(
        "workflow_chat_stream",
        r"You said: How are you\?\ntoken usage: \d\d\n",
        {"COZE_WORKFLOW_ID": CHATFLOW, "COZE_BOT_ID": STORY},
    ),
    Example(
        "files_upload", r"uploaded file: (\d{19})\n   id='\1' bytes=3 .*file_name='picture\.png'\n", {}, ["{image}"]
    ),
    Example("chat_multimode_stream", r"picture\.png shows no text\.", {"COZE_BOT_ID": READER}, ["{image}"]),
    Example(
        "workflow_async",
        r"Start async workflow run: \d{19}\nWorkflow still running, sleep 1s and continue\n"
        r'Workflow run success: {"Output":"done"}\n',
        {"COZE_WORKFLOW_ID": PATIENT},
    ),
    Example(
        "workflow_run_history",
        r"run_history: execute_id='(\d{19})' execute_status=<.*'Success'>.*output='.*done.*execute_id=\1.*\nlogid: \w{32}\n",
        {"COZE_WORKFLOW_ID": PATIENT, "COZE_EXECUTE_ID": "{execute_id}"},
    ),
)


def world(emulator: Emulator) -> None:
    """Add the bots and workflows that the examples talk about."""
    emulator.add_bot(id=STORY, reasoning="A story it is.", answer="Once upon a time.")
    emulator.add_bot(id=SECRETARY, tool_calls=_tool_for, answer=lambda turn: "; ".join(turn.tool_outputs.values()))
    emulator.add_bot(id=READER, answer=Template("{files[0]} shows no text."))
    emulator.add_workflow(
        id=ASKS, interrupt=[Interrupt("Who?"), Interrupt("Sure?")], output=lambda inputs: " ".join(inputs.answers)
    )
    emulator.add_workflow(id=PATIENT, duration=Polls(1), output="done")
    emulator.add_workflow(id=CHATFLOW, mode="chatflow", output=Template("You said: {message}"))


def _tool_for(turn: Turn) -> list[ToolCall]:
    return [] if turn.tool_outputs else [ToolCall("screenshot" if "screen" in turn else "get_schedule")]


def ran(example: Example, checkout: Path, server: Server, image: Path) -> tuple[bool, str]:
    """Run one example.

    :returns: Whether it printed what it has to and nothing else went wrong, and all that it printed.
    """
    given = {"image": str(image), "execute_id": _finished_run(server.emulator)}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "COZE_API_BASE": server.base_url,
        "COZE_API_TOKEN": server.token,
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": "",
        **{name: value.format(**given) for name, value in example.ids.items()},
    }
    folder = checkout / "examples" if (checkout / "examples").is_dir() else checkout
    command = [
        sys.executable,
        str(folder / f"{example.name}.py"),
        *(text.format(**given) for text in example.arguments),
    ]
    with tempfile.TemporaryDirectory() as elsewhere:  # so that only the installed client is importable
        done = subprocess.run(
            command, env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    right = done.returncode == 0 and re.fullmatch(example.prints, done.stdout) is not None
    return right, done.stdout + ("" if done.returncode == 0 else done.stderr)


def _finished_run(emulator: Emulator) -> str:
    body = {"workflow_id": PATIENT, "parameters": {}}
    emulator.handle(
        Request("POST", "/v1/workflow/run", headers={"Authorization": f"Bearer {emulator.token}"}, json=body)
    )
    return emulator.ledger[-1].id


def main(checkout: Path) -> int:
    """Print a table; the exit status is the number of examples that did not do what they have to."""
    wrong = 0
    with serve(Emulator()) as server, tempfile.TemporaryDirectory() as folder:
        world(server.emulator)
        image = Path(folder) / "picture.png"
        image.write_bytes(b"png")
        for example in EXAMPLES:
            right, printed = ran(example, checkout, server, image)
            wrong += not right
            print(f"| {example.name} | {'passes' if right else 'FAILS'} | {json.dumps(printed, ensure_ascii=False)} |")
    return wrong


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
