"""The resolver picks the one right choice, and says of every other candidate why it was not it."""

import pytest

from registry import resolve as resolving
from registry.errors import InvalidRecipe, ResolutionImpossible
from registry.fitting import MOST_JUDGEMENTS
from registry.schemas import Lock, Need, Options, Recipe, Requirement
from registry.setup import read_tree, setup_digest
from tests.registry.candidates import (
    base,
    candidate,
    digest,
    identity,
    language,
    recipe,
    signature,
    task,
)


def resolve(candidates, wanted=None, known_base=None):
    return resolving.resolve(wanted or recipe(), candidates, known_base or base())


def chosen(candidates, wanted=None, known_base=None):
    resolution = resolve(candidates, wanted, known_base)
    return {slot: part["ref"] for slot, part in resolution.lock["slots"].items()}


def refused(candidates, wanted=None, known_base=None):
    with pytest.raises(ResolutionImpossible) as caught:
        resolve(candidates, wanted, known_base)
    return caught.value


def reason(candidates, slot="lang", wanted=None, known_base=None):
    """Return the only reason against the only candidate of a slot."""
    (line,) = refused(candidates, wanted, known_base).reasons[slot]
    return line


QU = language("lab/qu@1.0.0")
COPA = task("acme/copa@1.0.0")
NAMED = {"lang": "lab/qu", "task": "acme/copa"}


def test_a_set_up_by_need_is_pinned_to_its_digests():
    resolution = resolve({"lang": [QU, language("lab/sw@1.0.0", "sw")], "task": [COPA]})

    lock = Lock.model_validate(resolution.lock)
    assert lock.slots["lang"].ref == "lab/qu@1.0.0"
    assert lock.slots["lang"].content == QU.content
    assert lock.slots["lang"].revision == QU.revision
    assert lock.base == identity()
    assert resolution.digest == setup_digest(lock)
    assert resolution.warnings == []


def test_the_newest_version_of_one_adapter_is_chosen():
    versions = [task(f"acme/copa@{number}") for number in ("1.2.0", "1.10.0", "1.9.9")]
    assert chosen({"lang": [QU], "task": versions})["task"] == "acme/copa@1.10.0"


def test_an_older_version_is_chosen_where_the_newest_does_not_fit():
    lora = Requirement(signature=signature(method="lora"))
    versions = [task("acme/copa@1.0.0"), task("acme/copa@1.1.0", partner=lora)]

    resolution = resolve({"lang": [QU], "task": versions})

    assert resolution.lock["slots"]["task"]["ref"] == "acme/copa@1.0.0"
    (why,) = resolution.why["task"]["rejected"]["acme/copa@1.1.0"]
    assert "its method is seq_bn, in training it was lora" in why


def test_two_adapters_that_fit_equally_are_never_chosen_between():
    error = refused({"lang": [QU, language("x/qu@3.0.0"), language("x/qu@2.0.0")], "task": [COPA]})

    assert error.choices == {"lang": ("lab/qu@1.0.0", "x/qu@3.0.0")}
    assert error.hint == "name one of them, for example lang=lab/qu@1.0.0"
    assert "equally well" in str(error)


def test_the_partner_in_training_is_preferred_to_a_newer_version_of_it():
    old, new = language("lab/en@1.0.0", "en"), language("lab/en@1.1.0", "en")
    partner = Requirement(signature=old.signature, content=old.content)
    wanted = recipe({"lang": Need(language="en"), "task": "acme/copa"})

    resolution = resolve({"lang": [new, old], "task": [task("acme/copa", partner=partner)]}, wanted)

    assert resolution.lock["slots"]["lang"]["ref"] == "lab/en@1.0.0"
    assert "very adapter" in resolution.why["lang"]["because"]
    assert "very adapter" in resolution.why["lang"]["rejected"]["lab/en@1.1.0"][0]


def test_the_series_of_the_partner_in_training_is_preferred():
    partner = Requirement(signature=signature(language="en", series="r2"))
    packs = [language("a/qu", series="r16"), language("b/qu", series="r2")]
    resolution = resolve({"lang": packs, "task": [task("acme/copa", partner=partner)]})
    assert resolution.lock["slots"]["lang"]["ref"] == "b/qu@1.0.0"
    assert "another series" in resolution.why["lang"]["rejected"]["a/qu@1.0.0"][0]


