"""Checkpoints that the real PEFT makes of an encoder joined to a decoder."""

import copy

import peft
import pytest
import torch

import adapters_runtime
from tests.support import peft_live
from tests.support.running import inputs_for, output_of
from tests.support.tiny_models import PAIRS, build_tiny


def soft(kind, half, **fields):
    """Return a configuration of PEFT's, which does not find the sizes of a pair by itself."""
    return kind(
        task_type="SEQ_2_SEQ_LM",
        num_layers=half.num_hidden_layers,
        token_dim=half.hidden_size,
        num_attention_heads=half.num_attention_heads,
        num_transformer_submodules=2,
        num_virtual_tokens=3,
        **fields,
    )


CONFIGS = {
    "lora": lambda _: peft.LoraConfig(r=2, target_modules=["query", "c_attn", "dense"]),
    "ia3": lambda _: peft.IA3Config(
        target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "prefixes": lambda config: soft(peft.PrefixTuningConfig, config.decoder),
    "prompts": lambda config: soft(peft.PromptTuningConfig, config.encoder),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("method", CONFIGS)
def test_a_checkpoint_is_read_as_it_is(name, method, tmp_path):
    model = copy.deepcopy(build_tiny(name))
    inputs = inputs_for(model) | {"attention_mask": torch.ones(3, 7, dtype=torch.long)}
    theirs = peft_live.adapted(model, CONFIGS[method](model.config))
    expected = peft_live.output(theirs, inputs)
    peft_live.write(theirs, tmp_path)
    ours = copy.deepcopy(build_tiny(name))
    adapters_runtime.init(ours)
    ours.load_adapter(tmp_path, load_as="a", set_active=True)
    torch.testing.assert_close(output_of(ours, inputs), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("method", ["lora", "ia3", "prompts"])
def test_a_checkpoint_is_written_as_it_was_read(name, method, tmp_path):
    model = copy.deepcopy(build_tiny(name))
    peft_live.write(peft_live.adapted(model, CONFIGS[method](model.config)), tmp_path / "theirs")
    first, second = (copy.deepcopy(build_tiny(name)) for _ in range(2))
    for each, folder in ((first, "theirs"), (second, "ours")):
        adapters_runtime.init(each)
        each.load_adapter(tmp_path / folder, load_as="a", set_active=True)
        if each is first:
            first.save_adapter_as_peft(tmp_path / "ours", "a")
    assert torch.equal(output_of(first), output_of(second))
