"""Laws of configurations, over every preset and every document of the reference library."""

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from adapters_runtime import configs
from adapters_runtime.configs import (
    ADAPTER_CONFIG_MAP,
    ADAPTERFUSION_CONFIG_MAP,
    AdapterConfig,
    AdapterFusionConfig,
    AdapterPlusConfig,
    BnConfig,
    CompacterConfig,
    ConfigUnion,
    DiReftConfig,
    DoubleSeqBnConfig,
    EmbeddingRowsConfig,
    IA3Config,
    LoRAConfig,
    MTLLoRAConfig,
    NoReftConfig,
    ParBnConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    SeqBnConfig,
    SeqBnInvConfig,
    UniPELTConfig,
    load_config,
    method_name,
    signature,
)
from adapters_runtime.configs.base import ACTIVATIONS
from adapters_runtime.configs.deprecated import REPLACEMENTS
from adapters_runtime.configs.presets import DEPRECATED_NAMES
from adapters_runtime.errors import ConfigError

PRESETS = {
    name: config for name, config in ADAPTER_CONFIG_MAP.items() if name not in DEPRECATED_NAMES
}


@pytest.fixture(params=PRESETS)
def preset(request):
    return PRESETS[request.param]


def test_a_saved_configuration_reads_back_equal(preset):
    document = json.loads(json.dumps(preset.to_dict()))
    assert load_config(document) == preset
    assert hash(load_config(document)) == hash(preset)


def test_copies_are_equal(preset):
    assert copy.deepcopy(preset) == preset
    assert pickle.loads(pickle.dumps(preset)) == preset


def test_a_configuration_never_changes(preset):
    with pytest.raises(FrozenInstanceError):
        preset.anything = 1
    name = next(name for name in preset if name != "architecture")
    with pytest.raises(FrozenInstanceError):
        setattr(preset, name, None)


def test_a_configuration_is_a_mapping(preset):
    assert dict(preset).keys() == preset.to_dict().keys()
    assert "architecture" not in preset or preset["architecture"] == preset.architecture
    with pytest.raises(KeyError):
        preset["nothing"]


def test_the_repr_builds_the_configuration(preset):
    assert eval(repr(preset), vars(configs)) == preset


def test_its_name_stands_for_a_preset():
    assert all(load_config(name) == config for name, config in PRESETS.items())
    assert load_config("seq_bn") == SeqBnConfig()


@pytest.mark.parametrize(("old", "new"), DEPRECATED_NAMES.items())
def test_an_old_name_warns_and_says_what_replaces_it(old, new):
    with pytest.warns(FutureWarning, match=f"write '{new.replace('+', '.')}'"):
        assert load_config(old) == ADAPTER_CONFIG_MAP[new]


@pytest.mark.parametrize(("old", "new"), REPLACEMENTS.items())
def test_an_old_class_is_todays_with_a_warning(old, new):
    with pytest.warns(FutureWarning, match=f"{old} is deprecated: use {new}"):
        assert getattr(configs, old) is getattr(configs, new)