def test_another_series_is_used_with_a_warning_when_there_is_no_other():
    partner = Requirement(signature=signature(language="en", series="r2"))
    resolution = resolve({"lang": [QU], "task": [task("acme/copa", partner=partner)]})
    (warning,) = resolution.warnings
    assert warning.startswith(
        "lab/qu@1.0.0: R8 series: of no series, and acme/copa@1.0.0 was trained with r2; transfer"
    )


def test_a_live_adapter_is_preferred_to_a_deprecated_one():
    old = language("a/qu", state="deprecated", successor="b/qu")
    assert chosen({"lang": [old, language("b/qu")], "task": [COPA]})["lang"] == "b/qu@1.0.0"
    (warning,) = resolve({"lang": [old], "task": [COPA]}).warnings
    assert warning == "a/qu@1.0.0: R1 state: this version is deprecated; use b/qu"


def test_layers_that_the_partner_dropped_are_left_out_at_load():
    partner = Requirement(signature=signature(language="en"), drop_layers=(2,))
    packs = {"lang": [QU], "task": [task("acme/copa", partner=partner)]}
    assert resolve(packs).lock["slots"]["lang"]["load"] == {"leave_out": [2]}

    shorter = language("lab/qu", layers=(0, 1))  # has nothing there to leave out
    packs["lang"] = [shorter]
    assert resolve(packs).lock["slots"]["lang"]["load"] == {"leave_out": []}


def test_the_head_of_the_topmost_adapter_is_used_unless_the_recipe_says():
    packs = {"lang": [QU], "task": [COPA]}
    assert resolve(packs).lock["head"] == "task"
    assert resolve(packs, recipe(head=[])).lock["head"] is None
    packs["task"] = [task("acme/copa", has_head=False)]
    assert resolve(packs).lock["head"] is None


def test_locks_do_not_depend_on_the_order_of_slots_in_the_recipe():
    packs = {"lang": [QU], "task": [COPA]}
    slots = recipe().slots
    turned = recipe(dict(reversed(slots.items())))
    assert resolve(packs, turned).model_dump_json() == resolve(packs).model_dump_json()


# --- one rule after the other --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["quarantined", "removed", "yanked"])
def test_r1_withdrawn_versions_are_refused(state):
    withdrawn = language("lab/qu@1.0.0", state=state)
    assert f"R1 state: this version {'was' if state == 'yanked' else 'is'} {state}" in reason(
        {"lang": [withdrawn], "task": [COPA]}
    )


def test_r1_a_yanked_version_is_used_when_its_content_is_named():
    yanked = language("lab/qu@1.0.0", state="yanked")
    wanted = recipe(NAMED | {"lang": f"lab/qu@{yanked.content}"})
    resolution = resolve({"lang": [yanked], "task": [COPA]}, wanted)
    assert resolution.warnings == ["lab/qu@1.0.0: R1 state: this version is yanked"]
    by_number = recipe(NAMED | {"lang": "lab/qu@1.0.0"})
    assert f"name lab/qu@{yanked.content}" in reason(
        {"lang": [yanked], "task": [COPA]}, wanted=by_number
    )


def test_r2_another_structure_is_refused_whatever_the_options():
    other = language("lab/qu", base=identity("bert", structure="bert"))
    wanted = recipe(options=Options(allow_base_mismatch=True))
    lines = refused({"lang": [other], "task": [COPA]}, wanted).reasons["lang"]
    assert "R2 base structure: trained on bert" in lines[0]


def test_r3_other_weights_are_refused_unless_the_recipe_allows_them():
    other = language("lab/qu", base=identity("xlmr-v2", body="v2"))
    packs = {"lang": [other], "task": [COPA]}
    assert "R3 base weights: trained on xlmr-v2" in reason(packs)

    resolution = resolve(packs, recipe(options=Options(allow_base_mismatch=True)))
    assert "R3 base weights" in resolution.warnings[0]


def test_r3_a_recorded_cast_counts_as_the_same_weights():
    known = base()
    half = digest("body of the float16 cast")
    known = type(known)(
        identity=known.identity, bodies=known.bodies | {half}, embeddings=known.embeddings
    )
    cast = language("lab/qu", base=identity().model_copy(update={"body": half}))
    assert resolve({"lang": [cast], "task": [COPA]}, known_base=known).warnings == []


