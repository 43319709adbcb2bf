"""Find what is wrong with the arguments of a chat or a run before anything is sent. Pure; every problem is one sentence.

The limits are those of www.coze.cn/open/docs/developer_guides/chat_v3 and workflow_run; asking Coze to find them costs a
call, and it reports only the first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["chat_problems", "chatflow_problems", "id_problems", "run_problems"]

_MAX_MESSAGES, _MAX_CHATFLOW_MESSAGES = 100, 50
_MAX_META_PAIRS, _MAX_META_KEY, _MAX_META_VALUE = 16, 64, 512
#: Levels of ``parameters``. No workflow's input comes near it, and Python's stack is not endless.
_MAX_DEPTH = 100
_PUBLISH_STATUSES = ("published_online", "unpublished_draft")
_ROLES = ("user", "assistant")
_CONTENT_TYPES = ("text", "object_string")
#: What Jinja makes of a value that is not there.
_NOTHING = ("", "None")


def chat_problems(
    *,
    bot_id: object,
    user_id: object,
    message: object,
    additional_messages: object,
    conversation_id: object,
    auto_save_history: object,
    options: Mapping[str, object],
    reserved: int = 0,
) -> list[str]:
    """Return what is wrong with a chat's arguments; an empty list is a chat that may be sent.

    :param options: the further body fields by Coze's names; None means not given.
    :param reserved: how many pairs of meta_data are not the user's.
    """
    problems = id_problems("bot_id", bot_id) + id_problems("user_id", user_id)
    if conversation_id is not None:
        problems += id_problems("conversation_id", conversation_id)
    problems += _question_problems(message, additional_messages, reserved)
    if auto_save_history is not True:
        problems.append("auto_save_history must be True: Coze keeps no answer to fetch otherwise (code 4007)")
    problems += _pairs_problems("custom_variables", options.get("custom_variables"))
    problems += _meta_problems(options.get("meta_data"), reserved)
    problems += _pairs_problems("extra_params", options.get("extra_params"), allowed=("latitude", "longitude"))
    problems += _json_object_problems("parameters", options.get("parameters"))
    problems += _json_object_problems("shortcut_command", options.get("shortcut_command"))
    publish_status = options.get("publish_status")
    if publish_status is not None and publish_status not in _PUBLISH_STATUSES:
        problems.append(f"publish_status must be one of {_PUBLISH_STATUSES}, not {_shown(publish_status)}")
    if options.get("bot_version") is not None:
        problems += _text_problems("bot_version", options["bot_version"])
        if publish_status == "unpublished_draft":
            problems.append('bot_version cannot be combined with publish_status="unpublished_draft" (code 4000)')
    return problems


def run_problems(*, workflow_id: object, parameters: object, options: Mapping[str, object]) -> list[str]:
    """Return what is wrong with a run's arguments; an empty list is a run that may be started.

    :param options: bot_id, app_id, ext, workflow_version, connector_id by Coze's names; None means not given.
    """
    problems = id_problems("workflow_id", workflow_id)
    problems += _json_object_problems("parameters", parameters)
    for name in ("bot_id", "app_id", "connector_id"):
        if options.get(name) is not None:
            problems += id_problems(name, options[name])
    if options.get("bot_id") is not None and options.get("app_id") is not None:
        problems.append("bot_id and app_id exclude each other (code 4000); give the one that the workflow belongs to")
    problems += _pairs_problems("ext", options.get("ext"), allowed=("latitude", "longitude", "user_id"))
    if options.get("workflow_version") is not None:
        problems += _text_problems("workflow_version", options["workflow_version"])
    return problems


def chatflow_problems(
    *,
    workflow_id: object,
    message: object,
    additional_messages: object,
    parameters: object,
    conversation_id: object,
    options: Mapping[str, object],
) -> list[str]:
    """Return what is wrong with the arguments of a chatflow; an empty list is one that may be started.

    https://www.coze.cn/open/docs/developer_guides/workflow_chat.

    :param options: as of :func:`run_problems`.
    """
    problems = run_problems(workflow_id=workflow_id, parameters=parameters, options=options)
    if options.get("bot_id") is None and options.get("app_id") is None:
        problems.append("one of bot_id and app_id is needed: a chatflow belongs to a bot or to an app")
    if conversation_id is not None:
        problems += id_problems("conversation_id", conversation_id)
    problems += _question_problems(message, additional_messages, 0)
    if isinstance(additional_messages, Sequence) and not isinstance(additional_messages, str):
        if len(additional_messages) > _MAX_CHATFLOW_MESSAGES:
            problems.append(
                f"additional_messages has {len(additional_messages)} messages; a chatflow takes at most {_MAX_CHATFLOW_MESSAGES}"
            )
        problems += [
            f"additional_messages[{index}]: a chatflow takes texts only, not {_shown(message['content_type'])}"
            for index, message in enumerate(additional_messages)
            if isinstance(message, Mapping) and message.get("content_type", "text") != "text"
        ]
    return problems


def _question_problems(message: object, additional_messages: object, reserved: int) -> list[str]:
    problems: list[str] = []
    if (message is None) == (additional_messages is None):
        given = "neither" if message is None else "both"
        problems.append(f"exactly one of message and additional_messages is needed; {given} given")
    if message is not None:
        problems += _text_problems("message", message)
    if additional_messages is not None:
        problems += _message_problems(additional_messages, reserved)
    return problems


def id_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with an id: Coze's are strings of digits, which YAML, JSON and templates like to make numbers of."""
    if isinstance(value, bool) or not isinstance(value, str):
        is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20
        hint = f'; write it in quotes: "{value}"' if is_number else ""
        return [f"{name} must be a string, not {_kind(value)}{hint}"]
    if value.strip() in _NOTHING:
        return [f"{name} is {value!r}: empty, or a template that rendered to nothing"]
    if value != value.strip() or len(value.split()) > 1:
        return [f"{name} {value!r} has white space in it"]
    if not value.isprintable():  # half an emoji, which no address can hold, or what was copied along unseen
        return [f"{name} {value!r} has a character in it that cannot be printed"]
    return []


