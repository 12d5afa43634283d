"""The peers' environments: each its own, for `adapters` wants an older transformers than ours."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(".bench")


def python_of(library: str) -> Path:
    """Return the interpreter that has a library, after making its environment if need be."""
    if library == "ours":
        return Path(sys.executable)
    python = FOLDER / library / "bin" / "python"
    ready = FOLDER / library / f"ready-{version('torch')}-{version('transformers')}"
    if not ready.exists():
        uv = Path(sys.executable).with_name("uv")
        links = {**os.environ, "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        _run([uv, "venv", "--quiet", "--clear", FOLDER / library], links)
        _run([uv, "pip", "install", "--quiet", "--python", python, *_packages()[library]], links)
        ready.touch()
    return python


def _packages() -> dict[str, list[str]]:
    torch = f"torch=={version('torch').split('+')[0]}"
    same_base = [torch, f"transformers=={version('transformers')}"]
    return {
        "peft": ["peft==0.21.2", "numpy", *same_base],
        "adapters": ["adapters==1.3.0", "numpy", torch],
    }


def _run(command: list[object], environment: dict[str, str]) -> None:
    subprocess.run([str(part) for part in command], check=True, env=environment)
