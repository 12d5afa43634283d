"""From what people write to a configuration: `load_config`.

An expression names presets and changes fields: `seq_bn[reduction_factor=2,leave_out=[11]]`, and
joins several to a union: `prefix_tuning[prefix_length=10]|par_bn`. Values are Python literals.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters_runtime.configs.base import READERS, AdapterConfig
from adapters_runtime.configs.legacy import upgrade_document
from adapters_runtime.configs.presets import ADAPTER_CONFIG_MAP, DEPRECATED_NAMES
from adapters_runtime.configs.union import ConfigUnion
from adapters_runtime.errors import ConfigError

_TERM = re.compile(r"\s*(?P<name>[\w+\-.]+)\s*(?:\[(?P<fields>.*)\])?\s*", re.DOTALL)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def load_config(value: Any) -> AdapterConfig:
    """Return the configuration that `value` stands for.

    A configuration stands for itself; a document is read, be it only the configuration or a whole
    adapter_config.json, of any release of AdapterHub's library; a path is that of such a document
    or of a folder that holds one; other text is an expression. Raises ConfigError.
    """
    if isinstance(value, AdapterConfig):
        return value
    if isinstance(value, Mapping):
        # Only whole files have `config`; no configuration has a field of that name.
        return _read_document(upgrade_document(value) if "config" in value else value)
    if isinstance(value, Path) or (isinstance(value, str) and _is_path(value)):
        return _read_file(Path(value))
    if isinstance(value, str):
        return parse_expression(value)
    raise ConfigError(
        f"a configuration is a name, an expression, a path or a document, not {value!r}"
    )


READERS.append(load_config)


def parse_expression(text: str) -> AdapterConfig:
    """Return the configuration that an expression stands for.

    >>> parse_expression("par_bn[reduction_factor={'1': 2, 'default': 8}]")
    ParBnConfig(reduction_factor={'1': 2, 'default': 8})
    """
    parts = [_parse_term(term) for term in _split_top_level(text)]
    return parts[0] if len(parts) == 1 else ConfigUnion(*_flat(parts))


def _flat(parts: list[AdapterConfig]) -> Iterator[AdapterConfig]:
    """Yield the parts of unions in place of the unions: `mam|lora` is a union of three."""
    for part in parts:
        if isinstance(part, ConfigUnion):
            yield from part.configs
        else:
            yield part


def _parse_term(term: str) -> AdapterConfig:
    match = _TERM.fullmatch(term)
    if match is None:
        raise ConfigError(f"{term.strip()!r} does not read name[field=value, ...]")
    preset = _preset(match["name"])
    return preset.replace(**_parse_fields(match["fields"] or "", term))


def _preset(name: str) -> AdapterConfig:
    if name not in ADAPTER_CONFIG_MAP:
        known = ", ".join(name for name in ADAPTER_CONFIG_MAP if name not in DEPRECATED_NAMES)
        raise ConfigError(f"no configuration is called {name!r} (there are: {known})")
    if name in DEPRECATED_NAMES:
        warnings.warn(
            f"the name {name!r} is deprecated: write {DEPRECATED_NAMES[name]!r}",
            FutureWarning,
            stacklevel=2,
        )
    return ADAPTER_CONFIG_MAP[name]


def _parse_fields(text: str, term: str) -> dict[str, Any]:
    """Read `a=1, b=[2]`, for which Python's own grammar of a call stands in."""
    try:
        call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ConfigError(f"in {term.strip()!r}, every value needs its field: field=value")
        return {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"in {term.strip()!r}, values must be Python literals such as 2, True, 'gelu' or [1, 2]"
        ) from error


def _split_top_level(text: str) -> list[str]:
    """Split at `|`, but not inside brackets or quotes."""
    terms, open_until, quote = [""], [], ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _BRACKETS:
            open_until.append(_BRACKETS[character])
        elif open_until and character == open_until[-1]:
            open_until.pop()
        elif character == "|" and not open_until:
            terms.append("")
            continue
        terms[-1] += character
    if open_until or quote:
        raise ConfigError(f"{text!r} ends before {quote or open_until[-1]!r}")
    return terms


def _read_document(config: Any) -> AdapterConfig:
    """Read a configuration out of a file, where text may be a name but never a path.

    A registry reads files of people whom it does not trust with its own.
    """
    return parse_expression(config) if isinstance(config, str) else AdapterConfig.from_dict(config)


def _is_path(text: str) -> bool:
    if text in ADAPTER_CONFIG_MAP or not text:
        return False
    try:
        return text.endswith(".json") or Path(text).exists()
    except OSError:  # longer than a path may be
        return False


def _read_file(path: Path) -> AdapterConfig:
    file = path / "adapter_config.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {file}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is not a JSON file: {error}") from error
    return load_config(document) if isinstance(document, Mapping) else _read_document(document)
