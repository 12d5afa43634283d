"""The guides in docs/ work as they stand: the Python of each runs from first line to last."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(path.name for path in (*DOCS.glob("adding_*.md"), DOCS / "peft.md"))
# PEFT 0.21 asks for an attribute by its name of old.
THEIRS = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


@pytest.mark.parametrize("guide", GUIDES)
def test_the_python_of_a_guide_runs(guide, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / guide).read_text("utf-8"), re.DOTALL)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", THEIRS, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
