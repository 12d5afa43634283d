"""Whole embeddings beside the base's own, with real tokenizers: added, swapped, saved, loaded."""

import copy
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from adapters_runtime import AutoAdapterModel, Stack, init
from adapters_runtime.errors import ConfigError, EmbeddingsExist, EmbeddingsNotLoaded, FormatError

BASE = Path(__file__).parents[2] / "examples" / "madx" / "base"
TEXTS = [
    "Zeigt alle Prozesse des aktuellen Benutzers an.",
    "Die Datei wird gelöscht, sofern sie vorhanden ist.",
    "Gibt den Namen des Rechners aus und beendet sich.",
]


def new_tokenizer(tokens=90):
    """A tokenizer trained on other text than that of the base: it shares some tokens only."""
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=tokens,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        unk_token="[UNK]",
        show_progress=False,
    )
    unigram.train_from_iterator(TEXTS * 4, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=unigram, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )


@pytest.fixture(scope="module")
def own_tokenizer():
    return transformers.AutoTokenizer.from_pretrained(BASE)


@pytest.fixture(scope="module")
def german():
    return new_tokenizer()


@pytest.fixture(scope="module")
def loaded():
    model = AutoAdapterModel.from_pretrained(BASE)
    model.delete_head("default")
    return model.eval()


@pytest.fixture
def model(loaded):
    return copy.deepcopy(loaded)


