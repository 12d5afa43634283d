"""How a command ends: exit codes, and one line that says what went wrong and what to do.

| code | meaning |
|---|---|
| 0 | done |
| 1 | an error |
| 2 | the command was called wrongly |
| 3 | refused by the resolver or by a rule (no set-up fits, version exists, wrong number) |
| 4 | not logged in, or not allowed |
| 5 | no server |
"""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

ERROR, USAGE, REFUSED, NOT_ALLOWED, NO_SERVER = 1, 2, 3, 4, 5

EXIT_CODES = {
    "resolution_impossible": REFUSED,
    "version_exists": REFUSED,
    "score_exists": REFUSED,
    "external_only": REFUSED,
    "wrong_version_number": REFUSED,
    "invalid_state": REFUSED,
    "quota_exceeded": REFUSED,
    "not_authenticated": NOT_ALLOWED,
    "not_allowed": NOT_ALLOWED,
    "no_server": NO_SERVER,
}

HINTS = {
    "not_authenticated": "run `hubctl login`, or set HUBCTL_TOKEN",
    "not_allowed": "`hubctl whoami` says who you are here; the owner's admins give rights",
    "version_exists": "leave out --number, and the hub picks the next one",
    "adapter_not_found": "`hubctl search` lists what is here; private ones need `hubctl login`",
    "base_model_not_found": (
        "run `hubctl base register MODEL --name NAME`, where MODEL is a folder or its name on its "
        "own hub; folders that save_adapter wrote have hub_base.json, PEFT's have not"
    ),
}


class Failure(click.ClickException):
    """An error to show to a person. `details` are lines that go below the message."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str = "error",
        details: Sequence[str] = (),
        fields: Mapping[str, object] | None = None,
    ) -> None:
        """`fields` join the error's JSON form."""
        super().__init__(message)
        self.hint = hint
        self.code = code
        # click reads the class's attribute through the instance, which the stubs do not foresee.
        self.exit_code = EXIT_CODES.get(code, ERROR)  # type: ignore[misc]
        self.details = tuple(details)
        self.fields = dict(fields or {})

    def show(self, file: IO[Any] | None = None) -> None:
        lines = [f"Error: {self.message}", *self.details]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        click.echo("\n".join(lines), file=file, err=file is None)

    def as_json(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "hint": self.hint, **self.fields}


def explain(error: Exception) -> Failure | None:
    """Turn an error a person can do something about into what is shown; None for a bug of ours."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, click.ClickException):
        return None  # click shows wrong usage itself
    if isinstance(error, OSError) and error.filename is not None:
        return Failure(f"{error.filename}: {error.strerror}")
    return from_error(error) if hasattr(error, "code") and hasattr(error, "hint") else None


def from_error(error: Exception) -> Failure:
    """Turn an error of the registry, raised here or sent by the hub, into what is shown.

    Works by attribute, not by class, so that showing an error imports nothing.
    """
    code = str(getattr(error, "code", "error"))
    problems: Sequence[str] = getattr(error, "problems", ())
    reasons: Mapping[str, Sequence[str]] = getattr(error, "reasons", {})
    choices: Mapping[str, Sequence[str]] = getattr(error, "choices", {})
    message = str(error)
    if len(problems) > 1:
        message = f"not a valid adapter: {len(problems)} problems"
    return Failure(
        message,
        hint=getattr(error, "hint", None) or _hint(code, choices),
        code=code,
        details=[*_problem_lines(problems), *_reason_lines(reasons), *_choice_lines(choices)],
        fields={
            "problems": list(problems),
            "reasons": {slot: list(lines) for slot, lines in reasons.items()},
            "choices": {slot: list(refs) for slot, refs in choices.items()},
            "use": getattr(error, "use", None),
        },
    )


def _hint(code: str, choices: Mapping[str, Sequence[str]]) -> str | None:
    if choices:
        return "name the one you want instead of the need"
    return HINTS.get(code)


def _problem_lines(problems: Sequence[str]) -> list[str]:
    return [f"  - {problem}" for problem in problems] if len(problems) > 1 else []


def _reason_lines(reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the reasons by slot. What two slots do to each other is said once."""
    lines: list[str] = []
    said: set[str] = set()
    for slot, found in reasons.items():
        new = [reason for reason in found if reason.partition(": ")[2] not in said]
        said.update(found)
        if new:
            lines += [f"  {slot}:", *(f"    - {reason}" for reason in new)]
    return lines


def _choice_lines(choices: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"  {slot}: one of {', '.join(refs)}" for slot, refs in choices.items()]
