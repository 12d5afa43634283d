"""Whatever the strict reader accepts, safetensors' own reader reads as the same tensors."""

import copy
import io
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as reference
from safetensors.numpy import save

from registry.weights import WeightsError, read_header, tensor_digests

HALF = np.array([[1.5, -2.0, 0.0], [4.0, 65504.0, -1.0]], "f2")
VALID = (
    save({"a.weight": np.arange(12, dtype="f4").reshape(3, 4), "a.bias": np.ones(4, "f4")}),
    save({"w": HALF, "b": np.zeros((), "f4")}, metadata={"format": "pt"}),
    save({f"layer.{i}.lora_A": np.full((1, i + 1), i, "f4") for i in range(5)}),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 40), max_size=4),
    st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "f32"]),
)


def read(data):
    stream = io.BytesIO(data)
    tensors = read_header(stream, len(data))
    return tensors, tensor_digests(stream, tensors)


def hold_to_the_reference(data):
    """Refuse with the reader's own error, or agree with the reference on every byte."""
    try:
        tensors, digests = read(data)
    except WeightsError:  # any other error fails the test
        return False
    found = reference.load(data)
    assert found.keys() == tensors.keys() == digests.keys()
    begin = 8 + int.from_bytes(data[:8], "little")
    for name, info in tensors.items():
        assert tuple(found[name].shape) == info.shape
        assert found[name].isfinite().all()
        raw = data[begin + info.start : begin + info.end]
        bits = found[name].contiguous().flatten().view(dtype=INTEGERS[info.dtype])
        assert bits.numpy().tobytes() == raw
    return True


INTEGERS = {
    "F32": reference.torch.int32,
    "F16": reference.torch.int16,
    "BF16": reference.torch.int16,
}


def parts(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_valid_files_are_read_as_the_reference_reads_them():
    assert all(map(hold_to_the_reference, VALID))


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_files_with_changed_bytes(data, draw):
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(changed) - 1))
        action = draw.draw(st.sampled_from(["set", "flip", "insert", "delete", "repeat"]))
        if action == "set":
            changed[at] = draw.draw(st.integers(0, 255))
        elif action == "flip":
            changed[at] ^= 1 << draw.draw(st.integers(0, 7))
        elif action == "insert":
            changed[at:at] = draw.draw(st.binary(min_size=1, max_size=8))
        elif action == "delete":
            del changed[at : at + draw.draw(st.integers(1, min(8, len(changed) - 1)))]
        else:
            changed[at:at] = changed[max(0, at - 9) : at]
    hold_to_the_reference(bytes(changed))


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_files_with_changed_headers(data, draw):
    header, body = parts(data)
    header = copy.deepcopy(header)
    names = [name for name in header if name != "__metadata__"]
    name, other = draw.draw(st.sampled_from(names)), draw.draw(st.sampled_from(names))
    field = draw.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
    action = draw.draw(st.sampled_from(["field", "drop", "rename", "swap", "metadata", "reshape"]))
    if action == "field":
        header[name][field] = draw.draw(ODD)
    elif action == "drop":
        header[name].pop(field)
    elif action == "rename":
        header[draw.draw(st.text(max_size=8))] = header.pop(name)
    elif action == "swap":
        header[name], header[other] = header[other], header[name]
    elif action == "metadata":
        odd = st.dictionaries(st.text(max_size=3), ODD, max_size=2) | ODD
        header["__metadata__"] = draw.draw(odd)
    else:  # sizes and types that may still cover the data
        header[name]["shape"] = draw.draw(st.permutations([1, *header[name]["shape"]]))
        header[name]["dtype"] = draw.draw(st.sampled_from(["F32", "F16", "BF16"]))
    body = draw.draw(st.sampled_from([body, body[:-1], body + b"\0", body]))
    space = draw.draw(st.sampled_from([b"", b" ", b"      ", b"\n", b"\0"]))
    hold_to_the_reference(joined(json.dumps(header).encode() + space, body))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abc._-/@+,", min_size=1, max_size=6),
            st.sampled_from(["F32", "F16", "BF16"]),
            st.lists(st.integers(1, 4), max_size=4),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda entry: entry[0],
    ),
    st.randoms(use_true_random=False),
)
def test_well_formed_files_in_any_order_are_accepted(entries, random):
    size = {"F32": 4, "F16": 2, "BF16": 2}
    header, end = {}, 0
    for name, dtype, shape in entries:
        length = size[dtype] * int(np.prod(shape, dtype=int))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + length]}
        end += length
    names = list(header)
    random.shuffle(names)
    body = bytes(random.randrange(64) for _ in range(end))  # no exponent of ones: finite
    assert hold_to_the_reference(joined({name: header[name] for name in names}, body))
