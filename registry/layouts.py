"""Which kind of folder a package is, and the reader for it. Its one decisive file tells."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters_runtime.shapes import BaseDescription
from registry import adapterhub, embedding_folder, fusion_folder, heads, peft
from registry.adapterhub import Contents
from registry.errors import InvalidPackage
from registry.packages import LARGEST_CONFIGURATION, Check, Package
from registry.schemas import Signature

Reader = Callable[[Package, Mapping[str, Any], BaseDescription | None, Check], Contents]


def _adapter(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    read = peft.read if "peft_type" in document else adapterhub.read
    return read(package, document, base, check)


def _head(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    if base is not None:
        adapterhub.check_model(document, base, heads.CONFIG, check)
    head = heads.read(package, base, check)
    return Contents(
        layout="adapterhub",
        kind="head",
        method="head",
        configuration={"head_type": head.type if head else None},
        model_type=base.model_type if base else None,
        signature=Signature(method="head", layers=(), points=()),
        head=head,
        weights=(heads.WEIGHTS,) if heads.WEIGHTS in package else (),
        local_names=heads.local_names(package),
    )


READERS: Mapping[str, Reader] = {
    adapterhub.CONFIG: _adapter,
    fusion_folder.CONFIG: fusion_folder.read,
    heads.CONFIG: _head,
    embedding_folder.WEIGHTS: embedding_folder.read,
}
"""Decisive file -> reader. An adapter's folder may hold a head's files too, so it comes first."""


_GOES_WITH = {
    adapterhub.WEIGHTS: adapterhub.CONFIG,
    peft.WEIGHTS: adapterhub.CONFIG,
    fusion_folder.WEIGHTS: fusion_folder.CONFIG,
}
"""Weights -> the decisive file, also where that was lost: a head beside them decides nothing."""


def decisive(package: Package) -> str | None:
    """Return the file that tells what a package is; None where it is nothing that we know."""
    found = next((file for file in READERS if file in package), None)
    if found in (adapterhub.CONFIG, fusion_folder.CONFIG):
        return found
    return next((_GOES_WITH[file] for file in _GOES_WITH if file in package), found)


def description(package: Package) -> dict[str, Any]:
    """Return the JSON object of the decisive file. Raises InvalidPackage."""
    file = decisive(package) or adapterhub.CONFIG
    if file not in package:
        text = "is missing: this is no adapter folder; save_adapter writes one"
        raise InvalidPackage([f"{file}: {text}"])
    if not file.endswith(".json"):
        return {}
    return package.read_json(file, limit=LARGEST_CONFIGURATION)


def read(package: Package, base: BaseDescription | None, check: Check) -> Contents:
    """Read a package of any of these kinds. Raises InvalidPackage where there is no going on."""
    document = description(package)
    return READERS[str(decisive(package))](package, document, base, check)
