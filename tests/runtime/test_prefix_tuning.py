"""Prefix tuning: how prefixes enter each attention, and what they must not touch."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
import transformers
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from adapters_runtime import init
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.composition import Average, BatchSplit, Parallel, Split, Stack
from adapters_runtime.configs import (
    ConfigUnion,
    MAMConfig,
    ParBnConfig,
    PrefixTuningConfig,
    UniPELTConfig,
)
from adapters_runtime.errors import (
    ConfigError,
    InvalidComposition,
    UnsupportedAttention,
    UnsupportedComposition,
)
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.prefix_point import PrefixPoint, PrefixPool
from tests.support.generating import CACHE
from tests.support.running import inputs_for, output_of, randomise_adapter
from tests.support.tiny_models import VOCABULARY, WIDTH

SMALL = PrefixTuningConfig(prefix_length=3, bottleneck_size=5)
FLAT = SMALL.replace(flat=True)
GATED = SMALL.replace(use_gating=True, shared_gating=False)
DECODERS = ("gpt2", "gptj", "gpt_neox", "llama", "qwen3", "phi3", "gemma2")
EAGER_ONLY = ("deberta", "deberta-v2", "gemma2", "mpnet")
SAMPLE = ("bert", "gpt2", "llama", "t5", "deberta-v2", "gptj")


def first_rows(inputs, *wanted):
    return {
        key: torch.cat([value[row : row + 1] for row in wanted]) for key, value in inputs.items()
    }


# --- what prefixes compute


@pytest.mark.parametrize("model_type", DECODERS)
def test_prefixes_do_what_the_same_keys_and_values_in_a_cache_do(with_methods, model_type):
    model = with_methods(model_type, SMALL)
    inputs = inputs_for(model)
    rows, length = inputs["input_ids"].shape
    cache = transformers.DynamicCache(config=model.config)
    with torch.no_grad():
        for index, point in enumerate(bank_of(model).of_type(PrefixPoint)):
            heads = getattr(model.config, "num_key_value_heads", None)
            heads = heads or model.config.num_attention_heads
            keys, values = point.rows_of("a", rows)
            keys, values = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (keys, values))
            cache.update(keys, values, index)
        expected = output_of(model)
        model.set_active_adapters(None)
        positions = torch.arange(length)[None].expand(rows, -1)
        by_cache = model(**inputs, **{CACHE: cache}, position_ids=positions)[0]
    torch.testing.assert_close(by_cache, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["deberta", "deberta-v2", "mpnet"])
def test_attentions_outside_the_interface_compute_the_same(model_type):
    torch.manual_seed(0)
    fields = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 1}
    fields |= {"num_attention_heads": 4, "intermediate_size": 24, "pad_token_id": 0}
    config = transformers.AutoConfig.for_model(model_type, **fields, relative_attention=False)
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        if model_type == "mpnet":  # its relative bias would be one more term
            model.encoder.relative_attention_bias.weight.zero_()
    init(model)
    model.add_adapter("a", SMALL, set_active=True)
    (point,) = bank_of(model).of_type(PrefixPoint)
    module = model.get_submodule("encoder.layer.0.attention")
    seen = {}
    inner = module.attn if model_type == "mpnet" else module.self
    output = inner.o if model_type == "mpnet" else module.output.dense
    inner.register_forward_pre_hook(lambda _, args: seen.update(hidden=args[0]))
    output.register_forward_pre_hook(lambda _, args: seen.update(context=args[0]))
    output_of(model)
    q, k, v = _projected(inner, seen["hidden"])
    keys, values = point.rows_of("a", len(q))
    k = torch.cat([keys.unflatten(-1, (4, -1)).transpose(1, 2), k], 2)
    v = torch.cat([values.unflatten(-1, (4, -1)).transpose(1, 2), v], 2)
    terms = 1 + len(getattr(inner, "pos_att_type", ()))
    scale = (q.shape[-1] * terms) ** -0.5
    expected = F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2).flatten(2)
    torch.testing.assert_close(seen["context"], expected, atol=1e-5, rtol=1e-4)


def _projected(attention, hidden):
    if hasattr(attention, "in_proj"):
        parts = attention.in_proj(hidden).unflatten(-1, (4, -1)).chunk(3, dim=-1)
        query_bias, value_bias = (b.view(4, -1) for b in (attention.q_bias, attention.v_bias))
        parts = parts[0] + query_bias, parts[1], parts[2] + value_bias
    else:
        names = ("q", "k", "v") if hasattr(attention, "q") else None
        names = names or ("query_proj", "key_proj", "value_proj")
        parts = [getattr(attention, name)(hidden).unflatten(-1, (4, -1)) for name in names]
    return [part.transpose(1, 2) for part in parts]


@pytest.mark.parametrize("model_type", [t for t in ARCHITECTURES if t not in EAGER_ONLY])
def test_all_implementations_of_attention_agree(with_methods, model_type):
    model = with_methods(model_type, SMALL)
    assert model.config._attn_implementation == "adapters_sdpa"
    by_sdpa = output_of(model)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(output_of(model), by_sdpa, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_padding_stays_hidden_behind_prefixes(with_methods, model_type, implementation):
    model = with_methods(model_type, SMALL)
    model.set_attn_implementation(implementation)
    inputs = inputs_for(model)
    alone = output_of(model, inputs)
    padded = {**inputs, "input_ids": F.pad(inputs["input_ids"], (0, 2), value=5)}
    padded["attention_mask"] = F.pad(torch.ones_like(inputs["input_ids"]), (0, 2))
    kept = output_of(model, padded)[:, : alone.shape[1]]
    if model_type != "t5":  # its bias of prefixes depends on the number of keys
        torch.testing.assert_close(kept, alone, atol=1e-5, rtol=1e-5)
    padded["input_ids"][:, -2:] = 7
    assert torch.equal(output_of(model, padded)[:, : alone.shape[1]], kept)


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class Made(TorchDispatchMode):
    """Counts the tensors of a size that operations put out."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = isinstance(out, torch.Tensor) and not func.is_view
        self.count += made and out.numel() == self.size
        return out


