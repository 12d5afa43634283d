"""Generating with a cache gives what generating without one does, under every method."""

import pytest
import torch

from adapters_runtime import AdapterSetup, Parallel, Stack
from adapters_runtime.configs import PeftPrefixConfig, PeftPromptConfig
from adapters_runtime.errors import InvalidComposition
from tests.support.generating import CACHE, generate, generator_of, prompts, with_adapters

METHODS = {
    "seq_bn_inv": "seq_bn_inv[reduction_factor=4]",
    "double_seq_bn": "double_seq_bn[reduction_factor=4]",
    "par_bn": "par_bn",
    "compacter": "compacter[phm_dim=2,reduction_factor=4]",
    "lora": "lora[r=2]",
    "dora": "dora[r=2]",
    "vera": "vera[r=2]",
    "ia3": "ia3",
    "prefix_tuning": "prefix_tuning[prefix_length=3]",
    "prompt_tuning": "prompt_tuning[prompt_length=3]",
    "peft_prefix": PeftPrefixConfig(prefix_length=3),
    "peft_prompt": PeftPromptConfig(prompt_length=3),
    "loreft": "loreft",
    "mam": "mam",
}
MODELS = ("gpt2", "llama", "qwen3", "gemma3_text", "t5", "bart", "bert+bert", "bert+gpt2")
SAMPLED = {
    ("gpt2", "prefix_tuning", "sdpa"),
    ("gpt2", "prompt_tuning", "eager"),
    ("llama", "seq_bn_inv", "eager"),
    ("qwen3", "lora", "sdpa"),
    ("gemma3_text", "mam", "sdpa"),
    ("t5", "prefix_tuning", "eager"),
    ("t5", "peft_prefix", "sdpa"),
    ("llama", "peft_prompt", "sdpa"),
    ("bart", "double_seq_bn", "sdpa"),
    ("bert+bert", "mam", "sdpa"),
    ("bert+gpt2", "prompt_tuning", "eager"),
}
WAYS = {"greedy": {}, "beams": {"num_beams": 3}, "static": {"cache_implementation": "static"}}
CASES = [
    pytest.param(*case, id="-".join(case), marks=[] if case in SAMPLED else [pytest.mark.long])
    for case in (
        (model_type, method, attention)
        for model_type in MODELS
        for method in METHODS
        for attention in ("eager", "sdpa")
    )
]


@pytest.mark.parametrize(("model_type", "method", "attention"), CASES)
def test_a_cache_changes_nothing(model_type, method, attention):
    model = with_adapters(generator_of(model_type, attention), METHODS[method])
    plain = generate(model)
    model.set_active_adapters(Stack("a", "b"))
    for way, options in WAYS.items():
        decoding = {k: v for k, v in options.items() if k != "cache_implementation"}
        cached = generate(model, **options)
        uncached = generate(model, **decoding, use_cache=False)
        assert torch.equal(cached[0], uncached[0]), way
        torch.testing.assert_close(cached[1], uncached[1], atol=2e-4, rtol=1e-4)
    assert not torch.allclose(generate(model)[1][:, 0], plain[1][:, 0], atol=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(
    ("model_type", "method"),
    [
        ("gpt2", "lora"),
        ("llama", "prefix_tuning"),
        ("t5", "mam"),
        ("bart", "seq_bn_inv"),
        ("bert+gpt2", "mam"),
    ],
)
def test_parallel_texts_are_those_of_each_adapter(model_type, method, beams):
    model = with_adapters(generator_of(model_type), METHODS[method])
    alone = []
    for name in ("a", "b"):
        model.set_active_adapters(name)
        alone.append(generate(model, num_beams=beams)[0])
    model.set_active_adapters(Parallel("a", "b"))
    assert torch.equal(generate(model, num_beams=beams)[0], torch.cat(alone))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(
    ("model_type", "method"),
    [
        ("gpt2", "seq_bn_inv"),
        ("qwen3", "lora"),
        ("t5", "prefix_tuning"),
        ("bart", "ia3"),
        ("bert+bert", "mam"),
    ],
)
def test_each_row_generates_with_its_own_set_up(model_type, method, beams):
    model = with_adapters(generator_of(model_type), METHODS[method])
    setups = ["b", "__base__", Stack("a", "b"), "b"]
    rows = prompts(rows=4)
    found = generate(model, rows, adapter_names=setups, num_beams=beams)[0]
    for row, setup in enumerate(setups):
        with AdapterSetup(None if setup == "__base__" else setup):
            expected = generate(model, rows[row : row + 1], num_beams=beams)[0]
        assert torch.equal(found[row : row + 1], expected)


def test_parallel_cannot_go_on_from_a_cache_that_was_not_repeated():
    model = with_adapters(generator_of("gpt2"), "lora")
    cache = model(prompts(), use_cache=True)[CACHE]
    model.set_active_adapters(Parallel("a", "b"))
    with pytest.raises(InvalidComposition, match="generate without a cache"):
        generate(model, **{CACHE: cache})


def test_a_model_without_a_next_token_says_so(adapted):
    with pytest.raises(TypeError, match="language-modeling head"):
        adapted("gpt2").generate(prompts())