def test_calling_adapter_config_builds_a_bottleneck_with_a_warning():
    with pytest.warns(FutureWarning, match=r"write BnConfig\(...\)"):
        built = AdapterConfig(
            mh_adapter=True, output_adapter=False, reduction_factor=4, non_linearity="relu"
        )
    assert built == BnConfig(
        mh_adapter=True, output_adapter=False, reduction_factor=4, non_linearity="relu"
    )


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("seq_bn[reduction_factor=2]", SeqBnConfig(reduction_factor=2)),
        ("seq_bn[]", SeqBnConfig()),
        (" seq_bn [ leave_out = [11] ] ", SeqBnConfig(leave_out=[11])),
        (
            "par_bn[reduction_factor={'1':2,'default':8},scaling='learned']",
            ParBnConfig(reduction_factor={"1": 2, "default": 8}, scaling="learned"),
        ),
        (
            "prefix_tuning[prefix_length=10]|par_bn",
            ConfigUnion(PrefixTuningConfig(prefix_length=10), ParBnConfig()),
        ),
        (
            'prompt_tuning[prompt_init="from_string",prompt_init_text="a|b [c"]',
            PromptTuningConfig(prompt_init="from_string", prompt_init_text="a|b [c"),
        ),
        ("compacter++", configs.CompacterPlusPlusConfig()),
        ("unipelt[use_gating=False]", UniPELTConfig().replace(use_gating=False)),
    ],
)
def test_an_expression_changes_and_joins_presets(text, config):
    assert load_config(text) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seq_bm", "no configuration is called 'seq_bm' .there are: seq_bn"),
        ("", "does not read"),
        ("seq_bn[reduction_factor=2", "ends before ']'"),
        ("seq_bn[non_linearity=gelu]", "Python literals"),
        ("seq_bn[2]", "every value needs its field"),
        ("seq_bn[reduction=2]", "has no field 'reduction' .it has: mh_adapter"),
        ("seq_bn|", "does not read"),
        ("seq_bn|seq_bn", "cannot be combined: both stand at output"),
        ("missing.json", "there is no file"),
        ("seq_bn[**{'a': 1}]", "no field"),
        ("seq_bn[reduction_factor={[1]: 2}]", "Python literals"),
        (f"lora[r={'-' * 100_000}4]", "Python literals"),
        (f"lora[r={'1+' * 100_000}4]", "Python literals"),
        ("x" * 5_000, "no configuration is called"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(text)


def test_a_file_or_its_folder_is_read(tmp_path):
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({"config": SeqBnConfig().to_dict(), "name": "de"}))
    assert load_config(tmp_path) == load_config(str(file)) == SeqBnConfig()
    file.write_text(json.dumps(LoRAConfig(r=2).to_dict()))
    assert load_config(file) == LoRAConfig(r=2)
    file.write_text("{")
    with pytest.raises(ConfigError, match="is not a JSON file"):
        load_config(file)
    file.write_text(json.dumps(str(file)))
    with pytest.raises(ConfigError, match="does not read"):
        load_config(file)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"architecture": "lora", "rank": 8}, "LoRAConfig has no field 'rank'"),
        ({"architecture": "lohra"}, "no method is called 'lohra'"),
        ({"architecture": ["lora"]}, "no method is called"),
        ({"mh_adapter": True}, "needs a value for output_adapter, reduction_factor"),
        ({"architecture": "union", "configs": {}}, "must be a list"),
        ({"architecture": "union", "configs": []}, "at least one"),
        ({"architecture": "union", "configs": ["seq_bn"]}, "an object with fields"),
        ({"architecture": "reft", "r": 1}, "needs a value for layers"),
        (7, "is a name, an expression, a path or a document, not 7"),
        ({"config": 7}, "not 7"),
        ({"config": "/etc/hostname"}, "does not read"),
    ],
)
def test_a_wrong_document_says_what_is_wrong(document, message):
    with pytest.raises(ConfigError, match=message):
        load_config(document)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SeqBnConfig(reduction_factor=0), "between 0.001 and 1,000,000, not be 0"),
        (lambda: SeqBnConfig(reduction_factor=float("nan")), "a number .*, not nan"),
        (lambda: LoRAConfig(alpha=float("inf")), "alpha of LoRAConfig must be a number, not inf"),
        (lambda: SeqBnConfig(scaling=float("nan")), "a number or .*, not nan"),
        (lambda: ConfigUnion(*[SeqBnConfig(leave_out=[0])] * 65), "at most 64 parts, not 65"),
        (lambda: SeqBnConfig(reduction_factor="16"), "a number or a map from layer to number"),
        (lambda: SeqBnConfig(reduction_factor={"last": 2}), "neither the number of a layer"),
        (lambda: SeqBnConfig(reduction_factor={"1": -2}), "reduction_factor of layer 1"),
        (lambda: SeqBnConfig(non_linearity="rellu"), "no activation function is called 'rellu'"),
        (lambda: SeqBnConfig(dropout=1.5), "dropout is a probability"),
        (lambda: SeqBnConfig(leave_out=[-1]), "start at 0"),
        (lambda: SeqBnConfig(leave_out=["11"]), "a list of whole numbers"),
        (lambda: SeqBnConfig(mh_adapter="yes"), "mh_adapter of SeqBnConfig must be true or false"),
        (lambda: SeqBnConfig(inv_adapter="nice"), "inv_adapter_reduction_factor"),
        (lambda: SeqBnConfig(inv_adapter="ice"), "'nice' or 'glow' or null"),
        (lambda: LoRAConfig(r=0), "r must be above 0"),
        (lambda: LoRAConfig(r=True), "a whole number"),
        (lambda: LoRAConfig(attn_matrices=["q", "q"]), "names one twice"),
        (lambda: LoRAConfig(attn_matrices=["o"]), "attn_matrices"),
        (lambda: IA3Config(r=4), "needs r=1"),
        (lambda: LoRAConfig(init_weights="vera"), "vera_d and vera_b"),
        (lambda: PromptTuningConfig(prompt_init="from_string"), "prompt_init_text"),
        (lambda: DiReftConfig(prefix_positions=0), "nor both 0"),
        (lambda: EmbeddingRowsConfig([]), "is empty"),
        (lambda: EmbeddingRowsConfig([3, 3]), "each once; 3 comes after 3"),
        (lambda: EmbeddingRowsConfig([-1, 3]), "start at 0"),
        (lambda: ConfigUnion(ConfigUnion(SeqBnConfig())), "cannot hold another union"),
        (lambda: ConfigUnion("seq_bn"), "holds configurations, not 'seq_bn'"),
    ],
)
def test_values_that_cannot_work_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_parts_of_a_union_may_not_meet():
    ConfigUnion(SeqBnConfig(mh_adapter=True, output_adapter=False), ParBnConfig())
    ConfigUnion(LoRAConfig(attn_matrices=["q"]), IA3Config(intermediate_lora=False))
    with pytest.raises(ConfigError, match="both stand at output"):
        ConfigUnion(SeqBnConfig(), ParBnConfig())
    with pytest.raises(ConfigError, match="both stand at query, value"):
        ConfigUnion(LoRAConfig(), MTLLoRAConfig())


