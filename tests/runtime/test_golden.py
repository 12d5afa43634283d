"""Every output that the reference library recorded comes out of ours, within its tolerance."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

import adapters_runtime
from adapters_runtime.composition import AdapterCompositionBlock
from tests.support import golden

MANIFEST = json.loads((golden.ROOT / "manifest.json").read_text("utf-8"))
BASES = {base["base"]: base for base in MANIFEST["bases"]}
REQUIRED = [case for case in MANIFEST["cases"] if case["parity"] == "required"]


def path(directory):
    return golden.ROOT.parent / directory.replace("public", golden.ROOT.name, 1)


def build(case):
    source = path(BASES[case["base"]]["dir"])
    attention = case.get("attn_implementation", "eager")
    if case.get("model_class") == "AutoAdapterModel":
        cls = adapters_runtime.AutoAdapterModel
        return cls.from_pretrained(source, attn_implementation=attention)
    cls = getattr(transformers, BASES[case["base"]]["model_class"])
    model = cls.from_pretrained(source, attn_implementation=attention)
    adapters_runtime.init(model)
    return model


def load(model, case):
    for name in case["adapters"]:
        model.load_adapter(path(case["dir"]) / "adapters" / name, **case.get("load_kwargs", {}))
    for name in case["fusions"]:
        model.load_adapter_fusion(path(case["dir"]) / "fusions" / name.replace(",", "_"))
    setup = case["composition"]
    setup = AdapterCompositionBlock.from_dict(setup) if isinstance(setup, dict) else setup
    model.set_active_adapters(setup, skip_layers=case.get("skip_layers"))
    if isinstance(setup, str) and hasattr(model, "active_head"):
        model.active_head = setup


def run(model, case):
    recorded = load_file(path(case["dir"]) / "io.safetensors")
    own_inputs = any(key.startswith("in.") for key in recorded)
    source = (
        recorded
        if own_inputs
        else load_file(path(BASES[case["base"]]["dir"]) / "bare_io.safetensors")
    )
    inputs = {
        key[3:]: tensor.to(model.dtype) if tensor.is_floating_point() else tensor
        for key, tensor in source.items()
        if key.startswith("in.")
    }
    with torch.no_grad():
        outputs = model.eval()(**inputs, **case.get("forward_kwargs", {}))
    return outputs, {key: t for key, t in recorded.items() if not key.startswith("in.")}


def pick(outputs, key):
    """Return the output that a recorded key such as `out.logits` or `gate.a.0.output` names."""
    kind, _, rest = key.partition(".")
    if kind == "out" and rest.startswith("head"):
        return outputs.head_outputs[int(rest.split(".")[0][4:])]["logits"]
    if kind == "out":
        return outputs[rest]
    field = "adapter_gating_scores" if kind == "gate" else "adapter_fusion_attentions"
    name, layer, location = rest.rsplit(".", 2)
    return torch.as_tensor(outputs[field][name][int(layer)][location])


def in_double(case):
    """Return a case's outputs in float64: what all that round are compared with."""
    model = build(case)
    load(model, case)
    return run(model.double(), case)[0]


def excess(found, expected, tolerance):
    """Return the greatest difference as a multiple of what is allowed."""
    allowed = tolerance["atol"] + tolerance["rtol"] * expected.double().abs()
    return float(((found.double() - expected.double()).abs() / allowed).max())


@pytest.mark.parametrize("case", REQUIRED, ids=[case["id"] for case in REQUIRED])
def test_the_output_is_that_of_the_reference(case):
    """Ours is within the tolerance, or both round: then ours is nearer to the exact result.

    One recording (bart__vera) is itself further from the exact result than the tolerance, so that
    on some processors the reference does not meet it either.
    """
    model = build(case)
    load(model, case)
    outputs, recorded = run(model, case)
    assert recorded
    for key, expected in recorded.items():
        found, tolerance = pick(outputs, key), case["tolerance"]
        if excess(found, expected, tolerance) <= 1.0:
            continue
        exact = pick(in_double(case), key)
        assert excess(expected, exact, tolerance) > 1.0, key
        assert excess(found, exact, tolerance) <= 1.0, key
