"""Small real models for the runtime's tests, built once and copied for each test."""

import copy

import pytest
import torch

import adapters_runtime
from tests.support.running import add_adapters
from tests.support.tiny_models import build_tiny

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def bare_models():
    """Return a function that gives a tiny model of a type, without adapters, always the same."""
    built = {}

    def get(model_type):
        if model_type not in built:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                built[model_type] = build_tiny(model_type).eval()
        return copy.deepcopy(built[model_type])

    return get


@pytest.fixture
def adapted(bare_models):
    """Return a function that gives a tiny model of a type with adapters' methods."""

    def get(model_type):
        model = bare_models(model_type)
        adapters_runtime.init(model)
        return model

    return get


@pytest.fixture
def with_methods(adapted):
    """Return a function that gives a tiny model with adapters `a`, `b`, ..., and `a` active."""

    def get(model_type, *configs):
        model = adapted(model_type)
        add_adapters(model, dict(zip("abc", configs, strict=False)))
        model.set_active_adapters("a")
        return model

    return get