def outputs(model, tokenizer, **options):
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    given = {key: batch[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return model.eval()(**given, **options)


def test_tokens_that_both_tokenizers_have_keep_their_vectors(model, own_tokenizer, german):
    own = model.get_input_embeddings().weight.detach().clone()
    model.add_embeddings("de", german, "default", own_tokenizer)
    table = model.loaded_embeddings["de"].detach()
    assert table.shape == (len(german), own.shape[1])
    known, ours = own_tokenizer.get_vocab(), german.get_vocab()
    shared = [token for token in ours if token in known]
    assert len(shared) > 20
    for token in shared:
        assert torch.equal(table[ours[token]], own[known[token]]), token
    new = [ours[token] for token in ours if token not in known]
    assert table[new].std() == pytest.approx(model.config.initializer_range, rel=0.2)
    assert torch.equal(model.get_input_embeddings().weight, own)


def test_the_same_tokenizer_with_the_base_as_its_reference_changes_nothing(model, own_tokenizer):
    before = outputs(model, own_tokenizer)[0]
    model.add_embeddings("same", own_tokenizer, "default", own_tokenizer)
    assert model.active_embeddings == "same"
    assert torch.equal(outputs(model, own_tokenizer)[0], before)


def test_embeddings_are_looked_up_where_they_are_active(model, own_tokenizer, german):
    before = outputs(model, own_tokenizer)[0]
    model.add_embeddings("de", german)
    assert model.config.vocab_size == len(german)
    ids = german(TEXTS, return_tensors="pt", padding=True)
    embedded = model.loaded_embeddings["de"][ids["input_ids"]]
    model.set_active_embeddings("default")
    assert model.active_embeddings == "default"
    assert model.config.vocab_size == len(own_tokenizer)
    with torch.no_grad():
        by_vectors = model(inputs_embeds=embedded, attention_mask=ids["attention_mask"])[0]
    assert torch.equal(outputs(model, own_tokenizer)[0], before)
    model.set_active_embeddings("de")
    torch.testing.assert_close(outputs(model, german)[0], by_vectors)


def test_saved_embeddings_come_back_exactly_with_their_tokenizer(model, loaded, german, tmp_path):
    model.add_embeddings("de", german)
    expected = outputs(model, german)[0]
    model.save_embeddings(tmp_path, "de", german)
    assert set(load_file(tmp_path / "embedding.safetensors")) == {"weight"}
    other = copy.deepcopy(loaded)
    tokenizer = other.load_embeddings(tmp_path, "german")
    assert tokenizer.get_vocab() == german.get_vocab()
    assert other.active_embeddings == "german"
    assert torch.equal(outputs(other, tokenizer)[0], expected)


def test_embeddings_beside_an_adapter_leave_what_is_said_of_it(model, german, tmp_path):
    model.add_adapter("a", "seq_bn")
    model.save_adapter(tmp_path, "a")
    before = (tmp_path / "hub_adapter.json").read_bytes()
    model.add_embeddings("de", german)
    model.save_embeddings(tmp_path, "de", german)
    assert (tmp_path / "hub_adapter.json").read_bytes() == before


def test_a_damaged_tokenizer_is_refused_and_changes_nothing(model, loaded, german, tmp_path):
    model.add_embeddings("de", german)
    model.save_embeddings(tmp_path, "de", german)
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{")
    other = copy.deepcopy(loaded)
    with pytest.raises(FormatError, match="holds no tokenizer"):
        other.load_embeddings(tmp_path, "german")
    assert list(other.loaded_embeddings) == ["default"]


def test_a_folder_of_the_older_library_is_read(model, german, tmp_path):
    model.add_embeddings("de", german)
    table = model.loaded_embeddings["de"].detach().clone()
    torch.save(table, tmp_path / "embedding.pt")
    assert model.load_embeddings(tmp_path, "old") is None
    assert torch.equal(model.loaded_embeddings["old"], table)
    torch.save({"not": "a tensor"}, tmp_path / "embedding.pt")
    with pytest.raises(FormatError, match="something else than a tensor"):
        model.load_embeddings(tmp_path, "broken")
    assert set(model.loaded_embeddings) == {"default", "de", "old"}


def test_a_language_is_swapped_with_its_embeddings(model, loaded, own_tokenizer, german, tmp_path):
    """MAD-X 2.0: language adapter and embeddings go together; task adapter and head stay."""
    model.add_adapter("task", "seq_bn")
    model.add_classification_head("task", num_labels=3)
    model.add_adapter("en", "seq_bn_inv[reduction_factor=2]")
    model.set_active_adapters(Stack("en", "task"))
    english = outputs(model, own_tokenizer).logits
    model.add_embeddings("de", german, "default", own_tokenizer)
    model.add_adapter("de", "seq_bn_inv[reduction_factor=2]")
    model.set_active_adapters(Stack("de", "task"))
    assert model.active_head == "task"
    expected = outputs(model, german).logits
    for name in ("task", "de"):
        model.save_adapter(tmp_path / name, name)
    model.save_embeddings(tmp_path / "words", "de", german)

    zero_shot = copy.deepcopy(loaded)
    for name in ("task", "de"):
        zero_shot.load_adapter(tmp_path / name)
    tokenizer = zero_shot.load_embeddings(tmp_path / "words", "de")
    zero_shot.set_active_adapters(Stack("de", "task"))
    assert torch.equal(outputs(zero_shot, tokenizer).logits, expected)

    model.set_active_embeddings("default")
    model.set_active_adapters(Stack("en", "task"))
    assert torch.equal(outputs(model, own_tokenizer).logits, english)


def test_a_tied_head_projects_to_the_tokens_of_the_active_embeddings(model, own_tokenizer, german):
    model.add_masked_lm_head("mlm")
    before = outputs(model, own_tokenizer).logits
    model.add_embeddings("de", german)
    logits = outputs(model, german).logits
    assert logits.shape[-1] == len(german)
    head = model.heads["mlm"]
    hidden = outputs(model, german, output_hidden_states=True).hidden_states[-1]
    with torch.no_grad():
        for layer in list(head)[:-1]:
            hidden = layer(hidden)
    expected = hidden @ model.loaded_embeddings["de"].t()
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    model.delete_embeddings("de")
    assert model.active_embeddings == "default"
    assert torch.equal(outputs(model, own_tokenizer).logits, before)


def test_a_tied_causal_model_generates_the_tokens_of_its_embeddings(german, bare_models):
    config = copy.deepcopy(bare_models("gpt2").config)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    init(model)
    model.add_embeddings("de", german)
    ids = torch.tensor([[len(german) - 1, len(german) - 2, 7]])
    with torch.no_grad():
        logits = model(ids).logits
    assert logits.shape[-1] == len(german)
    made = model.generate(ids, max_new_tokens=3, do_sample=False, attention_mask=ids.bool())
    assert made[0, 3] == logits[0, -1].argmax()


def test_training_embeddings_trains_the_active_ones_only(model, own_tokenizer, german):
    model.add_adapter("a", "seq_bn")
    model.add_embeddings("de", german)
    model.train_adapter("a", train_embeddings=True)
    batch = german(TEXTS, return_tensors="pt", padding=True)
    model(input_ids=batch["input_ids"])[0].pow(2).sum().backward()
    table = model.loaded_embeddings["de"]
    used = batch["input_ids"].unique()
    assert table.grad is not None
    assert table.grad[used].abs().sum(dim=1).gt(0).all()
    assert model.loaded_embeddings["default"].grad is None
    assert not model.loaded_embeddings["default"].requires_grad


def test_what_cannot_be_is_refused_and_changes_nothing(model, own_tokenizer, german):
    model.add_embeddings("de", german)
    with pytest.raises(EmbeddingsExist, match="de"):
        model.add_embeddings("de", german)
    with pytest.raises(ConfigError, match="go together"):
        model.add_embeddings("x", german, reference_embedding="default")
    with pytest.raises(ConfigError, match="width"):
        model.add_embeddings("x", german, embedding_dim=7)
    with pytest.raises(EmbeddingsNotLoaded, match="none"):
        model.add_embeddings("x", german, "none", own_tokenizer)
    with pytest.raises(ConfigError, match="embeddings have only"):
        model.add_embeddings("x", own_tokenizer, "de", own_tokenizer)
    with pytest.raises(EmbeddingsNotLoaded, match="x"):
        model.set_active_embeddings("x")
    with pytest.raises(ConfigError, match="cannot be deleted"):
        model.delete_embeddings("default")
    assert set(model.loaded_embeddings) == {"default", "de"}
    assert model.active_embeddings == "de"
