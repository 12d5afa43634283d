import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidName, WrongVersionNumber
from registry.names import Range
from registry.versioning import (
    Level,
    Number,
    Published,
    admits,
    check_number,
    next_number,
    required_bump,
)
from tests.registry.manifests import digest, head, manifest, signature, tensor

BASE = manifest()
CARD = manifest(card={"title": "B"}, files={"README.md": {"sha256": "2" * 64, "size": 9}})
RETRAINED = manifest(
    tensors=BASE.model_dump()["tensors"]
    | {"adapter.safetensors": {"down": tensor(1), "up": tensor(9)}}
)
RELABELLED = manifest(head=head(labels=["bad", "good"]))


def base(**changes):
    return BASE.base.model_dump() | changes


def requires(**changes):
    entry = BASE.requires["lang"].model_dump()
    return {"lang": entry | changes}


CASES = {
    "the same": (BASE, Level.PATCH, "nothing changed"),
    "card": (CARD, Level.PATCH, "same weights"),
    "new weights": (RETRAINED, Level.MINOR, "tensor up was changed"),
    "cast": (
        manifest(tensors={"adapter.safetensors": {"down": tensor(1, dtype="F16")}}),
        Level.MINOR,
        "tensor down was cast",
    ),
    "configuration": (
        manifest(configuration={"architecture": None, "reduction_factor": 2}),
        Level.MINOR,
        "the configuration changed in non_linearity, reduction_factor",
    ),
    "head without another label": (
        manifest(head=head(configuration={"layers": 2, "num_labels": 2})),
        Level.MINOR,
        "head's configuration",
    ),
    "partner moved": (manifest(requires=requires(ref="lab/en@2.0.0")), Level.MINOR, "partners"),
    "base renamed": (manifest(base=base(name="mirror/bert-base")), Level.PATCH, "base changed"),
    "method": (manifest(signature=signature(method="lora")), Level.MAJOR, "method changed from"),
    "layers": (
        manifest(signature=signature(layers=[0, 1])),
        Level.MAJOR,
        "layers changed from (0, 1, 2, 3) to (0, 1)",
    ),
    "an invertible part": (
        manifest(signature=signature(invertible="nice")),
        Level.MAJOR,
        "invertible changed from nothing to nice",
    ),
    "rows": (manifest(signature=signature(rows=True)), Level.MAJOR, "rows changed"),
    "requires more": (
        manifest(requires=requires() | {"x": requires()["lang"]}),
        Level.MAJOR,
        "slot x",
    ),
    "requires less": (manifest(requires={}), Level.MAJOR, "no longer requires"),
    "requires otherwise": (manifest(requires=requires(drop_layers=[3])), Level.MAJOR, "slot lang"),
    "says no longer": (manifest(requires=None), Level.MAJOR, "no longer said"),
    "base body": (manifest(base=base(body=digest("other"))), Level.MAJOR, "base model's body"),
    "labels": (RELABELLED, Level.MAJOR, "labels changed from (neg, pos) to (bad, good)"),
    "number of labels": (
        manifest(head=head(outputs=3)),
        Level.MAJOR,
        "the head has 3 outputs, it had 2",
    ),
    "other head": (manifest(head=head(type="tagging")), Level.MAJOR, "classification to tagging"),
    "no head": (manifest(head=None), Level.MAJOR, "head is gone"),
}


@pytest.mark.parametrize(("after", "level", "reason"), CASES.values(), ids=CASES)
def test_a_change_deserves_a_step_and_the_reason_names_it(after, level, reason):
    bump = required_bump(BASE, after)
    assert bump.level is level
    assert reason in bump.reason


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (manifest(head=None), BASE),
        (manifest(requires=None), BASE),
        (manifest(signature=signature(slot=None)), BASE),
    ],
)
def test_saying_what_was_unknown_breaks_nobody(before, after):
    assert required_bump(before, after).level is Level.MINOR


def test_without_digests_the_base_goes_by_its_name():
    before, same, other = (manifest(base={"name": name}) for name in ("a", "a", "b"))
    assert required_bump(before, same).level is Level.PATCH
    assert required_bump(before, other).level is Level.MAJOR


# --- numbers -------------------------------------------------------------------------------------


def published(*numbers, withdrawn=()):
    return [Published(Number.parse(text), BASE) for text in numbers] + [
        Published(Number.parse(text), None) for text in withdrawn
    ]


