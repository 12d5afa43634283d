"""The resolver against brute force, on small random indexes.

The oracle knows nothing of the rules, the search and the order it is compared with: it writes down
what is allowed in Stack(lang, task) and what is best, tries every combination, and must agree.
"""

import random
from dataclasses import replace
from itertools import product

import pytest

from registry import resolve as resolving
from registry.errors import ResolutionImpossible
from registry.fitting import Index, judge, judge_choice, judge_pair
from registry.plan import Placed, make_plan
from registry.schemas import BaseIdentity, Lock, Need, Options, Requirement
from registry.strictjson import canonical
from tests.registry.candidates import base, candidate, identity, recipe, signature

SAMPLE, ALL = 200, 2_000
STEP = 100
SEEDS = [
    pytest.param(range(at, at + STEP), id=str(at), marks=[pytest.mark.long] if at >= SAMPLE else [])
    for at in range(0, ALL, STEP)
]
ORDER = ("task", "lang")
"""What stands higher is chosen first; named slots come before those that say a need."""


def on_every_seed(law):
    """Make a test of a law about one seed. It runs on blocks of them, and names one that fails."""

    @pytest.mark.parametrize("seeds", SEEDS)
    def test(seeds):
        for seed in seeds:
            try:
                law(seed)
            except Exception as error:
                error.add_note(f"with the seed {seed}")
                raise

    test.__doc__ = law.__doc__
    return test


# --- random indexes ------------------------------------------------------------------------------


def random_base(dice):
    if dice.random() < 0.8:
        return identity()
    return dice.choice(
        [
            identity("xlmr-v2", body="v2"),
            identity("bert", structure="bert"),
            identity("xlmr", vocabulary="other"),
            BaseIdentity(name="xlmr"),
            BaseIdentity(name="bert"),
        ]
    )


def random_signature(dice, slot, *, plain=False):
    usual = 0.9 if plain else 0.75
    share = 0.8 if slot == "lang" else 0.0 if plain else 0.2  # of those with an invertible part
    return signature(
        slot,
        method=dice.choices(["seq_bn", "lora", None], [usual, 0.2, 0.05])[0],
        layers=dice.choices([(0, 1, 2), (0, 1), (0, 1, 2, 3), None], [usual, 0.15, 0.1, 0.05])[0],
        points=dice.choices([("output",), ("attention",), None], [0.9, 0.05, 0.05])[0],
        invertible=dice.choices(["nice", None], [share, 1 - share])[0],
        rows=slot == "lang" and dice.random() < 0.3,
        language=dice.choices(["qu", "sw", "quy"], [0.8, 0.1, 0.1])[0] if slot == "lang" else None,
        series=dice.choice([None, "r2", "r16"]),
    )


def random_state(dice):
    return dice.choices(["live", "deprecated", "yanked", "quarantined"], [0.8, 0.08, 0.08, 0.04])[0]


def random_requires(dice, packs):
    kind = dice.choices(["partner", "none", "unknown", "other"], [0.8, 0.08, 0.07, 0.05])[0]
    if kind == "unknown":
        return None
    if kind == "none":
        return {}
    wanted = Requirement(
        signature=random_signature(dice, "lang", plain=True),
        drop_layers=dice.choice([(), (), (2,), (3,)]),
        content=dice.choice(packs).content if dice.random() < 0.2 else None,
    )
    return {"lang" if kind == "partner" else "prefix": wanted}


def versions(dice, names, make):
    found = []
    for name in names:
        for number in range(dice.randint(1, 3)):
            fields = make()
            found.append(
                candidate(
                    f"{name}@{dice.randint(1, 2)}.{number}.0",
                    base=random_base(dice),
                    state=random_state(dice),
                    **fields,
                )
            )
    return found


def random_index(seed):
    dice = random.Random(seed)
    lang_named, task_named = dice.random() < 0.3, dice.random() < 0.7

    def pack():
        offered = random_signature(dice, "lang")
        kind = dice.choices(["language", None], [0.95, 0.05])[0]
        return {
            "signature": offered,
            "languages": (offered.language,),
            "kind": kind,
            "requires": {},
        }

    names = ["lab/qu"] if lang_named else ["a/qu", "b/qu", "c/qu"][: dice.randint(1, 3)]
    packs = versions(dice, names, pack)

    def job():
        return {
            "signature": random_signature(dice, "task", plain=dice.random() < 0.9),
            "kind": dice.choices(["task", "language"], [0.95, 0.05])[0],
            "requires": random_requires(dice, packs),
            "has_head": dice.random() < 0.9,
            "tasks": ("copa",),
        }

    names = ["acme/copa"] if task_named else ["a/copa", "b/copa"][: dice.randint(1, 2)]
    jobs = versions(dice, names, job)
    pin = dice.choice(packs)
    lang = (
        dice.choice(["lab/qu@^1", f"lab/qu@{pin.content}"]) if lang_named else Need(language="qu")
    )
    if isinstance(lang, str) and "sha256" in lang:
        packs = [pin]
    wanted = recipe(
        {"lang": lang, "task": "acme/copa" if task_named else Need(task="copa", kind="task")},
        head=dice.choice([None, "task"]),
        options=Options(strict=dice.random() < 0.1, allow_base_mismatch=dice.random() < 0.3),
    )
    return wanted, {"lang": packs, "task": jobs}


