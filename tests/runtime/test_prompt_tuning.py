"""Prompt tuning: where prompts stand, what they hide from whom, and what the heads see."""

import copy
import pickle

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F

from adapters_runtime import AutoAdapterModel, init
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.composition import Average, BatchSplit, Fuse, Parallel, Stack
from adapters_runtime.configs import (
    ConfigUnion,
    LoRAConfig,
    NoReftConfig,
    PromptTuningConfig,
    SeqBnConfig,
)
from adapters_runtime.errors import (
    ConfigError,
    InvalidComposition,
    UnsupportedComposition,
    UnsupportedSite,
)
from adapters_runtime.inject.bank import bank_of
from tests.support.running import add_adapters, inputs_for, output_of
from tests.support.tiny_models import FIELDS, VOCABULARY, WIDTH

THREE = PromptTuningConfig(prompt_length=3)
AFTER_FIRST = PromptTuningConfig(prompt_length=2, combine="prefix_after_bos")
SUPPORTED = [t for t, architecture in ARCHITECTURES.items() if architecture.prompts]
OF_TEXT = [t for t in SUPPORTED if t not in ("vit", "deit", "beit")]
SAMPLE = ("bert", "deberta-v2", "gpt2", "llama", "t5", "bart")


def only_row(inputs, row):
    return {key: value[row : row + 1] for key, value in inputs.items()}


def prompt_of(model, name):
    (parameter,) = bank_of(model).parameters_of(name)
    return parameter.detach()


# --- where prompts stand


def test_encoders_have_prompts_without_a_position(with_methods):
    model = with_methods("bert", THREE)
    inputs = inputs_for(model)
    seen = {}
    model.encoder.register_forward_pre_hook(lambda _, args: seen.update(hidden=args[0]))
    output_of(model, inputs)
    prompts = prompt_of(model, "a").expand(3, -1, -1)
    embedded = model.embeddings.forward(input_ids=inputs["input_ids"])
    assert torch.equal(seen["hidden"], torch.cat([prompts, embedded], dim=1))


def test_a_prompt_may_stand_after_the_first_token(with_methods):
    model = with_methods("bert", AFTER_FIRST)
    inputs = inputs_for(model)
    seen = {}
    model.encoder.register_forward_pre_hook(lambda _, args: seen.update(hidden=args[0]))
    output_of(model, inputs)
    first, rest = model.embeddings.forward(input_ids=inputs["input_ids"]).split([1, 6], dim=1)
    prompts = prompt_of(model, "a").expand(3, -1, -1)
    assert torch.equal(seen["hidden"], torch.cat([first, prompts, rest], dim=1))


