"""A set-up in a folder: adapters that were chosen for one another, loaded and swapped as one.

The folder is AdapterHub's (adapter_setup.json, and one folder per adapter) with a lock, if a hub
resolved it: the lock says which base it is for and which layers to leave out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime import contracts, identity
from adapters_runtime.composition import AdapterCompositionBlock, Fuse, blocks_of
from adapters_runtime.contracts import Signature
from adapters_runtime.errors import BaseMismatch, ContractError, FormatError
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.io import embeddings, files, fusions, head_folder, hub_files, setup_files
from adapters_runtime.io.folder import Prepared, check_base, prepare

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_setup(
    model: "PreTrainedModel", folder: str | Path, *, allow_base_mismatch: bool = False
) -> AdapterCompositionBlock:
    """Load every adapter of a set-up, activate it, and return it.

    Adapters, fusions, heads and embeddings of their own are called like their slots; embeddings
    become the active ones, and are for their own tokenizer, which lies in their folder. All are
    loaded or none: raises FormatError, BaseMismatch when the lock is for another base,
    TensorMismatch, and ContractError when a folder is not the version that the lock names.
    """
    folder = Path(folder)
    setup, heads = setup_files.read(folder)
    lock = _read_lock(folder)
    parts = _Parts(model, folder, setup, lock, allow_base_mismatch=allow_base_mismatch)
    if lock and not allow_base_mismatch:
        check_base(model, lock["base"], (), f"the set-up in {folder}")
        if not parts.embeddings:
            _check_tokenizer(model, lock["base"], folder)
    parts.load()
    model.set_active_adapters(setup)  # type: ignore[operator]
    if heads and set(_names(heads)) <= set(getattr(model, "heads", {})):
        model.active_head = heads  # type: ignore[assignment]
    return setup


def swap_slot(model: "PreTrainedModel", slot: str, folder: str | Path) -> None:
    """Replace the adapter of one slot by the one in `folder`, and nothing else.

    What the other adapters of the active set-up were trained with decides: raises ContractError,
    with reasons, when the new one does not offer it; the old one then stays. Layers that they were
    trained without are left out.
    """
    bank = bank_of(model)
    bank.require(slot)
    document = hub_files.read_hub(Path(folder))
    leave_out = check_contract(bank, slot, document.get("signature", {}))
    prepare(model, Path(folder), load_as=slot, with_head=False, leave_out=leave_out).install()


def check_contract(bank: AdapterBank, slot: str, offered: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the layers to leave out for an adapter to stand in `slot`, or raise ContractError."""
    activation = bank.activations.current()
    reasons: list[str] = []
    leave_out: set[int] = set()
    for name in () if activation is None else activation.names:
        requirement = hub_files.requirements(bank, name).get(slot) if name != slot else None
        if requirement is None:
            continue
        wanted = Signature.read(requirement["signature"])
        found = contracts.fit(wanted, Signature.read(offered), requirement.get("drop_layers", ()))
        reasons += [f"for {name}: {reason}" for reason in (*found.reasons, *found.unknown)]
        leave_out.update(found.leave_out)
    if reasons:
        raise ContractError(reasons)
    return tuple(sorted(leave_out))


def _names(heads: setup_files.HeadSetup) -> tuple[str, ...]:
    if isinstance(heads, AdapterCompositionBlock):
        return heads.flatten()
    return (heads,) if isinstance(heads, str) else tuple(heads or ())


def _read_lock(folder: Path) -> dict[str, Any]:
    path = folder / files.LOCK
    if not path.is_file():
        return {}
    lock = files.read_json(path)
    slots = lock.get("slots", {})
    if not isinstance(lock.get("base"), dict) or not isinstance(slots, dict):
        raise FormatError(f"{path} is no lock: it must have objects `base` and `slots`")
    for slot, pinned in slots.items():
        if not isinstance(pinned, dict) or not isinstance(pinned.get("load", {}), dict):
            raise FormatError(f"{path}: slot {slot!r} cannot be {pinned!r}")
    return lock


class _Parts:
    """What a set-up's folder holds, by slot."""

    def __init__(
        self,
        model: "PreTrainedModel",
        folder: Path,
        setup: AdapterCompositionBlock,
        lock: dict[str, Any],
        *,
        allow_base_mismatch: bool,
    ) -> None:
        self.model = model
        self.folder = folder
        self.setup = setup
        self.pinned: dict[str, Any] = lock.get("slots", {})
        self.allow_base_mismatch = allow_base_mismatch
        inside = {*setup.flatten(), *(block.name for block in blocks_of(setup, Fuse))}
        beside = [slot for slot in self.pinned if slot not in inside]
        self.heads = [slot for slot in beside if head_folder.is_one(self._place(slot))]
        self.embeddings = [slot for slot in beside if slot not in self.heads]
        for slot in (*inside, *beside):
            _check_origin(self._place(slot), self.pinned.get(slot, {}))

    def _place(self, slot: str) -> Path:
        return files.nested_folder(self.folder, slot)

    def load(self) -> None:
        """Load all parts, or raise and leave the model as it was."""
        # Whatever can fail comes before the first thing that the model shows.
        tables = {slot: embeddings.read(self._place(slot)) for slot in self.embeddings}
        heads = [head_folder.prepare(self.model, self._place(slot), slot)[1] for slot in self.heads]
        with setup_files.prepared(self.setup, self._adapter, self._fusion):
            self._install_tables(tables)
        for head in heads:
            head.install()

    def _fusion(self, block: Fuse, waiting: Mapping[str, str]) -> fusions.Prepared:
        members = {member: waiting[member] for member in map(_member, block)}
        return fusions.prepare(self.model, self._place(block.name), block.name, members)

    def _adapter(self, slot: str) -> Prepared:
        leave_out = self.pinned.get(slot, {}).get("load", {}).get("leave_out", ())
        return prepare(
            self.model,
            self._place(slot),
            load_as=slot,
            leave_out=tuple(leave_out),
            allow_base_mismatch=self.allow_base_mismatch,
        )

    def _install_tables(self, tables: dict[str, embeddings.Embeddings]) -> None:
        for slot, found in tables.items():
            bank_of(self.model).tables.add_table(slot, found.weight, overwrite_ok=True)
            bank_of(self.model).tables.origins[slot] = found.origin
            self.model.set_active_embeddings(slot)  # type: ignore[operator]


def _member(child: AdapterCompositionBlock | str) -> str:
    return child if isinstance(child, str) else child.last()


def _check_origin(folder: Path, pinned: dict[str, Any]) -> None:
    path = folder / files.ORIGIN
    if not pinned or not path.is_file():
        return
    content = files.read_json(path).get("content")
    if content != pinned.get("content"):
        raise ContractError(
            [f"{folder} holds {content}, but the lock names {pinned.get('ref')}; pull it again"]
        )


def _check_tokenizer(model: "PreTrainedModel", base: dict[str, Any], folder: Path) -> None:
    here = identity.base_identity(model, bank_of(model).tokenizer).tokenizer
    wanted = base.get("tokenizer")
    if here is not None and wanted not in (None, here):
        raise BaseMismatch(f"the set-up in {folder}", {"tokenizer": (wanted, here)})
