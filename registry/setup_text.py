"""Set-ups as people type them: `Stack(lang:qu, acme/copa-xlmr@^1)`.

setup := [slot "="] leaf | BLOCK "(" item {"," item} ")"
item  := setup | option "=" value
leaf  := need | reference | slot
need  := key ":" value {"+" key ":" value}          key is lang, task, kind or series
value := number | true | false | slot | "[" value {"," value} "]"

A slot that is given no name is called after its need (`lang:qu` fills the slot `lang`); a reference
is called `task` when it is the only one without a name, else after the adapter. A bare word stands
for a slot named elsewhere in the text. The option `layer` takes a leaf, the adapter that holds the
fusion's weights; `head` may stand in the outermost block and takes the slots whose heads are used.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from adapters_runtime.composition import BLOCKS, AdapterCompositionBlock, Fuse
from registry import names
from registry.errors import InvalidName, InvalidRecipe
from registry.schemas import Need, Recipe
from registry.setup import (
    OPTIONS,
    Heads,
    Tree,
    block_options,
    build_block,
    read_heads,
    read_tree,
    write_heads,
    write_tree,
)

LONGEST = 4096
_DEEPEST = 16
_TOKEN = re.compile(r"\s*(?:([(),=\[\]])|([^\s(),=\[\]]+))")
_WORD = re.compile(r"[^\s(),=\[\]@]+")
_NEED_FIELDS = {"lang": "language", "task": "task", "kind": "kind", "series": "series"}


def parse_recipe(text: str, **fields: Any) -> Recipe:
    """Read a set-up typed by a person into a recipe; `fields` are the recipe's others.

    Raises InvalidRecipe, which shows the column.

    >>> parse_recipe("Stack(lang:qu, acme/copa@^1)", base="xlm-roberta-base").slots["task"]
    'acme/copa@^1'
    """
    reader = _Reader(text)
    root = reader.read()
    builder = _Builder(text, root)
    tree = builder.build(root)
    heads = write_heads(builder.heads)
    chosen = {"head": heads} if heads is not None else {}
    return Recipe.model_validate(
        {"slots": builder.slots, "setup": write_tree(tree)} | chosen | fields
    )


# --- reading -------------------------------------------------------------------------------------


@dataclass
class _Node:
    """One item of the text: a leaf when `kind` is None, else a block with what stands in it."""

    column: int
    text: str
    label: str | None = None
    kind: str | None = None
    items: list["_Node"] = field(default_factory=list)
    options: dict[str, tuple[int, Any]] = field(default_factory=dict)
    layer: "_Node | None" = None


def _fail(text: str, column: int, problem: str) -> NoReturn:
    raise InvalidRecipe(f"column {column} of {text!r}: {problem}")


def _shown(token: str) -> str:
    return repr(token) if token else "the end"


class _Reader:
    """A reader by recursive descent: it knows the grammar, and nothing of slots."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise InvalidRecipe(f"a set-up has at most {LONGEST} characters, not {len(text)}")
        self.text = text
        self.tokens = list(self._tokens())
        self.at = 0

    def _tokens(self) -> Iterator[tuple[int, str]]:
        end = len(self.text.rstrip())
        at = 0
        while at < end:
            match = _TOKEN.match(self.text, at)
            assert match is not None  # any character is a mark or part of a word
            word = match.group(1) or match.group(2)
            yield match.end() - len(word) + 1, word
            at = match.end()
        yield end + 1, ""

    def read(self) -> _Node:
        node = self._labelled(depth=0)
        column, rest = self.tokens[self.at]
        if rest:
            _fail(self.text, column, f"{rest!r} follows a set-up that is complete")
        return node

    def _next(self) -> tuple[int, str]:
        token = self.tokens[self.at]
        self.at += token[1] != ""
        return token

    def _peek(self) -> str:
        return self.tokens[self.at][1]

    def _expect(self, *wanted: str) -> str:
        column, found = self._next()
        if found not in wanted:
            marks = " or ".join(repr(mark) for mark in wanted)
            _fail(self.text, column, f"expected {marks}, found {_shown(found)}")
        return found

    def _word(self, what: str) -> tuple[int, str]:
        column, word = self._next()
        if not word or word in "(),=[]":
            _fail(self.text, column, f"expected {what}, found {_shown(word)}")
        return column, word

    def _setup(self, depth: int) -> _Node:
        column, word = self._word("an adapter, a need such as lang:qu, or a block")
        if self._peek() != "(":
            return _Node(column, word)
        if word not in BLOCKS:
            _fail(self.text, column, f"no block is called {word!r}; there are {', '.join(BLOCKS)}")
        if depth == _DEEPEST:
            _fail(self.text, column, "the blocks are nested too deeply")
        node = _Node(column, word, kind=word)
        self._next()
        mark = ","
        while mark == ",":
            self._item(node, depth + 1)
            mark = self._expect(",", ")")
        return node

    def _labelled(self, depth: int) -> _Node:
        label = None
        if self._label_follows():
            column, label = self._word("a name before '='")
            self._next()
        node = self._setup(depth)
        if label is not None and node.kind is not None:
            _fail(self.text, column, f"{label!r} cannot name a block; only slots have names")
        node.label = label
        return node

    def _label_follows(self) -> bool:
        return self._peek() != "" and self.tokens[self.at + 1][1] == "="

    def _item(self, block: _Node, depth: int) -> None:
        column, label = self.tokens[self.at]
        is_option = label in OPTIONS.get(block.text, ()) or (label == "head" and depth == 1)
        if not (is_option and self._label_follows()):
            block.items.append(self._labelled(depth))
            return
        self.at += 2
        if label in block.options or (label == "layer" and block.layer is not None):
            _fail(self.text, column, f"{label!r} is given twice")
        if label == "layer":
            block.layer = self._labelled(depth)
        else:
            block.options[label] = (column, self._value(depth))

    def _value(self, depth: int) -> Any:
        if self._peek() != "[":
            return _literal(self._word("a value")[1])
        if depth >= _DEEPEST:
            _fail(self.text, self._next()[0], "the lists are nested too deeply")
        self._next()
        values = []
        mark = "]" if self._peek() == "]" else ","
        if mark == "]":
            self._next()
        while mark == ",":
            values.append(self._value(depth + 1))
            mark = self._expect(",", "]")
        return values


