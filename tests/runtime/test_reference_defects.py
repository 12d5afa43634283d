"""Where the reference library, adapters 1.3.0, goes wrong when run, ours does what it promises.

What a law covers is not repeated here: that `init` and a fresh adapter change nothing, that merging
scales biases and resetting is exact, that an average of equals is the same, that GLOW can be
inverted, that a DiReFT is saved as what it is, and that a merged adapter can be deleted.
"""

import pytest
import torch
import transformers

from adapters_runtime import AutoAdapterModel, Parallel, Stack, init
from tests.runtime.test_golden import BASES, MANIFEST, path, pick, run
from tests.support.running import add_adapters, inputs_for, output_of
from tests.support.tiny_models import FIELDS

DIREFT = [case for case in MANIFEST["cases"] if case["method"] == "direft"]


def config_of(model_type):
    return transformers.AutoConfig.for_model(model_type, **FIELDS[model_type])


def with_adapters(model, **configs):
    """Add adapters that have an effect."""
    add_adapters(model, configs)
    return model.eval()


def alone(model, name):
    model.set_active_adapters(name)
    return output_of(model)


@pytest.mark.parametrize("told", ["when loading", "before"])
@pytest.mark.parametrize("case", DIREFT, ids=[case["id"] for case in DIREFT])
def test_an_old_direft_is_itself_when_told_so(case, told):
    base = BASES[case["base"]]
    model = getattr(transformers, base["model_class"]).from_pretrained(
        path(base["dir"]), attn_implementation="eager"
    )
    init(model)
    if told == "before":
        model.add_adapter("a", case["config"])
    config = case["config"] if told == "when loading" else None
    model.load_adapter(path(case["dir"]) / "adapters" / "a", config=config, set_active=True)
    outputs, recorded = run(model, case)
    for key, expected in recorded.items():
        torch.testing.assert_close(pick(outputs, key).float(), expected, **case["tolerance"])


@pytest.mark.parametrize("config", ["compacter[phm_dim=2,reduction_factor=4]", "vera[r=2]"])
@pytest.mark.parametrize("model_type", ["t5", "vit", "bert-generation"])
def test_a_model_that_is_its_own_base_saves_what_layers_share(
    bare_models, tmp_path, model_type, config
):
    model, other = bare_models(model_type), bare_models(model_type)
    init(model)
    init(other)
    with_adapters(model, a=config)
    model.save_adapter(tmp_path, "a")
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(output_of(other), alone(model, "a"))


def test_a_static_head_is_saved_in_safetensors_with_its_adapter(tmp_path):
    model = transformers.BertForMaskedLM(config_of("bert"))
    init(model)
    with_adapters(model, a="seq_bn[reduction_factor=4,ln_before=True]")
    model.save_adapter(tmp_path, "a")
    assert not list(tmp_path.glob("*.bin"))
    model.load_adapter(tmp_path, load_as="b")
    assert torch.equal(alone(model, "b"), alone(model, "a"))


@pytest.mark.parametrize("config", ["lora[r=2]", "vera[r=2]", "dora[r=2]", "mtl_lora[r=2]", "ia3"])
@pytest.mark.parametrize("model_type", ["gpt2", "llama", "bert"])
def test_methods_of_linear_maps_stack_and_run_in_parallel(adapted, model_type, config):
    model = with_adapters(adapted(model_type), a=config, b=config)
    expected = torch.cat([alone(model, "a"), alone(model, "b")])
    model.set_active_adapters(Parallel("a", "b"))
    torch.testing.assert_close(output_of(model), expected, atol=1e-5, rtol=1e-4)
    model.set_active_adapters(Stack("a", "b"))
    stacked = output_of(model)
    assert not torch.allclose(stacked, alone(model, "a"))
    assert not torch.allclose(stacked, alone(model, "b"))


