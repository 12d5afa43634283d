"""What an adapter offers, what it asks of its partners, and whether the two fit."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters_runtime.contracts import Fit
from adapters_runtime.contracts import fit as compare
from registry.schemas import ManifestDocument, Requirement, Signature

__all__ = ["Contract", "Fit", "fit", "missing_for"]


@dataclass(frozen=True)
class Contract:
    """One adapter's side. `requires` is None when the adapter does not say."""

    signature: Signature
    requires: Mapping[str, Requirement] | None = None

    @classmethod
    def of(cls, manifest: ManifestDocument) -> "Contract":
        return cls(manifest.signature, manifest.requires)

    def fit(self, slot: str, offered: Signature) -> Fit:
        """Say whether a partner with this signature may stand in `slot` beside the adapter."""
        if self.requires is None:
            return Fit(unknown=("it is unknown which partners this adapter was trained with",))
        if (requirement := self.requires.get(slot)) is None:
            return Fit()
        return fit(requirement, offered)


def fit(requirement: Requirement, offered: Signature) -> Fit:
    """Compare a partner with the one that was there in training, by the runtime's own rule."""
    return compare(requirement.signature, offered, requirement.drop_layers)


def missing_for(requirement: Requirement, candidate: Signature) -> list[str]:
    """Return in words why a candidate does not meet a requirement; nothing if it does."""
    found = fit(requirement, candidate)
    return [*found.reasons, *found.unknown]
