"""What users of AdapterHub's `adapters` 1.3.0 call: names, parameters and their order."""

import importlib
import inspect
import warnings

import pytest

import adapters_runtime
from adapters_runtime import AutoAdapterModel
from adapters_runtime.configs import ADAPTER_CONFIG_MAP
from adapters_runtime.model import AdapterMethods

NAMES = """
    AdapterArguments AdapterCompositionBlock AdapterConfig AdapterFusionConfig AdapterMethod
    AdapterModelInterface AdapterPlusConfig AdapterSetup AdapterTrainer AdapterTrainerCallback
    ADAPTERFUSION_CONFIG_MAP ADAPTER_CONFIG_MAP ADAPTER_MODEL_MAPPING AutoAdapterModel Average
    BatchSplit BnConfig CompacterConfig CompacterPlusPlusConfig ConfigUnion
    DEFAULT_ADAPTERFUSION_CONFIG DEFAULT_ADAPTER_CONFIG DiReftConfig DoRAConfig DoubleSeqBnConfig
    DoubleSeqBnInvConfig DvoRAConfig DynamicAdapterFusionConfig Fuse IA3Config LoRAConfig
    LoReftConfig MAMConfig MTLLoRAConfig MultiTask NoReftConfig ParBnConfig Parallel
    PredictionHead PrefixTuningConfig PromptTuningConfig ReftConfig Seq2SeqAdapterTrainer
    SeqBnConfig SeqBnInvConfig Split Stack StaticAdapterFusionConfig UniPELTConfig VeraConfig
    get_adapter_config_hash get_adapter_info init list_adapters load_model parse_composition
    setup_adapter_training
    AlbertAdapterModel BartAdapterModel BeitAdapterModel BertAdapterModel
    BertGenerationAdapterModel CLIPAdapterModel DebertaAdapterModel DebertaV2AdapterModel
    DistilBertAdapterModel ElectraAdapterModel GPT2AdapterModel GPTJAdapterModel LlamaAdapterModel
    MBartAdapterModel MT5AdapterModel MistralAdapterModel PLBartAdapterModel RobertaAdapterModel
    T5AdapterModel ViTAdapterModel WhisperAdapterModel XLMRobertaAdapterModel
"""

FUNCTIONS = {
    "init": "model adapters_config interface",
    "load_model": "model_name_or_path model_class interface *model_args **kwargs",
    "setup_adapter_training": "model adapter_args adapter_name adapter_config_kwargs "
    "adapter_load_kwargs",
    "list_adapters": "model_name",
    "get_adapter_info": "adapter_id",
    "get_adapter_config_hash": "config length ignore_params",
    "AdapterSetup": "adapter_setup head_setup ignore_empty",
    "AdapterArguments": "train_adapter load_adapter adapter_config load_lang_adapter "
    "lang_adapter_config",
    "AdapterModelInterface": "adapter_methods model_embeddings model_layers layer_self_attn "
    "layer_cross_attn attn_o_proj layer_intermediate_proj layer_output_proj attn_k_proj "
    "attn_q_proj attn_v_proj attn_qkv_proj layer_pre_self_attn layer_pre_cross_attn "
    "layer_pre_ffn layer_ln_1 layer_ln_2 base_model",
    "AdapterTrainerCallback": "trainer",
}