def test_r2_a_base_known_by_name_only_is_used_with_a_warning():
    vague = language("lab/qu", base=type(identity())(name="xlmr"))
    (warning,) = resolve({"lang": [vague], "task": [COPA]}).warnings
    assert "its weights were not compared" in warning
    unknown = language("lab/qu", base=type(identity())())
    assert "nobody recorded" in reason({"lang": [unknown], "task": [COPA]})


def test_r4_another_vocabulary_is_refused():
    other = language("lab/qu", base=identity(vocabulary="cased"))
    lines = refused({"lang": [other], "task": [COPA]}).reasons["lang"]
    assert ["R4 vocabulary" in line for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("qu", "sw", False),
        ("zh", "zh-Hant", False),
        ("zh-Hant", "zh-Hant", True),
        ("pt", "pt-BR", True),
    ],
)
def test_r5_the_language_is_the_one_asked_for(wanted, offered, fits):
    packs = {"lang": [language("lab/x", offered)], "task": [COPA]}
    asked = recipe({"lang": Need(language=wanted), "task": "acme/copa"})
    if fits:
        assert chosen(packs, asked)["lang"] == "lab/x@1.0.0"
    else:
        assert f"R5 language: wanted {wanted}, this is {offered}" in reason(packs, wanted=asked)


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (language("lab/qu", method="lora"), "its method is lora, in training it was seq_bn"),
        (language("lab/qu", invertible=None), "it has no invertible part"),
        (language("lab/qu", layers=(0, 1)), "it has nothing in layer 2"),
        (language("lab/qu", layers=(0, 1, 2, 3)), "it also adapts layer 3"),
    ],
)
def test_r6_a_partner_that_breaks_the_contract_is_refused_in_words(pack, said):
    line = reason({"lang": [pack], "task": [COPA]})
    assert line.startswith("lab/qu@1.0.0: R6 contract: beside acme/copa@1.0.0, ")
    assert said in line


def test_r6_the_contract_holds_for_named_adapters_too():
    packs = {"lang": [language("lab/qu", method="lora")], "task": [COPA]}
    assert "its method is lora" in reason(packs, wanted=recipe(NAMED))


NEAR = [
    task("acme/copa", requires=None),
    task("acme/copa", requires={}),
    task("acme/copa", partner=Requirement(signature=signature(points=None))),
]


@pytest.mark.parametrize("vague", NEAR, ids=["unknown", "alone", "points"])
def test_r6_a_near_match_is_used_only_when_both_are_named(vague):
    packs = {"lang": [QU], "task": [vague]}
    line = reason(packs)
    assert "near match" in line
    assert line.endswith("if you know that they fit, name lang=lab/qu@1.0.0")

    (warning,) = resolve(packs, recipe(NAMED)).warnings
    assert "near match" in warning

    assert "near match" in reason(packs, wanted=recipe(NAMED, options=Options(strict=True)))


def test_r6_what_an_adapter_was_trained_on_must_be_there():
    other = task("acme/other", requires={})
    wanted = recipe({"a": "acme/copa", "b": "acme/other"}, {"Parallel": ["a", "b"]})
    assert "was trained together with 'lang', which the set-up lacks" in reason(
        {"a": [COPA], "b": [other]}, "a", wanted
    )


def test_r6_one_adapter_by_itself_may_lack_its_partner():
    wanted = recipe({"task": "acme/copa"}, "task")
    (warning,) = resolve({"task": [COPA]}, wanted).warnings
    assert "trained together with 'lang'" in warning


def test_r6_a_partner_is_found_by_its_role_where_slots_have_other_names():
    wanted = recipe({"below": Need(language="qu"), "top": "acme/copa"}, {"Stack": ["below", "top"]})
    assert chosen({"below": [QU], "top": [COPA]}, wanted)["below"] == "lab/qu@1.0.0"
    lora = language("lab/qu", method="lora")
    assert "its method is lora" in reason({"below": [lora], "top": [COPA]}, "below", wanted)