@pytest.mark.parametrize("model_type", ["gpt2", "gptj", "llama", "gemma3_text", "modernbert", "t5"])
def test_elsewhere_prompts_are_as_text(with_methods, model_type):
    model = with_methods(model_type, THREE)
    inputs = inputs_for(model)
    expected = output_of(model, inputs)
    model.set_active_adapters(None)
    embedded = model.get_input_embeddings()(inputs.pop("input_ids"))
    prompts = prompt_of(model, "a").expand(3, -1, -1)
    with_text = {**inputs, "inputs_embeds": torch.cat([prompts, embedded], dim=1)}
    torch.testing.assert_close(output_of(model, with_text), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("model_type", ["clip", "whisper"])
def test_models_that_count_their_places_refuse_prompts(adapted, model_type):
    with pytest.raises(UnsupportedSite, match=f"{model_type} has no place"):
        adapted(model_type).add_adapter("a", THREE)


@pytest.mark.parametrize(
    "bias", ["use_relative_position_bias", "use_shared_relative_position_bias"]
)
def test_a_beit_refuses_prompts_where_it_counts_its_places(bias):
    config = transformers.BeitConfig(**FIELDS["beit"], **{bias: True})
    model = transformers.BeitModel(config)
    init(model)
    with pytest.raises(UnsupportedSite, match="beit has no place"):
        model.add_adapter("a", THREE)


def test_a_prompt_may_start_from_a_text(adapted, tmp_path):
    vocabulary = {word: index for index, word in enumerate(["[UNK]", "is", "this", "good"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    model = adapted("bert")
    text = THREE.replace(prompt_init="from_string", prompt_init_text="this is", prompt_length=5)
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        model.add_adapter("a", text)
    assert not model.has_adapters()
    model.add_adapter("old", "seq_bn")
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        model.add_adapter("old", text, overwrite_ok=True)
    assert model.adapters_config["old"] == SeqBnConfig()
    model.describe_base(tokenizer=tmp_path / "tokenizer.json")
    model.add_adapter("a", text)
    words = model.get_input_embeddings().weight[[2, 1, 2, 1, 2]]
    assert torch.equal(prompt_of(model, "a"), words)
    model.save_adapter(tmp_path / "a", "a")
    other = adapted("bert")  # which has no tokenizer, and needs none to load what was trained
    other.load_adapter(tmp_path / "a")
    assert torch.equal(prompt_of(other, "a"), words)


# --- who sees whom


def see_padding(model_type):
    return ARCHITECTURES[model_type].prompts_see_padding


@pytest.mark.parametrize("model_type", [t for t in OF_TEXT if not see_padding(t)])
def test_padding_stays_hidden_beside_prompts(with_methods, model_type):
    model = with_methods(model_type, THREE)
    inputs = inputs_for(model)
    padded = {**inputs, "input_ids": F.pad(inputs["input_ids"], (0, 2), value=5)}
    padded["attention_mask"] = F.pad(torch.ones_like(inputs["input_ids"]), (0, 2))
    alone = output_of(model, inputs)
    first = output_of(model, padded)[:, : alone.shape[1]]
    torch.testing.assert_close(first, alone, atol=1e-5, rtol=1e-5)
    padded["input_ids"][:, -2:] = 7
    assert torch.equal(output_of(model, padded)[:, : alone.shape[1]], first)


@pytest.mark.parametrize("model_type", [t for t in OF_TEXT if see_padding(t)])
@pytest.mark.parametrize("prompt", [THREE, AFTER_FIRST], ids=["first", "after_bos"])
def test_as_many_first_places_as_prompts_see_padding_where_the_reference_lets_them(
    with_methods, model_type, prompt
):
    model = with_methods(model_type, prompt)
    inputs = inputs_for(model)
    inputs["attention_mask"] = F.pad(torch.ones_like(inputs["input_ids"])[:, :-2], (0, 2))
    attention = model(**inputs, output_attentions=True).attentions[0]
    seeing = attention[..., -2:].sum(dim=(1, 3)) > 0
    rows, places = seeing.shape
    assert seeing.tolist() == [[place < prompt.prompt_length for place in range(places)]] * rows


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
def test_arguments_may_come_by_position(with_methods, model_type):
    model = with_methods(model_type, THREE)
    inputs = inputs_for(model)
    mask = torch.ones_like(inputs["input_ids"])
    rest = {key: value for key, value in inputs.items() if key != "input_ids"}
    with torch.no_grad():
        positional = model(inputs["input_ids"], mask, **rest)[0]
    assert torch.equal(positional, output_of(model, {**inputs, "attention_mask": mask}))


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
def test_a_reft_counts_places_with_prompts_whichever_came_first(adapted, model_type):
    found = []
    for first, second in (("reft", "prompt"), ("prompt", "reft")):
        model = adapted(model_type)
        for name in (first, second):
            model.add_adapter(name, THREE if name == "prompt" else NoReftConfig(suffix_positions=2))
        for name in ("prompt", "reft"):
            for seed, parameter in enumerate(bank_of(model).parameters_of(name)):
                generator = torch.Generator().manual_seed(seed)
                torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        model.set_active_adapters(Stack("prompt", "reft"))
        inputs = inputs_for(model)
        mask = torch.ones_like(inputs["input_ids"])
        mask[1, 4:] = 0
        found.append(output_of(model, inputs | {"attention_mask": mask}))
    assert torch.equal(*found)


def test_only_masks_of_rows_and_tokens_can_be_extended(with_methods):
    model = with_methods("bert", THREE)
    mask = torch.ones(3, 1, 7, 7)
    with pytest.raises(InvalidComposition, match=r"not of \[3, 1, 7, 7\]"):
        output_of(model, {**inputs_for(model), "attention_mask": mask})


# --- composition


@pytest.mark.parametrize("model_type", OF_TEXT)
def test_rows_with_methods_of_their_own_equal_each_row_alone(with_methods, model_type):
    model = with_methods(model_type, THREE, AFTER_FIRST, SeqBnConfig())
    inputs = inputs_for(model)
    expected = []
    for row, name in enumerate("abc"):
        model.set_active_adapters(name)
        expected.append(output_of(model, only_row(inputs, row)))
    model.set_active_adapters(BatchSplit("a", "b", "c", batch_sizes=1))
    result = output_of(model, inputs)
    if model_type in ("t5", "mt5"):  # a decoder's row has its own length
        assert result.shape[1] == expected[0].shape[1]
    for row, alone in enumerate(expected):
        length = alone.shape[1]
        fills_before = result.shape[1] > length and "decoder" in roles(model_type)
        own = result[row, -length:] if fills_before else result[row, :length]
        torch.testing.assert_close(own, alone[0], atol=1e-5, rtol=1e-5)


def roles(model_type):
    return {stack.role for stack in ARCHITECTURES[model_type].stacks}


def test_an_image_cannot_have_rows_with_methods_of_different_lengths(with_methods):
    model = with_methods("vit", THREE, AFTER_FIRST)
    model.set_active_adapters(Parallel("a", "b"))
    with pytest.raises(InvalidComposition, match=r"lengths are \[8, 7\]"):
        output_of(model)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_parallel_prompts_equal_each_alone(with_methods, model_type):
    model = with_methods(model_type, THREE, THREE)
    expected = []
    for name in "ab":
        model.set_active_adapters(name)
        expected.append(output_of(model))
    model.set_active_adapters(Parallel("a", "b"))
    torch.testing.assert_close(output_of(model), torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_a_later_prompt_of_a_stack_stands_before_the_earlier(with_methods):
    model = with_methods("bert", THREE, PromptTuningConfig(prompt_length=2))
    model.set_active_adapters(Stack("a", "b"))
    seen = {}
    model.encoder.register_forward_pre_hook(lambda _, args: seen.update(hidden=args[0]))
    output_of(model)
    prompts = torch.cat([prompt_of(model, "b"), prompt_of(model, "a")])
    assert torch.equal(seen["hidden"][:, :5], prompts.expand(3, -1, -1))


def test_the_average_of_a_prompt_with_itself_is_that_prompt(with_methods, tmp_path):
    model = with_methods("bert", THREE)
    alone = output_of(model)
    model.save_adapter(tmp_path, "a")
    model.load_adapter(tmp_path, load_as="b")
    model.set_active_adapters(Average("a", "b"))
    torch.testing.assert_close(output_of(model), alone, atol=1e-6, rtol=1e-6)


def test_prompts_have_no_average_over_lengths_and_no_fusion(with_methods):
    model = with_methods("bert", THREE, AFTER_FIRST)
    model.set_active_adapters(Average("a", "b"))
    with pytest.raises(InvalidComposition, match=r"\[10, 9\]"):
        output_of(model)
    bank_of(model).activations.own.setup = Fuse("a", "b")
    with pytest.raises(UnsupportedComposition, match="prompt tuning cannot be put in Fuse"):
        output_of(model)


def test_a_prompt_may_be_a_part_of_a_union(with_methods):
    model = with_methods("bert", ConfigUnion(THREE, LoRAConfig(r=2)))
    assert output_of(model).shape == (3, 10, WIDTH)


# --- laws


@pytest.mark.parametrize("model_type", SUPPORTED)
def test_prompts_leave_without_a_trace_and_are_saved_exactly(
    bare_models, adapted, tmp_path, model_type
):
    model = bare_models(model_type)
    before = output_of(model)
    init(model)
    model.add_adapter("a", THREE, set_active=True)
    after = output_of(model)
    model.save_adapter(tmp_path, "a")
    other = adapted(model_type)
    # The reference loads random prompts under another name, without a word.
    other.load_adapter(tmp_path, load_as="b", set_active=True)
    assert torch.equal(output_of(other), after)
    model.set_active_adapters(None)
    assert torch.equal(output_of(model), before)
    model.delete_adapter("a")
    assert torch.equal(output_of(model), before)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_only_the_prompt_is_trained(with_methods, model_type):
    model = with_methods(model_type, THREE)
    model.train_adapter("a")
    model(**inputs_for(model))[0].square().sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert len(trained) == 1
    assert "prompt_embedding" in trained.pop()


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_prompts_are_traced_whole(with_methods, model_type):
    model = with_methods(model_type, AFTER_FIRST)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    inputs = inputs_for(model)
    with torch.no_grad():
        result = compiled(**inputs)[0]
    torch.testing.assert_close(result, output_of(model, inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("model_type", ["gpt2", "t5"])
def test_copies_and_pickles_have_prompts_of_their_own(with_methods, model_type):
    model = with_methods(model_type, THREE)
    expected = output_of(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.delete_adapter("a")
    for other in copies:
        assert torch.equal(output_of(other), expected)


# --- generating


@pytest.mark.parametrize("setup", ["a", "b", BatchSplit("a", "b", batch_sizes=1)], ids=str)
@pytest.mark.parametrize("model_type", ["gpt2", "llama", "t5", "bart"])
def test_generating_with_a_cache_gives_what_it_gives_without(bare_models, model_type, setup):
    classes = {"t5": transformers.T5ForConditionalGeneration}
    classes |= {"bart": transformers.BartForConditionalGeneration}
    config = bare_models(model_type).config
    if model_type == "t5":  # transformers counts the layers of its cache in the encoder
        config.num_decoder_layers = config.num_layers
    config.eos_token_id = config.forced_eos_token_id = None
    torch.manual_seed(0)
    cls = classes.get(model_type, transformers.AutoModelForCausalLM)
    model = (cls.from_config if hasattr(cls, "from_config") else cls)(config).eval()
    init(model)
    add_adapters(model, {"a": THREE, "b": AFTER_FIRST})
    model.set_active_adapters(setup)
    ids = torch.randint(4, VOCABULARY, (2, 5), generator=torch.Generator().manual_seed(3))

    def scores(mask, **options):
        outputs = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=5,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
        return torch.stack(outputs.scores)

    whole = torch.ones_like(ids)
    torch.testing.assert_close(scores(whole), scores(whole, use_cache=False), atol=1e-5, rtol=1e-5)
    padded = whole.clone()
    padded[1, :2] = 0
    torch.testing.assert_close(
        scores(padded), scores(padded, use_cache=False), atol=1e-5, rtol=1e-5
    )


# --- heads


def test_labels_of_tokens_skip_the_prompt(bare_models):
    model = AutoAdapterModel.from_config(bare_models("bert").config)
    model.add_adapter("a", THREE)
    model.add_tagging_head("a", num_labels=3)
    model.train_adapter("a")
    model.eval()
    inputs = inputs_for(model)
    outputs = model(**inputs, labels=torch.randint(0, 3, inputs["input_ids"].shape))
    assert outputs.logits.shape == (3, 10, 3)
    assert outputs.loss.isfinite()
