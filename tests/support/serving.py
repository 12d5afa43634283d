"""`hubctl serve` as a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def serving(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Start a hub on a free port; yield the process and what it announced, and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "--json", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process, json.loads(_announced(process))
        finally:
            process.kill()
            process.communicate()


def _announced(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or lines[-1].rstrip() != "}":
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.stderr.read())
        lines.append(line)
    return "".join(lines)
