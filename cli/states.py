"""Moving a version from one state to another, as `deprecate`, `yank` and `remove` do."""

from cli import output
from cli.failures import Failure
from cli.framework import connect
from registry import names
from registry.schemas import State


def move(
    ref: str,
    state: State,
    endpoint: str | None,
    *,
    as_json: bool,
    successor: str | None = None,
    reason: str | None = None,
) -> None:
    name, number = exact(ref)
    with connect(endpoint) as client:
        version = client.set_state(name, number, state, successor=successor, reason=reason)
    if as_json:
        output.as_json(version.model_dump(mode="json"))
        return
    output.data(f"{version.ref} is {version.state}")
    output.fields([("use instead", version.successor), ("reason", version.reason)])


def exact(ref: str) -> tuple[str, str]:
    """Return name and number of a reference to one version."""
    reference = names.parse_reference(ref)
    if not isinstance(reference.selector, names.Exact):
        raise Failure(
            f"{ref} does not say which version",
            hint=f"write its number, as in {reference.name}@1.0.0; `hubctl info` lists them",
            code="invalid_name",
        )
    return reference.name, reference.selector.number
