"""What is known of an adapter beside its weights: what it is for, and what it was trained with."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from adapters_runtime.composition import AdapterCompositionBlock

SLOTS = {
    "language": "lang",
    "task": "task",
    "fusion": "fuse",
    "head": "head",
    "embedding": "embedding",
}
"""Kind of adapter -> the slot it fills in a set-up."""


@dataclass(frozen=True)
class AdapterInfo:
    """Fields that are None are unknown."""

    kind: str | None = None
    languages: tuple[str, ...] = ()
    series: str | None = None
    datasets: tuple[dict[str, Any], ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    ref: str | None = None
    """The published version it was loaded from."""
    content: str | None = None
    """That version's content digest."""
    dropped_layers: tuple[int, ...] = ()
    """Layers that were left out when it was loaded."""
    setup: AdapterCompositionBlock | None = None
    """The set-up it was trained in."""
    embeddings: dict[str, Any] | None = None
    """`ref` and `content` of the token embeddings in training; None where they were the base's."""
    requires: dict[str, Any] | None = None
    """Partner slot -> requirement, as in hub_adapter.json; None: follows from `setup`."""

    @property
    def slot(self) -> str | None:
        return None if self.kind is None else SLOTS.get(self.kind, self.kind)

    def with_changes(
        self,
        *,
        languages: Iterable[str] | None = None,
        datasets: Iterable[Any] | None = None,
        **other: Any,
    ) -> "AdapterInfo":
        changes = {key: value for key, value in other.items() if value is not None}
        if languages is not None:
            changes["languages"] = tuple(languages)
        if datasets is not None:
            changes["datasets"] = tuple(_dataset(dataset) for dataset in datasets)
        return replace(self, **changes)


def _dataset(value: Any) -> dict[str, Any]:
    """Return {name, config, split} from a name, a tuple or a mapping."""
    if isinstance(value, str):
        value = (value,)
    if isinstance(value, tuple):
        value = dict(zip(("name", "config", "split"), value, strict=False))
    return {key: value.get(key) for key in ("name", "config", "split")}