def test_a_number_is_read_with_or_without_v():
    assert Number.parse("v1.20.3") == Number.parse("1.20.3") == (1, 20, 3)
    assert str(Number(1, 20, 3)) == "1.20.3"


@pytest.mark.parametrize("text", ["1", "1.2", "1.2.3.4", "1.2.x", "^1", "01.2.3", "1.2.3-rc1", ""])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(InvalidName, match="no version number"):
        Number.parse(text)


@pytest.mark.parametrize(
    ("existing", "withdrawn", "new", "number"),
    [
        ([], [], BASE, "1.0.0"),
        (["1.0.0"], [], CARD, "1.0.1"),
        (["1.0.0"], [], RETRAINED, "1.1.0"),
        (["1.0.0"], [], RELABELLED, "2.0.0"),
        (["0.1.0"], [], RETRAINED, "0.2.0"),
        (["1.0.0", "2.3.4", "1.9.9"], [], RETRAINED, "2.4.0"),
        (["1.0.0"], ["1.1.0", "1.2.0"], RETRAINED, "1.3.0"),
        ([], ["1.0.0", "1.4.0"], BASE, "2.0.0"),
    ],
)
def test_the_next_number_follows_from_the_change_and_is_never_one_that_was_used(
    existing, withdrawn, new, number
):
    assert str(next_number(published(*existing, withdrawn=withdrawn), new)) == number


@pytest.mark.parametrize(
    ("existing", "number", "new", "use"),
    [
        (["1.0.0"], "1.0.1", RETRAINED, "1.1.0"),
        (["1.0.0"], "1.7.0", RELABELLED, "2.0.0"),
        (["1.0.0", "1.1.0", "2.0.0"], "1.0.1", RETRAINED, "2.1.0"),
        (["1.0.0", "1.0.5", "3.0.0"], "1.0.1", RELABELLED, "2.0.0"),
    ],
)
def test_too_small_a_step_is_refused_with_the_reason_and_the_number_to_use(
    existing, number, new, use
):
    with pytest.raises(WrongVersionNumber) as refusal:
        check_number(published(*existing), Number.parse(number), new)
    assert refusal.value.use == use
    assert refusal.value.reason.startswith("since 1.0.0, ")
    check_number(published(*existing), Number.parse(use), new)


@pytest.mark.parametrize(
    ("existing", "number", "new"),
    [
        ([], "0.0.1", BASE),
        ([], "7.1.3", BASE),
        (["1.0.0"], "1.0.1", CARD),
        (["1.0.0"], "1.2.7", RETRAINED),
        (["1.0.0"], "9.0.0", CARD),
        (["1.0.0", "3.0.0"], "1.1.0", RETRAINED),
        (["2.0.0"], "1.0.0", RELABELLED),
    ],
)
def test_a_large_enough_step_is_accepted_below_later_versions_too(existing, number, new):
    check_number(published(*existing), Number.parse(number), new)


def test_withdrawn_versions_are_nothing_to_compare_with():
    check_number(published(withdrawn=["1.0.0"]), Number.parse("1.0.1"), RELABELLED)


numbers = st.builds(Number, *[st.integers(0, 3)] * 3)


@given(
    st.lists(st.tuples(numbers, st.sampled_from([BASE, CARD, RETRAINED, RELABELLED, None]))),
    st.sampled_from([BASE, CARD, RETRAINED, RELABELLED]),
)
def test_the_number_proposed_is_always_free_and_always_accepted(existing, new):
    versions = [Published(*pair) for pair in dict(existing).items()]
    number = next_number(versions, new)
    assert number not in {version.number for version in versions}
    check_number(versions, number, new)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("^1", "1.0.0", "2.0.0"),
        ("^1.2", "1.2.0", "2.0.0"),
        ("^1.2.3", "1.2.3", "2.0.0"),
        ("^0.2", "0.2.0", "0.3.0"),
        ("^0.2.3", "0.2.3", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.0", "0.1.0"),
        ("^0", "0.0.0", "1.0.0"),
        ("^1.0", "1.0.0", "2.0.0"),
    ],
)
@given(number=numbers)
def test_a_range_admits_what_cargo_would(text, low, high, number):
    expected = Number.parse(low) <= number < Number.parse(high)
    assert admits(Range(text), number) is expected
