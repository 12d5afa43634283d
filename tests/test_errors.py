"""Laws of the two error trees."""

import inspect
import pickle
import re

import pytest

import adapters_runtime.errors
import registry.errors
from adapters_runtime.errors import (
    AdapterExists,
    AdapterNotLoaded,
    BaseMismatch,
    ContractError,
    TensorMismatch,
    UnsupportedArchitecture,
)

TREES = [adapters_runtime.errors, registry.errors]


def tree_of(module):
    """The part of the docstring after its first paragraph."""
    return module.__doc__.split("\n\n", 1)[1]


@pytest.mark.parametrize("module", TREES, ids=lambda module: module.__name__)
def test_the_tree_in_the_docstring_names_every_error(module):
    """A list kept by hand drifts; this one cannot."""
    defined = {
        name
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and not name.startswith("_")
    }
    drawn = set(re.findall(r"^(?:[├└]── )?([A-Z]\w+)(?: |$)", tree_of(module), re.MULTILINE))
    assert drawn == defined


def test_a_missing_name_is_a_key_error_that_reads_as_a_sentence():
    error = AdapterNotLoaded("de", available=("en", "fr"))
    assert isinstance(error, KeyError)
    assert str(error) == "the model has no adapter called 'de' (it has: 'en', 'fr')"


def test_a_tensor_mismatch_names_what_differs():
    error = TensorMismatch(
        "adapter 'de'",
        missing=[f"layer.{i}" for i in range(7)],
        misshapen={"down": ((4, 32), (4, 16))},
    )
    assert str(error) == (
        "adapter 'de': 7 tensors missing: layer.0, layer.1, layer.2, layer.3, layer.4, and 2 more; "
        "1 tensor of the wrong shape: down is [4, 16] and should be [4, 32]"
    )


def test_an_unknown_architecture_says_how_to_add_it():
    text = str(UnsupportedArchitecture("mamba", available=("bert",)))
    assert "'mamba'" in text
    assert "adapters_runtime.architectures.register" in text


@pytest.mark.parametrize(
    "error",
    [
        AdapterNotLoaded("de", ["en"]),
        AdapterExists("de"),
        TensorMismatch("adapter 'de'", ["a"], ["b"], {"c": ((1,), (2,))}),
        UnsupportedArchitecture("mamba", ["bert"]),
        BaseMismatch("adapter 'de'", {"body": ("sha256:1", "sha256:2")}),
        ContractError(["'de' has no invertible part"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_leaves_a_worker_process_as_it_was(error):
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
