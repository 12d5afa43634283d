"""What holds of every method on every architecture."""

import pytest
import torch

from adapters_runtime import init
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.composition import Average
from adapters_runtime.configs import (
    ADAPTER_CONFIG_MAP,
    AdapterConfig,
    BnConfig,
    CompacterConfig,
    CompacterPlusPlusConfig,
    ConfigUnion,
    DiReftConfig,
    EmbeddingRowsConfig,
    IA3Config,
    LoRAConfig,
    MTLLoRAConfig,
    NoReftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    SeqBnInvConfig,
    VeraConfig,
    parts_of,
)
from adapters_runtime.errors import MergeStateError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.shapes import BaseDescription, expected_tensors
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter
from tests.support.tiny_models import PAIRS

SMALL = {
    "reduction_factor": 4,
    "phm_dim": 2,
    "r": 2,
    "alpha": 6,
    "prefix_length": 3,
    "bottleneck_size": 5,
    "prompt_length": 3,
    "suffix_positions": 2,
    "n_up_projection": 2,
}
"""What makes the presets small enough for tiny models."""


def small(config: AdapterConfig) -> AdapterConfig:
    if isinstance(config, ConfigUnion):
        return ConfigUnion(*map(small, config.configs))
    changed = {field: value for field, value in SMALL.items() if field in config}
    if isinstance(config, LoRAConfig) and config.is_ia3:
        changed = {}  # its rank is 1, and its factors start at alpha
    return config.replace(**changed)


ROWS = EmbeddingRowsConfig(token_ids=tuple(range(4, 32, 3)))
METHODS = {name: small(config) for name, config in ADAPTER_CONFIG_MAP.items()} | {
    "seq_bn_glow": SeqBnInvConfig(reduction_factor=4, inv_adapter="glow"),
    "double_seq_bn_cross": small(ADAPTER_CONFIG_MAP["double_seq_bn"]).replace(cross_adapter=True),
    "seq_bn_gated": small(ADAPTER_CONFIG_MAP["seq_bn"]).replace(
        use_gating=True, ln_before=True, ln_after=True
    ),
    "lora_everywhere": LoRAConfig(
        r=2, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True
    ),
    "lora_gated": LoRAConfig(r=2, use_gating=True),
    "ia3_gated": IA3Config(use_gating=True),
    "compacter_shared": CompacterConfig(
        reduction_factor=4, phm_dim=2, shared_W_phm=True, factorized_phm_rule=True
    ),
    "compacter_own": CompacterPlusPlusConfig(
        reduction_factor=4, phm_dim=2, shared_phm_rule=False, factorized_phm_W=False
    ),
    "compacter_fixed_rule": CompacterPlusPlusConfig(
        reduction_factor=4, phm_dim=2, phm_init_range=0.5, learn_phm=False
    ),
    "vera_everywhere": VeraConfig(
        r=2, alpha=6, attn_matrices=["q", "k", "v"], intermediate_lora=True
    ),
    "mtl_lora_full": MTLLoRAConfig(r=2, task_specific_matrix_type="linear", output_lora=True),
    "noreft_with_activation": NoReftConfig(r=2, suffix_positions=2, non_linearity="relu"),
    "direft_tied": DiReftConfig(r=2, suffix_positions=1, tied_weights=True),
    "prefix_tuning_self": PrefixTuningConfig(prefix_length=3, flat=True, cross_prefix=False),
    "embedding_rows": ROWS,
    "language_pack": ConfigUnion(SeqBnInvConfig(reduction_factor=4), ROWS),
}
"""Every preset there is, and what no preset shows."""


def folds(config: AdapterConfig) -> bool:
    return isinstance(config, LoRAConfig) and not config.use_gating


def starts_as_identity(config: AdapterConfig) -> bool:
    """Return whether the paper starts the method where it changes nothing."""
    if isinstance(config, BnConfig):
        return config.init_weights == "mam_adapter" and config.inv_adapter is None
    return isinstance(config, EmbeddingRowsConfig) or folds(config)


