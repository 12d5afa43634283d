"""The real server, and clients as they are installed, for tests over HTTP."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import disable_progress_bars
from safetensors.numpy import save_file

from tests.support.browser import running_chromium
from tests.support.server import running_server


@pytest.fixture
def hub(tmp_path):
    """A fresh hub with the user `ana`; `hub.url`, `hub.token`, `hub.client()`."""
    with running_server(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def api(hub, monkeypatch, tmp_path):
    """huggingface_hub's own client, without Xet, with ana's token."""
    disable_progress_bars()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def folder(tmp_path):
    """Files as a stock client uploads them; not an adapter that could be published."""
    folder = tmp_path / "files"
    (folder / "notes").mkdir(parents=True)
    save_file({"a": np.arange(64, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [demo]\n---\n# A card\n")
    (folder / "notes" / "one.txt").write_text("one")
    (folder / "empty.txt").touch()
    return folder


@pytest.fixture
def run_client(hub, tmp_path):
    """Run a program in its own process, as a user would who set HF_ENDPOINT and nothing else."""

    def run(*arguments, check=True, token=None, **variables):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": hub.token if token is None else token,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }
        result = subprocess.run(
            [str(argument) for argument in arguments],
            env=environment | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def run_python(run_client):
    """Run Python code in such a process."""

    def run(code, *arguments, **options):
        return run_client(sys.executable, "-c", code, *arguments, **options)

    return run


@pytest.fixture
def hf(run_client):
    """Run the `hf` command in such a process."""
    command = Path(sys.executable).parent / "hf"
    return lambda *arguments, **options: run_client(command, *arguments, **options)


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def visit(hub, chromium):
    """Open a page in a fresh profile; what goes wrong in it is collected in `page.faults`."""
    contexts = []

    def visit(path, *, width=1280, scheme="light", scripts=True, before=None):
        context = chromium.new_context(
            base_url=hub.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=scripts,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: _note(page, message))
        if before:
            page.add_init_script(before)
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()


def _note(page, message):
    # The browser also complains of a page whose status is 404, which is what that page should be.
    if message.type in {"error", "warning"} and "the server responded" not in message.text:
        page.faults.append(message.text)


def contents(folder):
    """Return path -> bytes of the files in a folder, without what clients keep beside them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }
