"""Projections with orthonormal rows mean the same to ours and to torch's own parametrisation."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from adapters_runtime.inject.bank import bank_of
from adapters_runtime.methods.reft import OrthonormalRows
from tests.support.running import inputs_for

KEY = "parametrizations.weight.original"


@pytest.fixture
def rows():
    """Return rows (3, 8) whose parameter a few steps with weight decay have changed."""
    torch.manual_seed(0)
    rows = OrthonormalRows(3, 8)
    optimizer = torch.optim.AdamW(rows.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        rows.weight[:, :2].sum().backward()
        optimizer.step()
    assert (rows.get_parameter(KEY).diagonal().abs() < 1).all()
    return rows


def test_torch_reads_what_was_trained_with_weight_decay(rows):
    theirs = orthogonal(nn.Linear(8, 3, bias=False))
    theirs.load_state_dict(rows.state_dict())
    torch.testing.assert_close(theirs.weight, rows.weight, atol=1e-6, rtol=0.0)


def test_what_is_saved_reads_back_equal(rows):
    again = OrthonormalRows(3, 8)
    again.load_state_dict(rows.state_dict())
    assert torch.equal(again.weight, rows.weight)
    assert torch.equal(again.state_dict()[KEY], rows.state_dict()[KEY])


@pytest.mark.parametrize("diagonal", [[-1.0, 1.0, -1.0], [-0.99, 1.0, 0.99]])
def test_what_torch_wrote_is_read_as_torch_reads_it(rows, diagonal):
    theirs = orthogonal(nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        theirs.get_parameter(KEY).diagonal().copy_(torch.tensor(diagonal))
    rows.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(rows.weight, theirs.weight, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("ends", [(3, 0), (0, 3), (2, 2)])
@pytest.mark.parametrize("tied", [False, True])
def test_all_that_is_trained_gets_a_gradient(adapted, ends, tied):
    prefix, suffix = ends
    model = adapted("bert")
    config = f"loreft[prefix_positions={prefix},suffix_positions={suffix},tied_weights={tied}]"
    model.add_adapter("a", config)
    model.train_adapter("a")
    model(**inputs_for(model))[0].square().mean().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)
    units = {key.split(".units.")[1][0] for key, _ in bank_of(model).saved_tensors("a")}
    assert units == ({"0"} if tied else {"0", "1"})
