"""What the resolver works on: a recipe laid out as a plan, a base, and candidates for its slots.

Pure data: no database, no files. `registry.candidates` fills it, `registry.rules` judges it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adapters_runtime.composition import Fuse, Stack
from registry import names, setup
from registry.errors import InvalidName, InvalidRecipe
from registry.schemas import BaseIdentity, Need, Options, Recipe, Requirement, Signature
from registry.versioning import Number

BESIDE = ("embedding", "head")
"""Kinds of adapters that may fill a slot outside the tree."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One published version, or one revision named by its id, as the rules see it."""

    adapter: str
    number: Number | None
    """None for a revision without a version."""
    revision: str
    content: str
    state: str = "live"
    successor: str | None = None
    kind: str | None = None
    base: BaseIdentity = field(default_factory=BaseIdentity)
    signature: Signature = field(default_factory=Signature)
    requires: Mapping[str, Requirement] | None = None
    """None when nobody knows what it was trained with; empty when it was trained alone."""
    trained_in: setup.Tree | None = None
    """The set-up it was trained in, its slots named as in `requires`."""
    labels: tuple[str, ...] | None = None
    """Labels of its head in order; None when there are none, as in language modelling."""
    has_head: bool = False
    languages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """What it can be asked for by, in lower case: tasks, tags and datasets."""
    licence: str | None = None
    positions: int = 0
    """How many positions its prompt or prefix takes."""
    prompts: int = 0
    """How many of them are a prompt's."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.adapter}@{self.revision if self.number is None else self.number}"


class Placed(NamedTuple):
    """A candidate in a slot."""

    slot: str
    adapter: Candidate


@dataclass(frozen=True, kw_only=True)
class ResolvedBase:
    """The base that a set-up is for. `bodies` and `embeddings` hold its digests and its casts'."""

    identity: BaseIdentity
    bodies: frozenset[str] = frozenset()
    embeddings: frozenset[str] = frozenset()
    model_type: str | None = None
    max_positions: int | None = None

    @classmethod
    def of(cls, identity: BaseIdentity, **fields: Any) -> "ResolvedBase":
        """Return a base of which no cast is known."""
        return cls(
            identity=identity,
            bodies=frozenset([identity.body] if identity.body else []),
            embeddings=frozenset([identity.embeddings] if identity.embeddings else []),
            **fields,
        )

    def __str__(self) -> str:
        return name_of(self.identity)


def name_of(identity: BaseIdentity) -> str:
    """Return what to call a base when speaking to a person."""
    if identity.name is not None:
        revision = f"@{identity.revision[:8]}" if identity.revision else ""
        return identity.name + revision
    return f"a base with body {short(identity.body)}"


def short(digest: str | None) -> str:
    return "of unknown digest" if digest is None else digest[: len("sha256:") + 8]


def by_age(candidate: Candidate) -> tuple[Any, ...]:
    """Sorts by adapter, the newest version first; revisions without a number come last."""
    number = candidate.number
    newest_first = (1,) if number is None else (0, *(-part for part in number))
    return candidate.adapter, newest_first, candidate.revision


# --- findings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """What a rule has to say about a candidate: it is refused, or used with a warning."""

    rule: str
    about: str
    """Reference of the candidate; of two that do not go together, the one that is described."""
    text: str
    refused: bool = True
    near: bool = False
    """Nothing speaks against it but that too little is known."""

    def told_of(self, ref: str | None = None) -> str:
        """Return the finding as a line that stands under a candidate's name, or under none."""
        whom = "" if self.about == ref else f"{self.about}: "
        return f"{whom}{self.rule}: {'near match: ' if self.near else ''}{self.text}"


# --- plans ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe that was checked: every slot is filled, and where it stands is known."""

    slots: Mapping[str, str | Need]
    tree: setup.Tree
    heads: setup.Heads
    head_given: bool
    options: Options
    base: ResolvedBase
    paths: Sequence[tuple[str, ...]]
    """Every way through the tree, as `setup.paths` gives them."""
    below: Mapping[str, frozenset[str]]
    """Per slot, those whose output it works on."""
    enclosing: Mapping[str, frozenset[str]]
    """Per slot, the kinds of blocks around it."""
    fusions: Mapping[str, tuple[str, ...]]
    """Slot of a fusion's own weights -> the slots it mixes, in order."""

    def named(self, slot: str) -> bool:
        """Whether the recipe names the adapter, rather than what it must be."""
        return isinstance(self.slots[slot], str)

    def pinned(self, slot: str) -> bool:
        """Whether the recipe names the very content, so that a yanked version may be meant."""
        text = self.slots[slot]
        return isinstance(text, str) and isinstance(
            names.parse_reference(text).selector, names.Content | names.RevisionPin
        )

    @property
    def in_tree(self) -> tuple[str, ...]:
        return setup.leaves(self.tree)

    @property
    def beside(self) -> tuple[str, ...]:
        """Slots outside the tree: embeddings, and heads of their own."""
        inside = {*self.in_tree, *self.fusions}
        return tuple(slot for slot in sorted(self.slots) if slot not in inside)

    @property
    def by_preference(self) -> tuple[str, ...]:
        """The slots in the order in which they are chosen.

        Named ones come first, being the most constrained, and what stands higher comes before what
        stands below it, because a task adapter says what its language adapter must be. The order is
        that of the recipe alone: were it to follow the candidates, yanking a version nobody uses
        could change which of two conflicting slots has its way.
        """
        places = [*self.fusions, *reversed(self.in_tree), *self.beside]
        return tuple(sorted(places, key=lambda slot: not self.named(slot)))

    @property
    def top(self) -> str | None:
        """The slot whose output leaves the set-up, when it is one slot."""
        tree = self.tree
        while isinstance(tree, Stack):
            tree = tree.children[-1]
        return tree if isinstance(tree, str) else None


def make_plan(recipe: Recipe, base: ResolvedBase) -> Plan:
    """Lay a recipe out. Raises InvalidRecipe when its set-up and its slots do not belong together.

    A `setup` that is a text is the name of the one slot; what people type is read before, by
    `registry.setup_text`.
    """
    tree, heads = setup.read_tree(recipe.setup), setup.read_heads(recipe.head)
    fusions = {fuse.name: members(fuse) for fuse in setup.fusions(tree)}
    _check_slots(recipe, tree, heads, fusions)
    paths = setup.paths(tree)
    return Plan(
        slots=recipe.slots,
        tree=tree,
        heads=heads,
        head_given=recipe.head is not None,
        options=recipe.options,
        base=base,
        paths=paths,
        below={
            slot: frozenset(
                under for path in paths if slot in path for under in path[: path.index(slot)]
            )
            for slot in setup.leaves(tree)
        },
        enclosing=_enclosing(tree),
        fusions=fusions,
    )


def members(block: Fuse) -> tuple[str, ...]:
    """Return the slots whose outputs a fusion mixes: of a stack, the last."""
    return tuple(child if isinstance(child, str) else child.last() for child in block)


def _enclosing(tree: setup.Tree) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for slot, kinds in _walk(tree, frozenset()):
        found[slot] = found.get(slot, frozenset()) | kinds
    return found


def _walk(tree: setup.Tree, kinds: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    if isinstance(tree, str):
        yield tree, kinds
        return
    for child in tree:
        yield from _walk(child, kinds | {type(tree).__name__})


def _check_slots(
    recipe: Recipe, tree: setup.Tree, heads: setup.Heads, fusions: Mapping[str, tuple[str, ...]]
) -> None:
    if not recipe.slots:
        raise InvalidRecipe("the recipe fills no slot")
    for slot in [*setup.leaves(tree), *setup.head_slots(heads)]:
        if slot not in recipe.slots:
            filled = ", ".join(recipe.slots)
            raise InvalidRecipe(f"nothing fills the slot {slot!r}; the recipe fills {filled}")
    for layer, members in fusions.items():
        if layer not in recipe.slots:
            raise InvalidRecipe(
                f"Fuse({', '.join(members)}) needs the adapter that holds the fusion's weights: "
                f"fill a slot {layer!r}, or name another slot by `layer`"
            )
    for path in setup.paths(tree):
        if len(set(path)) < len(path):
            raise InvalidRecipe(f"a slot stands twice on one way: {' -> '.join(path)}")
    used = {*setup.leaves(tree), *setup.head_slots(heads), *fusions}
    for slot, filling in recipe.slots.items():
        _check_filling(slot, filling, used=slot in used)


def _check_filling(slot: str, filling: str | Need, *, used: bool) -> None:
    try:
        if isinstance(filling, str):
            names.parse_reference(filling)
            return
        if filling.language is not None:
            names.parse_language(filling.language)
    except InvalidName as error:
        raise InvalidRecipe(f"slot {slot!r}: {error}") from error
    if filling == Need():
        raise InvalidRecipe(f"slot {slot!r} needs nothing in particular: say a language or a task")
    if not (used or filling.kind in BESIDE):
        raise InvalidRecipe(f"the slot {slot!r} stands nowhere in the set-up")
