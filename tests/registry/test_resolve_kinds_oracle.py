"""Fusions, heads and embeddings of their own, against a checker that knows nothing of the rules.

The set-up is Stack(lang, Fuse(a, b)) with the fusion's weights, a head and token embeddings beside
it. The checker writes down what is allowed, tries every combination, and must agree on whether
there is a choice; every lock must be one of those allowed.
"""

import random
from dataclasses import replace
from itertools import product

from registry import resolve as resolving
from registry.errors import ResolutionImpossible
from registry.schemas import BaseIdentity, Lock, Need, Options, Requirement
from registry.strictjson import canonical
from tests.registry.candidates import base, candidate, digest, identity, recipe, signature
from tests.registry.test_resolve_oracle import on_every_seed

TREE = {"Stack": ["lang", {"Fuse": ["a", "b"], "layer": "fuse"}]}
WHOLE = {"method": "embedding", "layers": (), "points": ()}
LICENCES = ("mit", "apache-2.0", None)


def some(dice, make, names, most=3):
    return [
        candidate(
            f"{dice.choice(names)}@1.{number}.0",
            base=dice.choices(
                [identity(), identity("bert", structure="bert"), identity(vocabulary="other")],
                [0.97, 0.01, 0.02],
            )[0],
            state=dice.choices(["live", "deprecated", "yanked", "quarantined"], [30, 1, 1, 1])[0],
            licence=dice.choice(LICENCES),
            **make(),
        )
        for number in range(dice.randint(1, most))
    ]


def on_embedding(dice, embeddings):
    """Return what an adapter says of the embeddings it was trained on: nothing, or which."""
    content = dice.choice([each.content for each in embeddings] * 4 + [digest("elsewhere"), None])
    wanted = Requirement(
        signature=signature("embedding", invertible=None, **WHOLE), content=content
    )
    return dice.choices([{}, {"embedding": wanted}], [0.25, 0.75])[0]


def random_index(seed):
    dice = random.Random(seed)
    offered = signature("lang", language="qu")
    index = {
        "embedding": some(
            dice,
            lambda: {
                "kind": dice.choices(["embedding", "task"], [0.95, 0.05])[0],
                "signature": signature("embedding", invertible=None, **WHOLE),
                "requires": {},
            },
            ["x/words", "y/words"],
        )
    }
    index["lang"] = some(
        dice,
        lambda: {
            "kind": "language",
            "signature": offered,
            "languages": ("qu",),
            "requires": on_embedding(dice, index["embedding"]),
        },
        ["x/qu", "y/qu"],
    )
    for slot in "ab":
        method = dice.choices(["seq_bn", "lora"], [0.95, 0.05])
        index[slot] = some(
            dice,
            lambda method=method[0]: {
                "kind": "task",
                "signature": signature("task", method=method),
                "requires": {"lang": Requirement(signature=offered)}
                | on_embedding(dice, index["embedding"]),
            },
            [f"x/{slot}"],
            most=2,
        )
    index["fuse"] = some(dice, lambda: random_fusion(dice, index), ["x/mix", "y/mix"])
    index["head"] = some(
        dice,
        lambda: {
            "kind": dice.choices(["head", "task"], [0.9, 0.1])[0],
            "has_head": dice.random() < 0.9,
            "signature": signature("head", invertible=None, **(WHOLE | {"method": "head"})),
            "requires": {},
        },
        ["x/labels"],
    )
    slots = {
        "lang": Need(language="qu"),
        "a": "x/a@^1",
        "b": "x/b@^1",
        "fuse": dice.choice(["x/mix@^1", Need(kind="fusion")]),
        "head": "x/labels@^1",
        "embedding": Need(kind="embedding"),
    }
    if isinstance(slots["fuse"], str):
        index["fuse"] = [replace(each, adapter="x/mix") for each in index["fuse"]]
    options = Options(strict=dice.random() < 0.2, licences=dice.choice([None, ("mit",)]))
    return recipe(slots, TREE, head="head", options=options), index


