import json

import pytest

from registry.strictjson import StrictJsonError, canonical, digest, loads


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, 2.5, None, True, "é\U0001f600"]}, "text", 0, -1.5]
)
def test_what_is_written_canonically_reads_back(value):
    assert loads(canonical(value)) == value


def test_the_canonical_form_ignores_order_and_spelling():
    a = loads(b'{"b": 1.0, "a": "\\u00e9"}')
    b = loads('{ "a": "é", "b": 1 }'.encode())
    assert canonical(a) == canonical(b) == '{"a":"é","b":1}'.encode()
    assert digest(a) == digest(b)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 1}', "'a' occurs twice"),
        (b'[{"x": {"k": 1, "k": 2}}]', "'k' occurs twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "1e999 is out of range"),
        (b"[" + b"9" * 5000 + b"]", "out of range"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"{} {}", "Extra data at line 1 column 4"),
        (b"{'a': 1}", "line 1 column 2"),
        (b"", "empty"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 32"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32"),
    ],
)
def test_ambiguous_or_hostile_json_is_refused(data, reason):
    with pytest.raises(StrictJsonError, match=reason):
        loads(data)


def test_32_levels_are_allowed():
    assert loads(b"[" * 32 + b"]" * 32) == json.loads("[" * 32 + "]" * 32)


def test_size_is_limited():
    assert loads(b"[1]", limit=3) == [1]
    with pytest.raises(StrictJsonError, match="4 bytes; at most 3"):
        loads(b"[12]", limit=3)


@pytest.mark.parametrize("value", [2**60, float("nan"), {1: 2}, object()])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(StrictJsonError):
        canonical(value)
