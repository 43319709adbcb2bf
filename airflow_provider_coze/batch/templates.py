"""What is sent for a row: the templates of a DAG, rendered once for each. Compiled once; nothing of a row is ever taken for a template.

Beside Airflow's context they see ``row``, the row's value, and ``index``. A column comes before a method of the same name: ``row.items``
is what the row calls ``items``. A column that is not there is an error of its row, unless the template says what to do
(``row.note | default("")``).
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from airflow_provider_coze.batch.rows import BadRow, Row, plain
from airflow_provider_coze.errors import CozeInputError
from airflow_provider_coze.protocol.messages import JsonValue

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["RowTemplates"]

#: What makes a text a template. Comments alone do not.
_MARKS = ("{{", "{%")
_NAME = re.compile(r"'([^']+)'")
#: Stands for an argument that may also be None.
_NOT_GIVEN: Any = object()
_SCALARS = (str, int, bool, type(None))

_Render: TypeAlias = "Callable[[], Any]"


class RowTemplates:
    """Renders rows, one at a time: all of them share the context, which is not copied for each.

    A template that is one expression and nothing else gives the value of the expression; any other gives text. Of an object or a list
    text has JSON.

    :param environment: ``dag.get_template_env()``. It is not changed.
    :param context: Airflow's.
    :param message: the template of a message, which is always a text. None: the row is the message.
    :param parameters: the templates of a run's parameters, in any depth of mappings and lists. None: the row is the parameters.
        Exactly one of the two is given.
    :raises CozeInputError: a template cannot be read. The message has all of these.
    """

    def __init__(
        self,
        environment: Environment,
        context: Mapping[str, Any],
        *,
        message: object = _NOT_GIVEN,
        parameters: object = _NOT_GIVEN,
    ) -> None:
        if (message is _NOT_GIVEN) == (parameters is _NOT_GIVEN):
            raise TypeError("exactly one of message and parameters is needed")
        self._makes_text = parameters is _NOT_GIVEN
        self._name, template = ("message", message) if self._makes_text else ("parameters", parameters)
        self._environment = _for_rows(environment)
        self._shared = _copied(context, environment)
        self._sources: list[str] = []
        self._problems: list[str] = []
        if template is not None and not isinstance(template, str if self._makes_text else Mapping):
            kind = "text" if self._makes_text else "mapping"
            self._problems.append(f"{self._name} must be a {kind} with templates, not {type(template).__name__}")
        self._render = None if template is None else self._compiled(template, self._name)
        if self._problems:
            raise CozeInputError(f"{'; '.join(self._problems)}. Nothing was sent to Coze, so nothing is billed.")

    def render(self, row: Row) -> JsonValue | BadRow:
        """Return the message or the parameters of a row, or what is wrong with it."""
        value: Any = row.value
        if self._render is None:
            if not isinstance(value, str if self._makes_text else dict):
                kind = "text" if self._makes_text else "mapping"
                msg = f"is of type {type(value).__name__}; where {self._name} has no template, a row has to be a {kind}"
                return BadRow(row.index, "wrong_type", msg, value)
        else:
            self._shared["row"], self._shared["index"] = value, row.index
            try:
                value = self._render()
                if self._makes_text:
                    value = _as_text(value)
            except Exception as error:  # a template can raise whatever it likes
                return BadRow(row.index, "template", f"{self._name}: {self._told(error)}", row.value)
        if self._makes_text and not value.strip():
            return BadRow(row.index, "empty", "its message is empty", row.value)
        return cast(JsonValue, value)

    def _compiled(self, template: Any, path: str) -> _Render:
        if isinstance(template, str):
            is_template = any(mark in template for mark in _MARKS)
            return self._compiled_text(template, path) if is_template else lambda: template
        if isinstance(template, Mapping):
            parts = {name: self._compiled(part, f"{path}[{name!r}]") for name, part in template.items()}
            return lambda: {name: render() for name, render in parts.items()}
        if isinstance(template, list | tuple):
            items = [self._compiled(part, f"{path}[{place}]") for place, part in enumerate(template)]
            return lambda: [render() for render in items]
        return lambda: template

    def _compiled_text(self, source: str, path: str) -> _Render:
        from jinja2 import TemplateSyntaxError, nodes

        environment, shared = self._environment, self._shared
        self._sources.append(source)
        try:
            tree = environment.parse(source)
            expression = _only_expression(tree)
            if expression is not None:
                tree = nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)
                tree.set_environment(environment)
            template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            self._problems.append(f"{path} is no template that can be read: {error.message}, in line {error.lineno}")
            return lambda: None
        except Exception as error:  # such as a filter that is not there, which some versions find only here
            self._problems.append(f"{path} is no template that can be read: {type(error).__name__}")
            return lambda: None
        run, make, name, blocks = template.root_render_func, environment.context_class, template.name, template.blocks

        def text() -> str:  # as Template.render, without copying the context
            return "".join(run(make(environment, shared, name, blocks)))

        def value() -> Any:
            context = make(environment, shared, name, blocks)
            for _ in run(context):
                pass
            return _fit(context.vars["result"])

        return text if expression is None else value

    def _told(self, error: Exception) -> str:
        """Return the kind of an error, and the name that is missing if the template has it: a row's own words are not for logs."""
        kind = type(error).__name__
        if kind == "UndefinedError":
            names = _NAME.findall(str(error))
            if names and any(names[-1] in source for source in self._sources):
                return f"{kind}: {names[-1]!r} is not there"
        return f"what it gives {error}" if isinstance(error, _UnfitError) else kind


class _UnfitError(ValueError):
    """A value that a request cannot hold. Its words are ours."""


def _for_rows(given: Environment) -> Environment:
    """Return an environment like the one of the DAG, with which what is not there is an error, and whose output is text."""
    from jinja2 import StrictUndefined
    from jinja2.compiler import CodeGenerator

    environment = given.overlay(undefined=StrictUndefined, finalize=_finalizer(given.finalize))
    environment.code_generator_class = CodeGenerator  # that of a DAG with native objects makes no text
    of_others = environment.getattr

    def column(obj: Any, name: str) -> Any:
        return obj[name] if type(obj) is dict and name in obj else of_others(obj, name)

    environment.getattr = column  # type: ignore[method-assign, assignment]
    return environment


def _finalizer(given: Callable[..., Any] | None) -> Callable[[Any], Any]:
    if given is None:
        return _spelled
    return lambda value: _spelled(given(value))


def _spelled(value: Any) -> Any:
    """Return objects and lists as JSON, where Jinja would print them as Python."""
    return json.dumps(plain(value), ensure_ascii=False) if isinstance(value, dict | list | tuple) else value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fit(value: Any) -> Any:
    """Return the value of an expression as JSON has it."""
    if type(value) in _SCALARS or (type(value) is float and math.isfinite(value)):
        return value
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # a strict one raises what Jinja would
    try:
        return plain(value)
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _only_expression(tree: Any) -> Any:
    """Return the expression of a template that is nothing else, None of any other."""
    from jinja2 import nodes

    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        return None
    found = tree.body[0].nodes[0]
    return None if isinstance(found, nodes.TemplateData) else found


def _copied(context: Mapping[str, Any], environment: Environment) -> Any:
    """Return the context with what the environment has for all templates. Its values stay where they are: some are made when asked for."""
    shared: Any = copy.copy(context)
    for name, value in environment.globals.items():
        if name not in shared:
            shared[name] = value
    return shared
