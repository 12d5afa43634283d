"""What PEFT saves, ours loads and computes alike; the oracle is PEFT itself, run here."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import transformers
from peft import LoHaConfig, LoraConfig, PrefixTuningConfig, PromptTuningConfig
from safetensors.torch import load_file, save_file

import adapters_runtime
from adapters_runtime.errors import ConfigError, FormatError, MergeStateError, TensorMismatch
from adapters_runtime.shapes import BaseDescription, expected_tensors
from tests.support import peft_live
from tests.support.peft_cases import MATRIX, SPECIAL
from tests.support.peft_live import Case
from tests.support.tiny_models import FIELDS

SAMPLE = {
    *("lora-phi3", "dora-gpt2", "patterns-qwen2", "all_linear-t5", "bias_all-roberta"),
    *("bias_own-llama", "lora_bias-bart", "pissa-bert", "olora-mistral", "ia3-deberta-v2"),
    *("ia3_inputs-gpt2", "prefix-t5", "prefix-bart", "prefix-gptj", "prefix_mlp-gemma2"),
    *("prompt-bert", "prompt-gpt2", "no_task-distilbert"),
}
CASES = [
    pytest.param(case, id=case.name, marks=() if case.name in SAMPLE else pytest.mark.long)
    for case in MATRIX
] + [pytest.param(case, id=case.name) for case in SPECIAL]


def ours(case, folder, **options):
    model = case.model()
    adapters_runtime.init(model)
    model.load_adapter(folder, load_as="a", set_active=True, **options)
    return model.eval()


def lora(**options):
    options = {"r": 2, "target_modules": ["query"]} | options
    return Case("lora", "bert", "SEQ_CLS", LoraConfig(**options))


@pytest.mark.parametrize("case", CASES)
def test_the_output_is_that_of_peft(case, tmp_path):
    peft_live.save(case, tmp_path)
    given = peft_live.batch(case)
    theirs, model = peft_live.load(case, tmp_path), ours(case, tmp_path)
    if case.model_type == "mt5":  # a tiny one makes float32's roundings a thousand times larger
        theirs, model = theirs.double(), model.double()

    expected = peft_live.output(theirs, given)

    peft_live.compare(peft_live.output(model, given), expected, given)


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_those_of_what_is_saved(case, tmp_path):
    peft_live.save(case, tmp_path)
    model = ours(case, tmp_path)
    bank = model.base_model.adapter_bank
    tensors = {key: tuple(t.shape) for key, t in case.model().base_model.named_parameters()}
    base = BaseDescription(case.model_type, model.config.to_dict(), tensors)
    found = {key: tuple(tensor.shape) for key, tensor in bank.saved_tensors("a")}
    assert expected_tensors("a", bank.configs["a"], base) == found


@pytest.mark.parametrize("case", CASES)
def test_our_files_and_deletion(case, tmp_path):
    """An adapter of PEFT's is one of ours: saved, loaded again, and taken away without a trace."""
    peft_live.save(case, tmp_path / "peft")
    model, given = ours(case, tmp_path / "peft"), peft_live.batch(case)
    expected = peft_live.output(model, given)
    model.save_adapter(tmp_path / "ours", "a")

    again = ours(case, tmp_path / "ours")

    assert torch.equal(peft_live.output(again, given), expected)
    model.delete_adapter("a")
    plain = case.model()
    assert torch.equal(peft_live.output(model, given), peft_live.output(plain, given))
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(
    "options",
    [
        {"layer_replication": [[0, 1], [0, 2]], "target_modules": ["q_proj"]},
        {"target_parameters": ["mlp.up_proj.weight"], "target_modules": ["q_proj"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_cannot_be_kept_are_refused_by_name(options, tmp_path):
    case = Case("refused", "llama", "CAUSAL_LM", LoraConfig(r=2, **options))
    peft_live.save(case, tmp_path)
    with pytest.raises(FormatError, match=next(iter(options))):
        ours(case, tmp_path)


def test_other_methods_are_refused_by_name(tmp_path):
    case = Case("loha", "bert", "SEQ_CLS", LoHaConfig(r=2, target_modules=["query"]))
    peft_live.save(case, tmp_path)
    with pytest.raises(FormatError, match="LOHA"):
        ours(case, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"future_option": 7}, "future_option=7"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "pissa", "use_dora": True}, "use_dora"),
        ({"target_modules": "("}, "regular expression"),
        ({"r": "8"}, "r of a PEFT configuration must be a number"),
    ],
)
def test_configurations_that_cannot_be_kept_are_refused(change, message, tmp_path):
    case = lora()
    peft_live.save(case, tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=message):
        ours(case, tmp_path)


