"""AdapterDrop: an adapter in fewer layers is the adapter whose other layers do nothing."""

import pytest
import torch

from adapters_runtime.inject.bank import bank_of
from tests.support.running import output_of, randomise_adapter


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
@pytest.mark.parametrize("config", ["seq_bn[reduction_factor=4]", "lora[r=2,output_lora=True]"])
def test_a_dropped_layer_is_one_whose_adapter_adds_nothing(adapted, tmp_path, config, model_type):
    model = adapted(model_type)
    model.add_adapter("a", config, set_active=True)
    randomise_adapter(model, "a")
    whole = output_of(model)
    model.save_adapter(tmp_path, "a")
    model.set_active_adapters("a", skip_layers=[0])
    skipped = output_of(model)
    fewer = adapted(model_type)
    fewer.load_adapter(tmp_path, leave_out=[0], set_active=True)
    assert torch.equal(output_of(fewer), skipped)
    assert all(point.layer != 0 for point in bank_of(fewer).points if "a" in point.adapters)
    model.set_active_adapters("a")
    with torch.no_grad():
        for point in bank_of(model).points:
            if point.layer == 0 and "a" in point.adapters:
                for key, parameter in point.adapters["a"].named_parameters():
                    if "up" in key or "lora_B" in key:
                        parameter.zero_()
    torch.testing.assert_close(output_of(model), skipped, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(skipped, whole, atol=1e-4)
