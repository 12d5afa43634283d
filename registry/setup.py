"""Set-ups: which slots work together, and how, as JSON, as blocks and as AdapterHub's file.

JSON         {"Stack": ["lang", {"Fuse": ["a", "b"], "layer": "mix"}]}
blocks       Stack("lang", Fuse("a", "b", name="mix")), checked by the runtime's own nesting rules
AdapterHub   {"adapter_setup": {"type": "Stack", "children": [...]}, "head_setup": ...}

Leaves are names of slots. The text form people type is in `registry.setup_text`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from adapters_runtime.composition import (
    BLOCKS,
    AdapterCompositionBlock,
    Average,
    BatchSplit,
    Fuse,
    Split,
    Stack,
)
from adapters_runtime.errors import AdapterError
from registry import names, strictjson
from registry.errors import InvalidName, InvalidRecipe
from registry.schemas import Lock

Tree = str | AdapterCompositionBlock
"""A slot's name, or a block of them."""
Heads = str | tuple[str, ...] | AdapterCompositionBlock | None
"""The slot whose head is used, several in order, a tree of them, or none."""

OPTIONS = {
    "Fuse": ("layer",),
    "Split": ("splits",),
    "BatchSplit": ("batch_sizes",),
    "Average": ("weights", "normalize_weights"),
}
"""What a block's object may hold beside its children."""

REFERENCE_LIBRARY = "adapters.1.3.0"
"""The release whose file format we write; its reader looks for this field."""


# --- JSON ----------------------------------------------------------------------------------------


def read_tree(document: Any) -> Tree:
    """Read a tree of slots from JSON. Raises InvalidRecipe, which names the block at fault."""
    if isinstance(document, str):
        return _slot(document)
    if not isinstance(document, Mapping):
        raise InvalidRecipe(f"a set-up is a slot's name or an object such as {_EXAMPLE}")
    kinds = [key for key in document if key in BLOCKS]
    if len(kinds) != 1:
        raise InvalidRecipe(
            f"a block has exactly one of the keys {', '.join(BLOCKS)}, as in {_EXAMPLE}; "
            f"this one has {', '.join(map(str, document)) or 'none'}"
        )
    kind = kinds[0]
    options = {key: value for key, value in document.items() if key != kind}
    return build_block(kind, _children(kind, document[kind]), options)


def build_block(kind: str, children: list[Tree], options: Mapping[str, Any]) -> Tree:
    """Build a block with its options as JSON names them. Raises InvalidRecipe."""
    allowed = OPTIONS.get(kind, ())
    if unknown := sorted(set(options) - set(allowed)):
        takes = f"takes {' and '.join(allowed)}" if allowed else "takes no options"
        raise InvalidRecipe(f"{kind} has no option {unknown[0]!r}; it {takes}")
    given = dict(options)
    if "layer" in given:
        given["name"] = _slot(given.pop("layer"))
    try:
        return BLOCKS[kind](*children, **given)
    except AdapterError as error:
        raise InvalidRecipe(str(error)) from error
    except (TypeError, ValueError) as error:
        raise InvalidRecipe(f"{kind} cannot be built with {dict(options)}: {error}") from error


def write_tree(tree: Tree) -> dict[str, Any] | str:
    """Return the one JSON form of a tree: lists for tuples, defaults left out."""
    if isinstance(tree, str):
        return tree
    return {type(tree).__name__: [write_tree(child) for child in tree], **block_options(tree)}


def block_options(block: AdapterCompositionBlock) -> dict[str, Any]:
    """Return the options of a block as JSON names them, where they say something."""
    if isinstance(block, Fuse):
        return {} if block.name == Fuse(*block.children).name else {"layer": block.name}
    if isinstance(block, Split):
        return {"splits": list(block.splits)}
    if isinstance(block, BatchSplit):
        return {"batch_sizes": list(block.batch_sizes)}
    if isinstance(block, Average):
        options: dict[str, Any] = {"weights": list(block.weights)}
        if not math.isclose(sum(block.weights), 1.0):
            options["normalize_weights"] = False
        return options
    return {}


def read_heads(document: Any) -> Heads:
    """Read the `head` of a recipe or lock. Raises InvalidRecipe."""
    if document is None:
        return None
    if isinstance(document, list | tuple):
        return tuple(_slot(item) for item in document)
    return read_tree(document)


def write_heads(heads: Heads) -> str | list[Any] | dict[str, Any] | None:
    if heads is None:
        return None
    return list(heads) if isinstance(heads, tuple) else write_tree(heads)


_EXAMPLE = '{"Stack": ["lang", "task"]}'


def _slot(value: Any) -> str:
    if not isinstance(value, str) or not value or any(ch.isspace() for ch in value):
        raise InvalidRecipe(f"{value!r} is not the name of a slot: a text without spaces is needed")
    return value


def _children(kind: str, value: Any) -> list[Tree]:
    if not isinstance(value, list | tuple):
        raise InvalidRecipe(f"{kind} needs a list of slots and blocks, not {value!r}")
    return [read_tree(child) for child in value]


# --- what a tree holds ---------------------------------------------------------------------------


def leaves(tree: Tree) -> tuple[str, ...]:
    """Return the slots that stand in the tree, each once, in the order of the stream."""
    return (tree,) if isinstance(tree, str) else tree.flatten()


