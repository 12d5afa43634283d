"""An adapter's folder: AdapterHub's files, plus ours for a hub.

Saving writes into a temporary folder first, so that an interrupted save leaves the old one whole.
Loading builds the adapter under a name nobody knows, and gives it its own only when all fits.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from adapters_runtime import architectures, identity, merging
from adapters_runtime.configs import AdapterConfig, load_config, numbering
from adapters_runtime.configs.legacy import upgrade_document
from adapters_runtime.errors import BaseMismatch, FormatError
from adapters_runtime.info import AdapterInfo
from adapters_runtime.inject.bank import AdapterBank, bank_of, base_of, hidden
from adapters_runtime.io import files, heads, hub_files, keys
from adapters_runtime.io.filling import check_tensors
from adapters_runtime.io.peft import reading as peft
from adapters_runtime.io.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save(
    model: "PreTrainedModel",
    target: Path,
    name: str,
    *,
    with_head: bool,
    meta: dict[str, Any] | None,
) -> None:
    """Write the folder of an adapter; see `AdapterMethods.save_adapter`."""
    bank = bank_of(model)
    config = bank.held(name)
    base = identity.base_identity(model, bank.tokenizer, **bank.base_name)
    prefix = "" if base_of(model) is model else f"{bank.architecture.base_prefix}."
    with staged(target, files.ADAPTER_FILES) as folder:
        fields = numbering.document_of(config, _halves(bank))
        document = {**description(model, name), **fields, **(meta or {})}
        files.write_json(folder / files.CONFIG, document)
        tensors = {prefix + key: tensor for key, tensor in bank.saved_tensors(name)}
        files.write_tensors(folder / files.WEIGHTS[0], tensors)
        files.write_json(folder / files.HUB, hub_files.hub_adapter(model, name, base))
        files.write_json(folder / files.HUB_BASE, hub_files.hub_base(model, base))
        if bank.interface is not None:
            files.write_interface(folder, model.config.model_type, bank.interface)
        if with_head:
            heads.save(model, folder, name, description(model, name))


def description(model: "PreTrainedModel", name: str | None) -> dict[str, Any]:
    """Return the fields that AdapterHub's documents share."""
    return {
        "name": name,
        "model_type": model.config.model_type,
        "model_class": type(model).__name__,
        "model_name": hub_files.base_name(model),
        "hidden_size": _width(model),
        "version": files.FORMAT_VERSION,
    }


def _width(model: "PreTrainedModel") -> int | None:
    """Return the width of a model; one that is made of two has none."""
    parts = {stack.part for stack in bank_of(model).architecture.stacks}
    return None if len(parts) > 1 else int(model.config.get_text_config().hidden_size)


@dataclass
class Prepared:
    """An adapter that was read and checked, but that nobody can see yet."""

    bank: AdapterBank
    name: str
    hidden: str
    """Where it waits: in an adapter of this name, or, if that is its own, in `tensors`."""
    tensors: dict[str, Tensor]
    """Under the names of `saved_tensors`."""
    info: AdapterInfo
    head: heads.ReadHead | None

    def install(self) -> str:
        """Give the adapter its name, in the place of one that has it; this cannot fail."""
        if self.hidden == self.name:
            self.bank.fill(self.name, self.tensors)
            self.bank.freeze(self.name)
        else:
            if self.name in self.bank.configs:
                self.bank.remove(self.name)
            self.bank.rename(self.hidden, self.name)
        self.bank.info[self.name] = self.info
        if self.head is not None:
            self.head.install()
        return self.name

    def discard(self) -> None:
        if self.hidden != self.name:
            self.bank.remove(self.hidden)


def prepare(
    model: "PreTrainedModel",
    source: Path,
    *,
    config: AdapterConfig | None = None,
    load_as: str | None = None,
    with_head: bool = True,
    leave_out: Collection[int] = (),
    id2label: Mapping[int, str] | None = None,
    allow_base_mismatch: bool = False,
) -> Prepared:
    """Read the folder of an adapter and build it, hidden; see `AdapterMethods.load_adapter`."""
    bank = bank_of(model)
    document = _read_description(source)
    saved_name = str(document.get("name") or source.name)
    name = load_as or saved_name
    if "peft_type" in document:
        config, tensors = peft.read(model, source, document, name, with_head=with_head)
        hidden = _make_room(bank, config, tensors, name, source)
        return Prepared(bank, name, hidden, tensors, AdapterInfo(), None)
    hub = hub_files.read_hub(source) if (source / files.HUB).is_file() else {}
    origin = _optional(source / files.ORIGIN)
    if hub and not allow_base_mismatch:
        casts = hub_files.read_casts(source)
        check_base(model, hub.get("base", {}), casts, f"the adapter in {source}")
    head = heads.read(model, source, saved_name, name, id2label) if with_head else None
    tensors = keys.normalise(_read_weights(source), bank.architecture, saved_name, name)
    config = config or _config(document, bank.configs.get(name), _halves(bank))
    info = replace(hub_files.read_info(hub, origin), dropped_layers=tuple(leave_out))
    hidden = _make_room(bank, config, tensors, name, source, leave_out)
    return Prepared(bank, name, hidden, tensors, info, head)


