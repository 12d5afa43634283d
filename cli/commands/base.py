"""`hubctl base`."""

from pathlib import Path

import click

from cli import bases, output
from cli.framework import HubCommand, WholeLines, connect, hub_options
from registry.schemas import BaseModelIn, BaseModelOut, FitOut


@click.group("base", cls=WholeLines)
def command() -> None:
    """Show or register base models."""


@command.command(
    "list",
    cls=HubCommand,
    examples=("hubctl base list", "hubctl base list --name xlm-roberta-base --json"),
)
@click.option("--name", help="Only those of this name.")
@hub_options
def list_(*, name: str | None, endpoint: str | None, as_json: bool) -> None:
    """List the base models a hub knows.

    A base is known by what it holds: models of one name may differ, and copies of other names may
    be the same.
    """
    with connect(endpoint) as client:
        known = client.base_models(name=name)
    if as_json:
        output.as_json([base.model_dump(mode="json", exclude_none=True) for base in known])
    elif known:
        output.table(("name", "type", "adapters", "body", "registered"), [_row(b) for b in known])
    else:
        output.note("No base model is registered yet; the first push of an adapter does it.")


def _row(base: BaseModelOut) -> list[object]:
    body = output.short(base.identity.body or "")
    date = f"{base.registered_at:%Y-%m-%d}"
    return [base.identity.name, base.model_type, base.adapters, body, date]


@command.command(
    "register",
    cls=HubCommand,
    examples=(
        "hubctl base register ./my-adapter",
        "hubctl base register ./models/xlmr --name xlm-roberta-base",
    ),
)
@click.argument("source", metavar="FOLDER|MODEL")
@click.option("--name", help="What others call the model, when its folder has another name.")
@hub_options
def register(*, source: str, name: str | None, endpoint: str | None, as_json: bool) -> None:
    """Register a base model, so that adapters of it can be checked and combined.

    `push` does this by itself. Here the source is an adapter folder with hub_base.json, that file,
    or a model that transformers can load. Digests, configuration and tensor shapes are sent, and
    no weights.
    """
    body = _read(source, name)
    with connect(endpoint) as client:
        base = client.register_base(body)
    if as_json:
        output.as_json(base.model_dump(mode="json", exclude_none=True))
    else:
        output.data(f"Registered {base.identity.name}")
        output.fields([("body", base.identity.body), ("structure", base.identity.structure)])


def _read(source: str, name: str | None) -> BaseModelIn:
    path = Path(source)
    if path.is_file():
        body: BaseModelIn | None = bases.read(path)
    else:
        body = bases.of_folder(path)
    if body is None:
        return bases.of_model(source, name=name)
    if name is not None:
        body = body.model_copy(update={"identity": body.identity.model_copy(update={"name": name})})
    return body


@command.command(
    "fits",
    cls=HubCommand,
    examples=(
        "hubctl base fits xlm-roberta-base",
        "hubctl base fits ./models/xlmr --json",
    ),
)
@click.argument("base", metavar="NAME|FOLDER")
@hub_options
def fits(*, base: str, endpoint: str | None, as_json: bool) -> None:
    """List the adapters that fit a base model, by its digests.

    NAME is a registered one, or the digest of its body (sha256:...). FOLDER holds a model, which is
    read here, or an adapter with hub_base.json; nothing is registered.
    """
    wanted = _read(base, None).identity if Path(base).exists() else base
    with connect(endpoint) as client:
        found = client.fits(wanted)
    if as_json:
        output.as_json([fit.model_dump(mode="json") for fit in found])
    elif found:
        headings = ("adapter", "version", "kind", "method", "language", "fit", "why")
        output.table(headings, [_fit_row(fit) for fit in found])
    else:
        output.note("No adapter here stands on this base.")


def _fit_row(fit: FitOut) -> list[object]:
    return [fit.name, fit.number, fit.kind, fit.method, fit.language, fit.fit, fit.reason]
