"""Whether the tensors of a file are those that its configuration and its base call for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from registry.packages import Check, Package
from registry.schemas import TensorEntry
from registry.weights import TensorInfo, WeightsError, read_header, tensor_digests

Shapes = Mapping[str, tuple[int, ...]]

_MOST_NAMED = 20
"""Problems of one kind that are listed singly; a foreign file would have hundreds."""


@dataclass(frozen=True)
class Weights:
    """A weights file whose header has been read."""

    file: str
    tensors: Mapping[str, TensorInfo]

    def without(self, names: Collection[str]) -> "Weights":
        tensors = {name: info for name, info in self.tensors.items() if name not in names}
        return replace(self, tensors=tensors)


def read_weights(package: Package, file: str, check: Check) -> Weights | None:
    """Read the header of a file, noting what is wrong with it."""
    try:
        with package.open(file) as stream:
            return Weights(file, read_header(stream, package.files[file].size))
    except WeightsError as error:
        for problem in error.problems:
            check.problem(file, problem)
        return None


def compare(weights: Weights, expected: Shapes, check: Check, *, source: str) -> None:
    """Note every tensor that is missing, not expected, or of another shape."""
    found = weights.tensors
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    if missing and extra and not expected.keys() & found.keys():
        check.problem(
            weights.file,
            f"none of its {len(found)} tensors has a name that {source} calls for: it belongs to "
            "another architecture, another base or another way of naming",
        )
    _note(check, weights.file, missing, f"is missing; {source} calls for it")
    _note(check, weights.file, extra, f"is not expected; {source} does not call for it")
    for name in sorted(expected.keys() & found.keys()):
        if found[name].shape != tuple(expected[name]):
            check.problem(
                weights.file,
                f"tensor {name!r}: has shape {list(found[name].shape)}, "
                f"{source} calls for {list(expected[name])}",
            )


def _note(check: Check, file: str, names: Collection[str], text: str) -> None:
    for name in list(names)[:_MOST_NAMED]:
        check.problem(file, f"tensor {name!r}: {text}")
    if len(names) > _MOST_NAMED:
        check.problem(file, f"{len(names) - _MOST_NAMED} more tensors like the one before")


def digest_tensors(package: Package, file: str, check: Check) -> dict[str, TensorEntry]:
    """Hash every tensor and check its values. The names are those in the file."""
    with package.open(file) as stream:
        tensors = read_header(stream, package.files[file].size)
        try:
            digests = tensor_digests(stream, tensors)
        except WeightsError as error:
            for problem in error.problems:
                check.problem(file, problem)
            return {}
    return {
        name: TensorEntry(dtype=info.dtype, shape=info.shape, digest=digests[name])
        for name, info in tensors.items()
    }