@pytest.mark.parametrize("config", [SMALL, FLAT], ids=["mlp", "flat"])
def test_the_gradients_of_all_layers_are_put_together_once(with_methods, config):
    """Each layer's own would be filled up with zeros, as large as those of all layers."""
    model = with_methods("bert", config)
    model.train_adapter("a")
    largest = max(trained(model), key=torch.numel)
    with Made(largest.numel()) as made:
        model(**inputs_for(model))[0].square().mean().backward()
    assert made.count == 1  # the gradient
    assert largest.grad.any()


def gradients(model, **options):
    model.zero_grad()
    model(**inputs_for(model), **options)[0].square().mean().backward()
    return [parameter.grad.clone() for parameter in trained(model)]


def test_layers_that_run_by_themselves_have_the_same_gradients(with_methods):
    """A layer outside a pass, as in a pipeline or a checkpoint, computes its prefixes alone."""
    model = with_methods("bert", SMALL).to(torch.float64)
    model.train_adapter("a")
    model.eval()
    whole = gradients(model)
    (pool,) = bank_of(model).of_type(PrefixPool)
    apart = model.encoder.layer[1].register_forward_pre_hook(lambda *_: pool.clear())
    torch.testing.assert_close(gradients(model), whole, atol=1e-12, rtol=0)
    apart.remove()


def test_layers_below_that_need_no_gradient_take_none_from_those_above(with_methods):
    model = with_methods("bert", SMALL)
    model.train_adapter("a")
    first = model.encoder.layer[0]
    first.register_forward_pre_hook(lambda *_: torch.set_grad_enabled(False) and None)
    first.register_forward_hook(lambda *_: torch.set_grad_enabled(True) and None)
    assert all(gradient.any() for gradient in gradients(model))


