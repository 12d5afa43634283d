"""Which modules a PEFT configuration means: by the end of their names, or by an expression."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from adapters_runtime.errors import FormatError
from adapters_runtime.io.peft.options import names

ALL_LINEAR = "all-linear"


def is_target(document: Mapping[str, Any], name: str) -> bool:
    """Return whether the configuration puts something at the module with this full name."""
    if _named(document.get("exclude_modules"), name) or _is_saved(document, name):
        return False
    targets = document.get("target_modules")
    if isinstance(targets, str) or name in (targets or ()):
        return _named(targets, name)  # a whole name stands above layers_to_transform
    return _named(targets, name) and _in_layers(document, name)


def is_feedforward(document: Mapping[str, Any], name: str) -> bool:
    """Return whether (IA)³ rescales the input of this module: here parts of words count."""
    wanted = document.get("feedforward_modules")
    if isinstance(wanted, str):
        return _named(wanted, name)
    return name.endswith(tuple(wanted or ()))


def first_match(patterns: Any, name: str, default: float) -> float:
    """Return the value of the first expression that the end of a name matches."""
    for pattern, value in dict(patterns or {}).items():
        if _compiled(rf"(.*\.)?({pattern})").fullmatch(name):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FormatError(f"the pattern {pattern!r} must have a number, not {value!r}")
            return value
    return default


def saved_modules(document: Mapping[str, Any], paths: Iterable[str]) -> list[str]:
    """Return those of the modules that a checkpoint holds whole; none lies inside another."""
    wanted = names(document, "modules_to_save")
    found: list[str] = []
    for path in sorted(paths):
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if not inside and path.endswith(wanted or ("\0",)):
            found.append(path)
    return found


def _named(targets: Any, name: str) -> bool:
    if isinstance(targets, str):
        return _compiled(targets).fullmatch(name) is not None
    return any(name == each or name.endswith(f".{each}") for each in targets or ())


def _is_saved(document: Mapping[str, Any], name: str) -> bool:
    """Return whether a module is, or is inside, one of `modules_to_save`; expressions, here."""
    saved = names(document, "modules_to_save")
    return any(_compiled(rf"(^|.*\.){each}($|\..*)").match(name) for each in saved)


def _in_layers(document: Mapping[str, Any], name: str) -> bool:
    layers = document.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    wanted = names(document, "layers_pattern")
    # Where no name of the layers is given, PEFT asks for something before it.
    patterns = [rf"(?:^|.*?\.){each}" for each in wanted] or [r".*?\.[^.]*"]
    for pattern in patterns:
        # The first number is the layer's: one that follows counts experts.
        if match := _compiled(rf"{pattern}\.(\d+)\.").match(name):
            return int(match[1]) in (layers if isinstance(layers, list) else [layers])
    return False


def _compiled(pattern: str) -> "re.Pattern[str]":
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FormatError(f"{pattern!r} is no regular expression: {error}") from None
