import contextlib
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from registry.weights import TensorInfo, WeightsError, read_header, tensor_digests


def raw(header, data=b"", *, length=None):
    """Return a safetensors file with any header, well formed or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(2,), *, start=0, dtype="F32", end=None):
    size = {"F32": 4, "F16": 2, "BF16": 2}.get(dtype, 8)
    end = start + size * int(np.prod(shape, dtype=object)) if end is None else end
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def header_of(data):
    return read_header(io.BytesIO(data), len(data))


def scan(data):
    stream = io.BytesIO(data)
    return tensor_digests(stream, read_header(stream, len(data)))


def test_a_file_of_the_reference_library_is_read():
    data = save({"b": np.ones((2, 3), "f4"), "a": np.zeros(4, "f2")}, metadata={"format": "pt"})
    assert header_of(data) == {
        "b": TensorInfo("F32", (2, 3), 0, 24),
        "a": TensorInfo("F16", (4,), 24, 32),
    }


def test_a_scalar_is_a_tensor():
    assert header_of(raw({"a": entry(())}, bytes(4)))["a"].shape == ()


FOUR = bytes(8)
REFUSED = {
    "empty file": (b"", "0 bytes are too few"),
    "no header": (bytes(9), "9 bytes are too few"),
    "header of 0 bytes": (bytes(16), "begins with b''"),
    "pickle": (b"\x80\x02ctorch\nsave" * 9, "not safetensors"),
    "zip": (b"PK\x03\x04" + bytes(60), "not safetensors"),
    "header beyond 8 MiB": (raw({}, length=(8 << 20) + 1), "at most 8,388,608"),
    "header of 2**63": (raw({}, length=2**63), "not safetensors"),
    "header longer than the file": (raw({}, bytes(4), length=4096), "truncated: the header takes"),
    "header begins with space": (raw(b" {}", FOUR), "begins with"),
    "header is a list": (raw(b"[]", FOUR), "begins with"),
    "duplicate tensor": (
        raw(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
        "'a' occurs twice",
    ),
    "duplicate field": (
        raw(b'{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', FOUR),
        "'dtype' occurs twice",
    ),
    "deep": (raw(b'{"a":' + b"[" * 4 + b"]" * 4 + b"}"), "deeper"),
    "not UTF-8": (raw(b'{"\xff":1}'), "UTF-8"),
    "no tensor": (raw({"__metadata__": {"a": "b"}}), "no tensor"),
    "metadata is no object": (raw({"__metadata__": ["x"], "a": entry()}, FOUR), "__metadata__"),
    "metadata holds a number": (
        raw({"__metadata__": {"k": 1}, "a": entry()}, FOUR),
        "__metadata__ 'k'",
    ),
    "metadata is huge": (
        raw({"__metadata__": {"k": "x" * 70_000}, "a": entry()}, FOUR),
        "__metadata__ 'k'",
    ),
    "path as a name": (raw({"../../etc/x y": entry()}, FOUR), "'../../etc/x y': a name is"),
    "empty name": (raw({"": entry()}, FOUR), "tensor '': a name is"),
    "long name": (raw({"n" * 257: entry()}, FOUR), "a name is"),
    "extra field": (raw({"a": entry() | {"x": 1}}, FOUR), "'a': its entry is not exactly"),
    "missing field": (raw({"a": {"dtype": "F32", "shape": [2]}}, FOUR), "'a': its entry"),
    "entry is a number": (raw({"a": 7}, FOUR), "'a': its entry"),
    "integers": (raw({"a": entry(dtype="I64")}, bytes(16)), "'a': dtype 'I64' is not allowed"),
    "unknown dtype": (raw({"a": entry(dtype="F99")}, bytes(16)), "'a': dtype 'F99'"),
    "dtype is a list": (raw({"a": entry() | {"dtype": ["F32"]}}, FOUR), "'a': dtype ['F32']"),
    "negative size": (raw({"a": entry() | {"shape": [-2]}}, FOUR), "'a': shape [-2]"),
    "float size": (raw({"a": entry() | {"shape": [2.0]}}, FOUR), "'a': shape [2.0]"),
    "true as a size": (raw({"a": entry((1,)) | {"shape": [True]}}, FOUR), "'a': shape [True]"),
    "no elements": (raw({"a": entry((0,))}), "'a': shape [0]"),
    "nine dimensions": (raw({"a": entry((1,) * 9)}, bytes(4)), "'a': shape"),
    "product beyond 2**40": (raw({"a": entry((2**30, 2**30))}, FOUR), "'a': shape"),
    "product wraps at 64 bits": (raw({"a": entry((2**32, 2**32), end=0)}), "'a': shape"),
    "offsets backwards": (
        raw({"a": entry() | {"data_offsets": [8, 0]}}, FOUR),
        "'a': data_offsets span -8",
    ),
    "offsets negative": (raw({"a": {**entry(), "data_offsets": [-8, 0]}}), "'a': data_offsets"),
    "offsets too short": (raw({"a": entry(end=7)}, FOUR), "'a': data_offsets span 7 bytes"),
    "beyond the end": (raw({"a": entry((4,))}, FOUR), "'a': truncated: it ends at byte 16 of 8"),
    "trailing bytes": (raw({"a": entry()}, FOUR + b"x"), "1 bytes follow the last tensor"),
    "hole": (raw({"a": entry(), "b": entry(start=12)}, bytes(20)), "byte 12 and leaves a hole"),
    "hole at the start": (raw({"a": entry(start=4)}, bytes(12)), "'a': begins at byte 4"),
    "overlap": (raw({"a": entry(), "b": entry(start=4)}, bytes(12)), "byte 4 and overlaps"),
    "same place twice": (raw({"a": entry(), "b": entry()}, FOUR), "byte 0 and overlaps"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_file_is_refused_with_the_tensor_named(data, reason):
    with pytest.raises(WeightsError) as refusal:
        header_of(data)
    assert reason in str(refusal.value)


def test_every_bad_tensor_is_named_at_once():
    with pytest.raises(WeightsError) as refusal:
        header_of(raw({"a": entry(dtype="I8"), "b": entry(), "c d": entry()}, FOUR))
    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "tensor 'a'",
        "tensor 'c d'",
    ]


def test_the_number_of_tensors_is_limited():
    with pytest.raises(WeightsError, match="65,537 tensors"):
        header_of(raw({f"t{i}": 0 for i in range(65_537)}))


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(WeightsError) as refusal:
        header_of(raw({f"t{i}": 0 for i in range(1000)}))
    assert refusal.value.problems[-1] == "and 950 more problems"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: raw({"a": entry()}, tail))
)
def test_random_bytes_are_read_or_refused_and_nothing_else(data):
    with contextlib.suppress(WeightsError):  # any other error fails the test
        assert sum(info.end - info.start for info in header_of(data).values()) <= len(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_is_refused(data):
    whole = save({"a": np.ones((3, 5), "f4"), "b": np.ones(7, "f2")})
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(WeightsError):
        scan(whole[:cut])


# --- values --------------------------------------------------------------------------------------


def as_type(bits, dtype):
    return np.array(bits, "u4" if dtype == "F32" else "u2").tobytes()


def file_of(dtype, bits):
    return raw({"w": entry((len(bits),), dtype=dtype)}, as_type(bits, dtype))


LARGEST = {"F32": 0x7F7FFFFF, "BF16": 0x7F7F, "F16": 0x7BFF}
INFINITY = {"F32": 0x7F800000, "BF16": 0x7F80, "F16": 0x7C00}
SIGN = {"F32": 0x80000000, "BF16": 0x8000, "F16": 0x8000}


@pytest.mark.parametrize("dtype", LARGEST)
def test_the_largest_finite_values_are_finite(dtype):
    scan(file_of(dtype, [0, LARGEST[dtype], LARGEST[dtype] | SIGN[dtype], 1] * 9))


@pytest.mark.parametrize("dtype", INFINITY)
@pytest.mark.parametrize("nan", [0, 1])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("position", [0, 1, 35])
def test_one_value_that_is_not_finite_is_found(dtype, nan, negative, position):
    bits = [LARGEST[dtype], 0] * 18
    bits[position] = INFINITY[dtype] | nan | (SIGN[dtype] if negative else 0)
    with pytest.raises(WeightsError, match="tensor 'w': holds NaN or infinite values"):
        scan(file_of(dtype, bits))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_of_all_65536_half_precision_values_exactly_the_infinite_ones_are_refused(dtype):
    exponent = INFINITY[dtype]
    infinite = [bits for bits in range(1 << 16) if bits & exponent == exponent]
    scan(file_of(dtype, sorted(set(range(1 << 16)) - set(infinite))))
    for bits in infinite:
        with pytest.raises(WeightsError):
            scan(file_of(dtype, [bits]))


def test_a_digest_depends_on_type_shape_and_bytes_but_not_on_the_name():
    def digest(name, array):
        return scan(save({name: array}))[name]

    ones = np.ones((2, 3), "f4")
    assert digest("a", ones) == digest("b", ones)
    assert len({digest("a", ones), digest("a", ones.T.copy()), digest("a", ones * 2),
                digest("a", ones.astype("f2"))}) == 4  # fmt: skip


def test_a_tensor_larger_than_a_chunk_is_hashed_whole():
    big = np.arange((4 << 20) // 4 + 3, dtype="f4")
    changed = big.copy()
    changed[-1] += 1
    assert scan(save({"a": big}))["a"] != scan(save({"a": changed}))["a"]


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at once, as a socket may."""

    def __init__(self, data):
        self.rest = io.BytesIO(data)

    def read(self, size=-1):
        return self.rest.read(min(size, 7))


def test_a_stream_that_gives_little_at_once_is_read_all_the_same():
    data = save({"a": np.ones(100, "f4")})
    stream = Trickle(data)
    assert tensor_digests(stream, read_header(stream, len(data))) == scan(data)
