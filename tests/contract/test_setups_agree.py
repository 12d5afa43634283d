"""The hub judges set-ups without torch, and exactly as the runtime does that will load them."""

import copy
import random

import pytest
import torch

import adapters_runtime
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.composition import (
    BLOCKS,
    NESTING,
    Average,
    BatchSplit,
    Fuse,
    MultiTask,
    Parallel,
    Split,
    Stack,
    blocks_of,
)
from adapters_runtime.configs import EmbeddingRowsConfig, load_config, parts_of, signature
from adapters_runtime.context import AdapterSetup
from adapters_runtime.errors import (
    AdapterError,
    ConfigError,
    FusionNotLoaded,
    InvalidComposition,
    UnsupportedComposition,
    UnsupportedSite,
)
from registry import resolve, setup
from registry.errors import InvalidRecipe, ResolutionImpossible
from registry.schemas import Signature
from tests.registry.candidates import base, candidate, recipe
from tests.support.methods import METHODS
from tests.support.running import inputs_for
from tests.support.tiny_models import PAIRS, build_tiny

SAMPLED = [pytest.param(0, id="sample"), pytest.param(1, id="long", marks=pytest.mark.long)]


# --- which blocks may hold which -----------------------------------------------------------------


def any_tree(rng, depth=4):
    """Return (kind, children, options), right or wrong, to be written in each of three forms."""
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(["a", "b", "c", "lang"])
    children = [any_tree(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 2, 2, 3, 3]))]
    kind = rng.choice(list(BLOCKS))
    return kind, children, any_options(rng, kind, len(children))


def any_options(rng, kind, number):
    if kind in ("Split", "BatchSplit"):
        usual, odd = (
            [[2] * number, 3],
            [[2] * (number + 1), 0, [1.5] * number, ["x"] * number, None],
        )
        value = rng.choice(usual if rng.random() < 0.9 else odd)
        return {} if value is None else {"splits" if kind == "Split" else "batch_sizes": value}
    if kind == "Average":
        options = [{}, {"weights": [1, 3, 4][:number]}, {"weights": [-1, 1]}, {"weights": [1] * 4}]
        return rng.choice(options) | rng.choice([{}, {}, {"normalize_weights": False}])
    return {"name": "mix"} if kind == "Fuse" and rng.random() < 0.5 else {}


def in_program(tree):
    if isinstance(tree, str):
        return tree
    kind, children, options = tree
    return BLOCKS[kind](*map(in_program, children), **options)


def in_recipe(tree):
    if isinstance(tree, str):
        return tree
    kind, children, options = tree
    named = {"layer" if key == "name" else key: value for key, value in options.items()}
    return {kind: [in_recipe(child) for child in children], **named}


def in_file(tree):
    if isinstance(tree, str):
        return {"type": "single", "children": [tree]}
    kind, children, options = tree
    return {"type": kind, "children": [in_file(child) for child in children], "kwargs": options}


def outcome(read, written):
    """Return what was read, and why it was refused."""
    try:
        return read(written), None
    except (AdapterError, InvalidRecipe, TypeError) as error:
        return None, str(error)


@pytest.mark.parametrize("long", SAMPLED)
def test_a_recipe_may_hold_what_a_program_may(long):
    rng, count = random.Random(long), 100_000 if long else 2_000
    accepted = refused = 0
    for _ in range(count):
        tree = any_tree(rng)
        block, refusal = outcome(in_program, tree)
        found, reason = outcome(setup.read_tree, in_recipe(tree))
        assert found == block, tree
        if refusal is not None:
            refused += 1
            assert refusal in reason, tree
        elif not isinstance(block, str):
            accepted += 1
            assert setup.read_tree(setup.write_tree(block)) == block
            assert setup.from_adapterhub({"adapter_setup": in_file(tree)})[0] == block
    assert min(accepted, refused) > count // 20


# --- which methods may stand in which blocks -----------------------------------------------------

