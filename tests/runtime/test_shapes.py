"""The tensors that follow from a configuration are those that the reference library saved."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from adapters_runtime.architectures import ARCHITECTURES, halves
from adapters_runtime.configs import (
    ADAPTER_CONFIG_MAP,
    AdapterFusionConfig,
    BnConfig,
    ConfigUnion,
    DoubleSeqBnConfig,
    EmbeddingRowsConfig,
    IA3Config,
    LoRAConfig,
    SeqBnConfig,
    SeqBnInvConfig,
    VeraConfig,
    load_config,
    numbering,
    parts_of,
)
from adapters_runtime.configs.presets import DEPRECATED_NAMES
from adapters_runtime.errors import ConfigError, FormatError, UnsupportedSite
from adapters_runtime.shapes import (
    BaseDescription,
    expected_fusion_tensors,
    expected_head_tensors,
    expected_tensors,
    strip_base_prefix,
    tied_head_tensors,
    without_copies,
)
from tests.support import golden
from tests.support.tiny_models import WIDTH, build_tiny

PRESETS = sorted(set(ADAPTER_CONFIG_MAP) - set(DEPRECATED_NAMES))


def read(folder, file):
    return json.loads((folder / file).read_text("utf-8"))


def canonical(folder, stem, base):
    """What a file of the reference library holds, under relative names and without copies."""
    found = golden.read_shapes(folder, stem)
    relative = strip_base_prefix(without_copies(found), base.architecture)
    return {relative[key]: found[key] for key in relative}


@pytest.mark.parametrize("folder", golden.folders("adapters"), ids=golden.label)
def test_an_adapter_has_the_tensors_that_the_reference_saved(folder):
    base = golden.base_of(folder)
    document = read(folder, "adapter_config.json")
    config = numbering.read_from(load_config(document), document, halves(base.layers))
    assert expected_tensors(document["name"], config, base) == canonical(folder, "adapter", base)


HEADS = [f for f in golden.folders("adapters") if (f / "head_config.json").exists()]


@pytest.mark.parametrize("folder", HEADS, ids=golden.label)
def test_a_head_has_the_tensors_that_the_reference_saved(folder):
    base = golden.base_of(folder)
    document = read(folder, "head_config.json")
    expected = expected_head_tensors(document["name"], document["config"], base)
    tied = tied_head_tensors(document["name"], document["config"], base)
    assert expected | tied == canonical(folder, "model_head", base)
    assert bool(tied) == (base.ties_output and "vocab_size" in document["config"])


@pytest.mark.parametrize("folder", golden.folders("fusions"), ids=golden.label)
def test_a_fusion_has_the_tensors_that_the_reference_saved(folder):
    base = golden.base_of(folder)
    document = read(folder, "adapter_fusion_config.json")
    members = [load_config(folder.parents[1] / "adapters" / n) for n in document["adapter_names"]]
    config = AdapterFusionConfig.load(document["config"])
    expected = expected_fusion_tensors(document["name"], config, members, base)
    assert expected == canonical(folder, "model_adapter_fusion", base)


def describe(model_type) -> BaseDescription:
    model = build_tiny(model_type)
    tensors = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return BaseDescription(model_type, model.config.to_dict(), tensors)


@pytest.fixture(scope="module")
def bert():
    return describe("bert")


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_stands_on_every_architecture(model_type, preset):
    config = load_config(preset)
    fused = any(
        attention.fused
        for stack in ARCHITECTURES[model_type].stacks
        for attention in stack.attentions
    )
    if fused and any(isinstance(part, LoRAConfig) and part.is_vera for part in parts_of(config)):
        config = config.replace(attn_matrices=["q"])
    if fused and preset == "mtl_lora":
        config = config.replace(attn_matrices=["q"])
    if preset.startswith("compacter"):
        config = config.replace(reduction_factor=4)
    if preset == "prompt_tuning" and ARCHITECTURES[model_type].prompts is None:
        with pytest.raises(UnsupportedSite):
            expected_tensors("a", config, describe(model_type))
        return
    tensors = expected_tensors("a", config, describe(model_type))
    assert tensors
    assert all(size > 0 for shape in tensors.values() for size in shape)


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_a_lora_fits_the_module_that_it_adapts(model_type):
    """B times A is an update of the weight, whatever the layout."""
    config = LoRAConfig(
        r=3, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True
    )
    base = describe(model_type)
    tensors = expected_tensors("a", config, base)
    layers = {layer.saved_path: layer for layer in base.layers}
    for key, shape in tensors.items():
        path, _, matrix = key.partition(".loras.a.")
        layer = next(layer for saved, layer in layers.items() if path.startswith(f"{saved}."))
        saved = {new: old for old, new in layer.stack.saved_names}
        inner = path.removeprefix(f"{layer.saved_path}.")
        outputs, inputs = base.linear(layer, saved.get(inner, inner))
        assert shape[1 if matrix == "lora_A" else 0] == (inputs if matrix == "lora_A" else outputs)


def test_grouped_query_models_have_narrow_keys():
    tensors = expected_tensors("a", IA3Config(intermediate_lora=False), describe("llama"))
    assert set(tensors.values()) == {(WIDTH // 2, 1)}
    fused = expected_tensors("a", IA3Config(intermediate_lora=False), describe("phi3"))
    assert set(fused.values()) == {(WIDTH // 2 + WIDTH // 2, 1)}


def test_vera_shares_matrices_of_the_largest_map():
    tensors = expected_tensors("a", VeraConfig(r=2, output_lora=True), describe("llama"))
    assert tensors["shared_parameters.a.lora_A"] == (2, WIDTH)
    assert tensors["shared_parameters.a.lora_B"] == (24, 2)


def test_layers_left_out_have_no_tensors(bert):
    tensors = expected_tensors("a", SeqBnConfig(leave_out=[0]), bert)
    assert tensors
    assert all(key.startswith("encoder.layer.1.") for key in tensors)


def test_a_layer_map_sizes_each_layer(bert):
    config = SeqBnConfig(reduction_factor={"1": 2, "default": 8})
    tensors = expected_tensors("a", config, bert)
    down = "encoder.layer.{}.output.adapters.a.adapter_down.0.weight"
    assert tensors[down.format(0)] == (WIDTH // 8, WIDTH)
    assert tensors[down.format(1)] == (WIDTH // 2, WIDTH)


def test_a_reduction_beyond_the_width_leaves_one_feature(bert):
    tensors = expected_tensors("a", SeqBnConfig(reduction_factor=1000), bert)
    assert tensors["encoder.layer.0.output.adapters.a.adapter_up.weight"] == (WIDTH, 1)


def test_own_norms_move_the_projection_and_are_saved_once(bert):
    config = SeqBnConfig(ln_before=True, ln_after=True)
    tensors = expected_tensors("a", config, bert)
    at = "encoder.layer.0.output.adapters.a"
    assert tensors[f"{at}.adapter_down.0.weight"] == (WIDTH,)
    assert tensors[f"{at}.adapter_norm_after.bias"] == (WIDTH,)
    assert tensors[f"{at}.adapter_down.1.weight"] == (1, WIDTH)
    copies = (f"{at}.adapter_norm_before.{parameter}" for parameter in ("weight", "bias"))
    saved_by_the_reference = [*tensors, *copies]
    assert without_copies(saved_by_the_reference) == list(tensors)


def test_without_an_own_norm_the_projection_is_no_copy(bert):
    tensors = expected_tensors("a", SeqBnConfig(), bert)
    assert without_copies(tensors) == list(tensors)


def test_a_language_pack_has_bottlenecks_invertible_parts_and_rows(bert):
    pack = ConfigUnion(SeqBnInvConfig(), EmbeddingRowsConfig([3, 5, 7]))
    tensors = expected_tensors("de", pack, bert)
    assert tensors["embedding_rows.de.weight"] == (3, WIDTH)
    assert tensors["invertible_adapters.de.F.0.weight"] == (WIDTH // 4, WIDTH // 2)


def test_invertible_parts_stand_in_the_narrow_stream_of_electra():
    electra = describe("electra")
    tensors = expected_tensors("a", SeqBnInvConfig(), electra)
    assert tensors["invertible_adapters.a.F.2.weight"] == (4, 2)
    assert expected_tensors("a", load_config("prompt_tuning"), electra) == {
        "prompt_tuning.prompt_tunings.a.prompt_embedding.weight": (10, 8)
    }


def test_glow_gives_an_offset_and_a_scale(bert):
    tensors = expected_tensors("a", SeqBnInvConfig(inv_adapter="glow"), bert)
    assert tensors["invertible_adapters.a.s1.2.weight"] == (WIDTH, WIDTH // 4)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (EmbeddingRowsConfig([1, 99]), ConfigError, "token id 99 lies beyond .* 32 tokens"),
        (load_config("compacter[phm_dim=3]"), ConfigError, "phm_dim=3 must divide"),
        (
            load_config("compacter[phm_dim=1,shared_W_phm=True,reduction_factor={'0':2,'1':4}]"),
            ConfigError,
            "give all layers one reduction_factor",
        ),
        (SeqBnConfig(reduction_factor={"0": 2}), ConfigError, "no value for layer 1"),
        (
            ConfigUnion(SeqBnConfig(leave_out=[0]), DoubleSeqBnConfig(leave_out=[7])),
            ConfigError,
            "both stand at output",
        ),
        (
            BnConfig(
                mh_adapter=False,
                output_adapter=False,
                cross_adapter=True,
                reduction_factor=2,
                non_linearity="relu",
            ),
            UnsupportedSite,
            "bert has no place for 'cross' .it has: attention, ffn_output",
        ),
        (SeqBnConfig(leave_out=[0, 1]), UnsupportedSite, "no place for 'output'"),
        (LoRAConfig(attn_matrices=[]), UnsupportedSite, "no place for 'nothing'"),
        (
            ConfigUnion(
                load_config("compacter[reduction_factor=4,mh_adapter=False]"),
                load_config("compacter[reduction_factor=4,output_adapter=False]"),
            ),
            ConfigError,
            "both have the tensor shared_parameters.a.phm_rule",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_base_is_refused(bert, config, error, message):
    with pytest.raises(error, match=message):
        expected_tensors("a", config, bert)


def test_vision_models_have_no_rows_of_tokens():
    with pytest.raises(UnsupportedSite, match="vit has no place for 'embedding_rows'"):
        expected_tensors("a", EmbeddingRowsConfig([1]), describe("vit"))


def test_vera_of_two_fused_parts_has_a_vector_for_each_and_shares_matrices_of_one():
    tensors = expected_tensors("a", VeraConfig(r=3), describe("gpt2"))
    shared = {key: shape for key, shape in tensors.items() if key.startswith("shared_parameters")}
    width = shared["shared_parameters.a.lora_A"][1]
    assert shared["shared_parameters.a.lora_B"] == (width, 3)
    assert tensors["h.0.attn.c_attn.loras.a.vera_D"] == (6, 6)
    assert tensors["h.0.attn.c_attn.loras.a.vera_B"] == (2 * width, 2 * width)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "names no layer"),
        ({"bert.encoder.layer.0.output.dense.weight": (4, 4)}, "relative to the base model"),
        ({"encoder.layer.0.output.dense.bias": (4,)}, "has no encoder.layer.0.intermediate.dense"),
        ({"encoder.layer.0.intermediate.dense.weight": (4,)}, "and no matrix"),
    ],
)
def test_a_tensor_index_that_is_none_is_refused(bert, tensors, message):
    with pytest.raises(FormatError, match=message):
        expected_tensors("a", SeqBnConfig(), replace(bert, tensors=tensors))


def test_heads_that_do_not_share_a_fused_projection_are_refused():
    base = describe("gpt2")
    for heads, message in (
        (5, "48 features, which 5 heads cannot share"),
        ("4", "has no valid num_att"),
        (-1, "no valid num_att"),
    ):
        config = {**base.config, "num_attention_heads": heads, "n_head": heads}
        with pytest.raises(FormatError, match=message):
            expected_tensors("a", LoRAConfig(), replace(base, config=config))


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (
            {"head_type": "multilabel_classification", "layers": 1, "num_labels": 7},
            {"heads.h.1.weight": (7, WIDTH), "heads.h.1.bias": (7,)},
        ),
        (
            {"head_type": "image_classification", "layers": 2, "num_labels": 7},
            {
                "heads.h.1.weight": (WIDTH, WIDTH),
                "heads.h.1.bias": (WIDTH,),
                "heads.h.3.weight": (7, WIDTH),
                "heads.h.3.bias": (7,),
            },
        ),
        (
            {"head_type": "causal_lm", "layers": 1, "vocab_size": 33, "bias": False},
            {"heads.h.0.weight": (33, WIDTH)},
        ),
        (
            {"head_type": "masked_lm", "layers": 2, "vocab_size": 32, "bias": True},
            {
                "heads.h.0.weight": (WIDTH, WIDTH),
                "heads.h.0.bias": (WIDTH,),
                "heads.h.1.bias": (32,),
            },
        ),
        (
            {"head_type": "dependency_parsing", "num_labels": 5},
            {
                "heads.h.biaffine_arcs.weight": (1, WIDTH + 1, WIDTH),
                "heads.h.biaffine_rels.weight": (5, WIDTH + 1, WIDTH + 1),
            },
        ),
    ],
)
def test_a_head_is_sized_by_its_configuration(bert, config, shapes):
    assert expected_head_tensors("h", config, bert) == shapes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "head_type is None, and must be one of audio_classification, causal_lm"),
        ({"head_type": "tagging", "layers": 1}, "num_labels of the head must be a whole number"),
        ({"head_type": "tagging", "layers": True, "num_labels": 3}, "layers of the head"),
        ({"head_type": "masked_lm", "layers": 2}, "vocab_size of the head"),
        ({"head_type": "tagging", "layers": 10**9, "num_labels": 3}, "at most 64 layers"),
    ],
)
def test_a_head_that_we_do_not_know_is_refused(bert, config, message):
    with pytest.raises(ConfigError, match=message):
        expected_head_tensors("h", config, bert)


def test_a_fusion_stands_where_all_its_members_do(bert):
    fusion = AdapterFusionConfig.load("static")
    members = [SeqBnConfig(), DoubleSeqBnConfig()]
    tensors = expected_fusion_tensors("a,b", fusion, members, bert)
    assert tensors
    assert all(".layer.0.output." in key or ".layer.1.output." in key for key in tensors)


def test_shapes_load_no_torch():
    script = "import sys, adapters_runtime.shapes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
