"""Laws of composition blocks."""

import copy
import pickle

import pytest

from adapters_runtime.composition import (
    BLOCKS,
    NESTING,
    AdapterCompositionBlock,
    Average,
    BatchSplit,
    Fuse,
    MultiTask,
    Parallel,
    Split,
    Stack,
    parse_composition,
)
from adapters_runtime.errors import FormatError, InvalidComposition

EXAMPLES = [
    Stack("en"),
    Stack("en", Fuse("a", "b")),
    Stack("en", Fuse("a", "b", name="mixed")),
    Fuse(Stack("en", "a"), "b"),
    Split("a", "b", splits=[4, 5]),
    Split("a", Split("b", "c", splits=2), splits=4),
    BatchSplit("a", Stack("b", "c"), batch_sizes=[1, 2]),
    Parallel("a", BatchSplit("b", "c", batch_sizes=1)),
    Average("a", "b"),
    Average("a", "b", weights=[0.3, 0.7]),
    Average("a", "b", "c", weights=[1, 2, 4]),
    Average("a", "b", weights=[2, 3], normalize_weights=False),
    MultiTask("a", Fuse("b", "c")),
]


@pytest.mark.parametrize("block", EXAMPLES, ids=repr)
def test_a_block_read_back_equals_the_one_saved(block):
    assert AdapterCompositionBlock.from_dict(block.to_dict()) == block


@pytest.mark.parametrize("block", EXAMPLES, ids=repr)
def test_a_block_is_written_as_the_code_that_builds_it(block):
    assert eval(repr(block), dict(BLOCKS)) == block


@pytest.mark.parametrize("block", EXAMPLES, ids=repr)
def test_copies_of_a_block_equal_it(block):
    assert copy.deepcopy(block) == block
    assert pickle.loads(pickle.dumps(block)) == block
    assert hash(copy.deepcopy(block)) == hash(block)


def test_blocks_differ_by_type_order_and_options():
    assert Stack("a", "b") != Parallel("a", "b")
    assert Stack("a", "b") != Stack("b", "a")
    assert Split("a", "b", splits=2) != Split("a", "b", splits=3)
    assert Fuse("a", "b") != Fuse("a", "b", name="mixed")


def test_the_saved_form_is_that_of_adapterhub():
    assert Stack("en", Split("a", "b", splits=[4, 5])).to_dict() == {
        "type": "Stack",
        "children": [
            {"type": "single", "children": ["en"]},
            {
                "type": "Split",
                "children": [
                    {"type": "single", "children": ["a"]},
                    {"type": "single", "children": ["b"]},
                ],
                "kwargs": {"splits": [4, 5]},
            },
        ],
    }


def test_names_come_in_order_and_once():
    block = Stack("en", Fuse(Stack("de", "a"), "en", "b"))
    assert block.flatten() == ("en", "de", "a", "b")
    assert block.first() == "en"
    assert block.last() == "b"


def test_a_fusion_is_called_after_the_last_of_each_branch():
    assert Fuse(Stack("en", "a"), "b").name == "a,b"
    assert Fuse("a", "b", name="mixed").name == "mixed"


def test_only_parallel_multiplies_the_batch():
    assert Stack("en", Parallel("a", "b", "c")).parallel_channels == 3
    assert BatchSplit("a", "b", batch_sizes=1).parallel_channels == 1


def test_weights_sum_to_one_unless_told_otherwise():
    assert Average("a", "b", weights=[1, 3]).weights == (0.25, 0.75)
    assert Average("a", "b", weights=[1, 3], normalize_weights=False).weights == (1, 3)
    assert Average("a", "b", normalize_weights=False).weights == (0.5, 0.5)


@pytest.mark.parametrize("outer", NESTING, ids=lambda block: block.__name__)
@pytest.mark.parametrize("inner", NESTING, ids=lambda block: block.__name__)
def test_a_block_holds_what_the_table_allows_and_nothing_else(outer, inner):
    options = {Split: {"splits": 1}, BatchSplit: {"batch_sizes": 1}}
    child = inner("a", **options.get(inner, {}))
    if inner in NESTING[outer]:
        assert outer(child, **options.get(outer, {})).children == (child,)
    else:
        with pytest.raises(InvalidComposition, match=f"{outer.__name__} cannot hold"):
            outer(child, **options.get(outer, {}))


def test_all_parallels_of_a_stack_copy_the_batch_equally_often():
    with pytest.raises(InvalidComposition, match="2 adapters at one place and for 3 at another"):
        Stack(Parallel("a", "b"), Parallel("c", "d", "e"))
    assert Stack(Parallel("a", "b"), "x", Parallel("c", "d")).parallel_channels == 2


def test_two_levels_down_there_are_only_names_and_stacks():
    assert Stack(Fuse(Stack("a", "b"), "c")).flatten() == ("a", "b", "c")
    with pytest.raises(InvalidComposition, match="nested too deeply"):
        Stack(Split(Split("a", "b", splits=1), "c", splits=2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Stack, "Stack needs at least one adapter"),
        (lambda: Stack(""), "without a name"),
        (lambda: Stack(3), "Stack cannot hold 3"),
        (lambda: Split("a", "b", splits=[1]), "2 children, but splits has 1 numbers"),
        (lambda: BatchSplit("a", batch_sizes=[0]), "whole numbers above 0"),
        (lambda: Average("a", "b", weights=[1]), "2 children, but 1 weights"),
        (lambda: Average("a", "b", weights=[1, -1]), "sum to 0"),
        (lambda: Average("a", weights=[float("nan")]), "must be finite"),
        (lambda: parse_composition(7), "7 is neither"),
    ],
)
def test_a_wrong_block_is_refused_with_the_reason(build, message):
    with pytest.raises(InvalidComposition, match=message):
        build()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a", "object with `type`"),
        ({"type": "Stack"}, "needs `type`"),
        ({"type": "Pile", "children": []}, "no block is called 'Pile'"),
        ({"type": "single", "children": ["a", "b"]}, "one name"),
        ({"type": "Stack", "children": [], "depth": 1}, "unknown fields: depth"),
        ({"type": "Stack", "children": ["a"], "kwargs": {"x": 1}}, "`children`|object"),
        ({"type": "Split", "children": [{"type": "single", "children": ["a"]}]}, "cannot take"),
        ({"type": "Stack", "children": [], "kwargs": [1]}, "`kwargs` of Stack"),
    ],
)
def test_a_document_that_is_no_composition_is_a_format_error(document, message):
    with pytest.raises(FormatError, match=message):
        AdapterCompositionBlock.from_dict(document)


def test_a_name_stands_for_a_stack_of_one():
    assert parse_composition("en") == Stack("en")
    assert parse_composition(None) is None
    assert parse_composition([]) is None
    block = Fuse("a", "b")
    assert parse_composition(block) is block


def test_lists_are_read_with_a_warning():
    with pytest.warns(FutureWarning, match="write Stack"):
        assert parse_composition(["en", ["a", "b"]]) == Stack("en", Fuse("a", "b"))


def test_a_block_cannot_be_changed():
    with pytest.raises(AttributeError):
        Stack("a").children = ("b",)
