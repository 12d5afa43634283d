"""A fusion's folder: AdapterHub's files. It names its members, which have folders of their own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from adapters_runtime import fusing, identity
from adapters_runtime.architectures import Architecture
from adapters_runtime.configs import AdapterFusionConfig
from adapters_runtime.errors import FormatError, TensorMismatch
from adapters_runtime.inject.bank import AdapterBank, bank_of, base_of, hidden
from adapters_runtime.io import files, folder, head_folder, hub_files, keys
from adapters_runtime.io.filling import check_tensors
from adapters_runtime.io.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = ("model_adapter_fusion.safetensors", "pytorch_model_adapter_fusion.bin")
FILES = (files.FUSION_CONFIG, *WEIGHTS)
BESIDE = (*files.HEAD_FILES, *files.HUB_FILES)


def save(
    model: "PreTrainedModel",
    target: Path,
    name: str,
    meta: dict[str, Any] | None,
    head: str | None = None,
) -> None:
    """Write a fusion's folder, with a head that goes with it.

    A fusion of one adapter is called like it, and may stand beside it in its folder: what is said
    there of the adapter then stays. Raises FusionNotLoaded and HeadNotFound.
    """
    bank = bank_of(model)
    fusion = bank.require_fusion(name)
    prefix = "" if base_of(model) is model else f"{bank.architecture.base_prefix}."
    base = identity.base_identity(model, bank.tokenizer, **bank.base_name)
    alone = not (target / files.CONFIG).is_file()
    with staged(target, (*FILES, *(BESIDE if alone else ()))) as staging:
        document = {
            **folder.description(model, name),
            "config": fusion.config.to_dict(),
            "adapter_names": list(fusion.members),
            **_temperature(bank, name),
            **(meta or {}),
        }
        files.write_json(staging / files.FUSION_CONFIG, document)
        tensors = {prefix + key: tensor for key, tensor in fusing.saved_tensors(bank, name)}
        files.write_tensors(staging / WEIGHTS[0], tensors)
        if head is not None:
            head_folder.write(model, staging, head)
        if alone:
            files.write_json(staging / files.HUB, hub_files.hub_fusion(model, name, base))
            files.write_json(staging / files.HUB_BASE, hub_files.hub_base(model, base))


def _temperature(bank: Any, name: str) -> dict[str, float]:
    """Return how far a fusion has cooled, if it cools: ours, AdapterHub's files do not tell."""
    if not bank.fusions[name].config.temperature:
        return {}
    return {"temperature": float(next(m.temperature for _, m in fusing.modules_of(bank, name)))}


@dataclass
class Prepared:
    """A fusion that was read, checked and built, but that nobody can see yet."""

    bank: AdapterBank
    temporary: str
    name: str
    members: tuple[str, ...]
    tensors: dict[str, Tensor]
    temperature: float

    def install(self) -> str:
        """Give the fusion its name, in the place of one that has it; this cannot fail."""
        if self.name in self.bank.fusions:
            fusing.remove(self.bank, self.name)
        fusing.rename(self.bank, self.temporary, self.name)
        fusion = self.bank.fusions[self.name]
        self.bank.fusions[self.name] = fusion._replace(members=self.members)
        fusing.fill(self.bank, self.name, self.tensors, self.temperature)
        return self.name

    def discard(self) -> None:
        fusing.remove(self.bank, self.temporary)


def load(model: "PreTrainedModel", source: Path, load_as: str | None) -> str:
    """Load a fusion's folder and return its name; one of that name is replaced.

    Raises FormatError, AdapterNotLoaded when the model lacks a member, TensorMismatch.
    """
    return prepare(model, source, load_as).install()


def prepare(
    model: "PreTrainedModel",
    source: Path,
    load_as: str | None = None,
    members: Mapping[str, str] | None = None,
) -> Prepared:
    """Read a fusion's folder and build it, hidden.

    `members`, in the order of training, are their names from now on -> what they are called while
    the fusion is built; without it they are called as in the file. Raises as `load` does.
    """
    bank = bank_of(model)
    document = files.read_json(source / files.FUSION_CONFIG)
    saved = _members(document, source)
    if members is None:
        members = {member: member for member in saved}
    elif len(members) != len(saved):
        raise FormatError(f"{source} fuses {len(saved)} adapters, the set-up {len(members)}")
    saved_name = str(document.get("name") or ",".join(saved))
    name = load_as or saved_name
    config = AdapterFusionConfig.load(document.get("config"))
    tensors = _relative(_read_weights(source), bank.architecture, saved_name, name)
    temperature = _cooled(document)
    temporary = hidden(name)
    fusing.add(bank, temporary, tuple(members.values()), config)
    own = {key.replace(temporary, name): t for key, t in fusing.saved_tensors(bank, temporary)}
    try:
        check_tensors(tensors, own, str(source))
    except TensorMismatch:
        fusing.remove(bank, temporary)
        raise
    return Prepared(bank, temporary, name, tuple(members), tensors, temperature)


def refill(model: "PreTrainedModel", source: Path, name: str) -> None:
    """Copy a saved state into a fusion that the model has; its parameters stay the same objects."""
    bank = bank_of(model)
    document = files.read_json(source / files.FUSION_CONFIG)
    saved_name = str(document.get("name") or name)
    tensors = _relative(_read_weights(source), bank.architecture, saved_name, name)
    check_tensors(tensors, dict(fusing.saved_tensors(bank, name)), str(source))
    fusing.fill(bank, name, tensors, _cooled(document))


def _cooled(document: dict[str, Any]) -> float:
    # Files without a temperature are of a training that is over, and so cold.
    temperature = document.get("temperature", 1.0)
    if not isinstance(temperature, int | float):
        raise FormatError(f"the temperature of a fusion is a number, not {temperature!r}")
    return float(temperature)


def members_of(source: Path) -> list[str]:
    """Return what the members of a fusion were called when it was saved; raises FormatError."""
    return _members(files.read_json(source / files.FUSION_CONFIG), source)


def _members(document: dict[str, Any], source: Path) -> list[str]:
    # Older files say it only by the fusion's name.
    members = document.get("adapter_names") or document.get("name")
    if isinstance(members, str):
        members = members.split(",")
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise FormatError(f"{source / files.FUSION_CONFIG} has no list `adapter_names`")
    return members


def _read_weights(source: Path) -> dict[str, Tensor]:
    path = files.find_weights(source, WEIGHTS)
    if path is None:
        raise FormatError(f"{source} has no weights: neither {' nor '.join(WEIGHTS)}")
    return files.read_tensors(path)


def _relative(
    tensors: dict[str, Tensor], architecture: Architecture, saved_name: str, name: str
) -> dict[str, Tensor]:
    """Return the tensors relative to the base, for a fusion called `name`."""
    pattern = re.compile(rf"\.{fusing.CONTAINER}\.{re.escape(saved_name)}\.")
    return {
        pattern.sub(
            lambda _: f".{fusing.CONTAINER}.{name}.", keys.relative(key, architecture)
        ): tensor
        for key, tensor in tensors.items()
    }