_PUSH = (
    "datasets_tag local_path commit_message private token overwrite_adapter_card create_pr "
    "revision commit_description adapter_card_kwargs"
)
_MORE = "meta_dict custom_weights_loaders use_safetensors"
METHODS = {
    "add_adapter": "adapter_name config overwrite_ok set_active",
    "delete_adapter": "adapter_name",
    "add_adapter_fusion": "adapter_names config name overwrite_ok set_active",
    "delete_adapter_fusion": "adapter_names",
    "train_adapter": "adapter_setup train_embeddings",
    "train_adapter_fusion": "adapter_setup unfreeze_adapters",
    "freeze_model": "freeze",
    "get_fusion_regularization_loss": "",
    "set_active_adapters": "adapter_setup skip_layers",
    "has_adapters": "",
    "supports_adapter": "type_or_config",
    "save_adapter": f"save_directory adapter_name with_head {_MORE}",
    "load_adapter": "adapter_name_or_path config version model_name load_as with_head "
    "custom_weights_loaders leave_out id2label set_active use_safetensors",
    "save_adapter_fusion": "save_directory adapter_names meta_dict custom_weights_loaders "
    "with_head use_safetensors",
    "load_adapter_fusion": "adapter_fusion_name_or_path load_as custom_weights_loaders "
    "set_active with_head use_safetensors",
    "save_adapter_setup": f"save_directory adapter_setup head_setup {_MORE}",
    "load_adapter_setup": "adapter_setup_name_or_path version custom_weights_loaders set_active "
    "use_safetensors",
    "save_all_adapters": f"save_directory with_head {_MORE}",
    "save_all_adapter_fusions": f"save_directory {_MORE}",
    "save_all_heads": "save_directory use_safetensors",
    "save_head": "save_directory head_name use_safetensors",
    "load_head": "save_directory load_as id2label use_safetensors",
    "save_pretrained": "save_directory",
    "merge_adapter": "name",
    "reset_adapter": "",
    "eject_prefix_tuning": "name",
    "average_adapter": "adapter_name adapter_list weights combine_strategy normalize_weights "
    "overwrite_ok set_active svd_rank",
    "adapter_summary": "as_dict",
    "get_adapter": "name",
    "adapter_to": "name device dtype",
    "adapter_fusion_to": "adapter_names device dtype",
    "share_parameters": "adapter_names name reference_adapter_name",
    "unshare_parameters": "adapter_names name",
    "push_adapter_to_hub": f"repo_id adapter_name {_PUSH}",
    "push_adapter_setup_to_hub": f"repo_id adapter_setup head_setup {_PUSH}",
    "add_embeddings": "name tokenizer reference_embedding reference_tokenizer embedding_dim",
    "load_embeddings": "path name",
    "save_embeddings": "path name tokenizer",
    "delete_embeddings": "name",
    "set_active_embeddings": "name",
    "get_invertible_adapter": "",
    "add_invertible_adapter": "adapter_name",
    "delete_invertible_adapter": "adapter_name",
    "enable_invertible_adapters": "adapter_names",
    "invertible_adapters_forward": "hidden_states rev",
    "iter_layers": "",
    "get_layer": "idx",
    "iter_attentions": "",
    "iter_layer_ffns": "",
    "apply_to_adapter_layers": "fn",
}
PROPERTIES = (
    "active_adapters",
    "has_parallel_adapters",
    "active_embeddings",
    "loaded_embeddings",
    "invertible_adapters",
    "adapters_config",
)

_LABELS = "overwrite_ok id2label"
HEADS = {
    "add_classification_head": "head_name num_labels layers activation_function overwrite_ok "
    "multilabel id2label use_pooler",
    "add_image_classification_head": "head_name num_labels layers activation_function "
    "overwrite_ok multilabel id2label use_pooler",
    "add_multiple_choice_head": f"head_name num_choices layers activation_function {_LABELS} "
    "use_pooler",
    "add_tagging_head": f"head_name num_labels layers activation_function {_LABELS}",
    "add_qa_head": f"head_name num_labels layers activation_function {_LABELS}",
    "add_dependency_parsing_head": f"head_name num_labels {_LABELS}",
    "add_masked_lm_head": "head_name activation_function layers overwrite_ok",
    "add_causal_lm_head": "head_name activation_function layers overwrite_ok",
    "add_seq2seq_lm_head": "head_name layers overwrite_ok",
    "add_custom_head": "head_type head_name overwrite_ok set_active",
    "register_custom_head": "identifier head",
    "add_prediction_head": "head overwrite_ok set_active",
    "add_prediction_head_from_config": "head_name config overwrite_ok set_active",
    "delete_head": "head_name",
    "get_labels": "head_name",
    "get_labels_dict": "head_name",
    "get_prediction_heads_config": "",
    "average_head": "head_name head_list weights normalize_weights overwrite_ok set_active",
}
HOMES = {
    "composition": "Stack parse_composition",
    "configuration": "AdapterConfig SeqBnConfig ADAPTER_CONFIG_MAP StaticAdapterFusionConfig",
    "context": "AdapterSetup",
    "heads": "ClassificationHead CausalLMHead BertStyleMaskedLMHead PredictionHead "
    "MultiHeadOutput BiaffineParsingHead",
    "interface": "AdapterMethod AdapterModelInterface",
    "trainer": "AdapterTrainer Seq2SeqAdapterTrainer AdapterTrainerCallback",
    "training": "AdapterArguments setup_adapter_training",
    "wrappers": "init load_model",
}


def check(function, expected):
    """Hold the names and the order; ours may have more parameters behind, with defaults."""
    found = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    spelled = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = [spelled.get(p.kind, "") + p.name for p in found]
    wanted = expected.split()
    assert names[: len(wanted)] == wanted
    for more in found[len(wanted) :]:
        assert more.default is not more.empty or more.kind in spelled, more


@pytest.mark.parametrize("name", NAMES.split())
def test_the_name_exists(name):
    assert getattr(adapters_runtime, name) is not None


