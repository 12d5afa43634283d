"""Whether a value that came from a file fits the type that a field declares.

Only the few forms that configurations use are understood: numbers, strings, None, literals, unions
of these, tuples of one type, and maps from names.
"""

import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin


def fits(value: Any, hint: Any) -> bool:
    """Return whether `value` is of the type `hint`; a bool is no number, an int is a float."""
    check = _CHECKS.get(get_origin(hint) or hint)
    if check is None:
        return isinstance(value, hint or type(None))
    return check(value, get_args(hint))


def _fits_literal(value: Any, options: tuple[Any, ...]) -> bool:
    return any(value == option and type(value) is type(option) for option in options)


def _fits_union(value: Any, options: tuple[Any, ...]) -> bool:
    return any(fits(value, option) for option in options)


def _fits_tuple(value: Any, arguments: tuple[Any, ...]) -> bool:
    return isinstance(value, tuple) and all(fits(item, arguments[0]) for item in value)


def _fits_map(value: Any, arguments: tuple[Any, ...]) -> bool:
    return isinstance(value, Mapping) and all(
        fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items()
    )


def _is_number(value: Any) -> bool:
    """JSON has no word for what is not finite, and no weight survives it."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: dict[Any, Callable[[Any, tuple[Any, ...]], bool]] = {
    Literal: _fits_literal,
    Union: _fits_union,
    types.UnionType: _fits_union,
    tuple: _fits_tuple,
    Mapping: _fits_map,
    float: lambda value, _: _is_number(value),
    int: lambda value, _: isinstance(value, int) and not isinstance(value, bool),
}


def describe(hint: Any) -> str:
    """Return the type in words for an error message."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list of {_WORDS.get(arguments[0], 'value')}s"
    if origin is Mapping:
        return f"a map from layer to {_WORDS.get(arguments[1], 'value')}"
    if hint is type(None) or hint is None:
        return "null"
    return _ARTICLES.get(hint) or f"a {getattr(hint, '__name__', hint)}"


_WORDS = {bool: "true-or-false value", int: "whole number", float: "number", str: "string"}
_ARTICLES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