def _literal(word: str) -> Any:
    """A number or a truth value; other words stay what they are."""
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return value if isinstance(value, bool | int | float) else word


# --- building ------------------------------------------------------------------------------------


class _Builder:
    """Names the slots and builds the tree, once the whole text has been read."""

    def __init__(self, text: str, root: _Node) -> None:
        self.text = text
        self.slots: dict[str, str | Need] = {}
        self.heads: Heads = None
        self._labels = {node.label for node in _nodes(root) if node.label is not None}
        unnamed = [leaf for leaf in _leaves(root) if not leaf.label and _is_reference(leaf.text)]
        self._only = len(unnamed) == 1

    def build(self, node: _Node, *, outermost: bool = True) -> Tree:
        if node.kind is None:
            return self._leaf(node, fallback=None)
        children = [self.build(item, outermost=False) for item in node.items]
        options = {key: value for key, (_, value) in node.options.items() if key != "head"}
        if node.layer is not None:
            options["layer"] = self._leaf(node.layer, fallback="fuse")
        try:
            tree = build_block(node.kind, children, options)
        except InvalidRecipe as error:
            _fail(self.text, node.column, str(error))
        if outermost and "head" in node.options:
            column, head = node.options["head"]
            self.heads = self._read_heads(column, head)
        return tree

    def _read_heads(self, column: int, head: Any) -> Heads:
        try:
            return read_heads(head)
        except InvalidRecipe as error:
            _fail(self.text, column, str(error))

    def _leaf(self, node: _Node, *, fallback: str | None) -> str:
        """Return the slot of a leaf, having noted what fills it."""
        if node.kind is not None:
            _fail(self.text, node.column, "a fusion layer is an adapter, not a block")
        filling = self._filling(node)
        if filling is None:
            return node.text
        slot = node.label or self._free(fallback or self._usual_name(node, filling))
        if slot in self.slots:
            _fail(self.text, node.column, f"the slot {slot!r} is filled twice; name one of them")
        self.slots[slot] = filling
        return slot

    def _filling(self, node: _Node) -> str | Need | None:
        """Return the reference or need that a leaf states, or None where it names a slot."""
        try:
            if _is_need(node.text):
                return _read_need(node.text)
            if _is_reference(node.text):
                return str(names.parse_reference(node.text))
        except (InvalidName, InvalidRecipe) as error:
            _fail(self.text, node.column, str(error))
        if node.label is not None or node.text not in self._labels | set(self.slots):
            _fail(
                self.text,
                node.column,
                f"{node.text!r} is neither an adapter (owner/name), a need (lang:qu), nor a slot "
                "that is filled before it",
            )
        return None

    def _usual_name(self, node: _Node, filling: str | Need) -> str:
        if isinstance(filling, Need):
            return node.text.partition(":")[0]
        if self._only:
            return "task"
        return filling.partition("@")[0].partition("/")[2]

    def _free(self, name: str) -> str:
        taken = self._labels | set(self.slots)
        numbered = (f"{name}{number}" for number in range(2, len(taken) + 3))
        return name if name not in taken else next(each for each in numbered if each not in taken)