@pytest.mark.parametrize(("name", "expected"), FUNCTIONS.items(), ids=list(FUNCTIONS))
def test_functions_take_what_they_take_there(name, expected):
    check(getattr(adapters_runtime, name), expected)


@pytest.mark.parametrize(("name", "expected"), METHODS.items(), ids=list(METHODS))
def test_methods_take_what_they_take_there(name, expected):
    check(vars_of(AdapterMethods)[name], expected)


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_are_there(name):
    assert isinstance(vars_of(AdapterMethods)[name], property)


@pytest.mark.parametrize(("name", "expected"), HEADS.items(), ids=list(HEADS))
def test_flexible_heads_take_what_they_take_there(name, expected):
    check(getattr(adapters_runtime.BertAdapterModel, name), expected)


@pytest.mark.parametrize(("module", "names"), HOMES.items())
def test_modules_are_where_they_are_there(module, names):
    home = importlib.import_module(f"adapters_runtime.{module}")
    for name in names.split():
        assert getattr(home, name) is not None


def vars_of(cls):
    return {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}


OLD = {
    "PfeifferConfig": "SeqBnConfig",
    "PfeifferInvConfig": "SeqBnInvConfig",
    "HoulsbyConfig": "DoubleSeqBnConfig",
    "HoulsbyInvConfig": "DoubleSeqBnInvConfig",
    "ParallelConfig": "ParBnConfig",
    "AdapterConfigBase": "AdapterConfig",
    "BertModelWithHeads": "BertAdapterModel",
    "AutoModelWithHeads": "AutoAdapterModel",
}


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_a_name_of_an_older_release_is_todays_with_a_warning(old, new):
    with pytest.warns(FutureWarning, match=f"{old} is deprecated: use {new}"):
        found = getattr(adapters_runtime, old)
    assert found is getattr(adapters_runtime, new)


def test_an_old_class_is_found_in_the_old_module_too():
    from adapters_runtime import configuration  # noqa: PLC0415

    with pytest.warns(FutureWarning, match="use SeqBnConfig"):
        assert configuration.PfeifferConfig is adapters_runtime.SeqBnConfig


def test_a_model_may_be_given_an_old_string(adapted):
    model = adapted("bert")
    with pytest.warns(FutureWarning, match="write 'double_seq_bn_inv'"):
        model.add_adapter("a", "houlsby+inv")
    assert model.adapters_config["a"] == ADAPTER_CONFIG_MAP["double_seq_bn_inv"]


def test_the_old_constructor_builds_a_bottleneck(adapted):
    model = adapted("bert")
    with pytest.warns(FutureWarning, match="write BnConfig"):
        config = adapters_runtime.AdapterConfig(
            mh_adapter=True, output_adapter=False, reduction_factor=4, non_linearity="relu"
        )
    model.add_adapter("a", config)
    assert set(model.get_adapter("a")[0]) == {"mh_adapter"}


# Computed by the reference library.
HASHES = {
    "seq_bn": "9076f36a74755ac4",
    "double_seq_bn": "b1017368d7a97b11",
    "compacter": "934efc0c1022a56f",
    "prefix_tuning": "648bf22f5afeaaa6",
    "lora": "625403edad0bf919",
    "unipelt": "99835abd0a66a4be",
    "mtl_lora": "b37172df6259ff89",
    "loreft": "5b37435ce2664d75",
}


@pytest.mark.parametrize(("name", "expected"), HASHES.items())
def test_configurations_have_the_hashes_of_the_index(name, expected):
    assert adapters_runtime.get_adapter_config_hash(ADAPTER_CONFIG_MAP[name]) == expected


def test_every_architecture_has_a_class_with_flexible_heads():
    mapping = adapters_runtime.ADAPTER_MODEL_MAPPING
    by_name = {config.model_type: mapping[config] for config in mapping}
    assert by_name["bert"] is adapters_runtime.BertAdapterModel
    assert by_name["t5"] is adapters_runtime.T5AdapterModel
    assert len(by_name) == len(mapping) > 30


def test_models_of_a_configuration_are_of_that_class(bare_models):
    model = AutoAdapterModel.from_config(bare_models("gpt2").config)
    assert type(model) is adapters_runtime.ADAPTER_MODEL_MAPPING[type(model.config)]


def test_asking_for_safetensors_or_not_makes_no_difference(adapted, tmp_path):
    model = adapted("bert")
    model.add_adapter("a", "lora[r=2]")
    with pytest.warns(FutureWarning, match="use_safetensors=False has no effect"):
        model.save_adapter(tmp_path, "a", use_safetensors=False)
    assert (tmp_path / "adapter.safetensors").is_file()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_adapter(tmp_path, load_as="b", use_safetensors=False)
