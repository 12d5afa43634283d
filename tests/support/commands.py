"""Calling `hubctl` in this process."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from cli.main import cli


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*words: object, stdin: str | None = None, **environment: str | None) -> Ended:
    """Call a command; `environment` holds variables, None taking one away."""
    result = CliRunner().invoke(cli, [str(word) for word in words], input=stdin, env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)