# --- the oracle ----------------------------------------------------------------------------------


def same_base(wanted, found):
    """Whether an adapter's base will do; the model's is `identity()`."""
    known = identity()
    if found.structure is None:
        return found.name == known.name
    if found.structure != known.structure:
        return False
    if found.body != known.body and not wanted.options.allow_base_mismatch:
        return False
    return (found.embeddings, found.tokenizer) == (known.embeddings, known.tokenizer)


def allowed_alone(wanted, slot, each):
    asked = wanted.slots[slot]
    by_content = isinstance(asked, str) and "sha256" in asked
    states = {"live", "deprecated", "yanked"} if by_content else {"live", "deprecated"}
    if each.state not in states or not same_base(wanted, each.base):
        return False
    if slot == "lang":
        return isinstance(asked, str) or each.signature.language == "qu"
    if each.signature.invertible or each.signature.rows:
        return False  # it would stand above the first block
    right_kind = isinstance(asked, str) or each.kind == "task"
    return right_kind and (each.has_head or wanted.head is None)


def allowed_together(wanted, lang, task):
    """Whether the contract of the task adapter holds, or may be left unproven."""
    partner = (task.requires or {}).get("lang")
    if set(task.requires or {}) - {"lang"}:
        return False  # something it was trained with is not there
    if partner is not None and partner.content == lang.content:
        return True
    named = all(isinstance(asked, str) for asked in wanted.slots.values())
    answers = {"yes": True, "no": False, "unknown": named and not wanted.options.strict}
    return answers["unknown" if partner is None else compared(partner, lang.signature)]


def compared(partner, has):
    want = partner.signature
    if None in (want.method, has.method):
        return "unknown"
    differs = [want.method != has.method, want.invertible != has.invertible]
    known_points = None not in (want.points, has.points)
    known_layers = None not in (want.layers, has.layers)
    if known_points:
        differs.append(want.points != has.points)
    if known_layers:
        dropped = set(partner.drop_layers)
        differs.append(set(want.layers) - dropped != set(has.layers) - dropped)
    if any(differs):
        return "no"
    return "yes" if known_points and known_layers else "unknown"


def allowed(wanted, lang, task):
    return (
        allowed_alone(wanted, "lang", lang)
        and allowed_alone(wanted, "task", task)
        and allowed_together(wanted, lang, task)
    )


def quality(chosen, slot, each):
    """Return what makes a candidate better than one of another adapter, given what is chosen."""
    pair = {**chosen, slot: each}
    together = series = equal = False
    if len(pair) == 2 and (partner := (pair["task"].requires or {}).get("lang")):
        want, has = partner.signature, pair["lang"].signature
        together = partner.content == pair["lang"].content
        series = want.series is not None and want.series == has.series
        fields = ("method", "layers", "points", "invertible")
        equal = all(getattr(want, field) == getattr(has, field) for field in fields)
    return (together, series, equal, each.state == "live")


def oracle(wanted, index):
    """Return the references of the best choice, `impossible`, or `ambiguous` with the adapters."""
    pairs = [
        {"lang": lang, "task": task}
        for lang, task in product(index["lang"], index["task"])
        if allowed(wanted, lang, task)
    ]
    if not pairs:
        return "impossible"
    chosen = {}
    for slot in sorted(ORDER, key=lambda each: not isinstance(wanted.slots[each], str)):
        best = max(quality(chosen, slot, pair[slot]) for pair in pairs)
        pairs = [pair for pair in pairs if quality(chosen, slot, pair[slot]) == best]
        adapters = {pair[slot].adapter for pair in pairs}
        if len(adapters) > 1:
            return "ambiguous", slot, frozenset(adapters)
        newest = max(pair[slot].number for pair in pairs)
        pairs = [pair for pair in pairs if pair[slot].number == newest]
        chosen[slot] = pairs[0][slot]
    return {slot: each.ref for slot, each in chosen.items()}


def outcome(wanted, index):
    try:
        resolution = resolving.resolve(wanted, index, base())
    except ResolutionImpossible as error:
        if error.choices:
            ((slot, refs),) = error.choices.items()
            return "ambiguous", slot, frozenset(ref.partition("@")[0] for ref in refs)
        return "impossible"
    return {slot: part["ref"] for slot, part in resolution.lock["slots"].items()}


# --- laws ----------------------------------------------------------------------------------------


@on_every_seed
def test_the_resolver_agrees_with_brute_force(seed):
    wanted, index = random_index(seed)
    assert outcome(wanted, index) == oracle(wanted, index)


