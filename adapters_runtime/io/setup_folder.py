"""A set-up in a folder: adapters that were chosen for one another, loaded and swapped as one.

The folder is AdapterHub's (adapter_setup.json, and one folder per adapter) with a lock, if a hub
resolved it: the lock says which base it is for and which layers to leave out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime import contracts, identity
from adapters_runtime.composition import AdapterCompositionBlock, parse_composition
from adapters_runtime.contracts import Signature
from adapters_runtime.errors import BaseMismatch, ContractError, FormatError
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.io import files, hub_files
from adapters_runtime.io.folder import Prepared, check_base, prepare

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_setup(
    model: "PreTrainedModel", folder: str | Path, *, allow_base_mismatch: bool = False
) -> AdapterCompositionBlock:
    """Load every adapter of a set-up, activate it, and return it.

    Adapters are called like their slots. All are loaded or none: raises FormatError, BaseMismatch
    when the lock is for another base, TensorMismatch, and ContractError when a folder is not the
    version that the lock names.
    """
    folder = Path(folder)
    setup = _read_setup(folder)
    lock = _read_lock(folder)
    if lock and not allow_base_mismatch:
        check_base(model, lock["base"], (), f"the set-up in {folder}")
        _check_tokenizer(model, lock["base"], folder)
    prepared = _prepare_all(model, folder, setup, lock, allow_base_mismatch=allow_base_mismatch)
    for adapter in prepared:
        adapter.install()
    model.set_active_adapters(setup)  # type: ignore[operator]
    head = lock.get("head")
    if isinstance(head, str) and head in getattr(model, "heads", {}):
        model.active_head = head  # type: ignore[assignment]
    return setup


def swap_slot(model: "PreTrainedModel", slot: str, folder: str | Path) -> None:
    """Replace the adapter of one slot by the one in `folder`, and nothing else.

    What the other adapters of the active set-up were trained with decides: raises ContractError,
    with reasons, when the new one does not offer it; the old one then stays. Layers that they were
    trained without are left out.
    """
    bank = bank_of(model)
    bank.require(slot)
    document = files.read_json(Path(folder) / files.HUB)
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


def _read_setup(folder: Path) -> AdapterCompositionBlock:
    document = files.read_json(folder / files.SETUP)
    if "adapter_setup" not in document:
        raise FormatError(f"{folder / files.SETUP} has no field `adapter_setup`")
    setup = parse_composition(AdapterCompositionBlock.from_dict(document["adapter_setup"]))
    assert setup is not None
    return setup


def _read_lock(folder: Path) -> dict[str, Any]:
    path = folder / files.LOCK
    return files.read_json(path) if path.is_file() else {}


def _prepare_all(
    model: "PreTrainedModel",
    folder: Path,
    setup: AdapterCompositionBlock,
    lock: dict[str, Any],
    *,
    allow_base_mismatch: bool,
) -> list[Prepared]:
    prepared: list[Prepared] = []
    try:
        for slot in setup.flatten():
            pinned = lock.get("slots", {}).get(slot, {})
            _check_origin(folder / slot, pinned)
            prepared.append(
                prepare(
                    model,
                    folder / slot,
                    load_as=slot,
                    leave_out=tuple(pinned.get("load", {}).get("leave_out", ())),
                    allow_base_mismatch=allow_base_mismatch,
                )
            )
    except Exception:
        for adapter in prepared:
            adapter.discard()
        raise
    return prepared


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