def test_whether_parts_that_leave_layers_out_meet_depends_on_the_model():
    union = ConfigUnion(SeqBnConfig(leave_out=[0, 1]), DoubleSeqBnConfig(leave_out=[2, 3]))
    union.check_overlap(4)
    with pytest.raises(ConfigError, match="both stand at output"):
        union.check_overlap(5)


def test_a_change_to_a_union_reaches_every_part_that_has_the_field():
    union = UniPELTConfig().replace(leave_out=[1], r=2)
    assert [part.leave_out for part in union.configs] == [(1,), (1,), (1,)]
    assert union.configs[2].r == 2
    with pytest.raises(ConfigError, match="no part of the union has a field 'rank'"):
        union.replace(rank=2)


def test_a_layer_map_needs_a_value_for_every_layer():
    config = SeqBnConfig(reduction_factor={1: 2, "default": 8})
    assert [config.reduction_at(layer) for layer in range(3)] == [8, 2, 8]
    with pytest.raises(ConfigError, match="no value for layer 0"):
        SeqBnConfig(reduction_factor={"1": 2}).reduction_at(0)


def test_fields_that_the_reference_forgets_are_saved():
    assert DiReftConfig().to_dict()["subtract_projection"] is False
    assert PromptTuningConfig(random_uniform_scale=0.1).to_dict()["random_uniform_scale"] == 0.1
    saved_by_the_reference = DiReftConfig().to_dict()
    del saved_by_the_reference["subtract_projection"]
    assert load_config(saved_by_the_reference) == NoReftConfig()


FIRST_RELEASE = {
    "LN_after": False,
    "LN_before": False,
    "MH_Adapter": False,
    "Output_Adapter": True,
    "adapter_residual_before_ln": False,
    "attention_type": "sent-lvl-dynamic",
    "invertible_adapter": {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2},
    "new_attention_norm": False,
    "non_linearity": "gelu",
    "original_ln_after": True,
    "original_ln_before": True,
    "reduction_factor": 2,
    "residual_before_ln": True,
}


