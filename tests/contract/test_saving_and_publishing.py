"""What the runtime saves, the registry accepts: the folder on disk is all that joins the two."""

import copy
import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from adapters_runtime import AutoAdapterModel, init
from adapters_runtime.composition import Stack
from adapters_runtime.shapes import BaseDescription
from registry.errors import InvalidPackage
from registry.manifest import build_manifest
from registry.packages import Package
from registry.schemas import BaseModelIn, Signature
from tests.support import peft_live
from tests.support.peft_cases import MATRIX, SPECIAL
from tests.support.tiny_models import PAIRS, build_tiny

METHODS = {
    "seq_bn": ("seq_bn", None),
    "double_seq_bn": ("double_seq_bn[leave_out=[1]]", None),
    "par_bn": ("par_bn", None),
    "seq_bn_inv": ("seq_bn_inv", "nice"),
    "compacter": ("compacter[phm_dim=2,reduction_factor=4,ln_before=True]", None),
    "prefix_tuning": ("prefix_tuning[prefix_length=3]", None),
    "lora": ("lora[attn_matrices=['q','v'],intermediate_lora=True]", None),
}
TYPES = ("bert", "xlm-roberta", "distilbert", "gpt2", "llama", *PAIRS)


def model_of(model_type):
    model = copy.deepcopy(build_tiny(model_type))
    init(model)
    model.describe_base(name=f"tiny/{model_type}", revision="0" * 40)
    return model


def checked(folder):
    """Check a folder as `hubctl push` does, against the base that was saved beside it."""
    package = Package.from_folder(folder)
    files = {path: file for path, file in package.files.items() if path != "hub_base.json"}
    body = BaseModelIn.model_validate(json.loads((folder / "hub_base.json").read_text()))
    shapes = {name: tuple(entry["shape"]) for name, entry in body.tensors.items()}
    base = BaseDescription(body.config["model_type"], body.config, shapes)
    return build_manifest(Package(files), base, body.identity), body


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_adapter_is_accepted_as_it_is(method, model_type, tmp_path):
    config, invertible = METHODS[method]
    model = model_of(model_type)
    model.add_adapter("mine", config)
    model.describe_adapter("mine", kind="task", languages=["en"])
    model.save_adapter(tmp_path, "mine")

    manifest, body = checked(tmp_path)

    assert manifest.warnings == ()
    document = manifest.document
    assert document.base == body.identity
    assert document.base.name == f"tiny/{model_type}"
    assert (document.kind, document.method) == ("task", method.removesuffix("_inv"))
    assert document.signature.invertible == invertible
    assert document.signature.slot == "task"


def test_a_half_precision_adapter_is_accepted(tmp_path):
    model = model_of("bert")
    model.add_adapter("mine", "seq_bn")
    model.half()
    model.save_adapter(tmp_path, "mine")
    tensors = checked(tmp_path)[0].document.tensors["adapter.safetensors"]
    assert {entry.dtype for entry in tensors.values()} == {"F16"}


def test_a_task_adapter_on_a_language_adapter_says_what_it_requires(tmp_path):
    model = model_of("bert")
    model.add_adapter("en", "seq_bn_inv")
    model.describe_adapter("en", kind="language", languages=["en"], series="wiki")
    model.add_adapter("ner", "seq_bn")
    model.describe_adapter("ner", kind="task")
    model.train_adapter("ner")
    model.set_active_adapters(Stack("en", "ner"))
    model.describe_adapter("ner", setup=Stack("en", "ner"))
    model.save_adapter(tmp_path / "en", "en")
    model.save_adapter(tmp_path / "ner", "ner")

    language, task = (checked(tmp_path / name)[0].document for name in ("en", "ner"))

    assert language.signature.language == "en"
    assert set(task.requires) == {"lang"}
    required = task.requires["lang"].signature
    assert required == Signature.model_validate(language.signature.model_dump())


def test_a_head_is_accepted_with_its_labels(tmp_path):
    config = build_tiny("bert").config
    model = AutoAdapterModel.from_config(config)
    model.add_adapter("ner", "seq_bn")
    model.add_tagging_head("ner", num_labels=2, id2label={0: "O", 1: "B"})
    model.save_adapter(tmp_path, "ner")
    head = checked(tmp_path)[0].document.head
    assert (head.type, head.labels, head.outputs) == ("tagging", ("O", "B"), 2)


def classifier(seed=0):
    """Return a model of transformers with a head of its own, with an adapter."""
    config = copy.deepcopy(build_tiny("bert").config)
    config.num_labels = 3
    torch.manual_seed(seed)
    model = transformers.BertForSequenceClassification(config).eval()
    model.bert.load_state_dict(build_tiny("bert").state_dict(), strict=False)
    init(model)
    model.describe_base(name="tiny/bert", revision="0" * 40)
    return model