MERGEABLE = [name for name, config in METHODS.items() if folds(config)]
IDENTITY_WHEN_FRESH = [name for name, config in METHODS.items() if starts_as_identity(config)]
TYPES = (*ARCHITECTURES, *PAIRS)
SAMPLED = ("bert", "gpt2", "llama", "t5", "bert+gpt2")
OLD_NAMES = ("pfeiffer", "houlsby", "parallel", "scaled_parallel")
VISION = ("vit", "deit", "beit", "clip_vision_model")


def stands_in(config: AdapterConfig, model_type: str) -> bool:
    """Return whether a method has a place in models of a type."""
    kinds = {type(part) for part in parts_of(config)}
    if model_type in VISION and EmbeddingRowsConfig in kinds:
        return False
    if model_type in ("clip", "bert+gpt2") and any(
        getattr(part, "shared_W_phm", False) for part in parts_of(config)
    ):
        return False  # its towers differ in width: refused, see test_parts_of_models.py
    if PromptTuningConfig in kinds and model_type not in PAIRS:
        return ARCHITECTURES[model_type].prompts is not None
    return True


def sampled_with(method: str) -> tuple[str, str]:
    """Return the types that `make test` tries a method on: the next two, in turns."""
    turn = list(METHODS).index(method)
    return SAMPLED[turn % len(SAMPLED)], SAMPLED[(turn + 1) % len(SAMPLED)]


def pairs(methods, model_types=TYPES):
    """Return (method, model type) parameters; those beyond the sample are for `make test-all`."""
    return [
        pytest.param(
            method,
            model_type,
            id=f"{method}-{model_type}",
            marks=[] if model_type in sampled_with(method) else [pytest.mark.long],
        )
        for method in methods
        if not method.startswith(OLD_NAMES)
        for model_type in model_types
        if stands_in(METHODS[method], model_type)
    ]


