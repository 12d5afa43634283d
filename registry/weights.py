"""Reading safetensors files that a stranger sent: a strict header, finite values, digests.

The format's own reader accepts duplicate names, headers of 90 MB, names like `../x` and NaN. This
one accepts what an adapter can be, and says which tensor is at fault otherwise. It needs no tensor
library, and no more memory than the header and one chunk.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from registry import strictjson

LARGEST_HEADER = 8 << 20
MOST_TENSORS = 65_536
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 40
LARGEST_METADATA = 64 << 10
ITEM_SIZE = {"F32": 4, "F16": 2, "BF16": 2}
"""The types that weights of an adapter may have."""

_NAME = re.compile(r"[A-Za-z0-9_.,/@+\-]{1,256}")
_CHUNK = 4 << 20
_MOST_PROBLEMS = 50


class WeightsError(ValueError):
    """The file is not a safetensors file that we accept; `problems` names the tensors."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


class Readable(Protocol):
    """What is needed of a stream."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class TensorInfo:
    """One entry of the header. `start` and `end` count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


# --- header --------------------------------------------------------------------------------------


def read_header(stream: Readable, size: int) -> dict[str, TensorInfo]:
    """Read and check the header of a file of `size` bytes; leave the stream where the data begins.

    The result is in the order of the data, which it covers exactly.

    Raises WeightsError with every problem found.
    """
    header, data_size = _parse_header(stream, size)
    problems = _metadata_problems(header.pop("__metadata__", {}))
    if len(header) > MOST_TENSORS:
        raise WeightsError([f"{len(header):,} tensors; at most {MOST_TENSORS:,} are allowed"])
    if not header:
        problems.append("the file holds no tensor")
    tensors = {}
    for name, entry in header.items():
        if fault := _entry_fault(name, entry):
            problems.append(f"tensor {name[:260]!r}: {fault}")
        else:
            tensors[name] = TensorInfo(
                entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"]
            )
    if problems:
        raise WeightsError(_shortened(problems))
    ordered = dict(sorted(tensors.items(), key=lambda item: item[1].start))
    if fault := _cover_fault(ordered, data_size):
        raise WeightsError([fault])
    return ordered


def _parse_header(stream: Readable, size: int) -> tuple[dict[str, Any], int]:
    """Return the header as JSON, and how many bytes follow it."""
    if size < 10:
        raise WeightsError([f"{size} bytes are too few for a safetensors file"])
    length = int.from_bytes(_read_exactly(stream, 8), "little")
    if length > LARGEST_HEADER:
        fault = f"its first 8 bytes announce a header of {length:,} bytes"
        raise WeightsError([f"not safetensors: {fault}; at most {LARGEST_HEADER:,} are allowed"])
    if length > size - 8:
        raise WeightsError(
            [f"truncated: the header takes {length:,} bytes, the file has {size - 8:,} left"]
        )
    data = _read_exactly(stream, length)
    if not data.startswith(b"{"):
        raise WeightsError([f"the header begins with {data[:1]!r} where '{{' belongs"])
    try:
        header = strictjson.loads(data, limit=LARGEST_HEADER, depth=3)
    except strictjson.StrictJsonError as error:
        raise WeightsError([f"the header is not strict JSON: {error}"]) from error
    return header, size - 8 - length


def _metadata_problems(metadata: Any) -> list[str]:
    if not isinstance(metadata, dict):
        return ["__metadata__ is not an object"]
    return [
        f"__metadata__ {key[:100]!r}: not a text of at most {LARGEST_METADATA:,} characters"
        for key, value in metadata.items()
        if not isinstance(value, str) or max(len(key), len(value)) > LARGEST_METADATA
    ]


def _entry_fault(name: str, entry: Any) -> str | None:
    """Return what is wrong with a tensor's entry taken alone."""
    if not _NAME.fullmatch(name):
        return "a name is 1 to 256 letters, digits and any of _ . , / @ + -"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "its entry is not exactly dtype, shape and data_offsets"
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or dtype not in ITEM_SIZE:
        return f"dtype {dtype!r} is not allowed; weights are one of {', '.join(ITEM_SIZE)}"
    if not _are_integers(shape) or len(shape) > MOST_DIMENSIONS or not all(shape):
        return f"shape {shape!r} is not a list of at most {MOST_DIMENSIONS} positive integers"
    return _extent_fault(dtype, shape, entry["data_offsets"])


