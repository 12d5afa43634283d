"""What holds of every method on every architecture."""

import pytest
import torch

from adapters_runtime import init
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.configs import (
    CompacterConfig,
    CompacterPlusPlusConfig,
    ConfigUnion,
    DiReftConfig,
    DoRAConfig,
    DoubleSeqBnConfig,
    DoubleSeqBnInvConfig,
    DvoRAConfig,
    EmbeddingRowsConfig,
    IA3Config,
    LoRAConfig,
    LoReftConfig,
    MAMConfig,
    MTLLoRAConfig,
    NoReftConfig,
    ParBnConfig,
    PrefixTuningConfig,
    SeqBnConfig,
    SeqBnInvConfig,
    UniPELTConfig,
    VeraConfig,
)
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.shapes import BaseDescription, expected_tensors
from tests.support.running import output_of, randomise_adapter

ROWS = EmbeddingRowsConfig(token_ids=tuple(range(4, 32, 3)))
PREFIXES = PrefixTuningConfig(prefix_length=3, bottleneck_size=5)
METHODS = {
    "seq_bn": SeqBnConfig(reduction_factor=4),
    "double_seq_bn": DoubleSeqBnConfig(reduction_factor=4),
    "par_bn": ParBnConfig(),
    "seq_bn_inv": SeqBnInvConfig(reduction_factor=4),
    "double_seq_bn_inv": DoubleSeqBnInvConfig(reduction_factor=4),
    "seq_bn_glow": SeqBnInvConfig(reduction_factor=4, inv_adapter="glow"),
    "lora": LoRAConfig(r=2, alpha=6),
    "lora_everywhere": LoRAConfig(
        r=2, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True
    ),
    "ia3": IA3Config(),
    "compacter": CompacterConfig(reduction_factor=4, phm_dim=2),
    "compacter_shared": CompacterConfig(
        reduction_factor=4, phm_dim=2, shared_W_phm=True, factorized_phm_rule=True
    ),
    "compacter_own": CompacterPlusPlusConfig(
        reduction_factor=4, phm_dim=2, shared_phm_rule=False, factorized_phm_W=False
    ),
    "compacter_fixed_rule": CompacterPlusPlusConfig(
        reduction_factor=4, phm_dim=2, phm_init_range=0.5, learn_phm=False
    ),
    "dora": DoRAConfig(r=2, alpha=6),
    "vera": VeraConfig(r=2, alpha=6, attn_matrices=["q", "k", "v"], intermediate_lora=True),
    "dvora": DvoRAConfig(r=2, alpha=6),
    "mtl_lora": MTLLoRAConfig(r=2, n_up_projection=2),
    "mtl_lora_full": MTLLoRAConfig(r=2, task_specific_matrix_type="linear", output_lora=True),
    "loreft": LoReftConfig(r=2, suffix_positions=2),
    "noreft": NoReftConfig(r=2, suffix_positions=2, non_linearity="relu"),
    "direft": DiReftConfig(r=2, suffix_positions=1, tied_weights=True),
    "prefix_tuning": PREFIXES,
    "prefix_tuning_flat": PREFIXES.replace(flat=True, cross_prefix=False),
    "mam": MAMConfig(PREFIXES, ParBnConfig()),
    "unipelt": UniPELTConfig(PREFIXES),
    "embedding_rows": ROWS,
    "language_pack": ConfigUnion(SeqBnInvConfig(reduction_factor=4), ROWS),
}
LOW_RANK = ("lora", "lora_everywhere", "dora", "vera", "dvora", "mtl_lora", "mtl_lora_full")
MERGEABLE = (*LOW_RANK, "ia3")
IDENTITY_WHEN_FRESH = (*LOW_RANK, "par_bn", "ia3", "embedding_rows")
SAMPLED = ("bert", "roberta", "xlm-roberta", "distilbert", "gpt2", "llama")
VISION = ("vit", "deit", "beit")


def pairs(methods, model_types=tuple(ARCHITECTURES)):
    """Return (method, model type) parameters; types beyond the sample are for `make test-all`."""
    return [
        pytest.param(
            method,
            model_type,
            id=f"{method}-{model_type}",
            marks=[] if model_type in SAMPLED else [pytest.mark.long],
        )
        for method in methods
        for model_type in model_types
        if not (
            model_type in VISION and ROWS in (METHODS[method], *METHODS[method].get("configs", ()))
        )
    ]


def equal_weights(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
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
    assert not torch.allclose(output_of(model), before)
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
    described = BaseDescription(model_type, model.config.to_dict(), tensors)
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
    model = adapted(model_type)
    with torch.no_grad():  # transformers starts biases at zero, where a wrong merge is right
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(1), std=0.1)
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    expected, weights = output_of(model), {k: v.clone() for k, v in model.state_dict().items()}
    model.merge_adapter("a")
    torch.testing.assert_close(output_of(model), expected, atol=2e-5, rtol=1e-4)
    model.reset_adapter()
    assert equal_weights(weights, model.state_dict())
    assert torch.equal(output_of(model), expected)