def equal_weights(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


def in_double(model):
    """Return the model in float64: a tiny mT5 makes float32's roundings a thousand times larger."""
    return model.double()


NEARLY = {"atol": 2e-6, "rtol": 1e-5}
"""How close outputs in double are: norms round to float32 between, whatever the model's type is."""


@pytest.mark.parametrize("model_type", TYPES)
def test_init_changes_no_output(bare_models, model_type):
    model = bare_models(model_type)
    before, weights = output_of(model), dict(model.state_dict())
    init(model)
    assert torch.equal(output_of(model), before)
    assert equal_weights(weights, model.state_dict())


@pytest.mark.parametrize(("method", "model_type"), pairs(IDENTITY_WHEN_FRESH))
def test_a_fresh_adapter_is_the_identity(adapted, method, model_type):
    model = adapted(model_type)
    before = output_of(model)
    model.add_adapter("a", METHODS[method], set_active=True)
    torch.testing.assert_close(output_of(model), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_an_adapter_has_an_effect_and_leaves_without_a_trace(adapted, method, model_type):
    model = adapted(model_type)
    before, weights = output_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    changed = output_of(model)  # prompts make it longer
    assert changed.shape != before.shape or not torch.allclose(changed, before)
    model.set_active_adapters(None)
    assert torch.equal(output_of(model), before)
    model.delete_adapter("a")
    assert torch.equal(output_of(model), before)
    assert equal_weights(weights, model.state_dict())


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_saving_and_loading_is_exact(adapted, tmp_path, method, model_type):
    model = adapted(model_type)
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    model.save_adapter(tmp_path / "a", "a")
    other = adapted(model_type)
    assert other.load_adapter(tmp_path / "a", load_as="b", set_active=True) == "b"
    assert torch.equal(output_of(other), output_of(model))
    other.save_adapter(tmp_path / "again", "b")
    saved = [(tmp_path / f / "adapter.safetensors").stat().st_size for f in ("a", "again")]
    assert saved[0] == saved[1]


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_shapes_tells_what_is_saved(adapted, method, model_type):
    model = adapted(model_type)
    model.add_adapter("a", METHODS[method])
    base = model.base_model
    tensors = {
        name: tuple(parameter.shape)
        for name, parameter in base.named_parameters()
        if not name.startswith("adapter_bank.")
    }
    described = BaseDescription(model.config.model_type, model.config.to_dict(), tensors)
    saved = {key: tuple(tensor.shape) for key, tensor in bank_of(model).saved_tensors("a")}
    assert expected_tensors("a", METHODS[method], described) == saved


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_only_the_trained_adapter_gets_gradients(adapted, method, model_type):
    model = adapted(model_type)
    for name in ("a", "b"):
        model.add_adapter(name, METHODS[method])
    model.train_adapter("a")
    trainable = {id(p) for p in model.base_model.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in bank_of(model).parameters_of("a")}


@pytest.mark.parametrize(("method", "model_type"), pairs(MERGEABLE))
def test_merging_keeps_the_output_and_reset_restores_every_weight(adapted, method, model_type):
    model = in_double(adapted(model_type))
    with torch.no_grad():  # transformers starts biases at zero, where a wrong merge is right
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(1), std=0.1)
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    expected, weights = output_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    model.merge_adapter("a")
    torch.testing.assert_close(output_of(model), expected, **NEARLY)
    model.reset_adapter()
    assert equal_weights(weights, model.state_dict())
    assert torch.equal(output_of(model), expected)


@pytest.mark.parametrize(("method", "model_type"), pairs(MERGEABLE, ("bert", "gpt2")))
def test_deleting_a_merged_adapter_brings_the_base_back(adapted, method, model_type):
    model = adapted(model_type)
    before, weights = output_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    model.add_adapter("a", METHODS[method])
    randomise_adapter(model, "a")
    model.merge_adapter("a")
    model.delete_adapter("a")
    model.reset_adapter()
    assert equal_weights(weights, model.state_dict())
    assert torch.equal(output_of(model), before)


@pytest.mark.parametrize("method", ["lora_gated", "ia3_gated"])
def test_what_depends_on_the_input_is_not_merged(adapted, method):
    model = adapted("bert")
    model.add_adapter("a", METHODS[method], set_active=True)
    before = output_of(model)
    with pytest.raises(MergeStateError, match="cannot be merged"):
        model.merge_adapter("a")
    assert torch.equal(output_of(model), before)


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_the_average_of_an_adapter_with_itself_is_that_adapter(adapted, method, model_type):
    model = in_double(adapted(model_type))
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    expected = output_of(model)
    model.set_active_adapters(Average("a", "a", weights=[0.3, 0.7]))
    torch.testing.assert_close(output_of(model), expected, **NEARLY)
    model.average_adapter("mean", ["a", "a"], weights=[0.3, 0.7], set_active=True)
    torch.testing.assert_close(output_of(model), expected, **NEARLY)
    model.average_adapter("again", {"a": 3.0, "mean": 1.0}, set_active=True)
    torch.testing.assert_close(output_of(model), expected, **NEARLY)


@pytest.mark.parametrize(("method", "model_type"), pairs(METHODS))
def test_rows_with_set_ups_of_their_own_equal_each_row_alone(adapted, method, model_type):
    model = in_double(adapted(model_type))
    add_adapters(model, dict.fromkeys(("a", "b"), METHODS[method]))
    inputs = inputs_for(model)
    found = output_of(model, inputs | {"adapter_names": ["b", "a", "b"]})
    for row, name in enumerate(("b", "a", "b")):
        model.set_active_adapters(name)
        alone = output_of(model, {key: value[row : row + 1] for key, value in inputs.items()})
        torch.testing.assert_close(found[row : row + 1], alone, atol=1e-5, rtol=1e-4)
