"""What a manifest says, in sentences: the contract, the base and how to use the adapter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_runtime.architectures import PAIR
from registry import setup, vocabulary
from registry.errors import InvalidRecipe
from registry.schemas import BaseIdentity, HeadEntry, ManifestDocument, Requirement, Signature

SLOTS = {"lang": "a language adapter", "task": "a task adapter"}
SHOWN_LABELS = 8


@dataclass(frozen=True)
class Contract:
    """Two lists of sentences."""

    offers: tuple[str, ...]
    requires: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One of the digests that identify a base model, and what it is taken of."""

    name: str
    digest: str | None
    meaning: str


@dataclass(frozen=True)
class Command:
    """Something to copy. `language` is that of the text: `console` or `python`."""

    title: str
    text: str
    language: str = "console"


# --- the contract --------------------------------------------------------------------------------


def contract(manifest: ManifestDocument) -> Contract:
    return Contract(tuple(_offers(manifest)), tuple(_requires(manifest)))


def shape(signature: Signature) -> str:
    """Return what a signature says about the inside of a model.

    >>> shape(Signature(method="seq_bn", layers=(0, 1, 2), points=("output",), invertible="nice"))
    'seq_bn in layers 0-2, at the output, with a NICE invertible part'
    """
    if signature.method is None:
        return "an adapter whose method is not stated"
    parts = [signature.method.replace("|", " + ")]
    if signature.layers:
        parts[0] += f" in {layers(signature.layers)}"
    if signature.points:
        points = [point.replace("_", " ") for point in signature.points]
        parts.append(f"at the {_listed(points)}")
    if signature.invertible is not None:
        parts.append(f"with a {signature.invertible.upper()} invertible part")
    if signature.rows:
        parts.append("with its own rows of the token embedding")
    return ", ".join(parts)