def _nodes(node: _Node) -> Iterator[_Node]:
    yield node
    for item in [*node.items, *([node.layer] if node.layer else [])]:
        yield from _nodes(item)


def _leaves(node: _Node) -> Iterator[_Node]:
    """Yield the leaves of the tree, without the layers of fusions: those have a usual name."""
    if node.kind is None:
        yield node
    for item in node.items:
        yield from _leaves(item)


def _is_need(text: str) -> bool:
    return ":" in text.partition("@")[0]


def _is_reference(text: str) -> bool:
    return "/" in text and not _is_need(text)


def _read_need(text: str) -> Need:
    fields: dict[str, str] = {}
    for part in text.split("+"):
        key, colon, value = part.partition(":")
        if key not in _NEED_FIELDS or not colon or not value:
            known = ", ".join(f"{key}:..." for key in _NEED_FIELDS)
            raise InvalidRecipe(f"{part!r} is not a need; write {known}")
        fields[_NEED_FIELDS[key]] = names.parse_language(value) if key == "lang" else value
    try:
        return Need.model_validate(fields)
    except ValueError as error:
        raise InvalidRecipe(f"{text!r} is not a need: kind is one of {_KINDS}") from error


_KINDS = "task, language, fusion, head, embedding, setup"


# --- writing -------------------------------------------------------------------------------------


def format_recipe(recipe: Recipe) -> str:
    """Write the slots, the tree and the head of a recipe so that `parse_recipe` reads them back.

    Raises InvalidRecipe when a slot is not in the tree, or a value holds what text cannot.
    """
    writer = _Writer(recipe)
    tree = read_tree(recipe.setup)
    text = writer.write(tree)
    if left := sorted(set(recipe.slots) - writer.written):
        raise InvalidRecipe(f"the slot {left[0]!r} stands outside the set-up's tree")
    if recipe.head is None:
        return text
    if isinstance(tree, str):
        raise InvalidRecipe("a head can be named only within a block, such as Stack(...)")
    heads = recipe.head if isinstance(recipe.head, str) else _format_value(recipe.head)
    return f"{text[:-1]}, head={heads})"


class _Writer:
    def __init__(self, recipe: Recipe) -> None:
        self.slots = recipe.slots
        self.references = [slot for slot, filling in self.slots.items() if isinstance(filling, str)]
        self.written: set[str] = set()

    def write(self, tree: Tree) -> str:
        if isinstance(tree, str):
            return self._slot(tree)
        return f"{type(tree).__name__}({', '.join(self._items(tree))})"

    def _items(self, block: AdapterCompositionBlock) -> Iterator[str]:
        for child in block:
            yield self.write(child)
        options = block_options(block)
        if isinstance(block, Fuse):
            yield f"layer={self._layer(block.name)}"
            options = {}
        for key, value in options.items():
            yield f"{key}={_format_value(value)}"

    def _layer(self, slot: str) -> str:
        if not _WORD.fullmatch(slot):
            raise InvalidRecipe(f"text needs a fusion's slot to be a plain word, not {slot!r}")
        return self._slot(slot, usual="fuse")

    def _slot(self, slot: str, usual: str | None = None) -> str:
        if slot in self.written:
            return slot
        filling = self._fill(slot)
        if _is_need(filling):
            usual = filling.partition(":")[0]
        elif self.references == [slot]:
            usual = "task"
        return filling if slot == usual else f"{slot}={filling}"

    def _fill(self, slot: str) -> str:
        if slot not in self.slots:
            raise InvalidRecipe(f"the set-up names the slot {slot!r}, which nothing fills")
        self.written.add(slot)
        filling = self.slots[slot]
        return filling if isinstance(filling, str) else _format_need(filling)


def _format_need(need: Need) -> str:
    parts = [
        f"{key}:{value}"
        for key, attribute in _NEED_FIELDS.items()
        if (value := getattr(need, attribute)) is not None
    ]
    text = "+".join(parts)
    if len(text.split("+")) != len(parts) or not _WORD.fullmatch(text):
        raise InvalidRecipe(f"a need cannot be written as text: {need.model_dump()}")
    return text


def _format_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_format_value(item) for item in value) + "]"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        raise InvalidRecipe("heads that form a tree cannot be written as text")
    return json.dumps(value)
