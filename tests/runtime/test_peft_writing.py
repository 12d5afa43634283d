"""What is written for PEFT it loads and computes alike; the oracle is PEFT itself, run here."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

import adapters_runtime
from adapters_runtime.configs import PeftPrefixConfig, PeftPromptConfig
from adapters_runtime.errors import ConfigError, MergeStateError
from tests.support import peft_live
from tests.support.peft_cases import MATRIX, SPECIAL
from tests.support.peft_live import Case
from tests.support.tiny_models import FIELDS

BASES = {
    "bert": "SEQ_CLS",
    "llama": "CAUSAL_LM",
    "t5": "SEQ_2_SEQ_LM",
    "gpt2": "CAUSAL_LM",
    "gpt_neox": "CAUSAL_LM",
}
LINEAR = {
    "lora": "lora[r=3,alpha=7]",
    "everywhere": "lora[r=2,intermediate_lora=True,output_lora=True,attn_matrices=['q','k','v']]",
    "left_out": "lora[r=2,leave_out=[0]]",
    "one_part": "lora[r=2,attn_matrices=['k'],dropout=0.1]",
    "dora": "dora[r=2,alpha=6]",
    "vera": "vera[r=2,attn_matrices=['q']]",
    "ia3": "ia3",
    "ia3_left_out": "ia3[leave_out=[1],alpha=2]",
}
OURS = [(model_type, config) for model_type in BASES for config in LINEAR.values()]
OURS += [(model_type, PeftPromptConfig(3)) for model_type in ("bert", "llama", "t5", "gpt2")]
OURS += [(model_type, "prompt_tuning[prompt_length=3]") for model_type in ("llama", "t5", "gpt2")]
OURS += [
    (model_type, PeftPrefixConfig(prefix_length=3, bottleneck_size=5, flat=flat))
    for model_type in ("llama", "gpt2")
    for flat in (True, False)
]
SAMPLE = {
    *("lora-phi3", "dora-gpt2", "patterns-qwen2", "all_linear-t5", "bias_all-roberta"),
    *("bias_own-bert", "lora_bias-bart", "pissa-bert", "ia3_inputs-gpt2", "prefix-t5"),
    *("prefix_mlp-gemma2", "prompt-bert", "no_task-distilbert", "layers-gpt2"),
}
READ = [
    pytest.param(case, id=case.name, marks=() if case.name in SAMPLE else pytest.mark.long)
    for case in MATRIX
] + [pytest.param(case, id=case.name) for case in SPECIAL]


def initialised(case):
    model = case.model()
    adapters_runtime.init(model)
    return model


def adapted(model_type, config):
    case = Case("ours", model_type, BASES[model_type], None)
    model = initialised(case)
    torch.manual_seed(4)
    model.add_adapter("a", config, set_active=True)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.base_model.adapter_bank.parameters_of("a"):
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return case, model.eval()


def assert_peft_agrees(case, model, folder):
    given = peft_live.batch(case)
    expected = peft_live.output(model, given)
    peft_live.compare(peft_live.output(peft_live.load(case, folder), given), expected, given)


@pytest.mark.parametrize(("model_type", "config"), OURS, ids=str)
def test_peft_computes_what_ours_does(model_type, config, tmp_path):
    case, model = adapted(model_type, config)
    model.save_adapter_as_peft(tmp_path, "a")
    assert_peft_agrees(case, model, tmp_path)

    again = initialised(case)
    again.load_adapter(tmp_path, load_as="b", set_active=True)
    given = peft_live.batch(case)
    peft_live.compare(peft_live.output(again.eval(), given), peft_live.output(model, given), given)


@pytest.mark.parametrize("case", READ)
def test_what_was_read_from_peft_is_written_again(case, tmp_path):
    peft_live.save(case, tmp_path / "theirs")
    model = initialised(case)
    model.load_adapter(tmp_path / "theirs", load_as="a", set_active=True)
    model.save_adapter_as_peft(tmp_path / "ours", "a")
    assert_peft_agrees(case, model.eval(), tmp_path / "ours")


def test_two_saves_are_equal_bytes_and_keep_a_card(tmp_path):
    for folder in ("x", "y", "y"):
        _, model = adapted("bert", LINEAR["everywhere"])
        model.save_adapter_as_peft(tmp_path / folder, "a")
    names = {path.name for path in (tmp_path / "x").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    for name in names:
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    (tmp_path / "x" / "README.md").write_text("mine")
    model.save_adapter_as_peft(tmp_path / "x", "a")
    assert (tmp_path / "x" / "README.md").read_text() == "mine"


def test_servers_find_short_names_one_rank_and_no_extras(tmp_path):
    _, model = adapted("llama", "lora[r=3,alpha=7,leave_out=[0]]")
    model.name_or_path = "org/base"
    model.save_adapter_as_peft(tmp_path, "a")
    document = json.loads((tmp_path / "adapter_config.json").read_text())
    assert document["target_modules"] == ["q_proj", "v_proj"]
    assert document["layers_to_transform"] == [1]
    assert (document["r"], document["lora_alpha"]) == (3, 7)
    assert (document["bias"], document["modules_to_save"]) == ("none", None)
    assert document["base_model_name_or_path"] == "org/base"
    assert document["task_type"] == "CAUSAL_LM"
    card = (tmp_path / "README.md").read_text()
    assert 'base_model: "org/base"\nlibrary_name: peft\n' in card
    assert "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight" in load_file(
        tmp_path / "adapter_model.safetensors"
    )


def test_models_that_hear_or_see_are_of_no_task_of_pefts(tmp_path):
    """Its classes for tasks hand on text alone."""
    config = transformers.AutoConfig.for_model("whisper", **FIELDS["whisper"])
    model = transformers.AutoModelForSpeechSeq2Seq.from_config(config)
    adapters_runtime.init(model)
    model.add_adapter("a", "lora[r=2]")
    model.save_adapter_as_peft(tmp_path, "a")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["task_type"] is None


@pytest.mark.parametrize(
    ("model_type", "config", "message"),
    [
        ("bert", "seq_bn", "no place for its SeqBnConfig"),
        ("bert", "lora[use_gating=True]", "it has gates"),
        ("bert", "ia3[use_gating=True]", "it has gates"),
        ("bert", "mtl_lora", "it is a MTLLoRA"),
        ("bert", "mam", "no place for its"),
        ("bert", "prompt_tuning", "train a PeftPromptConfig"),
        ("llama", "prefix_tuning", "train a PeftPrefixConfig"),
        ("bert", "loreft", "no place for its"),
        ("t5", PeftPrefixConfig(prefix_length=2), "the same prefixes"),
    ],
    ids=str,
)
def test_what_peft_has_no_place_for_is_refused(model_type, config, message, tmp_path):
    _, model = adapted(model_type, config)
    with pytest.raises(ConfigError, match=message):
        model.save_adapter_as_peft(tmp_path / "x", "a")
    assert not (tmp_path / "x").exists()


def test_nothing_is_written_while_one_is_merged(tmp_path):
    _, model = adapted("bert", "dora")
    model.merge_adapter("a")
    with pytest.raises(MergeStateError, match="reset_adapter"):
        model.save_adapter_as_peft(tmp_path, "a")