def test_nothing_of_a_pass_is_kept_behind_it(with_methods):
    model = with_methods("bert", SMALL)
    (pool,) = bank_of(model).of_type(PrefixPool)
    output_of(model)
    assert not pool.in_pass.filled
    with pytest.raises(IndexError):
        model(input_ids=torch.full((1, 3), VOCABULARY))
    assert not pool.in_pass.filled


def test_dropout_of_prefixes_runs_in_training_only(with_methods):
    model = with_methods("bert", SMALL.replace(dropout=0.5))
    assert torch.equal(output_of(model), output_of(model))
    bank_of(model).train()
    with torch.no_grad():
        first, second = (model(**inputs_for(model))[0] for _ in range(2))
    assert not torch.equal(first, second)


# --- composition


@pytest.mark.parametrize("model_type", SAMPLE)
def test_stacked_prefixes_stand_before_one_another(with_methods, model_type):
    model = with_methods(model_type, SMALL, FLAT.replace(prefix_length=2))
    model.set_active_adapters(Stack("a", "b"))
    together = output_of(model)
    model.set_active_adapters(Stack("b", "a"))
    if model_type != "t5":  # whose bias depends on where a prefix stands
        torch.testing.assert_close(output_of(model), together, atol=1e-5, rtol=1e-5)
    model.set_active_adapters("a")
    assert not torch.allclose(output_of(model), together, atol=1e-4)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_rows_with_methods_of_their_own_equal_each_row_alone(with_methods, model_type):
    model = with_methods(model_type, GATED, FLAT.replace(prefix_length=3), ParBnConfig())
    inputs = inputs_for(model)
    expected = []
    for row, name in enumerate("abc"):
        model.set_active_adapters(name)
        expected.append(output_of(model, first_rows(inputs, row)))
    model.set_active_adapters(BatchSplit("a", "b", "c", batch_sizes=1))
    torch.testing.assert_close(output_of(model, inputs), torch.cat(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_parallel_prefixes_equal_each_alone(with_methods, model_type):
    model = with_methods(model_type, SMALL, FLAT)
    expected = []
    for name in "ab":
        model.set_active_adapters(name)
        expected.append(output_of(model))
    model.set_active_adapters(Parallel("a", "b"))
    torch.testing.assert_close(output_of(model), torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_prefixes_of_different_lengths_share_a_batch(with_methods):
    model = with_methods("gpt2", SMALL, FLAT.replace(prefix_length=6))
    inputs = inputs_for(model)
    expected = []
    for row, name in enumerate("ab"):
        model.set_active_adapters(name)
        expected.append(output_of(model, first_rows(inputs, row)))
    model.set_active_adapters(BatchSplit("a", "b", batch_sizes=1))
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        result = output_of(model, first_rows(inputs, 0, 1))
        torch.testing.assert_close(result, torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_the_average_of_a_prefix_with_itself_is_that_prefix(with_methods, tmp_path):
    model = with_methods("llama", FLAT)
    alone = output_of(model)
    model.save_adapter(tmp_path / "a", "a")
    model.load_adapter(tmp_path / "a", load_as="b")
    model.set_active_adapters(Average("a", "b", weights=[1, 3]))
    torch.testing.assert_close(output_of(model), alone, atol=1e-6, rtol=1e-6)


def test_prefixes_of_different_lengths_have_no_average(with_methods):
    model = with_methods("bert", SMALL, SMALL.replace(prefix_length=4))
    model.set_active_adapters(Average("a", "b"))
    with pytest.raises(InvalidComposition, match=r"lengths are \[3, 4\]"):
        output_of(model)


def test_a_prefix_cannot_be_split_over_tokens(with_methods):
    model = with_methods("bert", SMALL, SMALL)
    model.set_active_adapters(Split("a", "b", splits=[3, 4]))
    with pytest.raises(UnsupportedComposition, match="prefix tuning cannot be put in Split"):
        output_of(model)


# --- where the prefixes are, and where they are not


def test_left_out_layers_and_locations_have_no_prefixes(adapted):
    model = adapted("bart")
    model.add_adapter("a", SMALL.replace(encoder_prefix=False, leave_out=[2]))
    held = {(p.layer, p.location) for p in bank_of(model).of_type(PrefixPoint) if p.holds("a")}
    assert held == {(i, where) for i in (3, 4) for where in ("self_prefix", "cross_prefix")}


def test_prefixes_may_be_anywhere_in_a_union_but_only_once(adapted):
    model = adapted("bert")
    model.add_adapter("mam", MAMConfig(SMALL, ParBnConfig()))
    twice = ConfigUnion(SMALL.replace(leave_out=[0]), SMALL.replace(leave_out=[1]))
    with pytest.raises(ConfigError, match="room for one"):
        model.add_adapter("twice", twice)
    assert list(model.adapters_config) == ["mam"]
    assert not any(point.holds("twice") for point in bank_of(model).of_type(PrefixPoint))


# --- gates


@pytest.mark.parametrize("model_type", ["bert", "t5", "gptj", "deberta"])
def test_gates_are_reported_when_asked_for(with_methods, model_type):
    model = with_methods(model_type, GATED)
    inputs = inputs_for(model)
    with torch.no_grad():
        plain = model(**inputs)
        outputs = model(**inputs, output_adapter_gating_scores=True)
    assert "adapter_gating_scores" not in plain
    assert torch.equal(outputs[0], plain[0])
    places = {(p.layer, p.location) for p in bank_of(model).of_type(PrefixPoint)}
    scores = outputs.adapter_gating_scores["a"]
    assert {(layer, location) for layer in scores for location in scores[layer]} == places
    assert all(gates.shape == (3, 2) for found in scores.values() for gates in found.values())


def test_unipelt_reports_all_three_gates_in_tuples_as_well(adapted):
    model = adapted("bert")
    model.add_adapter("a", UniPELTConfig(SMALL), set_active=True)
    outputs = model(**inputs_for(model), output_adapter_gating_scores=True, return_dict=False)
    shapes = {where: gates.shape for where, gates in outputs[-1]["a"][1].items()}
    assert shapes == {"self_prefix": (3,), "output_adapter": (3,), "selfattn_lora": (3, 2)}


def test_a_failed_pass_leaves_no_recording_behind(with_methods):
    model = with_methods("bert", GATED)
    with pytest.raises(IndexError):
        model(input_ids=torch.tensor([[10**6]]), output_adapter_gating_scores=True)
    assert bank_of(model).activations.recording() is None


# --- what is left alone


def test_the_configuration_is_as_before_when_the_last_prefix_is_gone(adapted, tmp_path):
    model = adapted("llama")
    assert model.config._attn_implementation == "sdpa"
    model.add_adapter("a", SMALL)
    model.add_adapter("b", SMALL)
    assert model.config._attn_implementation == "adapters_sdpa"
    model.save_pretrained(tmp_path)
    assert "adapters_sdpa" not in (tmp_path / "config.json").read_text("utf-8")
    transformers.AutoModel.from_pretrained(tmp_path)
    model.delete_adapter("a")
    assert model.config._attn_implementation == "adapters_sdpa"
    model.delete_adapter("b")
    assert model.config._attn_implementation == "sdpa"
    assert not any(hasattr(m, "adapter_prefixes") for m in model.modules())


def test_a_model_that_shares_the_configuration_is_not_disturbed(bare_models):
    first = bare_models("bert")
    second = type(first)(first.config)
    second.load_state_dict(first.state_dict())
    assert second.config is first.config
    plain = output_of(second)
    for model in (first, second):
        init(model)
        model.add_adapter("a", SMALL, set_active=True)
    prefixed = output_of(second)
    first.delete_adapter("a")
    assert second.config._attn_implementation == "sdpa"
    assert torch.equal(output_of(second), prefixed)
    second.delete_adapter("a")
    assert torch.equal(output_of(second), plain)


@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_attention_that_takes_no_prefixes_is_refused(adapted, implementation):
    model = adapted("llama")
    model.config._attn_implementation = implementation
    with pytest.raises(UnsupportedAttention, match=f"{implementation}.*eager, sdpa"):
        model.add_adapter("a", SMALL)
    assert not model.has_adapters()
    assert model.config._attn_implementation == implementation
    model.config._attn_implementation = "sdpa"
    model.add_adapter("a", SMALL, set_active=True)
    model.config._attn_implementation = implementation
    with pytest.raises(UnsupportedAttention):
        model.layers[0].self_attn(torch.zeros(1, 2, WIDTH), None, None)


@pytest.mark.parametrize("model_type", ["gpt2", "deberta-v2", "gptj"])
def test_copies_and_pickles_have_prefixes_of_their_own(with_methods, model_type):
    model = with_methods(model_type, GATED)
    expected = output_of(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    model.delete_adapter("a")
    for other in copies:
        assert torch.equal(output_of(other), expected)


def test_an_attention_that_fails_intercepts_nothing_afterwards(with_methods):
    model = with_methods("deberta-v2", SMALL)
    expected, scores = output_of(model), torch.randn(3, 4, 7, 7)
    probabilities = scores.softmax(dim=-1)
    dropout = model.encoder.layer[0].attention.self.dropout
    for error in (ValueError, KeyboardInterrupt):

        def fail(*_args, error=error):
            raise error

        handle = dropout.register_forward_pre_hook(fail)
        with pytest.raises(error):
            output_of(model)
        handle.remove()
        assert torch.equal(output_of(model), expected)
        assert torch.equal((scores @ torch.eye(7)).softmax(dim=-1), probabilities)


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gpt_neox"])
def test_what_enters_around_the_softmax_enters_by_the_interface_too(
    bare_models, monkeypatch, model_type
):
    """In llama's attention several heads share keys."""
    bare = bare_models(model_type)
    bare.config._attn_implementation = "eager"
    by_interface = ARCHITECTURES[model_type]
    (stack,) = by_interface.stacks
    attentions = tuple(replace(each, dropout=None) for each in stack.attentions)
    stack = replace(stack, attention="softmax", attentions=attentions)
    outputs = []
    for spec in (by_interface, replace(by_interface, stacks=(stack,))):
        monkeypatch.setitem(ARCHITECTURES, model_type, spec)
        model = copy.deepcopy(bare)
        init(model)
        torch.manual_seed(0)
        model.add_adapter("a", GATED, set_active=True)
        randomise_adapter(model, "a")
        outputs.append(output_of(model))
    assert not torch.allclose(outputs[0], output_of(bare), atol=1e-2)
    torch.testing.assert_close(outputs[1], outputs[0])


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "t5", "deberta", "gptj"])
def test_prefixes_are_traced_whole(with_methods, model_type):
    model = with_methods(model_type, GATED)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    inputs = inputs_for(model)
    with torch.no_grad():
        result = compiled(**inputs)[0]
    torch.testing.assert_close(result, output_of(model, inputs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("model_type", ["gpt2", "llama", "t5", "bart"])
def test_generating_with_a_cache_gives_what_it_gives_without(bare_models, model_type, cache):
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
    model.add_adapter("a", SMALL, set_active=True)
    randomise_adapter(model, "a")
    ids = torch.randint(4, VOCABULARY, (2, 5), generator=torch.Generator().manual_seed(3))

    def scores(**options):
        outputs = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
        return torch.stack(outputs.scores)

    without = scores(use_cache=False)
    with_cache = scores(cache_implementation=cache)
    torch.testing.assert_close(with_cache, without, atol=1e-5, rtol=1e-5)
    model.set_active_adapters(None)
    assert not torch.allclose(scores(use_cache=False), without, atol=1e-4)
