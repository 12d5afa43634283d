"""The demo runs to its end on little training; whole, it shows the transfer that it should."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "madx" / "demo.py"
RECIPE = json.loads((DEMO.parent / "recipe.json").read_text("utf-8"))


def run(folder, *options, **environment):
    done = subprocess.run(
        [sys.executable, str(DEMO), str(folder), *options],
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_runs_to_its_end(tmp_path):
    printed = run(tmp_path, "--steps", "3", "--epochs", "1", DEMO_PER_CLASS="40")
    assert "Largest difference from the outputs of the training process: 0\n" in printed
    assert "its method is lora, in training it was seq_bn" in printed
    assert "24 scores recorded" in printed
    lock = json.loads(
        (tmp_path / "work" / "s201" / "setup-de" / "hub_lock.json").read_text("utf-8")
    )
    assert lock["slots"]["lang"]["ref"].endswith("/manpages-de@1.0.0")


@pytest.mark.long
def test_swapping_the_language_transfers(tmp_path):
    printed = run(tmp_path)
    wanted = RECIPE["quick"]["suggested_asserts_quick"]["c_minus_b_mean_of_2_seeds_min"]
    for language, name in (("de", "German"), ("fr", "French")):
        gained = re.search(rf"{name}: swapping gives \+([\d.]+) points", printed)
        assert gained, printed
        assert float(gained[1]) >= wanted[language]
