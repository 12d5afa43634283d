"""Twenty training steps of a German language adapter, as the reference library took them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForMaskedLM

import adapters_runtime
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import keys

DATA = Path(__file__).parents[1] / "data" / "training"


@pytest.fixture(scope="module")
def replay():
    """Return the losses of the replay, and the model afterwards."""
    model = BertForMaskedLM.from_pretrained(DATA / "base")
    adapters_runtime.init(model)
    model.load_adapter(DATA / "init_de")
    model.train_adapter("de")
    model.cls.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    batches = load_file(DATA / "batches.safetensors")
    model.train()
    losses = []
    for step in range(20):
        batch = {key: batches[f"{step:02d}.{key}"] for key in ("input_ids", "mask", "labels")}
        hidden = model.bert(batch["input_ids"]).last_hidden_state
        logits = model.cls(hidden[batch["mask"].bool()])
        loss = torch.nn.functional.cross_entropy(logits, batch["labels"].long())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses, model


def test_the_losses_are_those_of_the_reference(replay):
    expected = json.loads((DATA / "golden.json").read_text("utf-8"))["losses"]
    assert replay[0] == pytest.approx(expected, abs=1e-4)


def test_the_trained_adapter_is_that_of_the_reference(replay):
    bank = bank_of(replay[1])
    saved = torch.load(DATA / "after20_de" / "pytorch_adapter.bin", weights_only=True)
    expected = keys.normalise(saved, bank.architecture, "de", "de")
    trained = dict(bank.saved_tensors("de"))
    assert trained.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(trained[key].detach(), tensor, atol=1e-4, rtol=0)
