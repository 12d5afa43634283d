"""What an adapter offers, what it asks of its partners, and whether the two fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.schemas import ManifestDocument, Requirement, Signature


@dataclass(frozen=True)
class Fit:
    """How an offered signature meets a requirement."""

    reasons: tuple[str, ...] = ()
    """What contradicts it, in words."""
    unknown: tuple[str, ...] = ()
    """What cannot be told. A fit without reasons but with unknowns is a near match, never more."""
    leave_out: tuple[int, ...] = ()
    """Layers to leave out when the partner is loaded, so that it is like the one in training."""

    @property
    def is_satisfied(self) -> bool:
        return not self.reasons and not self.unknown


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
    """Compare a partner with the one that was there in training.

    Method, insertion points, invertible kind and layers count. Layers may be left out at load where
    the requirement says so, and are never added. Embedding rows, reduction factor, language and
    series are no part of it.
    """
    wanted = requirement.signature
    if wanted.method is None:
        return Fit(unknown=("the signature of the partner in training is unknown",))
    if offered.method is None:
        return Fit(unknown=("its method, layers and insertion points are unknown",))
    reasons, unknown = [], []
    if offered.method != wanted.method:
        reasons.append(f"its method is {offered.method}, in training it was {wanted.method}")
    if offered.invertible != wanted.invertible:
        has, had = (_invertible(signature) for signature in (offered, wanted))
        reasons.append(f"it has {has}, the partner in training had {had}")
    if offered.points is None or wanted.points is None:
        unknown.append("the insertion points are unknown")
    elif set(offered.points) != set(wanted.points):
        has, had = (_words(sorted(points)) for points in (offered.points, wanted.points))
        reasons.append(f"it stands at {has}, the partner in training stood at {had}")
    if offered.layers is None or wanted.layers is None:
        unknown.append("the layers are unknown")
        return Fit(tuple(reasons), tuple(unknown))
    dropped = set(requirement.drop_layers)
    reasons += _layer_reasons(set(wanted.layers) - dropped, set(offered.layers) - dropped)
    return Fit(tuple(reasons), tuple(unknown), tuple(sorted(dropped & set(offered.layers))))


def missing_for(requirement: Requirement, candidate: Signature) -> list[str]:
    """Return in words why a candidate does not meet a requirement; nothing if it does."""
    found = fit(requirement, candidate)
    return [*found.reasons, *found.unknown]


def _invertible(signature: Signature) -> str:
    # Where the method is known, None means that there is no invertible part.
    kind = signature.invertible
    return "no invertible part" if kind is None else f"an invertible part ({kind})"


def _layer_reasons(wanted: set[int], offered: set[int]) -> list[str]:
    reasons = []
    if missing := wanted - offered:
        reasons.append(f"it has nothing in {_layers(missing)}, where the partner in training had")
    if extra := offered - wanted:
        reasons.append(
            f"it also adapts {_layers(extra)}, which the partner in training did not, "
            "and the requirement does not say to drop"
        )
    return reasons


def _layers(numbers: set[int]) -> str:
    """Return `layer 3` or `layers 0-3, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"layer{'s' if len(numbers) > 1 else ''} {', '.join(texts)}"


def _words(items: Sequence[str]) -> str:
    return " and ".join(items) if items else "no point"
