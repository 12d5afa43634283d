"""Whether a partner offers what an adapter was trained with: the one rule behind every swap.

The hub applies it to what is published, the runtime to what is loaded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Offered(Protocol):
    """A signature: what an adapter offers to its partners. A method of None means unknown."""

    @property
    def method(self) -> str | None: ...
    @property
    def layers(self) -> Collection[int] | None: ...
    @property
    def points(self) -> Collection[str] | None: ...
    @property
    def invertible(self) -> str | None: ...


@dataclass(frozen=True)
class Signature:
    """A signature as hub_adapter.json holds it."""

    method: str | None = None
    layers: tuple[int, ...] | None = None
    points: tuple[str, ...] | None = None
    invertible: str | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Signature":
        layers, points = document.get("layers"), document.get("points")
        return cls(
            document.get("method"),
            None if layers is None else tuple(layers),
            None if points is None else tuple(points),
            document.get("invertible"),
        )


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


def fit(wanted: Offered, offered: Offered, drop_layers: Collection[int] = ()) -> Fit:
    """Compare a partner with the one that was there in training.

    Method, insertion points, invertible kind and layers count. Layers may be left out at load where
    `drop_layers` says so, and are never added. Embedding rows, reduction factor, language and
    series are no part of it.
    """
    if wanted.method is None:
        return Fit(unknown=("the signature of the partner in training is unknown",))
    if offered.method is None:
        return Fit(unknown=("its method, layers and insertion points are unknown",))
    reasons, unknown = _compare(wanted, offered)
    if offered.layers is None or wanted.layers is None:
        return Fit(tuple(reasons), (*unknown, "the layers are unknown"))
    dropped = set(drop_layers)
    reasons += _layer_reasons(set(wanted.layers) - dropped, set(offered.layers) - dropped)
    leave_out = tuple(sorted(dropped & set(offered.layers)))
    return Fit(tuple(reasons), tuple(unknown), leave_out)


def _compare(wanted: Offered, offered: Offered) -> tuple[list[str], list[str]]:
    """Return what differs, and what is unknown, apart from the layers."""
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
    return reasons, unknown


def _invertible(signature: Offered) -> str:
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
