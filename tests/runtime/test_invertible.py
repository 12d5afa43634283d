"""Invertible adapters: undone to the last digits, and undone before the output embedding."""

import pytest
import torch

from adapters_runtime.methods.glow import GLOW
from adapters_runtime.methods.invertible import NICE
from tests.support.heads import add, flexible
from tests.support.running import inputs_for, randomise, randomise_adapter


@pytest.mark.parametrize("method", [NICE, GLOW])
@pytest.mark.parametrize("width", [16, 768])
def test_the_inverse_undoes_the_transformation(method, width):
    torch.manual_seed(0)
    adapter = method(width, 2, "relu")
    if width == 16:
        randomise(adapter)
    x = torch.randn(3, 7, width)
    with torch.no_grad():
        y = adapter(x)
        torch.testing.assert_close(adapter.inverse(y), x, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(adapter(adapter.inverse(x)), x, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(y, x, atol=1e-3)


@pytest.mark.parametrize("kind", ["nice", "glow"])
@pytest.mark.parametrize(("model_type", "head"), [("bert", "masked_lm"), ("gpt2", "causal_lm")])
def test_the_stream_is_brought_back_before_a_flexible_head_s_logits(model_type, head, kind):
    model = flexible(model_type)
    add(model, head)
    model.add_adapter("a", f"seq_bn_inv[reduction_factor=4,inv_adapter='{kind}']", set_active=True)
    randomise_adapter(model, "a")
    (adapter,) = [m for m in model.modules() if isinstance(m, NICE | GLOW)]
    output, seen = model.get_output_embeddings(), []
    output.register_forward_pre_hook(lambda _, args: seen.append(args[0]), prepend=True)
    with torch.no_grad():
        logits = model(**inputs_for(model)).logits
        undone = adapter.inverse(seen[0])
        expected = torch.nn.functional.linear(undone, output.weight, output.bias)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(undone, seen[0], atol=1e-3)
