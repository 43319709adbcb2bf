"""Make of ``typing.TypedDict`` what pydantic takes. Delete when Python 3.12 is the floor.

Before 3.12 pydantic refuses the standard library's own and wants that of ``typing_extensions``; a DAG's author need not know.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
import typing
from typing import Any

__all__ = ["for_pydantic"]


def for_pydantic(kind: Any) -> Any:
    """Return *kind* with every TypedDict of the standard library in it made anew; where there is none, *kind* itself.

    One inside a dataclass or model stays as it is: pydantic refuses it in its own words.

    :raises TypeError: a TypedDict has itself among its fields.
    """
    return kind if sys.version_info >= (3, 12) else _made_anew(kind, ())


def _made_anew(kind: Any, around: tuple[Any, ...]) -> Any:
    if typing.is_typeddict(kind):
        return kind if type(kind).__module__ != "typing" else _typed_dict(kind, around)
    arguments = typing.get_args(kind)
    if not arguments or typing.get_origin(kind) is typing.Literal:
        return kind
    made = tuple(_made_anew(argument, around) for argument in arguments)
    if all(new is old for new, old in zip(made, arguments, strict=True)):
        return kind
    if isinstance(kind, types.UnionType):
        return functools.reduce(operator.or_, made)
    if typing.get_origin(kind) is typing.Annotated:
        return typing.Annotated[made]
    return kind.copy_with(made) if hasattr(kind, "copy_with") else typing.get_origin(kind)[made]


def _typed_dict(kind: Any, around: tuple[Any, ...]) -> Any:
    if kind in around:
        raise TypeError("a TypedDict inside of itself has to be typing_extensions.TypedDict on this Python")
    import typing_extensions

    extensions: Any = typing_extensions  # what is made here at run time is nothing that a type checker follows
    fields = {}
    for name, hint in extensions.get_type_hints(kind, include_extras=True).items():
        mark, inner = extensions.get_origin(hint), hint
        if mark in (extensions.Required, extensions.NotRequired):
            [inner] = extensions.get_args(hint)
        else:
            mark = extensions.Required if name in kind.__required_keys__ else extensions.NotRequired
        fields[name] = mark[_made_anew(inner, (*around, kind))]
    made = extensions.TypedDict(kind.__name__, fields)
    made.__module__, made.__doc__ = kind.__module__, kind.__doc__
    return made