def test_a_head_that_the_model_was_built_with_is_accepted(tmp_path):
    model = classifier()
    model.add_adapter("mine", "seq_bn")
    model.save_adapter(tmp_path, "mine", with_head=True)
    manifest, _ = checked(tmp_path)
    head = manifest.document.head
    assert (head.type, head.outputs, head.labels) == ("classification", 3, None)
    assert head.configuration["model_class"] == "BertForSequenceClassification"
    assert set(manifest.document.tensors["model_head.safetensors"]) == {
        "classifier.weight",
        "classifier.bias",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("classifier.bias"), "'classifier.bias': is missing"),
        (lambda tensors: tensors.update(extra=torch.ones(3)), "'extra': is not expected"),
        (
            lambda tensors: tensors.update({"classifier.weight": torch.ones(4, 16)}),
            r"'classifier.weight': has shape \[4, 16\]",
        ),
    ],
)
def test_a_wrong_tensor_of_such_a_head_is_named(change, reason, tmp_path):
    model = classifier()
    model.add_adapter("mine", "seq_bn")
    model.save_adapter(tmp_path, "mine", with_head=True)
    tensors = load_file(tmp_path / "model_head.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model_head.safetensors")
    with pytest.raises(InvalidPackage, match=reason):
        checked(tmp_path)


@pytest.mark.parametrize("count", [None, 0, -1, "3", True, 1 << 40])
def test_a_number_of_labels_that_is_none_is_refused(count, tmp_path):
    model = classifier()
    model.add_adapter("mine", "seq_bn")
    model.save_adapter(tmp_path, "mine", with_head=True)
    document = json.loads((tmp_path / "head_config.json").read_text())
    (tmp_path / "head_config.json").write_text(json.dumps(document | {"num_labels": count}))
    with pytest.raises(InvalidPackage, match="num_labels is"):
        checked(tmp_path)


def test_a_head_whose_tensors_nothing_tells_is_accepted_with_a_warning(tmp_path):
    config = copy.deepcopy(build_tiny("bert").config)
    model = transformers.BertForMaskedLM(config)
    init(model)
    model.describe_base(name="tiny/bert", revision="0" * 40)
    model.add_adapter("mine", "seq_bn")
    model.save_adapter(tmp_path, "mine", with_head=True)
    manifest, _ = checked(tmp_path)
    assert manifest.document.head.type == "masked_lm"
    assert any("BertForMaskedLM" in warning for warning in manifest.warnings)


def test_saving_twice_gives_the_same_content(tmp_path):
    model = model_of("bert")
    model.add_adapter("mine", "seq_bn")
    for folder in ("a", "b"):
        model.save_adapter(tmp_path / folder, "mine")
    assert checked(tmp_path / "a")[0].digest == checked(tmp_path / "b")[0].digest


def test_an_adapter_of_another_base_is_refused(tmp_path):
    model = model_of("bert")
    model.add_adapter("mine", "seq_bn")
    model.save_adapter(tmp_path, "mine")
    other = model_of("distilbert")
    other.add_adapter("mine", "seq_bn")
    other.save_adapter(tmp_path / "other", "mine")
    (tmp_path / "hub_base.json").write_bytes((tmp_path / "other" / "hub_base.json").read_bytes())
    with pytest.raises(InvalidPackage, match="model_type is 'bert', that of the base 'distilbert'"):
        checked(tmp_path)


FROM_PEFT = (
    *("dora-gpt2", "bias_own-bert", "ia3_inputs-gpt2", "prefix-t5", "prompt-gpt2", "norms"),
    *("head_adapted", "both_ends-llama-untied", "tokens-gpt2-tied", "bias_and_head"),
)


@pytest.mark.parametrize(
    "case", [c for c in (*MATRIX, *SPECIAL) if c.name in FROM_PEFT], ids=lambda c: c.name
)
def test_an_adapter_read_from_peft_is_accepted(case, tmp_path):
    peft_live.save(case, tmp_path / "peft")
    model = case.model()
    init(model)
    model.describe_base(name="tiny/base", revision="0" * 40)
    model.load_adapter(tmp_path / "peft", load_as="mine")
    model.describe_adapter("mine", kind="task", languages=["en"])
    model.save_adapter(tmp_path / "ours", "mine", with_head=False)
    shutil.copy(tmp_path / "ours" / "hub_base.json", tmp_path / "peft")

    manifest, body = checked(tmp_path / "ours")

    assert manifest.warnings == ()
    assert manifest.document.base == body.identity
    as_it_was, _ = checked(tmp_path / "peft")
    assert as_it_was.document.layout == "peft"