def test_r6_the_partner_must_stand_below():
    wanted = recipe(NAMED, {"Parallel": ["lang", "task"]})
    assert "was trained on top of 'lang', which is not below it" in reason(
        {"lang": [QU], "task": [COPA]}, wanted=wanted
    )


def test_r6_partners_that_drop_different_layers_cannot_share_an_adapter():
    whole = Requirement(signature=signature(language="en"))
    short = Requirement(signature=signature(language="en"), drop_layers=(2,))
    wanted = recipe(
        {"lang": "lab/qu", "a": "x/a", "b": "x/b"},
        {"Parallel": [{"Stack": ["lang", "a"]}, {"Stack": ["lang", "b"]}]},
    )
    packs = {"lang": [QU], "a": [task("x/a", partner=whole)], "b": [task("x/b", partner=short)]}
    assert "disagree on the layers" in refused(packs, wanted).reasons["lang"][0]


def test_r9_an_invertible_part_or_rows_above_the_first_block_are_refused():
    rows = signature("task", rows=True)
    line = reason({"lang": [QU], "task": [task("acme/copa", signature=rows)]}, "task")
    assert "R9 first block: has embedding rows" in line
    turned = recipe(NAMED, {"Stack": ["task", "lang"]})
    assert "R9 first block: has an invertible part (nice)" in reason(
        {"lang": [QU], "task": [COPA]}, wanted=turned
    )


def test_r10_a_language_adapter_stands_below_the_task_adapter():
    plain = language("lab/qu", invertible=None)
    error = refused(
        {"lang": [plain], "task": [task("acme/copa", requires={})]},
        recipe(NAMED, {"Stack": ["task", "lang"]}),
    )
    assert "belongs below the task adapter in 'task'" in error.reasons["lang"][0]


def test_r10_the_method_must_know_the_block():
    def both(method, **fields):
        offers = signature("task", method=method)
        return {slot: [task(f"x/{slot}", requires={}, signature=offers, **fields)] for slot in "ab"}

    split = recipe({"a": "x/a", "b": "x/b"}, {"Split": ["a", "b"], "splits": [8, 8]})
    assert "R10 composition: prefix_tuning cannot stand in Split; it can in" in reason(
        both("prefix_tuning"), "a", split
    )
    assert chosen(both("lora"), split)
    mean = recipe({"a": "x/a", "b": "x/b"}, {"Average": ["a", "b"]})
    assert chosen(both("prefix_tuning", positions=30), mean)
    uneven = both("prefix_tuning", positions=30)
    uneven["b"] = both("prefix_tuning", positions=10)["b"]
    assert "of one length, and here they are [30, 10]" in reason(uneven, "b", mean)


def test_r10_the_kind_must_fit_the_place():
    wanted = recipe({"lang": "lab/qu", "task": "acme/copa", "extra": "x/extra"})
    packs = {"lang": [QU], "task": [COPA], "extra": [task("x/extra", requires={})]}
    assert "stands nowhere in the set-up" in reason(packs, "extra", wanted)


def test_r11_a_head_that_is_wanted_must_be_there():
    headless = {"lang": [QU], "task": [task("acme/copa", has_head=False)]}
    assert "R11 head: its head is wanted" in reason(headless, "task", recipe(head="task"))


def test_r11_a_head_of_its_own_has_the_labels_of_the_adapter_it_stands_on():
    def packs(*labels):
        return {
            "task": [task("x/t", requires={}, labels=("no", "yes"))],
            "top": [candidate("x/h", kind="head", requires={}, has_head=True, labels=labels)],
        }

    wanted = recipe({"task": "x/t", "top": "x/h"}, "task", head="top")
    assert chosen(packs("no", "yes"), wanted)["top"] == "x/h@1.0.0"
    error = refused(packs("yes", "no"), wanted)
    assert (
        "R11 head: its labels are yes, no; those of x/t@1.0.0 are no, yes"
        in error.reasons["top"][0]
    )


def fusion_of(*members):
    slots = [f"m{at}" for at in range(len(members))]
    requires = {
        slot: Requirement(signature=member.signature, content=member.content, ref=member.ref)
        for slot, member in zip(slots, members, strict=True)
    }
    trained_in = read_tree({"Fuse": slots, "layer": "own"})
    return candidate("x/mix", kind="fusion", requires=requires, trained_in=trained_in)