def test_a_gemma_reads_the_norm_of_its_own_layer(adapted):
    """A late-bound getter would make every layer read the norm of the last one."""
    model = adapted("gemma2")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.5 * torch.randn_like(parameter))
    with_adapters(model, a="seq_bn[reduction_factor=4]")
    seen, layers = {}, model.layers
    for index, layer in enumerate(layers):
        layer.pre_feedforward_layernorm.register_forward_pre_hook(
            lambda _, args, index=index: seen.update({("r", index): args[0]})
        )
        layer.mlp.down_proj.register_forward_hook(
            lambda _, args, out, index=index: seen.update({("h", index): out})
        )
        down = model.get_adapter("a")[index]["output_adapter"].adapter_down
        down.register_forward_pre_hook(
            lambda _, args, index=index: seen.update({("x", index): args[0]})
        )
    alone(model, "a")
    for index, layer in enumerate(layers):
        expected = layer.post_feedforward_layernorm(seen["h", index] + seen["r", index])
        torch.testing.assert_close(seen["x", index], expected)


def test_a_parallel_bottleneck_runs_beside_the_blocks_of_phi(adapted):
    model = with_adapters(adapted("phi"), a="par_bn[reduction_factor=4]")
    before = output_of(model)
    assert not torch.allclose(alone(model, "a"), before)


def test_a_fusion_tells_its_name_on_models_with_heads(tmp_path):
    model = AutoAdapterModel.from_config(config_of("bert"))
    with_adapters(model, a="seq_bn[reduction_factor=4]", b="seq_bn[reduction_factor=4]")
    model.add_adapter_fusion(["a", "b"])
    model.save_adapter_fusion(tmp_path, ["a", "b"])
    model.delete_adapter_fusion(["a", "b"])
    assert model.load_adapter_fusion(tmp_path) == "a,b"


def test_an_average_keeps_the_invertible_part_on_models_with_heads(tmp_path):
    model = transformers.BertForMaskedLM(config_of("bert"))
    init(model)
    with_adapters(model, a="seq_bn_inv[reduction_factor=4]")
    model.average_adapter("mean", ["a", "a"])
    model.save_adapter(tmp_path, "mean")
    model.load_adapter(tmp_path, load_as="again")
    torch.testing.assert_close(alone(model, "again"), alone(model, "a"))


@pytest.mark.parametrize("config", ["loreft[r=2,suffix_positions=3]", "direft[suffix_positions=3]"])
@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_last_positions_are_edited_where_the_decoder_is_shorter(adapted, model_type, config):
    model = with_adapters(adapted(model_type), a=config)
    inputs = inputs_for(model)
    assert inputs["decoder_input_ids"].shape[1] < inputs["input_ids"].shape[1]
    before = output_of(model)
    assert not torch.allclose(alone(model, "a"), before)


def test_parallel_leaves_the_callers_tensors_alone(adapted):
    model = with_adapters(adapted("distilbert"), a="seq_bn", b="seq_bn")
    inputs = inputs_for(model) | {"attention_mask": torch.ones(3, 7, dtype=torch.long)}
    model.set_active_adapters(Parallel("a", "b"))
    assert len(output_of(model, inputs)) == 6
    assert inputs["attention_mask"].shape == (3, 7)
    assert len(output_of(model, inputs)) == 6


def test_deberta_reports_all_gates_of_unipelt(adapted):
    model = with_adapters(adapted("deberta-v2"), a="unipelt")
    model.set_active_adapters("a")
    outputs = model(**inputs_for(model), output_adapter_gating_scores=True)
    gates = outputs["adapter_gating_scores"]["a"]
    assert {*gates[0]} == {"self_prefix", "output_adapter", "selfattn_lora"}


def test_a_classifier_of_bart_takes_inputs_of_two_lengths():
    model = AutoAdapterModel.from_config(config_of("bart"))
    model.add_adapter("a", "seq_bn[reduction_factor=4]")
    model.add_classification_head("a", num_labels=3)
    model.set_active_adapters("a")
    outputs = model.eval()(**inputs_for(model))
    assert outputs.logits.shape == (3, 3)


def test_methods_of_all_kinds_stack(adapted):
    model = with_adapters(
        adapted("bert"), a="prefix_tuning[prefix_length=2]", b="lora[r=2]", c="seq_bn|loreft"
    )
    single = [alone(model, name) for name in ("a", "b", "c")]
    model.set_active_adapters(Stack("a", "b", "c"))
    stacked = output_of(model)
    assert all(not torch.allclose(stacked, other) for other in single)
