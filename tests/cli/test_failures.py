"""Errors read as one line, what was found below it, and what to do."""

import pytest

from cli.failures import explain
from registry.errors import InvalidPackage, ResolutionImpossible


def shown(error, capsys):
    explain(error).show()
    return capsys.readouterr().err.splitlines()


def test_what_two_slots_do_to_each_other_is_said_once(capsys):
    reasons = {
        "lang": ["a/b@1.0.0: beside c/d@1.0.0, its method is lora"],
        "task": ["c/d@1.0.0: a/b@1.0.0: beside c/d@1.0.0, its method is lora", "x/y@1.0.0: yanked"],
    }
    assert shown(ResolutionImpossible("nothing fits", reasons=reasons), capsys) == [
        "Error: nothing fits",
        "  lang:",
        "    - a/b@1.0.0: beside c/d@1.0.0, its method is lora",
        "  task:",
        "    - x/y@1.0.0: yanked",
    ]


def test_choices_are_listed_with_what_to_do(capsys):
    error = ResolutionImpossible("two fit equally", choices={"lang": ["a/b@1.0.0", "c/d@2.0.0"]})
    assert shown(error, capsys) == [
        "Error: two fit equally",
        "  lang: one of a/b@1.0.0, c/d@2.0.0",
        "Hint: name the one you want instead of the need",
    ]


def test_several_problems_are_a_list_and_one_is_a_line(capsys):
    assert shown(InvalidPackage(["a: wrong"]), capsys) == ["Error: a: wrong"]
    assert shown(InvalidPackage(["a: wrong", "b: missing"]), capsys) == [
        "Error: not a valid adapter: 2 problems",
        "  - a: wrong",
        "  - b: missing",
    ]


def test_a_file_that_cannot_be_written_is_named(capsys):
    error = PermissionError(13, "Permission denied", "/somewhere")
    assert shown(error, capsys) == ["Error: /somewhere: Permission denied"]


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AssertionError()])
def test_a_bug_is_not_dressed_up(error):
    assert explain(error) is None
