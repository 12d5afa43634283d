"""Set-ups read from JSON, text and AdapterHub's file mean the same, and have one digest."""

import json

import pytest

from adapters_runtime.composition import BatchSplit, Fuse, Parallel, Split, Stack
from registry import setup
from registry.errors import InvalidRecipe
from registry.schemas import LoadOptions, Lock, Need
from registry.setup_text import format_recipe, parse_recipe
from tests.registry.candidates import digest, identity

TREES = [
    ("task", "task"),
    ({"Stack": ["lang", "task"]}, Stack("lang", "task")),
    ({"Fuse": ["a", "b"], "layer": "mix"}, Fuse("a", "b", name="mix")),
    ({"Fuse": ["a", "b"]}, Fuse("a", "b")),
    ({"Split": ["a", "b"], "splits": [64, 32]}, Split("a", "b", splits=[64, 32])),
    (
        {"BatchSplit": ["a", {"Stack": ["l", "b"]}], "batch_sizes": [1, 3]},
        BatchSplit("a", Stack("l", "b"), batch_sizes=[1, 3]),
    ),
    (
        {"Stack": ["lang", {"Fuse": ["a", "b"], "layer": "mix"}]},
        Stack("lang", Fuse("a", "b", name="mix")),
    ),
]


@pytest.mark.parametrize(("document", "block"), TREES, ids=str)
def test_a_tree_is_the_same_in_json_and_as_blocks(document, block):
    assert setup.read_tree(document) == block
    assert setup.write_tree(block) == document


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (7, "a slot's name or an object"),
        ("", "not the name of a slot"),
        ("two words", "not the name of a slot"),
        ({}, "exactly one of the keys"),
        ({"Stack": ["a"], "Fuse": ["b"]}, "exactly one of the keys"),
        ({"Stak": ["a"]}, "this one has Stak"),
        ({"Stack": "a"}, "needs a list"),
        ({"Stack": []}, "at least one adapter"),
        ({"Stack": ["a"], "layer": "b"}, "no option 'layer'; it takes no options"),
        ({"Split": ["a", "b"]}, "cannot be built"),
        ({"Split": ["a", "b"], "splits": [64]}, "2 children, but splits has 1"),
        ({"Fuse": ["a", {"Fuse": ["b", "c"]}]}, "Fuse cannot hold Fuse"),
        ({"Stack": [{"Fuse": ["a", {"Stack": [{"Fuse": ["b"]}]}]}]}, "nested too deeply"),
    ],
)
def test_a_wrong_tree_is_refused_with_the_reason(document, complaint):
    with pytest.raises(InvalidRecipe, match=complaint):
        setup.read_tree(document)


def test_paths_are_the_ways_of_a_token_through_the_tree():
    tree = Stack("lang", Parallel("a", Stack("b", "c")))
    assert setup.paths(tree) == [("lang", "a"), ("lang", "b", "c")]


def test_adapterhubs_own_file_is_read_and_written_back():
    document = json.loads("""{
      "adapter_setup": {"type": "Stack", "children": [
        {"type": "single", "children": ["lang"]},
        {"type": "Fuse", "children": [
          {"type": "single", "children": ["a"]}, {"type": "single", "children": ["b"]}]}]},
      "head_setup": null, "version": "adapters.1.3.0"}""")

    tree, heads = setup.from_adapterhub(document)

    assert tree == Stack("lang", Fuse("a", "b"))
    assert heads is None
    assert setup.to_adapterhub(tree, heads) == document


@pytest.mark.parametrize("heads", ["task", ("a", "b"), Parallel("a", "b"), None])
def test_heads_survive_adapterhubs_file(heads):
    document = json.loads(json.dumps(setup.to_adapterhub(Stack("a", "b"), heads)))
    assert setup.from_adapterhub(document)[1] == heads


# --- text ----------------------------------------------------------------------------------------


def test_the_usual_set_up_can_be_typed():
    recipe = parse_recipe("Stack(lang:qu, acme/copa-xlmr@^1)", base="xlm-roberta-base")
    assert recipe.slots == {"lang": Need(language="qu"), "task": "acme/copa-xlmr@^1"}
    assert recipe.setup == {"Stack": ["lang", "task"]}
    assert recipe.base == "xlm-roberta-base"


