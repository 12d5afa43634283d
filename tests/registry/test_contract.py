import pytest

from registry.contract import Contract, Fit, fit, missing_for
from registry.schemas import Requirement, Signature
from tests.registry.manifests import manifest, signature


def requirement(*, drop=(), **changes):
    wanted = signature(slot="lang", invertible="nice", language="en") | changes
    return Requirement.model_validate({"signature": wanted, "drop_layers": list(drop)})


def offered(**changes):
    return Signature.model_validate(
        signature(slot="lang", invertible="nice", language="qu") | changes
    )


def test_a_partner_like_the_one_in_training_fits():
    assert fit(requirement(), offered()) == Fit()
    assert missing_for(requirement(), offered()) == []


@pytest.mark.parametrize(
    "change", [{"rows": True}, {"language": "sw"}, {"series": "wiki-r2"}, {"slot": "language"}]
)
def test_what_is_the_languages_own_affair_does_not_count(change):
    assert fit(requirement(), offered(**change)).is_satisfied


GLOW = "it has an invertible part (glow), the partner in training had an invertible part (nice)"
MORE_LAYERS = (
    "it also adapts layers 4-5, 7, which the partner in training did not, "
    "and the requirement does not say to drop"
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "double_seq_bn"}, "its method is double_seq_bn, in training it was seq_bn"),
        (
            {"invertible": None},
            "it has no invertible part, the partner in training had an invertible part (nice)",
        ),
        ({"invertible": "glow"}, GLOW),
        (
            {"points": ["mh", "output"]},
            "it stands at mh and output, the partner in training stood at output",
        ),
        ({"points": []}, "it stands at no point, the partner in training stood at output"),
        ({"layers": [0, 1, 3]}, "it has nothing in layer 2, where the partner in training had"),
        ({"layers": []}, "it has nothing in layers 0-3, where the partner in training had"),
        ({"layers": [0, 1, 2, 3, 4, 5, 7]}, MORE_LAYERS),
    ],
)
def test_what_differs_is_said_in_words(change, reason):
    assert missing_for(requirement(), offered(**change)) == [reason]


def test_every_difference_is_said():
    reasons = missing_for(requirement(), offered(method="lora", layers=[0], invertible=None))
    assert len(reasons) == 3


def test_a_layer_that_was_dropped_in_training_is_left_out_at_load():
    assert fit(requirement(drop=[3]), offered()) == Fit(leave_out=(3,))


def test_a_partner_that_never_had_the_dropped_layer_fits_as_it_is():
    assert fit(requirement(drop=[3]), offered(layers=[0, 1, 2])) == Fit()


def test_layers_are_never_added():
    found = fit(requirement(drop=[3]), offered(layers=[0, 1, 3]))
    assert found.reasons == ("it has nothing in layer 2, where the partner in training had",)


@pytest.mark.parametrize("change", [{"method": None}, {"layers": None}, {"points": None}])
def test_what_is_unknown_is_a_near_match_and_no_fit(change):
    for found in (fit(requirement(), offered(**change)), fit(requirement(**change), offered())):
        assert found.unknown
        assert not found.reasons
        assert not found.is_satisfied


def test_an_adapter_that_does_not_say_what_it_requires_fits_nothing_for_certain():
    assert Contract.of(manifest(requires=None)).fit("lang", offered()).unknown


def test_an_adapter_that_requires_nothing_of_a_slot_accepts_anything_there():
    assert Contract.of(manifest()).fit("other", offered(method="lora")).is_satisfied
    assert Contract.of(manifest(requires={})).fit("lang", offered(method="lora")).is_satisfied
    assert not Contract.of(manifest()).fit("lang", offered(method="lora")).is_satisfied