def fusions(tree: Tree) -> Iterator[Fuse]:
    """Yield every Fuse block of the tree; its `name` is the slot of the fusion's own weights."""
    if isinstance(tree, Fuse):
        yield tree
    for child in () if isinstance(tree, str) else tree:
        yield from fusions(child)


def head_slots(heads: Heads) -> tuple[str, ...]:
    """Return the slots whose heads are asked for, each once."""
    if heads is None or isinstance(heads, tuple):
        return tuple(dict.fromkeys(heads or ()))
    return leaves(heads)


def paths(tree: Tree) -> list[tuple[str, ...]]:
    """Return every way a token can take through the tree, as the slots it meets in order.

    >>> paths(Stack("lang", Fuse("a", "b")))
    [('lang', 'a'), ('lang', 'b')]
    """
    if isinstance(tree, str):
        return [(tree,)]
    branches = [paths(child) for child in tree]
    if not isinstance(tree, Stack):
        return [path for branch in branches for path in branch]
    joined: list[tuple[str, ...]] = [()]
    for branch in branches:
        joined = [start + end for start in joined for end in branch]
    return joined


# --- AdapterHub's adapter_setup.json -------------------------------------------------------------


def to_adapterhub(tree: Tree, heads: Heads = None) -> dict[str, Any]:
    """Return the document that AdapterHub's library reads as `adapter_setup.json`."""
    block = Stack(tree) if isinstance(tree, str) else tree
    head = heads.to_dict() if isinstance(heads, AdapterCompositionBlock) else write_heads(heads)
    return {"adapter_setup": block.to_dict(), "head_setup": head, "version": REFERENCE_LIBRARY}


def from_adapterhub(document: Mapping[str, Any]) -> tuple[Tree, Heads]:
    """Read an `adapter_setup.json`. Raises InvalidRecipe."""
    if not isinstance(document.get("adapter_setup"), Mapping):
        raise InvalidRecipe("adapter_setup.json has no object `adapter_setup`")
    try:
        tree = AdapterCompositionBlock.from_dict(document["adapter_setup"])
        head = document.get("head_setup")
        if isinstance(head, Mapping):
            return tree, AdapterCompositionBlock.from_dict(head)
    except AdapterError as error:
        raise InvalidRecipe(f"adapter_setup.json: {error}") from error
    return tree, read_heads(head)


# --- locks ---------------------------------------------------------------------------------------


def read_lock(document: Mapping[str, Any]) -> Lock:
    """Read a lock that came from elsewhere. Raises InvalidRecipe, which names the field."""
    try:
        lock = Lock.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        raise InvalidRecipe(f"this is not a lock: {field}: {first['msg'].lower()}") from error
    for slot, part in lock.slots.items():
        try:
            names.parse_reference(part.ref)
        except InvalidName as error:
            raise InvalidRecipe(f"the lock's slot {slot!r}: {error}") from error
    return lock


# --- identity ------------------------------------------------------------------------------------


def setup_digest(lock: Lock) -> str:
    """Return the digest under which the scores of a set-up are kept.

    It covers what affects the output: base, content and load options of every part, tree, heads.
    Parts stand by content where they stand in the tree, so neither the names of slots nor those of
    adapters count, and a set-up keeps its scores when an adapter is renamed or its card edited.
    """
    parts = {
        slot: {"content": part.content, "load": part.load.model_dump(mode="json")}
        for slot, part in lock.slots.items()
    }
    tree, heads = read_tree(lock.setup), read_heads(lock.head)
    _check_locked(parts, tree, heads)
    in_tree = set(leaves(tree)) | {fuse.name for fuse in fusions(tree)}
    beside = [parts[slot] for slot in parts if slot not in in_tree]
    return strictjson.digest(
        {
            "base": _base_for_digest(lock),
            "setup": _by_content(tree, parts.__getitem__),
            "beside": sorted(beside, key=strictjson.canonical),
            "head": None if heads is None else _heads_by_content(heads, parts),
        }
    )


def _check_locked(parts: Mapping[str, Any], tree: Tree, heads: Heads) -> None:
    needed = [*leaves(tree), *(fuse.name for fuse in fusions(tree)), *head_slots(heads)]
    for slot in needed:
        if slot not in parts:
            raise InvalidRecipe(f"the lock's set-up names the slot {slot!r}, which it does not pin")


def _base_for_digest(lock: Lock) -> dict[str, Any]:
    """Digests name a base; name and revision do only where the body was never digested."""
    known = lock.base.model_dump(mode="json")
    named = ("name", "revision") if lock.base.body is None else ()
    return {key: known[key] for key in ("structure", "body", "embeddings", "tokenizer", *named)}


def _by_content(tree: Tree, part: Callable[[str], Any]) -> Any:
    if isinstance(tree, str):
        return {"part": part(tree)}
    document: dict[str, Any] = {type(tree).__name__: [_by_content(child, part) for child in tree]}
    options = block_options(tree)
    if isinstance(tree, Fuse):
        options["layer"] = part(tree.name)
    return document | options


def _heads_by_content(heads: str | tuple[str, ...] | AdapterCompositionBlock, parts: Any) -> Any:
    if isinstance(heads, tuple):
        return [parts[slot] for slot in heads]
    return _by_content(heads, parts.__getitem__)