def _text_problems(name: str, value: object) -> list[str]:
    if not isinstance(value, str):
        return [f"{name} must be a string, not {_kind(value)}"]
    if value.strip() in _NOTHING:
        return [f"{name} is {value!r}: empty, or a template that rendered to nothing"]
    return []


def _message_problems(messages: object, reserved: int) -> list[str]:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return [f"additional_messages must be a list of messages, not {_kind(messages)}"]
    if not messages:
        return ["additional_messages is empty; the last one is the question of this chat"]
    problems: list[str] = []
    if len(messages) > _MAX_MESSAGES:
        problems.append(
            f"additional_messages has {len(messages)} messages; Coze takes at most {_MAX_MESSAGES} (code 4004)"
        )
    for index, message in enumerate(messages):
        where = f"additional_messages[{index}]"
        if not isinstance(message, Mapping):
            problems.append(f"{where} must be a mapping with role and content, not {_kind(message)}")
            continue
        if message.get("role", "user") not in _ROLES:
            problems.append(f"{where}: role must be one of {_ROLES}, not {_shown(message['role'])}")
        if message.get("content_type", "text") not in _CONTENT_TYPES:
            problems.append(
                f"{where}: content_type must be one of {_CONTENT_TYPES}, not {_shown(message['content_type'])}"
            )
        problems += _text_problems(f"{where}: content", message.get("content"))
        problems += [f"{where}: {problem}" for problem in _meta_problems(message.get("meta_data"), reserved)]
    last = messages[-1]
    if isinstance(last, Mapping) and last.get("role", "user") == "assistant":
        problems.append("the last of additional_messages is this chat's question, so its role must be user")
    return problems


def _meta_problems(value: object, reserved: int) -> list[str]:
    problems = _pairs_problems("meta_data", value)
    if problems or not isinstance(value, Mapping):
        return problems
    if len(value) > _MAX_META_PAIRS - reserved:
        kept = f", and {reserved} of them are needed to find the chat again (durable=True)" if reserved else ""
        problems.append(f"meta_data has {len(value)} pairs; Coze takes at most {_MAX_META_PAIRS} (code 4003){kept}")
    problems += [
        f"meta_data key {key!r} is over {_MAX_META_KEY} characters" for key in value if len(key) > _MAX_META_KEY
    ]
    problems += [
        f"meta_data[{key!r}] must have 1 to {_MAX_META_VALUE} characters, not {len(text)}"
        for key, text in value.items()
        if not 1 <= len(text) <= _MAX_META_VALUE
    ]
    return problems


def _pairs_problems(name: str, value: object, allowed: Sequence[str] = ()) -> list[str]:
    """Check a mapping of strings to strings; a number in it is what Coze answers 4000 to."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f"{name} must be a mapping of strings to strings, not {_kind(value)}"]
    problems = [f"{name} has a key that is no string: {_shown(key)}" for key in value if not isinstance(key, str)]
    problems += [
        f"{name}[{_shown(key)}] must be a string, not {_kind(item)}"
        for key, item in value.items()
        if not isinstance(item, str)
    ]
    if allowed:
        problems += [
            f"{name} knows only {', '.join(allowed)}, not {_shown(key)}" for key in value if key not in allowed
        ]
    return problems


def _json_object_problems(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        hint = ""
        if isinstance(value, str):
            hint = (
                "; a template that makes a mapping needs render_template_as_native_obj=True on the DAG, or pass the "
                "task's output itself"
            )
        return [f"{name} must be a mapping, not {_kind(value)}{hint}"]
    return [f"{name}{path} {problem}" for path, problem in _not_json(value)]


def _not_json(value: Any, path: str = "", around: tuple[int, ...] = ()) -> list[tuple[str, str]]:
    """Return where in *value* something is that JSON cannot hold, and what.

    :param around: the identities of what it stands in.
    """
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else None
    )
    if inner is None:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            return [(path, f"is {_kind(value)}, which JSON cannot hold")]
        return []
    if id(value) in around:
        return [(path, "is what it stands in, which JSON cannot hold")]
    if len(around) >= _MAX_DEPTH:
        return [("", f"has more than {_MAX_DEPTH} levels")]
    found = [
        (f"{path}[{_shown(key)}]", f"is {_kind(key)}, which JSON cannot hold")
        for key in (value if isinstance(value, Mapping) else ())
        if not isinstance(key, str)
    ]
    around = (*around, id(value))
    return found + [hit for key, item in inner for hit in _not_json(item, f"{path}[{_shown(key)}]", around)]


def _shown(value: object) -> str:
    """Return *value* as code where that is short and certain to work, else what it is."""
    is_short = isinstance(value, str | float | None) or (isinstance(value, int) and abs(value) < 10**20)
    return repr(value) if is_short else _kind(value)


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__}"
