"""A set-up's folder as AdapterHub writes it: a document, a folder per adapter and fusion."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime.composition import AdapterCompositionBlock, Fuse, blocks_of, parse_composition
from adapters_runtime.errors import FormatError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files, folder, fusions
from adapters_runtime.io.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HeadSetup = AdapterCompositionBlock | str | list[str] | None


def save(
    model: "PreTrainedModel",
    target: Path,
    setup: AdapterCompositionBlock,
    head_setup: HeadSetup,
    meta: dict[str, Any] | None,
) -> None:
    """Write a set-up with all its adapters (with their heads) and fusions.

    The document comes last: a folder that has one is whole. Raises AdapterNotLoaded and
    FusionNotLoaded, and FormatError for a name that is no folder's, before anything is written.
    """
    bank = bank_of(model)
    fused = [block.name for block in blocks_of(setup, Fuse)]
    for name in setup.flatten():
        bank.require(name)
    for name in fused:
        bank.require_fusion(name)
    places = {name: files.nested_folder(target, name) for name in (*setup.flatten(), *fused)}
    for name in setup.flatten():
        folder.save(model, places[name], name, with_head=True, meta=meta)
    for name in fused:
        fusions.save(model, places[name], name, meta)
    document = {
        "adapter_setup": setup.to_dict(),
        "head_setup": _head_document(head_setup),
        "version": files.FORMAT_VERSION,
        **(meta or {}),
    }
    with staged(target, (files.SETUP,)) as staging:
        files.write_json(staging / files.SETUP, document)


def load(model: "PreTrainedModel", source: Path) -> tuple[AdapterCompositionBlock, HeadSetup]:
    """Load every adapter and fusion of a set-up, all or none, and return it with its heads.

    Raises what loading an adapter raises, and FormatError when the document is no set-up.
    """
    setup, head_setup = read(source)

    def adapter(name: str) -> folder.Prepared:
        return folder.prepare(model, files.nested_folder(source, name), load_as=name)

    def fusion(block: Fuse, waiting: Mapping[str, str]) -> fusions.Prepared:
        place = files.nested_folder(source, block.name)
        members = {member: waiting.get(member, member) for member in fusions.members_of(place)}
        return fusions.prepare(model, place, block.name, members)

    with prepared(setup, adapter, fusion):
        return setup, head_setup


@contextmanager
def prepared(
    setup: AdapterCompositionBlock,
    adapter: Callable[[str], folder.Prepared],
    fusion: Callable[[Fuse, Mapping[str, str]], fusions.Prepared],
) -> Iterator[None]:
    """Build the adapters and fusions of a set-up, and give them their names after the body.

    Whatever raises before, the body included, leaves the model as it was. Fusions are built from
    what their members are called while they wait.
    """
    hidden: list[folder.Prepared | fusions.Prepared] = []
    waiting: dict[str, str] = {}
    try:
        for name in setup.flatten():
            hidden.append(built := adapter(name))
            waiting[name] = built.hidden
        fused = {block.name: block for block in blocks_of(setup, Fuse)}
        hidden.extend(fusion(block, waiting) for block in fused.values())
        yield
    except Exception:
        for part in hidden[::-1]:
            part.discard()
        raise
    for part in hidden:
        part.install()


def read(source: Path) -> tuple[AdapterCompositionBlock, HeadSetup]:
    """Return the set-up and the heads that a folder's adapter_setup.json names."""
    document = files.read_json(source / files.SETUP)
    if "adapter_setup" not in document:
        raise FormatError(f"{source / files.SETUP} has no field `adapter_setup`")
    setup = parse_composition(AdapterCompositionBlock.from_dict(document["adapter_setup"]))
    assert setup is not None
    heads = document.get("head_setup")
    if isinstance(heads, dict):
        return setup, AdapterCompositionBlock.from_dict(heads)
    names = heads if isinstance(heads, list) else [heads or ""]
    if not all(isinstance(name, str) for name in names):
        raise FormatError(f"{source / files.SETUP}: `head_setup` cannot be {heads!r}")
    return setup, heads


def _head_document(heads: HeadSetup) -> Any:
    return heads.to_dict() if isinstance(heads, AdapterCompositionBlock) else heads
