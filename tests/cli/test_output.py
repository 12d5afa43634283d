"""What is printed: aligned on a terminal, whole in a pipe, and never taken for markup."""

import pytest

from cli import output


def test_a_table_is_aligned_and_leaves_out_empty_columns(capsys):
    output.table(("name", "n", "note"), [["a", 5, None], ["longer", 10, None]])
    assert capsys.readouterr().out.splitlines() == ["NAME     N", "a        5", "longer  10"]


def test_a_pipe_gets_every_character(capsys):
    output.table(("text",), [["x" * 500]])
    assert "x" * 500 in capsys.readouterr().out


def test_brackets_are_text(capsys):
    output.table(("config",), [["seq_bn[reduction_factor=4]"], ["[red]"]])
    assert capsys.readouterr().out.splitlines()[1:] == ["seq_bn[reduction_factor=4]", "[red]"]


@pytest.mark.parametrize("colour", ["NO_COLOR", None])
def test_no_escape_codes_reach_a_pipe(capsys, monkeypatch, colour):
    if colour:
        monkeypatch.setenv(colour, "1")
    output.table(("a",), [["b"]])
    assert "\x1b" not in capsys.readouterr().out


def test_fields_without_a_value_are_left_out(capsys):
    output.fields([("name", "x"), ("empty", None), ("none", ()), ("zero", 0), ("many", [1, 2])])
    assert capsys.readouterr().out.splitlines() == ["name: x", "zero: 0", "many: 1, 2"]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_400_000, "2.4 MB")]
)
def test_sizes_read_as_people_say_them(count, text):
    assert output.size(count) == text


def test_one_is_not_many():
    assert (output.plural(1, "file"), output.plural(2, "file")) == ("1 file", "2 files")