TYPED = [
    ("acme/copa", {"task": "acme/copa"}, "task"),
    ("mine=acme/copa", {"mine": "acme/copa"}, "mine"),
    (
        "Stack(lang:zh-Hant+series:wiki, task:ner)",
        {"lang": Need(language="zh-Hant", series="wiki"), "task": Need(task="ner")},
        {"Stack": ["lang", "task"]},
    ),
    (
        "Fuse(acme/mnli, lab/qqp@1.0.0, layer=acme/mix)",
        {"mnli": "acme/mnli", "qqp": "lab/qqp@1.0.0", "fuse": "acme/mix"},
        {"Fuse": ["mnli", "qqp"], "layer": "fuse"},
    ),
    (
        "Fuse(a=x/a, b=x/b, layer=mix=x/f)",
        {"a": "x/a", "b": "x/b", "mix": "x/f"},
        {"Fuse": ["a", "b"], "layer": "mix"},
    ),
    (
        "Split(x/a, y/a, splits=[64, 32])",
        {"a": "x/a", "a2": "y/a"},
        {"Split": ["a", "a2"], "splits": [64, 32]},
    ),
    (
        "Parallel(Stack(lang:en, x/a), Stack(lang, x/b))",
        {"lang": Need(language="en"), "a": "x/a", "b": "x/b"},
        {"Parallel": [{"Stack": ["lang", "a"]}, {"Stack": ["lang", "b"]}]},
    ),
    (
        "Average(x/a, x/b, weights=[0.5, 1.5], normalize_weights=false)",
        {"a": "x/a", "b": "x/b"},
        {"Average": ["a", "b"], "weights": [0.5, 1.5], "normalize_weights": False},
    ),
]


@pytest.mark.parametrize(("text", "slots", "tree"), TYPED)
def test_text_is_read_into_slots_and_a_tree(text, slots, tree):
    recipe = parse_recipe(text)
    assert recipe.slots == slots
    assert recipe.setup == tree


@pytest.mark.parametrize(
    "text", [*(text for text, _, _ in TYPED), "Stack(lang:qu, a/b, head=task)"]
)
def test_what_was_read_is_written_so_that_it_reads_the_same(text):
    recipe = parse_recipe(text)
    assert parse_recipe(format_recipe(recipe)) == recipe


def test_the_usual_set_up_is_written_as_it_was_typed():
    text = "Stack(lang:qu, acme/copa-xlmr@^1, head=task)"
    assert format_recipe(parse_recipe(text)) == text


def test_heads_may_be_several():
    recipe = parse_recipe("BatchSplit(x/a, x/b, batch_sizes=[1, 1], head=[a, b])")
    assert recipe.head == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "column", "complaint"),
    [
        ("", 1, "expected an adapter"),
        ("Stack(lang:qu acme/x)", 15, r"expected ',' or '\)', found 'acme/x'"),
        ("Stack(lang:qu, acme/x", 22, "found the end"),
        ("Stack(lang:qu,, acme/x)", 15, "found ','"),
        ("Stak(lang:qu)", 1, "no block is called 'Stak'"),
        ("Stack(lang:qu, acme/x))", 23, "follows a set-up that is complete"),
        ("Stack(lang:qu, copa)", 16, "'copa' is neither an adapter"),
        ("Stack(lang:klingonish, a/b)", 7, "no BCP-47 language tag"),
        ("Stack(colour:red, a/b)", 7, "'colour:red' is not a need"),
        ("Stack(kind:thing, a/b)", 7, "kind is one of task, language"),
        ("Stack(a/b@1.0, lang:qu)", 7, "selects no version"),
        ("Stack(A/b c/d)", 11, "expected"),
        ("x=Stack(a/b)", 1, "cannot name a block"),
        ("Stack(x=a/b, x=c/d)", 16, "the slot 'x' is filled twice"),
        ("Split(a/b, c/d)", 1, "cannot be built"),
        ("Split(a/b, c/d, splits=[1], splits=[2])", 29, "given twice"),
        ("Fuse(a/b, Fuse(c/d, e/f))", 1, "Fuse cannot hold"),
        ("Stack(" * 20 + "a/b" + ")" * 20, 97, "nested too deeply"),
        ("Stack(a/b, head=[1])", 12, "not the name of a slot"),
    ],
)
def test_an_error_in_text_shows_the_column(text, column, complaint):
    with pytest.raises(InvalidRecipe, match=complaint) as caught:
        parse_recipe(text)
    assert str(caught.value).startswith(f"column {column} of ")