def refill(model: "PreTrainedModel", source: Path, name: str) -> None:
    """Copy a saved state into an adapter (and its head) that the model has, in place.

    The parameters stay the same objects, so an optimiser goes on with them.
    """
    bank = bank_of(model)
    document = _read_description(source)
    saved_name = str(document.get("name") or source.name)
    tensors = keys.normalise(_read_weights(source), bank.architecture, saved_name, name)
    check_tensors(tensors, dict(bank.saved_tensors(name)), str(source))
    heads.refill(model, source, saved_name, name)
    bank.fill(name, tensors)


def _make_room(
    bank: AdapterBank,
    config: AdapterConfig,
    tensors: dict[str, Tensor],
    name: str,
    source: Path,
    leave_out: Collection[int] = (),
) -> str:
    """Return the name of the adapter that the tensors fit into, or raise and leave nothing behind.

    It is a new one under a name that nobody can ask for, unless the model has one of this name with
    room for them: a compiled model then goes on with the modules it knows, and is not compiled
    again.
    """
    if not leave_out and _has_room(bank, config, name):
        check_tensors(tensors, dict(bank.saved_tensors(name)), str(source))
        return name
    temporary = hidden(name)
    bank.add(temporary, config)
    own = dict(bank.saved_tensors(temporary))
    try:
        found = {key.replace(temporary, name): tensor for key, tensor in own.items()}
        check_tensors(tensors, found, str(source))
        bank.fill(temporary, {key: tensors[key.replace(temporary, name)] for key in own})
        bank.leave_out(temporary, leave_out)
    except Exception:
        bank.remove(temporary)
        raise
    return temporary


def _has_room(bank: AdapterBank, config: AdapterConfig, name: str) -> bool:
    """Return whether the adapter of that name could take over another one's weights."""
    if bank.configs.get(name) != config:
        return False
    shared = any(name in names for names in bank.sharing.values())
    return not shared and merging.merged(bank) != name


def _config(
    document: dict[str, Any], present: AdapterConfig | None, halves: Sequence[int]
) -> AdapterConfig:
    """Return the configuration in a document; `present` is that of the adapter to be replaced.

    AdapterHub's library does not save every field. What the document leaves out is as in the
    adapter of that name, where the two agree on all that it says.
    """
    saved = upgrade_document(document)
    if present is not None and isinstance(saved, Mapping):
        own = numbering.document_of(present, halves)
        fields, marks = own["config"], document.get(numbering.GOES_ON)
        if {**fields, **saved} == fields and own.get(numbering.GOES_ON) == marks:
            return present
    return numbering.read_from(load_config(document), document, halves)


def _halves(bank: AdapterBank) -> tuple[int, ...]:
    names = [name for name, _ in bank.base.module.named_parameters()]
    return architectures.halves(architectures.list_layers(bank.architecture, names))


def _optional(path: Path) -> dict[str, Any]:
    return files.read_json(path) if path.is_file() else {}


def _read_description(source: Path) -> dict[str, Any]:
    document = files.read_json(source / files.CONFIG)
    if "config" not in document and "peft_type" not in document:
        raise FormatError(f"{source / files.CONFIG} has no field `config`")
    return document


def _read_weights(source: Path) -> dict[str, Tensor]:
    path = files.find_weights(source, files.WEIGHTS)
    if path is None:
        raise FormatError(f"{source} has no weights: neither {' nor '.join(files.WEIGHTS)}")
    return files.read_tensors(path)


def check_base(
    model: nn.Module, wanted: dict[str, Any], casts: Iterable[str], subject: str
) -> None:
    """Raise BaseMismatch unless the model is the base that `wanted` identifies.

    The structure is compared first, because it costs nothing; the values only when it agrees. A
    base in another floating point type is the same one when its digest is among `casts`.
    """
    structure = identity.structure_digest(model)
    if wanted.get("structure") not in (None, structure):
        raise BaseMismatch(subject, {"structure": (wanted["structure"], structure)})
    if wanted.get("body") is None:
        return
    here = identity.base_identity(model)
    equal = set(casts)
    differences = {
        part: (wanted[part], digest)
        for part, digest in (("body", here.body), ("embeddings", here.embeddings))
        if wanted.get(part) not in (None, digest) and digest not in equal
    }
    if differences:
        raise BaseMismatch(subject, differences)