@on_every_seed
def test_no_lock_breaks_a_rule_and_every_rejection_is_explained(seed):
    wanted, index = random_index(seed)
    by_ref = {slot: {each.ref: each for each in index[slot]} for slot in index}
    try:
        resolution = resolving.resolve(wanted, index, base())
    except ResolutionImpossible as error:
        if not error.choices:
            for slot, known in by_ref.items():
                explained = {line.partition(": ")[0] for line in error.reasons[slot]}
                assert explained == set(known)
        return
    lock = Lock.model_validate(resolution.lock)
    pair = {slot: by_ref[slot][part.ref] for slot, part in lock.slots.items()}
    assert allowed(wanted, **pair)
    for slot, part in lock.slots.items():
        each = pair[slot]
        assert (part.content, part.revision) == (each.content, each.revision)
        why = resolution.why[slot]
        assert set(why["rejected"]) == set(by_ref[slot]) - {part.ref}
        assert all(reasons and all(reasons) for reasons in why["rejected"].values())
    assert layers_left(lock, pair) is not False


def layers_left(lock, pair):
    """Whether what is loaded has just the layers that its partner had in training."""
    partner = (pair["task"].requires or {}).get("lang")
    layers = pair["lang"].signature.layers
    if partner is None or layers is None:
        return None
    left = set(layers) - set(lock.slots["lang"].load.leave_out)
    if partner.signature.layers is None or partner.content == pair["lang"].content:
        return not left & set(partner.drop_layers)
    if partner.signature.method is None or pair["lang"].signature.method is None:
        return None  # nothing can be compared: it was named by hand
    return left == set(partner.signature.layers) - set(partner.drop_layers)


@on_every_seed
def test_the_order_of_rows_changes_not_a_byte(seed):
    wanted, index = random_index(seed)
    dice = random.Random(seed)
    turned = {slot: dice.sample(found, len(found)) for slot, found in index.items()}
    assert answer(wanted, index) == answer(wanted, turned)


def answer(wanted, index):
    try:
        resolution = resolving.resolve(wanted, index, base())
    except ResolutionImpossible as error:
        return str(error), error.reasons, error.choices
    return canonical(resolution.model_dump(mode="json"))


@on_every_seed
def test_yanking_what_is_not_in_the_lock_never_changes_it(seed):
    wanted, index = random_index(seed)
    before = outcome(wanted, index)
    if before == "impossible":
        return
    for slot, found in index.items():
        for at, each in enumerate(found):
            if isinstance(before, dict) and each.ref == before[slot]:
                continue
            fewer = [*found[:at], replace(each, state="yanked"), *found[at + 1 :]]
            after = outcome(wanted, index | {slot: fewer})
            if isinstance(before, dict):
                assert after == before
            else:  # an ambiguity may vanish; it never moves to more adapters of the same slot
                assert after != before or after[2] <= before[2]


# --- larger trees --------------------------------------------------------------------------------

TREES = [
    {"Stack": ["lang", {"Parallel": ["a", "b"]}]},
    {"Parallel": [{"Stack": ["lang", "a"]}, {"Stack": ["other", "b"]}]},
    {"Stack": ["lang", "a", "b"]},
]


def random_tree(seed):
    """Return a recipe over three or four slots of two to four candidates each."""
    dice = random.Random(seed)
    tree = dice.choice(TREES)
    packs = [slot for slot in ("lang", "other") if slot in str(tree)]
    index = {}
    for slot in packs:
        index[slot] = [
            candidate(
                f"{dice.choice('xy')}/{slot}{at}",
                kind="language",
                signature=random_signature(dice, "lang", plain=True),
                languages=("qu",),
                requires={},
            )
            for at in range(dice.randint(2, 4))
        ]
    for slot in ("a", "b"):
        index[slot] = [
            candidate(
                f"{dice.choice('xy')}/{slot}@1.{at}.0",
                kind="task",
                signature=random_signature(dice, "task", plain=True),
                requires={
                    each: Requirement(signature=random_signature(dice, "lang", plain=True))
                    for each in packs
                    if dice.random() < 0.8
                },
                tasks=("copa",),
            )
            for at in range(dice.randint(2, 4))
        ]
    slots = {slot: Need(language="qu") for slot in packs}
    slots |= {slot: Need(task="copa", kind="task") for slot in ("a", "b")}
    return recipe(slots, tree, head=[]), index


@on_every_seed
def test_a_choice_is_found_in_a_larger_tree_when_there_is_one(seed):
    """Forward checking must neither lose a choice nor invent one."""
    wanted, index = random_tree(seed)
    plan = make_plan(wanted, base())

    def fits(choice):
        findings = [each for slot, one in choice.items() for each in judge(plan, slot, one)]
        for slot, other in product(choice, choice):
            if slot < other:
                findings += judge_pair(
                    plan, Placed(slot, choice[slot]), Placed(other, choice[other])
                )
        findings += judge_choice(plan, choice)
        return not any(each.refused for each in findings)

    slots = sorted(index)
    possible = any(
        fits(dict(zip(slots, combination, strict=True)))
        for combination in product(*(index[slot] for slot in slots))
    )
    assert Index.of(plan, index).completes({}) == possible
    assert (outcome(wanted, index) != "impossible") == possible
