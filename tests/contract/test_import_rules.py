"""Each import rule in pyproject.toml is broken by a planted violation, so none is a dead letter."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("adapters_runtime", "registry", "web", "cli", "migrations")

CALL = "from importlinter.cli import lint_imports_command; lint_imports_command()"

VIOLATIONS = {
    "The runtime stands alone": ("adapters_runtime/model.py", "import registry.names"),
    "The runtime's data needs no torch": ("adapters_runtime/configs/lora.py", "import torch"),
    "The registry knows the runtime's data only, and no front end": (
        "registry/names.py",
        "import adapters_runtime.model",
    ),
    "The web sits on the registry only": ("web/deps.py", "import cli.output"),
    "The command line reaches the database over HTTP, never directly": (
        "cli/output.py",
        "import registry.models",
    ),
    "What the client shares with the server has no database": (
        "registry/manifest.py",
        "import sqlalchemy",
    ),
    "Names and errors stand on nothing": ("registry/errors.py", "import pydantic"),
    "Layers of the runtime": (
        "adapters_runtime/methods/lora.py",
        "import adapters_runtime.inject.bank",
    ),
    "One method never imports another": (
        "adapters_runtime/methods/lora.py",
        "import adapters_runtime.methods.ia3",
    ),
    "No cycles": ("registry/names.py", "import registry.setup"),
}


@pytest.fixture
def copy(tmp_path):
    """A copy of our packages that may be spoiled."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder):
    # In the folder itself, whose packages go before those that are installed.
    done = subprocess.run(
        [sys.executable, "-c", CALL, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("rule", VIOLATIONS)
def test_a_planted_violation_breaks_its_rule(copy, rule):
    file, line = VIOLATIONS[rule]
    path = copy / file
    path.write_text(path.read_text("utf-8") + f"\n{line}  # planted\n", "utf-8")
    code, printed = lint(copy)
    assert code != 0
    assert f"{rule} BROKEN" in printed


def test_every_rule_has_a_violation():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    rules = [line.split('"')[1] for line in text.splitlines() if line.startswith("name = ")][1:]
    assert sorted(rules) == sorted(VIOLATIONS)