def _extent_fault(dtype: str, shape: list[int], offsets: Any) -> str | None:
    if (elements := math.prod(shape)) > MOST_ELEMENTS:
        return f"shape {shape!r} has {elements:,} elements; at most {MOST_ELEMENTS:,} are allowed"
    if not _are_integers(offsets) or len(offsets) != 2:
        return f"data_offsets {offsets!r} are not two integers"
    needed = elements * ITEM_SIZE[dtype]
    if (given := offsets[1] - offsets[0]) != needed:
        return f"data_offsets span {given:,} bytes, but {dtype} of shape {shape} takes {needed:,}"
    return None


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _cover_fault(tensors: Mapping[str, TensorInfo], size: int) -> str | None:
    """Return where the tensors, in the order of the data, fail to cover it exactly."""
    end = 0
    for name, info in tensors.items():
        if info.start != end:
            what = (
                "overlaps the tensor before it" if info.start < end else "leaves a hole before it"
            )
            return (
                f"tensor {name!r}: begins at byte {info.start:,} and {what} (which ends at {end:,})"
            )
        end = info.end
        if end > size:
            return f"tensor {name!r}: truncated: it ends at byte {end:,} of {size:,}"
    return f"{size - end:,} bytes follow the last tensor" if end < size else None


def _shortened(problems: list[str]) -> list[str]:
    more = len(problems) - _MOST_PROBLEMS
    return problems if more <= 0 else [*problems[:_MOST_PROBLEMS], f"and {more:,} more problems"]


def _read_exactly(stream: Readable, size: int) -> bytes:
    """Read `size` bytes, however few the stream gives at once."""
    parts = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            raise WeightsError([f"truncated: {missing:,} more bytes were expected"])
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


# --- values --------------------------------------------------------------------------------------


def tensor_digests(stream: Readable, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Hash each tensor and check that its values are finite, in one pass over the data.

    `stream` stands where `read_header`, which returned `tensors`, left it. A digest is that of the
    type, the shape and the little-endian bytes; the name is not part of it.

    Raises WeightsError naming the tensors that hold NaN or infinities.
    """
    digests, problems = {}, []
    for name, info in tensors.items():
        is_finite = _FINITE[info.dtype]
        hasher = hashlib.sha256(strictjson.canonical([info.dtype, info.shape]))
        finite = True
        for chunk in _chunks(stream, info.end - info.start):
            hasher.update(chunk)
            finite = finite and is_finite(chunk)
        digests[name] = "sha256:" + hasher.hexdigest()
        if not finite:
            problems.append(f"tensor {name!r}: holds NaN or infinite values")
    if problems:
        raise WeightsError(_shortened(problems))
    return digests


def _chunks(stream: Readable, size: int) -> Iterator[bytes]:
    for start in range(0, size, _CHUNK):
        yield _read_exactly(stream, min(_CHUNK, size - start))


# A value is NaN or infinite when all bits of its exponent are set. They stand in the last byte of
# the little-endian value, and for F32 and BF16 one in the byte before it. A slice with a step takes
# those bytes out at the speed of a copy. A value whose last byte is full is beyond 1e38, which
# weights never are, so the exact test over both bytes is rarely needed.
_FULL_F16 = bytes(byte & 0x7C == 0x7C for byte in range(256))
_FULL_7_BITS = bytes(byte & 0x7F == 0x7F for byte in range(256))
_TOP_BIT = bytes(byte >> 7 for byte in range(256))


def _finite_f16(chunk: bytes) -> bool:
    return 1 not in chunk[1::2].translate(_FULL_F16)


def _finite_8_bit_exponent(chunk: bytes, item: int) -> bool:
    high = chunk[item - 1 :: item]
    if 0x7F not in high and 0xFF not in high:
        return True
    full = int.from_bytes(high.translate(_FULL_7_BITS), "little")
    last = int.from_bytes(chunk[item - 2 :: item].translate(_TOP_BIT), "little")
    return not full & last


_FINITE: dict[str, Callable[[bytes], bool]] = {
    "F32": lambda chunk: _finite_8_bit_exponent(chunk, 4),
    "F16": _finite_f16,
    "BF16": lambda chunk: _finite_8_bit_exponent(chunk, 2),
}