ROWS, TOKENS, TASKS = 6, 7, 3
EACH = 3
"""Adapters of each method in the model."""
ALONE = {name: load_config(text) for name, text in METHODS.items() if not name.endswith("_inv")}
"""Methods by name. Where an invertible one may stand is R9's affair."""


class Nesting:
    """A random nesting that the blocks allow, with sizes that fit the inputs.

    Its leaves are slots; `methods` holds the method of each.
    """

    def __init__(self, rng):
        self.rng = rng
        self.drawn = rng.sample(sorted(ALONE), rng.choice([1, 2, 3]))
        for self.copies in (rng.choice([1, 2, 3]), 1):
            self.methods = {}
            kind = rng.choice([*BLOCKS.values(), Stack, Parallel])
            self.tree = self.block(kind, ROWS * self.copies, TOKENS, 0)
            if self.tree.parallel_channels == self.copies:
                break  # else nothing would copy the rows

    def block(self, kind, rows, tokens, depth):
        number = {Parallel: self.copies, MultiTask: TASKS}.get(kind) or self.rng.choice([1, 2, 3])
        shares, options = [(rows, tokens)] * number, {}
        if kind is Split:
            options["splits"] = self.shared(tokens, min(number, tokens))
            shares = [(rows, share) for share in options["splits"]]
        elif kind is BatchSplit:
            options["batch_sizes"] = self.shared(rows, min(number, rows))
            shares = [(share, tokens) for share in options["batch_sizes"]]
        elif kind is Parallel:
            shares = [(rows // number, tokens)] * number
        elif kind is Fuse:
            options["name"] = f"mix{len(self.methods)}"
        return kind(*(self.child(kind, *share, depth) for share in shares), **options)

    def child(self, kind, rows, tokens, depth):
        # Two levels down there can be only names and stacks.
        kinds = [each for each in NESTING[kind] if depth == 0 or (depth == 1 and each is Stack)]
        if not kinds or self.rng.random() < 0.5:
            slot = f"s{len(self.methods)}"
            self.methods[slot] = self.rng.choice(self.drawn)
            return slot
        return self.block(self.rng.choice(kinds), rows, tokens, depth + 1)

    def shared(self, size, number):
        cuts = sorted(self.rng.sample(range(1, size), number - 1))
        return [end - start for start, end in zip([0, *cuts], [*cuts, size], strict=True)]

    def around(self, kind):
        """Return the methods that stand in a block of a kind."""
        return {
            self.methods[slot]
            for block in blocks_of(self.tree, kind)
            for slot in setup.leaves(block)
        }

    @property
    def is_comparable(self):
        """Whether all that can go wrong at a place goes wrong before sizes no longer fit.

        Prompts make the text longer than it is split. Rows with unequal prompts are filled up,
        which their average does not see.
        """
        if "prompt_tuning" not in self.methods.values():
            return True
        refused_at_once = "prompt_tuning" in self.around(Split) | self.around(Fuse)
        filled = any(
            True for block in blocks_of(self.tree, Average) for _ in blocks_of(block, BatchSplit)
        )
        return not filled and (refused_at_once or not any(blocks_of(self.tree, Split)))


def judged(nesting):
    """Return why the hub refuses the set-up, as lines."""
    slots = {slot: f"x/{slot}" for slot in nesting.methods}
    found = {slot: [offered(slot, ALONE[name])] for slot, name in nesting.methods.items()}
    for fuse in blocks_of(nesting.tree, Fuse):
        slots[fuse.name] = f"x/{fuse.name}"
        found[fuse.name] = [candidate(f"x/{fuse.name}", kind="fusion")]
    wanted = recipe(slots, setup.write_tree(nesting.tree), head=[])
    try:
        resolve.resolve(wanted, found, base(model_type="bert"))
    except ResolutionImpossible as error:
        return [line for lines in error.reasons.values() for line in lines]
    return []


def offered(slot, config):
    def length(key):
        return sum(getattr(part, key, 0) for part in parts_of(config))

    prompts = length("prompt_length")
    return candidate(
        f"x/{slot}",
        kind="task",
        requires={},
        signature=Signature(slot="task", **signature(config, 2)),
        positions=length("prefix_length") + prompts,
        prompts=prompts,
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = copy.deepcopy(build_tiny("bert")).eval()
    adapters_runtime.init(model)
    for name, config in ALONE.items():
        for number in range(EACH):
            model.add_adapter(f"{name}-{number}", config)
    return model


def tried(model, nesting):
    """Return the error with which the runtime refuses the set-up, or None."""
    adapters = {
        slot: f"{method}-{int(slot[1:]) % EACH}" for slot, method in nesting.methods.items()
    }

    def named(child):
        return adapters[child] if isinstance(child, str) else child.mapped(named)

    tree = named(nesting.tree)
    fusions = [fuse for fuse in blocks_of(tree, Fuse) if is_fusible(model, fuse)]
    inputs = inputs_for(model, ROWS, TOKENS)
    if any(blocks_of(tree, MultiTask)):
        inputs["task_ids"] = [row % TASKS for row in range(ROWS)]
    try:
        with AdapterSetup(tree), torch.no_grad():
            model(**inputs)
    except (UnsupportedComposition, InvalidComposition, FusionNotLoaded) as error:
        return error
    finally:
        for fuse in fusions:
            model.delete_adapter_fusion(fuse)
    return None


def is_fusible(model, fuse):
    try:
        model.add_adapter_fusion(fuse)
    except ConfigError:
        return False  # some members are no bottlenecks
    return True


@pytest.mark.parametrize("long", SAMPLED)
def test_the_hub_refuses_the_nestings_that_the_runtime_refuses(model, long):
    rng, count = random.Random(long), 5_000 if long else 200
    accepted = refused = 0
    while accepted + refused < count:
        nesting = Nesting(rng)
        if not nesting.is_comparable:
            continue
        error, lines = tried(model, nesting), judged(nesting)
        lines = [line for line in lines if "R10 composition" in line]
        assert (error is None) == (not lines), (nesting.tree, nesting.methods, error, lines)
        accepted, refused = accepted + (not lines), refused + bool(lines)
        if isinstance(error, InvalidComposition):
            assert "Average needs" in str(error)
            # The hub looks at the whole only where nothing speaks against a part of it.
            assert all("cannot stand in" in line or "Average needs" in line for line in lines)
        elif error is not None:
            # No fusion can be made over what is no bottleneck.
            block = "Fuse" if isinstance(error, FusionNotLoaded) else error.block
            assert any(f"cannot stand in {block}" in line for line in lines)
    assert min(accepted, refused) > count // 10


# --- which methods have a place in which models --------------------------------------------------


@pytest.mark.parametrize("name", [*sorted(ARCHITECTURES), *PAIRS])
def test_the_hub_knows_which_methods_a_model_type_has_a_place_for(name):
    model = copy.deepcopy(build_tiny(name))
    model_type = model.config.model_type
    adapters_runtime.init(model)
    methods = ALONE | {"embedding_rows": EmbeddingRowsConfig(token_ids=(5, 6))}
    for method, config in methods.items():
        try:
            model.add_adapter("a", config)
            model.delete_adapter("a")
            has_place = True
        except UnsupportedSite:
            has_place = False
        wanted = recipe({"a": "x/a"}, "a", head=[])
        try:
            resolve.resolve(wanted, {"a": [offered("a", config)]}, base(model_type=model_type))
            reasons = None
        except ResolutionImpossible as error:
            reasons = error.reasons["a"]
        assert (reasons is None) == has_place, (method, reasons)
        if reasons is not None:
            assert f"R14 runtime: {model_type} has no place for" in reasons[0]