def test_files_of_the_first_release_are_read():
    language = load_config({"config": FIRST_RELEASE, "type": "text_lang", "name": "de"})
    assert language == SeqBnInvConfig(reduction_factor=2, non_linearity="gelu_new")
    task = load_config({"config": FIRST_RELEASE, "type": "text_task", "name": "ner"})
    assert task == SeqBnConfig(reduction_factor=2, non_linearity="gelu_new")


@pytest.mark.parametrize(("version", "alpha"), [("1.0.1", 8), ("1.1.0", 16), ("1.3.0", 16)])
def test_loras_of_a_faulty_release_keep_the_scaling_they_were_trained_with(version, alpha):
    document = {"config": LoRAConfig(r=8, alpha=16).to_dict(), "version": f"adapters.{version}"}
    assert load_config(document).alpha == alpha


def test_activations_of_numbered_releases_keep_their_names():
    document = {"config": CompacterConfig().to_dict(), "version": "adapters.1.3.0"}
    assert load_config(document).non_linearity == "gelu"


def test_load_takes_overrides_and_skips_flags_that_were_not_given():
    assert AdapterConfig.load("lora", r=2, alpha=None) == LoRAConfig(r=2)


@pytest.mark.parametrize("name", ADAPTERFUSION_CONFIG_MAP)
def test_a_fusion_is_loaded_by_name_or_document(name):
    config = AdapterFusionConfig.load(name)
    assert AdapterFusionConfig.load(config.to_dict()) == config
    assert "architecture" not in config.to_dict()


def test_a_fusion_is_no_adapter():
    with pytest.raises(ConfigError, match="no fusion is called 'fixed'"):
        AdapterFusionConfig.load("fixed")
    with pytest.raises(ConfigError, match="no method is called 'adapter_fusion'"):
        load_config({"architecture": "adapter_fusion"})
    with pytest.raises(ConfigError, match="of an adapter, not of a fusion"):
        AdapterFusionConfig.load(SeqBnConfig())


@pytest.mark.parametrize(
    ("config", "method"),
    [
        *((name, name) for name in PRESETS if name not in {"mam", "unipelt"}
          and not name.endswith(("_inv", "_flat")) and name != "scaled_par_bn"),
        ("seq_bn_inv", "seq_bn"),
        ("scaled_par_bn", "par_bn"),
        ("prefix_tuning_flat", "prefix_tuning"),
        ("mam", "par_bn|prefix_tuning"),
        ("unipelt", "lora|prefix_tuning|seq_bn"),
        ("seq_bn[mh_adapter=True,output_adapter=False]", "mh_seq_bn"),
        (EmbeddingRowsConfig([1]), "embedding_rows"),
        (ConfigUnion(SeqBnConfig(), EmbeddingRowsConfig([1])), "seq_bn"),
    ],
)  # fmt: skip
def test_the_method_follows_from_the_fields(config, method):
    document = load_config(config).to_dict()
    assert method_name(load_config(document)) == method


def test_a_signature_says_what_a_language_pack_offers():
    pack = ConfigUnion(SeqBnInvConfig(leave_out=[3]), EmbeddingRowsConfig([5, 7]))
    assert signature(pack, 4) == {
        "method": "seq_bn",
        "layers": [0, 1, 2],
        "points": ["output"],
        "invertible": "nice",
        "rows": True,
    }


def test_points_tell_places_apart():
    assert signature(DoubleSeqBnConfig(cross_adapter=True), 1)["points"] == [
        "attention",
        "cross",
        "output",
    ]
    lora = LoRAConfig(intermediate_lora=True, output_lora=True, attn_matrices=["k"])
    assert signature(lora, 1)["points"] == ["ffn_output", "intermediate", "key"]
    assert signature(DiReftConfig(layers=[0, 7]), 4)["layers"] == [0]
    assert signature(PromptTuningConfig(), 4)["layers"] == []
    assert signature(AdapterPlusConfig(), 1)["invertible"] is None


def test_transformers_knows_every_activation():
    from transformers.activations import ACT2FN  # noqa: PLC0415  (the others need no torch)

    assert set(ACT2FN) | {"leakyrelu", "swish"} >= ACTIVATIONS


def test_configurations_load_no_torch():
    script = "import sys, adapters_runtime.configs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