def test_r12_a_fusion_mixes_what_it_was_trained_with_in_that_order():
    a, b = (task(f"x/{name}", requires={}) for name in "ab")
    tree = {"Fuse": ["a", "b"], "layer": "mix"}
    wanted = recipe({"a": "x/a", "b": "x/b", "mix": "x/mix"}, tree)
    packs = {"a": [a], "b": [b], "mix": [fusion_of(a, b)]}
    assert chosen(packs, wanted)["mix"] == "x/mix@1.0.0"

    lines = refused(packs | {"mix": [fusion_of(b, a)]}, wanted).reasons["mix"]
    assert "R12 fusion: member 1 was x/b@1.0.0 in training, here it is x/a@1.0.0" in lines[0]
    lines = refused(packs | {"mix": [fusion_of(a)]}, wanted).reasons["mix"]
    assert "trained over 1 adapters, here it mixes 2" in lines[0]


def test_r13_prompts_must_leave_positions_for_text():
    packs = {"task": [task("x/t", requires={}, positions=30)]}
    wanted = recipe({"task": "x/t"}, "task")
    assert chosen(packs, wanted, base(max_positions=64))
    assert "R13 positions: prompts and prefixes take 30 of the 20 positions" in reason(
        packs, "task", wanted, base(max_positions=20)
    )


def test_r14_a_model_type_that_the_runtime_does_not_know_is_a_warning():
    packs = {"lang": [QU], "task": [COPA]}
    assert resolve(packs, known_base=base(model_type="bert")).warnings == []
    warnings = resolve(packs, known_base=base(model_type="no-such-type")).warnings
    assert "R14 runtime: no-such-type is not among the model types" in warnings[0]


def test_r14_a_runtime_that_nobody_knows_is_refused():
    wanted = recipe(options=Options(runtime="99"))
    assert "R14 runtime: wanted for the runtime 99" in reason(
        {"lang": [QU], "task": [COPA]}, wanted=wanted
    )


def test_r15_a_licence_outside_the_policy_is_a_warning():
    packs = {"lang": [language("lab/qu", licence="gpl-3.0")], "task": [COPA]}
    resolution = resolve(packs, recipe(options=Options(licences=("MIT", "GPL-3.0"))))
    assert resolution.warnings == [
        "acme/copa@1.0.0: R15 licence: allowed are MIT, GPL-3.0, this is unknown"
    ]


# --- recipes that contradict themselves ----------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "tree", "complaint"),
    [
        ({"lang": "a/b"}, {"Stack": ["lang", "task"]}, "nothing fills the slot 'task'"),
        ({"a": "a/b", "b": "c/d"}, {"Fuse": ["a", "b"]}, "needs the adapter that holds the fusion"),
        ({"a": "a/b"}, {"Stack": ["a", "a"]}, "stands twice on one way"),
        ({"a": "not a name"}, "a", "slot 'a': 'not a name' is not of the form"),
        ({"a": Need(language="klingonish")}, "a", "slot 'a': 'klingonish' is no BCP-47"),
        ({"a": Need()}, "a", "needs nothing in particular"),
        ({"a": "a/b", "c": Need(language="qu")}, "a", "'c' stands nowhere in the set-up"),
        ({}, "a", "fills no slot"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(slots, tree, complaint):
    wanted = Recipe(slots=slots, setup=tree)
    with pytest.raises(InvalidRecipe, match=complaint):
        resolve({}, wanted)


def test_nothing_published_is_said_so():
    error = refused({"lang": [], "task": [COPA]})
    assert str(error) == "nothing fits the slot 'lang' (language qu) on xlmr"
    assert error.reasons["lang"] == ("nothing is published here that answers language qu",)


def test_a_hopeless_search_ends():
    """Every pair of the two slots clashes, and there are too many pairs to try them all."""
    many = int(MOST_JUDGEMENTS**0.5) + 20
    langs = [language(f"lab/qu{at}", method="lora") for at in range(many)]
    tasks = [task(f"acme/copa{at}", tasks=("copa",)) for at in range(many)]
    wanted = recipe({"lang": Need(language="qu"), "task": Need(task="copa")})
    error = refused({"lang": langs, "task": tasks}, wanted)
    assert "gave up" in str(error)
    assert "name the adapter" in error.hint
