"""Every specification describes modules that transformers really has."""

import subprocess
import sys
from dataclasses import replace

import pytest

from adapters_runtime.architectures import (
    ARCHITECTURES,
    Architecture,
    fitted,
    get_architecture,
    list_layers,
    register,
)
from adapters_runtime.errors import UnsupportedArchitecture
from tests.support.tiny_models import FIELDS, build_tiny


@pytest.fixture(params=sorted(ARCHITECTURES))
def architecture(request) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture
def model(architecture):
    return build_tiny(architecture.model_type)


def modules_of(model) -> set[str]:
    return {name for name, _ in model.named_modules(remove_duplicate=False)}


def has(modules: set[str], root: str, path: str) -> bool:
    return any(f"{root}.{option}".lstrip(".") in modules for option in path.split("|"))


def paths_in_a_layer(stack):
    for site in stack.sites:
        yield from (site.out, *(path.partition(":")[2] for path in site.residual))
        if site.norm is not None:
            yield site.norm
    for attention in stack.attentions:
        yield from (attention.path, attention.output)
        projections = (attention.query, attention.key, attention.value)
        yield from (f"{attention.path}.{path}" for path in projections if path)
        if attention.fused is not None:
            yield f"{attention.path}.{attention.fused.path}"
    yield from (*stack.ffn_in, stack.ffn_out, stack.lora_intermediate, stack.lora_output)
    yield from (path for path, _ in stack.saved_names)


def test_every_type_has_a_tiny_model():
    assert set(FIELDS) == set(ARCHITECTURES)


def test_every_module_of_the_base_exists(architecture, model):
    modules = modules_of(model)
    paths = [architecture.embedding_output, *architecture.token_lookups]
    if architecture.token_embedding is not None:
        paths.append(architecture.token_embedding)
    assert [path for path in paths if not has(modules, "", path)] == []
    assert model.base_model_prefix == architecture.base_prefix


def test_every_module_of_every_layer_exists(architecture, model):
    modules, names = modules_of(model), dict(model.named_parameters())
    layers = list_layers(fitted(architecture, names), names)
    assert layers
    missing = [
        f"{layer.path}.{path}"
        for layer in layers
        for path in paths_in_a_layer(layer.stack)
        if not has(modules, layer.path, path)
    ]
    assert missing == []


def test_layers_are_found_by_the_names_of_parameters(architecture, model):
    layers = list_layers(architecture, dict(model.named_parameters()))
    assert [layer.index for layer in layers] == list(range(len(layers)))
    config = model.config
    if architecture.model_type == "albert":
        expected = config.num_hidden_groups * config.inner_group_num
    elif architecture.model_type == "clip":
        expected = config.text_config.num_hidden_layers + config.vision_config.num_hidden_layers
    elif len(architecture.stacks) == 2:
        expected = 2 + 3
    else:
        expected = config.num_hidden_layers
    assert len(layers) == expected


def test_an_attention_has_separate_projections_or_a_fused_one(architecture):
    for stack in architecture.stacks:
        for attention in stack.attentions:
            separate = (attention.query, attention.key, attention.value)
            assert all(separate) if attention.fused is None else not any(separate)


def test_every_parameter_has_one_role(architecture, model):
    names = list(dict(model.named_parameters()))
    embeddings = [n for n in names if n.startswith(architecture.embedding_parameters)]
    layers = list_layers(architecture, names)
    in_layers = [n for n in names if n.startswith(tuple(f"{layer.path}." for layer in layers))]
    assert embeddings
    assert not set(embeddings) & set(in_layers)
    if architecture.token_embedding is not None:
        assert f"{architecture.token_embedding}.weight" in embeddings


def test_the_embedding_stream_comes_from_one_module(architecture, model):
    """A hook there is the way in for invertible adapters."""
    module = model.get_submodule(architecture.embedding_output)
    assert callable(module.forward)


def test_more_than_nine_layers_keep_their_order():
    names = [f"encoder.layer.{i}.output.dense.weight" for i in (10, 2, 0, 1, 11)]
    layers = list_layers(get_architecture("bert"), names)
    assert [layer.path.rpartition(".")[2] for layer in layers] == ["0", "1", "2", "10", "11"]


def test_an_unknown_type_is_refused_with_the_way_to_add_it():
    with pytest.raises(UnsupportedArchitecture, match=r"architectures\.register"):
        get_architecture("mamba")


def test_a_specification_can_be_added(monkeypatch):
    monkeypatch.setattr(
        "adapters_runtime.architectures.registry.ARCHITECTURES", dict(ARCHITECTURES)
    )
    mine = register(replace(get_architecture("bert"), model_type="mine"))
    assert get_architecture("mine") is mine


def test_architectures_load_no_torch():
    script = "import sys, adapters_runtime.architectures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
