"""Reading a set-up that is published as one: its tree, and a folder or a pin for every part.

A part whose folder lies in the package is checked like an adapter of its own; one without is named
by the lock, which pins it by digest. So a set-up may be published whole, as AdapterHub's library
saves it, or as the few lines of a lock.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from adapters_runtime.shapes import BaseDescription
from registry import layouts, setup
from registry.adapterhub import Contents
from registry.errors import InvalidPackage, InvalidRecipe
from registry.packages import Check, Package
from registry.schemas import Lock, Signature

CONFIG = "adapter_setup.json"
LOCK = "hub_lock.json"


def is_setup(package: Package) -> bool:
    return CONFIG in package and layouts.decisive(package) is None


def read(package: Package, base: BaseDescription | None, check: Check) -> Contents:
    """Read the set-up and all its parts. Raises InvalidPackage where there is no going on."""
    tree, heads = _tree(package)
    lock = read_lock(package)
    inside = [*setup.leaves(tree), *(fuse.name for fuse in setup.fusions(tree))]
    pinned = {} if lock is None else lock.slots
    found: dict[str, Contents] = {}
    for slot in dict.fromkeys([*inside, *setup.head_slots(heads), *pinned]):
        part = part_of(package, slot)
        if part.files:
            contents = _read_part(slot, part, base, check)
            found |= {} if contents is None else {slot: contents}
        elif slot in inside and slot not in pinned:
            check.problem(CONFIG, f"names {slot!r}, which has no folder, and no lock pins it")
    if lock is not None and setup.read_tree(lock.setup) != tree:
        check.problem(LOCK, f"setup is {lock.setup}, but {CONFIG} says {setup.write_tree(tree)}")
    return Contents(
        layout="adapterhub",
        kind="setup",
        method="setup",
        configuration={
            "setup": setup.write_tree(tree),
            "head": setup.write_heads(heads),
            "parts": {slot: _facts(contents) for slot, contents in found.items()},
            "pinned": {slot: part.content for slot, part in pinned.items()},
        },
        model_type=base.model_type if base else None,
        signature=Signature(method="setup", layers=(), points=()),
        head=None,
        weights=tuple(file for contents in found.values() for file in contents.weights),
        local_names=tuple({name for each in found.values() for name in each.local_names}),
        copies={copy: first for each in found.values() for copy, first in each.copies.items()},
    )


def parts(package: Package) -> Iterator[tuple[str, Package]]:
    """Yield the parts whose folders lie in the package."""
    for slot in sorted({path.partition("/")[0] for path in package.files if "/" in path}):
        part = part_of(package, slot)
        if layouts.decisive(part) is not None:
            yield slot, part


def part_of(package: Package, slot: str) -> Package:
    """Return what lies in a slot's folder; its paths begin there."""
    start = f"{slot}/"
    return Package(
        {
            path.removeprefix(start): file
            for path, file in package.files.items()
            if path.startswith(start)
        }
    )


def read_lock(package: Package) -> Lock | None:
    """Return the lock in a package. Raises InvalidPackage."""
    if LOCK not in package:
        return None
    try:
        return setup.read_lock(package.read_json(LOCK))
    except InvalidRecipe as error:
        raise InvalidPackage([f"{LOCK}: {error}"]) from error


def _tree(package: Package) -> tuple[setup.Tree, setup.Heads]:
    try:
        return setup.from_adapterhub(package.read_json(CONFIG))
    except InvalidRecipe as error:
        raise InvalidPackage([f"{CONFIG}: {error}"]) from error


def _read_part(
    slot: str, part: Package, base: BaseDescription | None, check: Check
) -> Contents | None:
    own = Check()
    contents = None
    with own.noting():
        contents = layouts.read(part, base, own)
    for problem in own.problems:
        file, _, text = problem.partition(": ")
        check.problem(f"{slot}/{file}", text)
    check.warnings += (f"{slot}/{warning}" for warning in own.warnings)
    if contents is None:
        return None
    return replace(contents, weights=tuple(f"{slot}/{file}" for file in contents.weights))


def _facts(contents: Contents) -> dict[str, Any]:
    return {
        "method": contents.method,
        "configuration": contents.configuration,
        "head": None if contents.head is None else contents.head.configuration,
    }
