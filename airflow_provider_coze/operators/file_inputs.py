"""Find the files among the arguments of a chat or a run, upload them, and put them there as the API wants it.

Uploading is free, but nothing is uploaded for work that is not begun: whoever uses this asks it right before the paid request.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_coze.errors import CozeError, CozeInputError
from airflow_provider_coze.hooks.coze import CozeHook
from airflow_provider_coze.operators.file_sources import (
    CozeFile,
    content_of,
    look_problems,
    settled,
    shown,
    static_problems,
)
from airflow_provider_coze.protocol.file_limits import (
    KEPT_SECONDS,
    is_unconfirmed,
    kind_of,
    message_content,
    parameter_of,
    part_problems,
    size_problem,
)
from airflow_provider_coze.protocol.models import UploadedFile

__all__ = ["FileInputs", "stand_ins", "stand_ins_in_messages"]

#: Levels of an argument; what is deeper is refused by whoever checks it as JSON.
_MAX_DEPTH = 100
#: A process that uploads more different files than this uploads the oldest ones again.
_MAX_UPLOADS = 1000
#: What stands for an id where arguments are checked before anything is uploaded.
_NO_ID = "0"

#: What this process has uploaded, and when (Unix seconds): settings of the connection, its token among them, name, SHA-256.
_UPLOADS: OrderedDict[tuple[Any, str, str], tuple[UploadedFile, float]] = OrderedDict()

#: Says what stands for a file.
Place = Callable[[CozeFile], str]


class FileInputs:
    """The files of one try of a task.

    :param hook: of the connection that the chat or run uses: an upload can be used by its own account only.
    """

    def __init__(self, hook: CozeHook, log: Any) -> None:
        self._hook, self._log = hook, log
        self._uploaded: dict[CozeFile, UploadedFile] = {}

    def problems(self, value: Any, where: str = "parameters", *, look: bool = True) -> list[str]:
        """Return what is wrong with the files in *value*; nothing is read but names and sizes.

        :param look: False asks no storage. A later try that goes on with the work of an earlier one needs no file any more.
        :raises CozeTransportError: with *look*, a storage did not answer.
        """
        return self._problems(list(_files_in(value, where)), look=look)

    def message_problems(self, messages: Any, where: str = "additional_messages", *, look: bool = True) -> list[str]:
        """Return what is wrong with the messages whose content is a list of parts, and with the files in them.

        :raises CozeTransportError: with *look*, a storage did not answer.
        """
        if not _is_list(messages):
            return []
        plain = [_is_plain(message) for message in messages]
        found: list[str] = []
        for index, message in enumerate(messages):
            given = _parts_of(message)
            if given is None:
                continue
            here = f"{where}[{index}]: content"
            parts, problems = _split(given)
            placed = [_placed(part, lambda file: _NO_ID) for part in parts]
            problems = problems or part_problems(placed)
            has_text = any(part.get("type") == "text" for part in placed)
            beside = plain[max(0, index - 1) : index] + plain[index + 1 : index + 2]
            if not problems and not has_text and not any(beside):
                problems = [
                    "has only files: Coze wants a text in it, or a message of text before or after it (code 4000)"
                ]
            found += [f"{here}{'' if problem.startswith('[') else ' '}{problem}" for problem in problems]
        return found + self._problems(list(_files_in(messages, where)), look=look)

    def in_parameters(self, parameters: Any) -> Any:
        """Return *parameters* with each file uploaded, and in its place what the API wants there: a string.

        :raises CozeInputError: a file is not there, or not one that Coze takes. Nothing was sent.
        :raises CozeError: an upload failed. It is free, and nothing that is billed was begun.
        """
        self._upload(_files_in(parameters, "parameters"))
        return _replaced(parameters, self._id)

    def in_messages(self, messages: Any) -> Any:
        """Return *messages* with each list of parts as text, its files uploaded.

        :raises CozeInputError: a file is not there, or not one that Coze takes. Nothing was sent.
        :raises CozeError: an upload failed. It is free, and nothing that is billed was begun.
        """
        self._upload(_files_in(messages, "additional_messages"))
        return _messages(messages, self._id)

    def uploaded(self, file: CozeFile) -> UploadedFile:
        """Upload one file, and return what Coze says of it.

        :raises CozeError: as :meth:`in_parameters`.
        """
        file = settled(file)
        self._upload([("source", file)])
        return self._uploaded[file]

    def _id(self, file: CozeFile) -> str:
        return str(file.file_id) if file.file_id is not None else self._uploaded[file].id

    def _problems(self, files: Sequence[tuple[str, CozeFile]], *, look: bool) -> list[str]:
        any_type = bool(files) and self._hook.settings.dialect == "studio"
        found = []
        for where, file in files:
            problems = static_problems(file, any_type=any_type)
            if look and not problems and not file.passes_through and file not in self._uploaded:
                problems = look_problems(file.source)
            found += [f"{where}: {problem}" for problem in problems]
        return found

    def _upload(self, found: Iterable[tuple[str, CozeFile]]) -> None:
        """Upload what has to be, after all of it was looked at."""
        files = list(found)
        if problems := self._problems(files, look=True):
            raise _refused(problems)
        for _, file in files:
            if not file.passes_through and file not in self._uploaded:
                self._uploaded[file] = self._sent(file)

    def _sent(self, file: CozeFile) -> UploadedFile:
        try:
            content = content_of(file.source)
        except CozeInputError as error:
            raise _refused([str(error)]) from error
        if problem := size_problem(len(content)):
            raise _refused([f"{shown(file.source)} {problem}"])
        digest, now = hashlib.sha256(content).hexdigest(), self._hook.clock()
        key = (self._hook.settings, file.name, digest)
        known = _UPLOADS.get(key)
        if known is not None and now < known[1] + KEPT_SECONDS:
            self._log.info("%s was uploaded before, as file %s", file.name, known[0].id)
            return known[0]
        if is_unconfirmed(file.name):
            self._log.warning("Whether Coze takes files like %s is in none of its documents", file.name)
        try:
            sent = self._hook.upload_file(filename=file.name, content=content)
        except CozeError as error:
            error.located(
                f"It was the upload of {file.name!r}, which costs nothing; no chat or run was begun, and a retry uploads it again."
            )
            raise
        self._log.info("Uploaded %s (%d bytes) as file %s", file.name, len(content), sent.id)
        _UPLOADS[key] = (sent, now)
        _UPLOADS.move_to_end(key)
        while len(_UPLOADS) > _MAX_UPLOADS:
            _UPLOADS.popitem(last=False)
        return sent


def stand_ins(value: Any) -> Any:
    """Return *value* with a string in place of each file, of the shape that the uploaded ones have, to be checked as JSON."""
    return _replaced(value, lambda file: _NO_ID)


def stand_ins_in_messages(messages: Any) -> Any:
    """Return *messages* as :meth:`FileInputs.in_messages` would, without uploading anything."""
    return _messages(messages, lambda file: _NO_ID)


def _refused(problems: Sequence[str]) -> CozeInputError:
    return CozeInputError(
        f"Files cannot be sent to Coze: {'; '.join(problems)}. Nothing was sent, so nothing is billed; a retry fails the same way "
        "while the files are as they are."
    )


def _files_in(value: Any, where: str, around: tuple[int, ...] = ()) -> Iterator[tuple[str, CozeFile]]:
    """Yield every file in *value*, and where it stands.

    :param around: the identities of what *value* stands in.
    """
    if isinstance(value, CozeFile):
        yield where, settled(value)
    elif id(value) not in around and len(around) < _MAX_DEPTH:
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if _is_list(value) else ()
        for key, item in inner:
            yield from _files_in(item, f"{where}[{key!r}]", (*around, id(value)))


def _replaced(value: Any, place: Place, around: tuple[int, ...] = ()) -> Any:
    """Return *value* with every file as a parameter; itself if it holds none."""
    if isinstance(value, CozeFile):
        file = settled(value)
        return file.source if file.file_id is None and file.passes_through else parameter_of(place(file))
    if id(value) in around or len(around) >= _MAX_DEPTH:
        return value
    around = (*around, id(value))
    if isinstance(value, Mapping):
        named = {key: _replaced(item, place, around) for key, item in value.items()}
        return named if any(named[key] is not item for key, item in value.items()) else value
    if _is_list(value):
        listed = [_replaced(item, place, around) for item in value]
        return listed if any(new is not old for new, old in zip(listed, value, strict=True)) else value
    return value


def _messages(messages: Any, place: Place) -> Any:
    """Return *messages* with every list of parts written as the API wants it."""
    return [_message(message, place) for message in messages] if _is_list(messages) else messages


def _message(message: Any, place: Place) -> Any:
    given = _parts_of(message)
    if given is None:
        return message
    content, kind = message_content([_placed(part, place) for part in _split(given)[0]])
    return {**message, "content": content, "content_type": kind}


def _parts_of(message: Any) -> list[Any] | None:
    """Return the parts of a message; None if its content is text, or something that whoever checks messages will refuse."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, CozeFile):
        return [content]
    return list(content) if isinstance(content, list | tuple) else None


def _split(given: Sequence[Any]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return parts as mappings, and what is wrong with those that cannot be one."""
    parts: list[Mapping[str, Any]] = []
    problems = []
    for index, part in enumerate(given):
        if isinstance(part, CozeFile):
            parts.append({"type": kind_of(part.name), "file_id": part})
        elif isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif isinstance(part, Mapping):
            parts.append(part)
        else:
            problems.append(f"[{index}] must be a text, a coze_file or a mapping, not {type(part).__name__}")
    return parts, problems


def _placed(part: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """Return a part with the id of its file, or the file's address."""
    file = part.get("file_id")
    if not isinstance(file, CozeFile):
        return part
    file = settled(file)
    rest = {key: value for key, value in part.items() if key != "file_id"}
    if file.file_id is None and file.passes_through:
        return {**rest, "file_url": file.source}
    return {**rest, "file_id": place(file)}


def _is_plain(message: Any) -> bool:
    """Tell whether a message is text and nothing else."""
    given = _parts_of(message)
    if given is not None:
        parts, odd = _split(given)
        return not odd and len(parts) == 1 and parts[0].get("type") == "text"
    return isinstance(message, Mapping) and message.get("content_type", "text") == "text"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and not isinstance(value, CozeFile)
