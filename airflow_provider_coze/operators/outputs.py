"""What becomes of an answer between Coze and XCom: read whole, checked against its type, written to object storage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from airflow_provider_coze.compat import object_storage_path
from airflow_provider_coze.errors import CozeOutputTypeError, CozeStateError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.protocol.messages import JsonValue
from airflow_provider_coze.protocol.models import RunHistory
from airflow_provider_coze.protocol.outputs import history_output
from airflow_provider_coze.protocol.trimmed import assembled_output
from airflow_provider_coze.protocol.typed_output import Mismatch, OutputType

__all__ = ["checked_output", "path_problems", "stored_output", "whole_output"]

#: What a template renders to where there is nothing.
_NOTHING = ("", "None")
_LOCAL = ("", "file", "local")


def whole_output(hook: CozeHook, history: RunHistory, *, workflow_id: str, log: Any) -> JsonValue:
    """Return the output of a run that has succeeded, read node by node if Coze has trimmed its record.

    What cannot be read any more is left out, with a warning: the rest of a paid output is not given up for it.

    :raises CozeError: Coze could not be reached for it; a retry of the task reads the same run again.
    """
    if not history.is_output_trimmed:
        return None if history.output is None else history_output(history.output)
    found = hook.perform(assembled_output(history, hook.retry, workflow_id=workflow_id))
    if found.nodes_read:
        log.info(
            "The output of run %s is over 1 MB and was trimmed by Coze; read %d output node(s) one by one",
            history.execute_id,
            found.nodes_read,
        )
    if found.missing:
        log.warning(
            "The output of run %s is over 1 MB and was trimmed by Coze. Missing: %s. See %s",
            history.execute_id,
            "; ".join(found.missing),
            history.debug_url or "Coze's console",
        )
    return found.output


def checked_output(value: JsonValue, output_type: Any, *, what: str, **facts: str | None) -> JsonValue:
    """Return an answer as plain JSON of its type.

    :param output_type: the type, or an :class:`~airflow_provider_coze.protocol.typed_output.OutputType` of it.
    :param what: whose output it is, for the error's words: ``Run '1' of workflow '2'``.
    :param facts: the ids that the error carries, and ``debug_url``.
    :raises CozeOutputTypeError: it is not of the type; the message names the place of the first problem, and no value.
    """
    kind = output_type if isinstance(output_type, OutputType) else OutputType(output_type)
    try:
        result: JsonValue = kind.read(value)
    except Mismatch as mismatch:
        problem = str(mismatch)
    else:
        return result
    debug_url = facts.get("debug_url")
    where = f" (see {debug_url})" if debug_url else ""
    raise CozeOutputTypeError(
        f"{what} has ended, and its output is not of the output_type: {problem}{where}. It is paid for, and Coze keeps it. A retry of this "
        'task reads the same output again, unless durable is False or reuse is "never", which pays for a new one; so correct the '
        "output_type and clear the task, or correct what makes the output.",
        **{name: fact for name, fact in facts.items() if fact is not None},
    )


def path_problems(output_path: object) -> list[str]:
    """Return why nothing can be written to *output_path*; an empty list means that something can.

    It is tried, with a file beside it that is removed at once: after the answer has been paid for is too late to find out.
    """
    if not isinstance(output_path, str):
        return [f"output_path must be a text, not {type(output_path).__name__}"]
    if output_path.strip() in _NOTHING:
        return [f"output_path is {output_path!r}: empty, or a template that rendered to nothing"]
    scheme, separator, rest = output_path.partition("://")
    if not separator and not output_path.startswith("/"):
        return [f"output_path must be a URL such as s3://bucket/answer.json, or an absolute path, not {output_path!r}"]
    if separator and not rest.strip("/"):
        return [f"output_path {scheme}:// names no file"]
    try:
        _probe(output_path)
    except Exception as error:  # every file system has its own; their words may hold credentials
        return [f"output_path {_without_login(output_path)!r} cannot be written to ({type(error).__name__})"]
    return []


def stored_output(value: JsonValue, output_path: str, log: Any, **ids: str | None) -> str:
    """Write an answer to a file, and return its URI, which ``ObjectStoragePath`` reads.

    :param value: a text is written as it is, everything else as JSON, both in UTF-8. A file of that name is replaced; a reader sees the
        old one or the new one, never a half.
    :param output_path: a URL that fsspec reaches, or an absolute path. Templates make it one of its own for every run, such as
        ``s3://conn_id@bucket/{{ dag.dag_id }}/{{ run_id }}/{{ ti.map_index }}.json``. With a slash at its end it is a folder, in which
        the file is named after what it holds: the same answer, written twice, is one file.
    :param ids: of the chat or run, for the error.
    :raises CozeStateError: it could not be written. The answer is not lost: a retry of the task reads it again.
    """
    content = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode("utf-8", "replace")
    if output_path.endswith("/"):
        output_path += f"{hashlib.sha256(content).hexdigest()[:32]}.{'txt' if isinstance(value, str) else 'json'}"
    uri = output_path if "://" in output_path else f"file://{output_path}"
    failure = ""
    try:
        _write(uri, content)
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise CozeStateError(
            f"The answer could not be written to {_without_login(uri)!r} ({failure}). It is paid for, and Coze keeps it; a retry of this "
            "task reads it again and writes it, unless durable is False.",
            **{name: known for name, known in ids.items() if known is not None},
        )
    log.info("The answer (%d bytes) is in %s", len(content), _without_login(uri))
    return uri


def _write(uri: str, content: bytes) -> None:
    path = object_storage_path(uri)
    if path.protocol not in _LOCAL:  # an object is put whole or not at all
        path.write_bytes(content)
        return
    target = Path(path.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{uuid.uuid4().hex}.half")
    try:
        half.write_bytes(content)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _probe(output_path: str) -> None:
    is_folder = output_path.endswith("/")
    path = object_storage_path(output_path if "://" in output_path else f"file://{output_path}")
    if path.protocol in _LOCAL:
        target = Path(path.path)
        if target.is_dir() and not is_folder:
            raise IsADirectoryError(output_path)
        folder = target if is_folder else target.parent
        while not folder.exists():  # folders are made when there is something to put in them
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return
    probe = (path if is_folder else path.parent) / f".coze-{uuid.uuid4().hex}"
    probe.write_bytes(b"Written to see whether an answer can be. It may be removed.\n")
    with contextlib.suppress(Exception):  # who may write need not be allowed to remove
        probe.unlink()


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url