def test_a_bare_configuration_of_old_is_enough(tmp_path):
    case = lora(r=8)
    peft_live.save(case, tmp_path)
    document = {"peft_type": "LORA", "target_modules": ["query"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(document))
    given = peft_live.batch(case)
    expected = peft_live.output(peft_live.load(case, tmp_path), given)
    torch.testing.assert_close(peft_live.output(ours(case, tmp_path), given), expected)


def test_pickled_weights_are_read(tmp_path):
    case = lora()
    peft_live.save(case, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    torch.save(load_file(path), tmp_path / "adapter_model.bin")
    path.unlink()
    given = peft_live.batch(case)
    expected = peft_live.output(peft_live.load(case, tmp_path), given)
    torch.testing.assert_close(peft_live.output(ours(case, tmp_path), given), expected)


@pytest.mark.parametrize("name", ["pissa-bert", "both_ends-llama-untied"])
def test_short_numbers_are_read_as_peft_reads_them(name, tmp_path):
    """PiSSA's beginning is as exact as the base, and embeddings in the file may be rounded."""
    case = next(case for case in [*MATRIX, *SPECIAL] if case.name == name)
    peft_live.save(case, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    adapter = {key: tensor.half() for key, tensor in tensors.items() if "base_layer" not in key}
    save_file(tensors | adapter, path)
    given = peft_live.batch(case)
    expected = peft_live.output(peft_live.load(case, tmp_path), given)
    save_file({key: tensor.half() for key, tensor in tensors.items()}, path)
    peft_live.compare(peft_live.output(ours(case, tmp_path), given), expected, given)


@pytest.mark.parametrize(
    ("model_type", "task", "tied"),
    [("llama", "CAUSAL_LM", True), ("llama", "CAUSAL_LM", False), ("t5", "SEQ_2_SEQ_LM", True)],
)
def test_embeddings_of_added_tokens_come_with_the_adapter(model_type, task, tied, tmp_path):
    target = {"llama": "q_proj", "t5": "q"}[model_type]
    case = Case("grown", model_type, task, LoraConfig(r=2, target_modules=[target]))
    case = replace(case, fields={"tie_word_embeddings": tied})
    theirs = peft_live.adapted(grown(case), case.config)
    peft_live.write(theirs, tmp_path, save_embedding_layers=True)
    given = peft_live.batch(case)
    given["input_ids"][0, 3] = 33
    expected = peft_live.output(theirs, given)
    model = grown(case, seed=2)
    adapters_runtime.init(model)
    model.load_adapter(tmp_path, load_as="a", set_active=True)
    torch.testing.assert_close(peft_live.output(model.eval(), given), expected)
    with pytest.raises(ConfigError, match=r"resize_token_embeddings\(35\)"):
        ours(case, tmp_path)


def grown(case, seed=1):
    """Return a model with three more tokens, whose rows depend on the seed."""
    model = case.model()
    torch.manual_seed(seed)
    model.resize_token_embeddings(35)
    with torch.no_grad():
        model.get_input_embeddings().weight[32:] = torch.randn(3, model.config.hidden_size)
    return model.eval()


def test_biases_of_convolutions_are_replaced(tmp_path):
    config = transformers.AutoConfig.for_model("vit", **FIELDS["vit"])
    torch.manual_seed(0)
    base = transformers.AutoModel.from_config(config).eval()
    config = LoraConfig(r=2, target_modules=["v_proj"], bias="all")
    theirs = peft_live.adapted(copy.deepcopy(base), config)
    peft_live.write(theirs, tmp_path)
    adapters_runtime.init(base)
    base.load_adapter(tmp_path, load_as="a", set_active=True)
    given = {"pixel_values": torch.randn(2, 3, 8, 8)}
    expected = peft_live.output(theirs, given)
    torch.testing.assert_close(peft_live.output(base, given), expected, atol=1e-5, rtol=1e-4)
    base.merge_adapter("a")
    torch.testing.assert_close(peft_live.output(base, given), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            Case(
                "start", "llama", "CAUSAL_LM", LoraConfig(r=2, target_modules=["q_proj", "lm_head"])
            ),
            "has its weight in common with model.embed_tokens",
        ),
        (
            Case(
                "tokens",
                "bert",
                "MASKED_LM",
                LoraConfig(r=2, target_modules=["query"], trainable_token_indices=[5]),
            ),
            "has a bias, which PEFT drops",
        ),
        (
            Case(
                "prompt",
                "bart",
                "SEQ_2_SEQ_LM",
                PromptTuningConfig(num_virtual_tokens=2, task_type="SEQ_2_SEQ_LM"),
                {"tie_word_embeddings": False},
            ),
            "token embedding of its own",
        ),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_what_peft_does_amiss_is_refused(case, message, tmp_path):
    if case.name == "start":
        case = replace(case, fields={"tie_word_embeddings": True})
        case.config.init_lora_weights = "pissa"
    peft_live.save(case, tmp_path)
    with pytest.raises(FormatError, match=message):
        ours(case, tmp_path)


@pytest.mark.parametrize(
    ("model_type", "saved", "message"),
    [("bert", "layer.1", "takes several inputs"), ("deberta-v2", "rel_embeddings", "never runs")],
)
def test_modules_that_cannot_be_an_adapters_own_are_refused(model_type, saved, message, tmp_path):
    target = {"bert": "query", "deberta-v2": "query_proj"}[model_type]
    config = LoraConfig(r=2, target_modules=[target], modules_to_save=[saved])
    case = Case("saved", model_type, "SEQ_CLS", config)
    peft_live.save(case, tmp_path)
    with pytest.raises(ConfigError, match=message):
        ours(case, tmp_path)


def test_a_second_merge_is_refused_and_the_base_is_not_lost(tmp_path):
    case = lora(bias="all")
    peft_live.save(case, tmp_path / "a")
    peft_live.save(case, tmp_path / "b", seed=2)
    model = ours(case, tmp_path / "a")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.load_adapter(tmp_path / "b", load_as="b")
    model.merge_adapter("a")
    with pytest.raises(MergeStateError, match="'a' is merged already"):
        model.merge_adapter("b")
    model.reset_adapter()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_bias_is_not_merged_where_the_base_has_none(tmp_path):
    case = Case(
        "lora_bias", "llama", "CAUSAL_LM", LoraConfig(target_modules=["q_proj"], lora_bias=True)
    )
    peft_live.save(case, tmp_path)
    model = ours(case, tmp_path)
    with pytest.raises(MergeStateError, match="none to fold it into"):
        model.merge_adapter("a")


@pytest.mark.parametrize(
    "case", SPECIAL[:2] + SPECIAL[3:6] + SPECIAL[-1:], ids=lambda case: case.name
)
def test_a_tensor_too_few_or_too_many_is_named(case, tmp_path):
    peft_live.save(case, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    model, before = case.model(), case.model().state_dict()
    adapters_runtime.init(model)
    for name in tensors:
        save_file({key: t for key, t in tensors.items() if key != name}, path)
        with pytest.raises((TensorMismatch, ConfigError, FormatError)):
            model.load_adapter(tmp_path)
    save_file(tensors | {"base_model.model.stray.lora_A.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(TensorMismatch, match="stray"):
        model.load_adapter(tmp_path)
    assert not model.adapters_config
    after = model.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_the_embeddings_of_another_base_are_not_taken_for_this_ones(tmp_path):
    case = next(case for case in SPECIAL if case.name == "embedding-llama-untied")
    peft_live.save(case, tmp_path)
    model = case.model()
    adapters_runtime.init(model)
    with torch.no_grad():
        model.get_input_embeddings().weight[0] += 1
    with pytest.raises(TensorMismatch, match=r"embed_tokens\.base_layer\.weight"):
        model.load_adapter(tmp_path)


ROUTED = [case for case in MATRIX if case.name in SAMPLE]


@pytest.mark.parametrize("case", ROUTED, ids=lambda case: case.name)
def test_each_row_is_as_if_alone(case, tmp_path):
    peft_live.save(case, tmp_path / "a")
    peft_live.save(case, tmp_path / "b", seed=2)
    model = ours(case, tmp_path / "a")
    model.load_adapter(tmp_path / "b", load_as="b")
    given = peft_live.batch(case)
    rows = [0, 0, 0, 0]
    mixed = {key: tensor[rows] for key, tensor in given.items()}
    alone = {key: tensor[:1] for key, tensor in given.items()}
    names = ["b", "__base__", "a", "b"]

    together = peft_live.output(model, mixed, adapter_names=names)

    for row, name in enumerate(names):
        model.set_active_adapters(None if name == "__base__" else name)
        expected = peft_live.output(model, alone)
        found = together[row : row + 1]
        if (
            found.dim() == 3 and case.model_type == "gpt2"
        ):  # filled up, at the front, to the prompts
            found = found[:, -expected.shape[1] :]
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


MERGED = [
    case
    for case in [*ROUTED, *SPECIAL]
    if case.name.split("-")[0] not in ("prefix", "prefix_mlp", "prompt", "last_token", "tokens")
]


@pytest.mark.parametrize("case", MERGED, ids=lambda case: case.name)
def test_merging_keeps_the_output_and_reset_the_weights(case, tmp_path):
    peft_live.save(case, tmp_path)
    model, given = ours(case, tmp_path), peft_live.batch(case)
    expected = peft_live.output(model, given)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.merge_adapter("a")
    found = peft_live.output(model, given)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    model.reset_adapter()
    after = model.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_prefixes_of_peft_and_of_adapterhub_in_one_batch(tmp_path):
    """T5's relative bias differs between them, and base rows know neither."""
    config = PrefixTuningConfig(num_virtual_tokens=3, task_type="SEQ_2_SEQ_LM")
    case = Case("prefix", "t5", "SEQ_2_SEQ_LM", config)
    peft_live.save(case, tmp_path)
    model = ours(case, tmp_path)
    model.add_adapter("hub", "prefix_tuning[prefix_length=5,bottleneck_size=8]")
    model.add_adapter("short", "prefix_tuning[prefix_length=2,bottleneck_size=8]")
    given = {key: tensor[:1] for key, tensor in peft_live.batch(case).items()}
    names = ["hub", "a", "__base__", "short"]
    together = peft_live.output(
        model, {key: tensor.expand(4, -1) for key, tensor in given.items()}, adapter_names=names
    )
    for row, name in enumerate(names):
        model.set_active_adapters(None if name == "__base__" else name)
        expected = peft_live.output(model, given)
        torch.testing.assert_close(together[row : row + 1], expected, atol=2e-5, rtol=1e-4)