def layers(numbers: Iterable[int]) -> str:
    """Return `layer 3` or `layers 0-3 and 7`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    several = len(runs) > 1 or len(runs[0]) > 1 if runs else True
    return f"{'layers' if several else 'layer'} {_listed(texts) if texts else 'none'}"


def _offers(manifest: ManifestDocument) -> Iterable[str]:
    signature = manifest.signature
    kind = vocabulary.KINDS.get(manifest.kind or "", "Adapter")
    language = f" for {vocabulary.language_name(signature.language)}" if signature.language else ""
    yield f"{kind}{language}: {shape(signature)}."
    if signature.slot is not None:
        yield f"It fills the slot “{signature.slot}” of a set-up."
    if manifest.head is not None:
        yield _head(manifest.head)
    if signature.series is not None:
        yield (
            f"It belongs to the series “{signature.series}”: partners of the same series are "
            "preferred, for they were trained alike."
        )


def _head(head: HeadEntry) -> str:
    kind = (head.type or "prediction").replace("_", " ")
    text = f"It comes with a {kind} head"
    if head.labels:
        shown = list(head.labels[:SHOWN_LABELS])
        more = len(head.labels) - len(shown)
        names = ", ".join(shown) + (f" and {more} more" if more else "")
        return f"{text} for {len(head.labels)} labels: {names}."
    return f"{text} with {head.outputs} outputs." if head.outputs is not None else f"{text}."


def _requires(manifest: ManifestDocument) -> Iterable[str]:
    if manifest.requires is None:
        yield (
            "It does not say which partners it was trained with. A resolver can offer it only as a "
            "near match, never as certain."
        )
        return
    if not manifest.requires:
        yield "Nothing: it was trained directly on the base model."
    for slot, requirement in manifest.requires.items():
        yield from _requirement(slot, requirement)
    if manifest.setup is not None and (text := _tree_text(manifest.setup)) is not None:
        yield f"The set-up in training was {text}."


def _requirement(slot: str, requirement: Requirement) -> Iterable[str]:
    signature = requirement.signature
    partner = SLOTS.get(slot, f"an adapter in the slot “{slot}”")
    yield f"Trained on top of {partner}: {shape(signature)}."
    yield (
        "Any adapter of that shape for the same base can stand in its place, whatever its language."
        if slot == "lang"
        else "Any adapter of that shape for the same base can stand in its place."
    )
    if requirement.drop_layers:
        yield f"What it has in {layers(requirement.drop_layers)} is left out when it is loaded."
    if requirement.ref is not None:
        language = signature.language
        known = f" ({vocabulary.language_name(language)})" if language is not None else ""
        yield f"The partner in training was {requirement.ref}{known}."


def _tree_text(document: dict[str, Any] | str) -> str | None:
    """Return a composition as people type it; None for what is no composition."""
    try:
        return _written(setup.read_tree(document))
    except InvalidRecipe:
        return None


def _written(tree: setup.Tree) -> str:
    if isinstance(tree, str):
        return tree
    return f"{type(tree).__name__}({', '.join(map(_written, tree))})"


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


# --- the base ------------------------------------------------------------------------------------


def base_parts(base: BaseIdentity) -> list[Part]:
    return [
        Part("Structure", base.structure, "names and shapes of the body's parameters"),
        Part("Body", base.body, "the weights that adapters are trained on"),
        Part("Embeddings", base.embeddings, "the embedding matrices: the vocabulary's weights"),
        Part("Tokenizer", base.tokenizer, "how text becomes tokens"),
    ]


def base_in_words(manifest: ManifestDocument) -> str:
    base = manifest.base
    if base.body is None:
        return (
            "The base is known by name only, so nobody can tell whether a model of that name is "
            "the one in training. Publish with hubctl push to identify it by its weights."
        )
    return (
        "The base is identified by its weights, not by its name: a mirrored or renamed copy fits, "
        "and another model of the same name is refused."
    )


# --- use -----------------------------------------------------------------------------------------


def commands(name: str, number: str, manifest: ManifestDocument, endpoint: str) -> list[Command]:
    """Return how to get and load a version, in the order in which people need it."""
    folder = name.partition("/")[2]
    base = manifest.base.name or "<base model>"
    found = [Command("Get it", f"hubctl pull {name}@{number}")]
    if manifest.layout == "adapterhub":
        found.append(
            Command("Load it in Python", _python(base, folder, manifest.model_type), "python")
        )
    if manifest.kind == "language" and manifest.signature.language is not None:
        tag = manifest.signature.language
        found.append(
            Command(
                "Swap a pulled set-up to this language", f"hubctl swap ./setup --language {tag}"
            )
        )
    elif manifest.requires:
        found.append(
            Command(
                "Use it in another language",
                f"hubctl pull --task {name}@^{number.partition('.')[0]} --language qu --to ./setup",
            )
        )
    found.append(_with_stock_clients(name, number, manifest, endpoint))
    return found


def _python(base: str, folder: str, model_type: str | None) -> str:
    if model_type == PAIR:
        begin = (
            "from adapters_runtime import load_model\n"
            "from transformers import EncoderDecoderModel\n"
            "\n"
            f'model = load_model("{base}", EncoderDecoderModel)\n'
        )
    else:
        begin = (
            "from adapters_runtime import AutoAdapterModel\n"
            "\n"
            f'model = AutoAdapterModel.from_pretrained("{base}")\n'
        )
    return f'{begin}model.load_adapter("./{folder}", set_active=True)'


def _with_stock_clients(
    name: str, number: str, manifest: ManifestDocument, endpoint: str
) -> Command:
    if manifest.layout == "peft":
        base = manifest.base.name or "<base model>"
        cls = "EncoderDecoderModel" if manifest.model_type == PAIR else "AutoModel"
        text = (
            "# The base model comes from its own hub, the adapter from here.\n"
            "from huggingface_hub import snapshot_download\n"
            "from peft import PeftModel\n"
            f"from transformers import {cls}\n"
            "\n"
            f'folder = snapshot_download("{name}", revision="v{number}", endpoint="{endpoint}")\n'
            f'model = PeftModel.from_pretrained({cls}.from_pretrained("{base}"), folder)'
        )
        return Command("Load it with PEFT", text, "python")
    text = f"HF_ENDPOINT={endpoint} hf download {name} --revision v{number}"
    return Command("With any Hub client", text)