def test_endless_text_is_refused():
    with pytest.raises(InvalidRecipe, match="at most"):
        parse_recipe("Stack(" + "a/b, " * 2000 + "a/b)")


def test_what_text_cannot_hold_is_refused_and_not_lost():
    recipe = parse_recipe("Stack(lang:qu, a/b)")
    beside = recipe.model_copy(update={"slots": {**recipe.slots, "emb": "x/e"}})
    with pytest.raises(InvalidRecipe, match="'emb' stands outside"):
        format_recipe(beside)
    odd = recipe.model_copy(update={"slots": {**recipe.slots, "lang": Need(series="a b")}})
    with pytest.raises(InvalidRecipe, match="cannot be written as text"):
        format_recipe(odd)


# --- digests -------------------------------------------------------------------------------------


def lock(tree=None, head="task", *, base=None, **contents):
    contents = contents or {"lang": "l", "task": "t"}
    slots = {
        slot: {
            "ref": f"lab/{name}@1.0.0",
            "content": digest(name),
            "revision": "0" * 40,
            "files": {},
            "load": {"leave_out": []},
        }
        for slot, name in contents.items()
    }
    tree = tree or {"Stack": list(contents)}
    return Lock(base=base or identity(), slots=slots, setup=tree, head=head)


def changed(lock, slot, **fields):
    part = lock.slots[slot].model_copy(update=fields)
    return lock.model_copy(update={"slots": {**lock.slots, slot: part}})


def test_names_and_revisions_do_not_count_in_the_digest():
    one = lock()
    other = changed(one, "task", ref="else/where@7.0.0", revision="1" * 40)
    assert setup.setup_digest(other) == setup.setup_digest(one)


def test_the_names_of_slots_do_not_count_in_the_digest():
    assert setup.setup_digest(lock()) == setup.setup_digest(lock(None, "b", a="l", b="t"))


def test_all_that_affects_the_output_counts_in_the_digest():
    one = lock()
    others = [
        changed(one, "task", content=digest("other")),
        changed(one, "lang", load=LoadOptions(leave_out=(11,))),
        lock(head=None),
        lock({"Stack": ["task", "lang"]}),
        lock({"Parallel": ["lang", "task"]}),
        lock(base=identity("other")),
    ]
    digests = {setup.setup_digest(each) for each in [one, *others]}
    assert len(digests) == 1 + len(others)


def test_the_base_counts_by_digest_and_not_by_name():
    renamed = identity().model_copy(update={"name": "mirror/xlmr", "revision": "2" * 40})
    assert setup.setup_digest(lock(base=renamed)) == setup.setup_digest(lock())


def test_a_lock_whose_tree_names_a_slot_that_it_lacks_has_no_digest():
    with pytest.raises(InvalidRecipe, match="'ghost'"):
        setup.setup_digest(lock({"Stack": ["lang", "ghost"]}))


def test_a_document_that_is_no_lock_is_refused_by_field():
    document = lock().model_dump(mode="json", by_alias=True)
    assert setup.read_lock(document) == lock()
    with pytest.raises(InvalidRecipe, match=r"slots\.task\.content"):
        setup.read_lock(
            document | {"slots": {"task": document["slots"]["task"] | {"content": "x"}}}
        )
    with pytest.raises(InvalidRecipe, match="slot 'task': 'x' is not of the form"):
        setup.read_lock(document | {"slots": {"task": document["slots"]["task"] | {"ref": "x"}}})
