"""Adapters in half precision: as exact as the base itself is there, and of its type."""

import pytest
import torch

from tests.support.methods import METHODS
from tests.support.running import inputs_for, output_of, randomise_adapter

MODELS = ("bert", "gpt2", "llama", "t5")
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
MERGED = ("lora", "mtl_lora", "ia3", "vera", "dora", "dvora")
SAMPLED = {("bert", "unipelt"), ("gpt2", "dvora"), ("llama", "compacter"), ("t5", "mam")}
PAIRS = [
    pytest.param(*case, id="-".join(case), marks=[] if case in SAMPLED else [pytest.mark.long])
    for case in ((model_type, method) for model_type in MODELS for method in METHODS)
]
BY_TYPE = pytest.mark.parametrize("dtype", TYPES.values(), ids=list(TYPES))


def distance(found, exact):
    return ((found.float() - exact).norm() / exact.norm()).item()


def with_adapter(model, method):
    torch.manual_seed(0)
    model.add_adapter("a", METHODS[method])
    randomise_adapter(model, "a")
    return model


def outputs(model, run=output_of):
    """Return what the model gives without the adapter, and with it."""
    model.set_active_adapters(None)
    plain = run(model)
    model.set_active_adapters("a")
    return plain, run(model)


def assert_as_exact(found, exact, dtype):
    """Bound an adapter's error by the base's, which it adds layers to, or by one rounding."""
    (plain, adapted), (exact_plain, exact_adapted) = found, exact
    assert adapted.dtype == plain.dtype
    assert adapted.isfinite().all()
    bound = max(8 * distance(plain, exact_plain), torch.finfo(dtype).eps)
    assert distance(adapted, exact_adapted) <= bound


@BY_TYPE
@pytest.mark.parametrize(("model_type", "method"), PAIRS)
def test_weights_in_half_precision(adapted, model_type, method, dtype):
    model = with_adapter(adapted(model_type), method)
    exact = outputs(model)
    assert_as_exact(outputs(model.to(dtype)), exact, dtype)


@pytest.mark.parametrize(("model_type", "method"), PAIRS)
def test_an_adapter_added_to_a_half_precise_base_is_like_it(adapted, model_type, method):
    model = with_adapter(adapted(model_type).to(torch.bfloat16), method)
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    assert kinds == {torch.bfloat16}
    plain, found = outputs(model)
    assert found.dtype == plain.dtype
    assert not torch.equal(found, plain)


def in_autocast(dtype):
    def run(model):
        with torch.autocast("cpu", dtype):
            return output_of(model)

    return run


@BY_TYPE
@pytest.mark.parametrize(("model_type", "method"), PAIRS)
def test_autocast(adapted, model_type, method, dtype):
    model = with_adapter(adapted(model_type), method)
    exact = outputs(model)
    assert_as_exact(outputs(model, in_autocast(dtype)), exact, dtype)


@pytest.mark.parametrize(("model_type", "method"), PAIRS)
def test_training_in_autocast_gives_every_parameter_a_gradient(adapted, model_type, method):
    model = with_adapter(adapted(model_type), method)
    model.train_adapter("a")
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**inputs_for(model))[0]
    output.float().square().mean().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert not [name for name, p in trained.items() if p.grad is None]
    assert all(p.grad.dtype == torch.float32 for p in trained.values())


@BY_TYPE
@pytest.mark.parametrize("method", MERGED)
def test_merging_in_half_precision_is_undone_bit_for_bit(adapted, method, dtype):
    model = with_adapter(adapted("llama").to(dtype), method)
    _, expected = outputs(model)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    model.merge_adapter("a")
    assert output_of(model).dtype == dtype
    assert distance(output_of(model), expected.float()) < 0.05
    model.reset_adapter()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    assert torch.equal(output_of(model), expected)


def test_a_t5_whose_last_map_stays_in_float32(bare_models, tmp_path):
    """Transformers keeps `wo` of a T5 in float32 when it is loaded in float16."""
    from adapters_runtime import init  # noqa: PLC0415

    bare_models("t5").save_pretrained(tmp_path)
    model = type(bare_models("t5")).from_pretrained(tmp_path, dtype=torch.float16)
    init(model)
    kinds = {p.dtype for p in model.parameters()}
    assert kinds == {torch.float16, torch.float32}
    for method in ("double_seq_bn", "lora", "mam"):
        with_adapter(model, method)
        plain, found = outputs(model)
        assert found.dtype == plain.dtype
        assert not torch.equal(found, plain)
        model.delete_adapter("a")
