"""The README's example works as it stands: its Python and its commands, against a running hub."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import running_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path):
    """Run what the README says as `ana` does, in a folder that has the example's base."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with running_server(tmp_path / "hub") as hub:
        yield {
            **os.environ,
            "HUBCTL_ENDPOINT": hub.url,
            "HUBCTL_TOKEN": hub.token,
            "HF_HOME": str(tmp_path / "hf"),
            "HUBCTL_CREDENTIALS": str(tmp_path / "credentials.json"),
            "OMP_NUM_THREADS": "1",
        }


def run(command, environment, folder):
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_push_pull_and_swap_as_the_readme_shows_them(environment, tmp_path):
    text = (ROOT / "README.md").read_text("utf-8").split("## Push, pull, swap")[1]
    blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "sh", "python"]
    hubctl = str(Path(sys.executable).with_name("hubctl"))
    for language, code in blocks:
        if language == "python":
            run([sys.executable, "-W", "error", "-c", code], environment, tmp_path)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "hubctl"
            run([hubctl, *arguments], environment, tmp_path)
    lock = (tmp_path / "work" / "setup" / "hub_lock.json").read_text("utf-8")
    assert "ana/manpages-de@1.0.0" in lock