def random_fusion(dice, index):
    members = dice.choices([("m1", "m2"), ("m2", "m1"), ("m1", "m2", "m3")], [0.85, 0.1, 0.05])[0]
    trained = {"m1": dice.choice(index["a"]), "m2": dice.choice(index["b"])}
    requires = {
        member: Requirement(
            signature=signature("task"),
            content=each.content if dice.random() < 0.9 else None,
        )
        for member, each in trained.items()
        if dice.random() < 0.97
    }
    tree = dice.choices([{"Fuse": list(members), "layer": "mix"}, None], [0.9, 0.1])[0]
    return {
        "kind": dice.choices(["fusion", "task"], [0.95, 0.05])[0],
        "signature": signature("fuse", method="fusion", invertible=None),
        "requires": requires,
        "trained_in": None if tree is None else resolving.setup.read_tree(tree),
    }


# --- the checker ---------------------------------------------------------------------------------


def allowed(wanted, choice):
    named = {slot for slot, filling in wanted.slots.items() if isinstance(filling, str)}
    return (
        all(of_base(slot, each) and each.state in ("live", "deprecated")
            for slot, each in choice.items())
        and choice["embedding"].kind == "embedding"
        and choice["head"].kind == "head"
        and choice["head"].has_head
        and choice["fuse"].kind == "fusion"
        and all(choice[slot].signature.method == "seq_bn" for slot in "ab")
        and all(vocabulary(wanted, choice, slot) for slot in ("lang", "a", "b"))
        and mixes(wanted, choice, named)
    )  # fmt: skip


def of_base(slot, each):
    known: BaseIdentity = identity()
    if (each.base.structure, each.base.body) != (known.structure, known.body):
        return False
    # Embeddings bring a vocabulary; who was trained on such ones is compared with those.
    free = (slot == "embedding" and each.kind == "embedding") or "embedding" in each.requires
    return free or each.base.tokenizer == known.tokenizer


def vocabulary(wanted, choice, slot):
    asked = choice[slot].requires.get("embedding")
    if slot != "lang":
        return asked is not None or not wanted.options.strict
    return asked is not None and asked.content == choice["embedding"].content


def mixes(wanted, choice, named):
    fusion = choice["fuse"]
    unknown = {"a", "b", "fuse"} <= named and not wanted.options.strict
    if fusion.trained_in is None:
        return unknown
    members = list(fusion.trained_in)
    if len(members) != 2:
        return False
    for member, slot in zip(members, "ab", strict=True):
        trained = fusion.requires.get(member)
        if trained is None or trained.content is None:
            if not unknown:
                return False
        elif trained.content != choice[slot].content:
            return False
    return True


def choices(wanted, index):
    for combination in product(*index.values()):
        choice = dict(zip(index, combination, strict=True))
        if allowed(wanted, choice):
            yield choice


def outcome(wanted, index):
    try:
        return resolving.resolve(wanted, index, base())
    except ResolutionImpossible as error:
        return error


# --- laws ----------------------------------------------------------------------------------------


@on_every_seed
def test_there_is_a_lock_just_where_a_choice_is_allowed(seed):
    wanted, index = random_index(seed)
    found, possible = outcome(wanted, index), next(choices(wanted, index), None)
    if isinstance(found, ResolutionImpossible):
        assert (possible is not None) == bool(found.choices)
        return
    lock = Lock.model_validate(found.lock)
    by_ref = {slot: {each.ref: each for each in index[slot]} for slot in index}
    choice = {slot: by_ref[slot][part.ref] for slot, part in lock.slots.items()}
    assert allowed(wanted, choice)
    assert lock.head == "head"
    foreign = {each.ref for each in choice.values() if each.licence != "mit"}
    warned = {line.partition(": ")[0] for line in found.warnings if "R15" in line}
    assert warned == (foreign if wanted.options.licences else set())


@on_every_seed
def test_the_order_of_rows_and_yanks_of_others_change_nothing(seed):
    wanted, index = random_index(seed)
    dice = random.Random(seed)
    found = outcome(wanted, index)
    turned = {slot: dice.sample(rows, len(rows)) for slot, rows in index.items()}
    again = outcome(wanted, turned)
    if isinstance(found, ResolutionImpossible):
        assert (str(again), again.reasons) == (str(found), found.reasons)
        return
    assert canonical(again.model_dump(mode="json")) == canonical(found.model_dump(mode="json"))
    for slot, rows in index.items():
        for at, each in enumerate(rows):
            if each.ref != found.lock["slots"][slot]["ref"]:
                fewer = [*rows[:at], replace(each, state="yanked"), *rows[at + 1 :]]
                assert outcome(wanted, index | {slot: fewer}).lock == found.lock
