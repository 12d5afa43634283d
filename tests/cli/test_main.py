"""The command as a whole: it starts quickly, explains itself, and ends with the right code."""

import shlex
import subprocess
import sys

import click
import pytest

from cli.framework import LazyGroup
from cli.main import cli
from tests.support import tiny
from tests.support.scripted import Answer, scripted

HEAVY = ("torch", "transformers", "fastapi", "sqlalchemy", "adapters_runtime.model")


def loaded_by(*words, **environment):
    """Return the modules that a command loads, and how it ended."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('\\n'.join(['', *sys.modules]), file=sys.stderr))\n"
        "from cli.main import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, check=False, env={"PATH": "", **environment},
    )  # fmt: skip
    return ended.stderr.splitlines(), ended


def test_no_line_of_help_is_cut(hubctl):
    for words in (("org",), ("evaluators",), ("base",), ("scores",), ("admin", "token")):
        shown = hubctl(*words, "--help").out
        assert "..." not in shown.partition("Commands:")[2], words


def every_command(group=cli, path=()):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name))


def every_list(group=cli):
    """Yield each command beside the line by which a group that is not loaded yet announces it."""
    for name, line in group.lines.items():
        command = group.get_command(None, name)
        yield command, line
        if isinstance(command, LazyGroup):
            yield from every_list(command)


PATHS = tuple(every_command())


def spoken(path):
    """Return what people type: `scores REF` is short for `scores show REF`."""
    return path.removesuffix(" show")


def command_at(path):
    command = cli
    for name in path.split():
        command = command.get_command(None, name)
    return command


@pytest.mark.parametrize(
    "words", [["--help"], ["search", "--help"], ["pull", "--help"], ["--version"]]
)
def test_help_loads_nothing_heavy(words):
    modules, ended = loaded_by(*words)
    assert ended.returncode == 0, ended.stderr
    assert not [name for name in modules if name.startswith((*HEAVY, "huggingface_hub"))]


@pytest.mark.parametrize("words", [["search", "ner"], ["info", "acme/ner"]])
def test_search_and_info_load_neither_the_server_nor_huggingface_hub(words, own_settings):
    with scripted(Answer(404, {"error": "x"}, {"X-Error-Message": "not here"})) as hub:
        modules, ended = loaded_by(*words, HUBCTL_ENDPOINT=hub.url, HOME=str(own_settings))
    assert "not here" in ended.stderr
    assert not [name for name in modules if name.startswith((*HEAVY, "huggingface_hub"))]


def test_checking_a_folder_before_a_push_needs_no_torch(tmp_path):
    folder = tiny.task(tmp_path / "copa")
    modules, ended = loaded_by(
        *("push", str(folder), "ana/copa", "--dry-run", "--endpoint", "http://127.0.0.1:9")
    )
    assert ended.stdout == "Would publish ana/copa@1.0.0\n"
    assert not [name for name in modules if name.startswith((*HEAVY, "huggingface_hub"))]


@pytest.mark.parametrize("path", PATHS)
def test_every_command_explains_itself_with_an_example(path, hubctl):
    command = command_at(path)
    assert command.help
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )
    assert command.examples
    shown = hubctl(*path.split(), "--help").out
    for example in command.examples:
        assert f"hubctl {spoken(path)}" in example
        assert example in shown


@pytest.mark.parametrize("path", PATHS)
def test_every_command_has_json(path):
    assert "as_json" in {parameter.name for parameter in command_at(path).params}


@pytest.mark.parametrize("path", PATHS)
def test_examples_are_understood_by_the_parser(path):
    """An example with an option that is gone would teach people an error."""
    command = command_at(path)
    for example in command.examples:
        words = shlex.split(example.partition("hubctl ")[2].partition(" >")[0].partition(" <")[0])
        arguments = words[len(spoken(path).split()) :]
        arguments = ["." if word.startswith("./") else word for word in arguments]
        command.make_context(path, arguments)


@pytest.mark.parametrize(("command", "line"), list(every_list()))
def test_the_list_of_commands_says_what_each_says_of_itself(command, line):
    assert command.get_short_help_str(200) == line


def test_wrong_usage_ends_with_two(hubctl):
    assert hubctl("pull").code == 2
    assert hubctl("pull", "--task", "acme/copa").code == 2
    assert hubctl("nonsense").code == 2
    assert hubctl("search", "--limit", "0").code == 2


def test_no_server_ends_with_five_and_says_what_to_do(hubctl):
    ended = hubctl("search", "ner", "--endpoint", "http://127.0.0.1:9")
    assert ended.code == 5
    assert ended.out == ""
    error, hint = ended.err.splitlines()
    assert error.startswith("Error: no hub answers at http://127.0.0.1:9")
    assert hint.startswith("Hint: ")


def test_with_json_an_error_is_a_document_too(hubctl):
    ended = hubctl("search", "ner", "--json", "--endpoint", "http://127.0.0.1:9")
    assert ended.json["error"]["code"] == "no_server"


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        (409, "resolution_impossible", 3),
        (409, "version_exists", 3),
        (422, "wrong_version_number", 3),
        (401, "not_authenticated", 4),
        (403, "not_allowed", 4),
        (404, "adapter_not_found", 1),
    ],
)
def test_the_exit_code_tells_the_kind_of_error(hubctl, status, code, ends):
    body = {"code": code, "message": "so it is", "error": "so it is"}
    with scripted(Answer(status, body)) as hub:
        ended = hubctl("info", "acme/copa", "--endpoint", hub.url)
    assert (ended.code, ended.err.splitlines()[0]) == (ends, "Error: so it is")
