"""What differs between two versions, told from their manifests alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from registry.schemas import ManifestDocument, TensorEntry

Change = Literal["added", "removed", "reshaped", "cast", "changed"]

CARD = "README.md"
HEAD_WEIGHTS = "model_head.safetensors"


@dataclass(frozen=True)
class TensorChange:
    """One tensor that differs; an entry is None on the side where the tensor is absent."""

    file: str
    name: str
    change: Change
    before: TensorEntry | None
    after: TensorEntry | None


@dataclass(frozen=True)
class Difference:
    """`fields` are parts of the manifest that affect outputs or contract, beside the tensors."""

    summary: str
    fields: tuple[str, ...]
    tensors: tuple[TensorChange, ...]
    files: Mapping[str, Change]


_FIELDS = ("configuration", "base", "signature", "requires", "head")


def compare(before: ManifestDocument, after: ManifestDocument) -> Difference:
    """Say what happened from one version to the next."""
    fields = tuple(name for name in _FIELDS if getattr(before, name) != getattr(after, name))
    tensors = tuple(tensor_changes(before, after))
    files = _file_changes(before, after)
    return Difference(_summary(fields, tensors, files, after), fields, tensors, files)


def tensor_changes(before: ManifestDocument, after: ManifestDocument) -> Iterator[TensorChange]:
    """Yield the tensors that differ, in the order of their names."""
    for file in sorted(before.tensors.keys() | after.tensors.keys()):
        old, new = before.tensors.get(file, {}), after.tensors.get(file, {})
        for name in sorted(old.keys() | new.keys()):
            if change := _tensor_change(old.get(name), new.get(name)):
                yield TensorChange(file, name, change, old.get(name), new.get(name))


def _tensor_change(before: TensorEntry | None, after: TensorEntry | None) -> Change | None:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    if before.shape != after.shape:
        return "reshaped"
    if before.dtype != after.dtype:
        return "cast"
    return None if before.digest == after.digest else "changed"


def _file_changes(before: ManifestDocument, after: ManifestDocument) -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for path in sorted(before.files.keys() | after.files.keys()):
        if path not in before.files:
            changes[path] = "added"
        elif path not in after.files:
            changes[path] = "removed"
        elif before.files[path] != after.files[path]:
            changes[path] = "changed"
    return changes


def _summary(
    fields: tuple[str, ...],
    tensors: tuple[TensorChange, ...],
    files: Mapping[str, Change],
    after: ManifestDocument,
) -> str:
    if set(fields) <= {"head"} and all(change.file == HEAD_WEIGHTS for change in tensors):
        if fields or tensors:
            return "only the head changed"
        if not files:
            return "nothing changed"
        return f"same weights, {'card' if files.keys() == {CARD} else 'other files'} changed"
    if not tensors:
        return f"same weights, {' and '.join(fields)} changed"
    total = sum(map(len, after.tensors.values()))
    words = f"{len(tensors)} of {total} tensors differ"
    return f"{words}; {' and '.join(fields)} changed" if fields else words
