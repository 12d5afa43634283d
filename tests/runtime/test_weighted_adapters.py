"""LoRAs made of several are those that PEFT makes, run here."""

import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel

import adapters_runtime
from adapters_runtime.composition import Stack
from adapters_runtime.errors import AdapterExists, AdapterNotLoaded, ConfigError
from adapters_runtime.weighting import KINDS
from tests.support import peft_live
from tests.support.peft_live import Case

PLACES = {
    "bert": ("SEQ_CLS", ["query", "value"], ["query", "intermediate.dense"]),
    "gpt2": ("CAUSAL_LM", ["c_attn", "wte"], ["c_attn", "c_fc"]),
}
OPTIONS = [{"combination_type": kind, "density": 0.4} for kind in KINDS]
OPTIONS += [
    {"combination_type": "ties", "density": 0.7, "majority_sign_method": "frequency"},
    {"combination_type": "svd", "svd_rank": 2},
]


def both(model_type, tmp_path, ranks=(3, 3)):
    task, *places = PLACES[model_type]
    cases = [
        Case("lora", model_type, task, LoraConfig(r=r, lora_alpha=5 + r, target_modules=targets))
        for r, targets in zip(ranks, places, strict=True)
    ]
    for seed, case in enumerate(cases):
        peft_live.save(case, tmp_path / "ab"[seed], seed=seed + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PeftModel.from_pretrained(cases[0].model(), tmp_path / "a", adapter_name="a")
        theirs.load_adapter(tmp_path / "b", adapter_name="b")
    ours = cases[0].model()
    adapters_runtime.init(ours)
    for name in "ab":
        ours.load_adapter(tmp_path / name, load_as=name)
    return cases[0], ours.eval(), theirs.eval()


@pytest.mark.parametrize("model_type", PLACES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weights", [(0.7, 0.6), (1.2, -0.5)], ids=str)
def test_it_is_what_peft_makes(model_type, options, weights, tmp_path):
    ranks = (3, 2) if options["combination_type"] in ("cat", "svd") else (3, 3)
    case, ours, theirs = both(model_type, tmp_path, ranks)
    given = peft_live.batch(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.base_model.add_weighted_adapter(["a", "b"], list(weights), "ab", **options)
        theirs.set_adapter("ab")

    ours.add_weighted_adapter(["a", "b"], weights, "ab", **options)
    ours.set_active_adapters("ab")

    peft_live.compare(peft_live.output(ours, given), peft_live.output(theirs, given), given)


def test_loras_of_adapterhub_are_combined_exactly(tmp_path):
    case, model, _ = both("bert", tmp_path)
    model.add_adapter("c", "lora[r=2,init_weights='bert',attn_matrices=['q','k']]")
    model.add_weighted_adapter(["a", "c"], [1, 1], "ac", combination_type="cat")
    given = peft_live.batch(case)
    model.set_active_adapters(Stack("a", "c"))
    expected = peft_live.output(model, given)
    model.set_active_adapters("ac")
    torch.testing.assert_close(peft_live.output(model, given), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ("ab", {"combination_type": "mean"}, ConfigError, "no combination_type is called 'mean'"),
        ("ab", {"combination_type": "ties"}, ConfigError, "needs a density"),
        ("ab", {"combination_type": "linear"}, ConfigError, "LoRAs of one rank"),
        ("ab", {"majority_sign_method": "x"}, ConfigError, "total or frequency"),
        ("ad", {}, ConfigError, "'d' is no LoRA"),
        ("ax", {}, AdapterNotLoaded, "x"),
        ("ab", {"adapter_name": "a"}, AdapterExists, "a"),
        ("abd", {}, ConfigError, "there are 3 adapters, but 2 weights"),
    ],
)
def test_what_cannot_be_combined_is_refused(names, options, error, message, tmp_path):
    _, model, _ = both("bert", tmp_path, (3, 2))
    model.add_adapter("d", "dora")
    before = dict(model.adapters_config)
    with pytest.raises(error, match=message):
        model.add_weighted_adapter(list(names), [1, 1], **{"adapter_name": "new"} | options)
    assert dict(model.adapters_config) == before
