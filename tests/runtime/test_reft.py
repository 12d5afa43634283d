"""Projections with orthonormal rows mean the same to ours and to torch's own parametrisation."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from adapters_runtime.methods.reft import OrthonormalRows

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
