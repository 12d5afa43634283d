"""JSON that means one thing only: strict reading, canonical writing, digests."""

import hashlib
import json
import math
from typing import Any

import rfc8785

LARGEST_DOCUMENT = 1 << 20
DEEPEST = 32


class StrictJsonError(ValueError):
    """The bytes are not JSON, or are JSON that two readers may understand differently."""


def loads(data: bytes, *, limit: int = LARGEST_DOCUMENT, depth: int = DEEPEST) -> Any:
    """Parse UTF-8 JSON, refusing what parsers disagree on or choke on.

    That is: a key that occurs twice in an object, NaN and infinities, numbers that no double holds,
    half a surrogate pair, a byte-order mark, more than `limit` bytes, nesting beyond `depth`.

    Raises StrictJsonError.
    """
    if len(data) > limit:
        raise StrictJsonError(f"{len(data):,} bytes; at most {limit:,} are allowed")
    if not data.strip():
        raise StrictJsonError("empty: there is no JSON in it")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise StrictJsonError(f"nested deeper than {depth} levels") from None
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except StrictJsonError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise StrictJsonError("a number is out of range") from error
    _check_values(value, depth)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise StrictJsonError(f"the key {key!r} occurs twice in one object")
            seen.add(key)
    return result


def _refuse_constant(text: str) -> float:
    raise StrictJsonError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJsonError(f"the number {text} is out of range")
    return number


def _check_values(value: Any, depth: int) -> None:
    """Check nesting and text of a parsed value, without recursion."""
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if level > depth:
                raise StrictJsonError(f"nested deeper than {depth} levels")
            if isinstance(item, dict):
                waiting.extend((key, level + 1) for key in item)
                item = item.values()
            waiting.extend((part, level + 1) for part in item)


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise StrictJsonError("a text holds half a surrogate pair") from error


def canonical(value: Any) -> bytes:
    """Return the one RFC 8785 form of a value.

    Raises StrictJsonError for what has none: an integer beyond 2**53, NaN, a key that is no text.
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise StrictJsonError(str(error)) from error


def digest(value: Any) -> str:
    """Return `sha256:` and the hash of the canonical form."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
