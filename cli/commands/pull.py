"""`hubctl pull`."""

from pathlib import Path
from typing import Any

import click

from cli import folders, output, setups, transfer
from cli.framework import HubCommand, connect, hub_options
from registry import names, setup
from registry.client import HubClient
from registry.schemas import VersionDetail


@click.command(
    "pull",
    cls=HubCommand,
    examples=(
        "hubctl pull acme/copa-xlmr@^1",
        "hubctl pull --task acme/copa-xlmr --language qu --to ./setup",
        "hubctl pull --base xlm-roberta-base 'Stack(lang:qu, acme/copa-xlmr@^1)' --to ./setup",
        "hubctl pull --lock ./setup/hub_lock.json --to ./same-setup",
    ),
)
@click.argument("what", metavar="[REF or SETUP]", required=False)
@setups.recipe_options
@click.option("--lock", type=click.Path(path_type=Path), help="A lock, or a folder that has one.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write. Else ./NAME, or ./setup for a set-up.",
)
@click.option("--force", is_flag=True, help="Replace a folder that was pulled before.")
@hub_options
def command(
    *,
    what: str | None,
    to: Path | None,
    lock: Path | None,
    force: bool,
    endpoint: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fetch an adapter, or a whole set-up by need.

    REF is OWNER/NAME, or with @1.2.0, @^1, @sha256:... or @REVISION. SETUP is a composition such
    as Stack(lang:qu, acme/copa-xlmr@^1): the hub chooses what is described by need, pins every part
    in a lock, or says why it cannot. The folder loads in Python with load_setup(model, folder).

    Every file is checked against its sha256. The folder is written whole or not at all.
    """
    asked = setups.Asked(text=what, **options)
    _check_usage(asked, lock)
    with connect(endpoint, origin=_origin(lock)) as client:
        if what is not None and "(" not in what:
            result = _pull_adapter(client, what, to, force=force)
            load = "model.load_adapter({!r})"
        else:
            result = _pull_setup(client, asked, lock, to or Path("setup"), force=force)
            load = "adapters_runtime.load_setup(model, {!r})"
    if as_json:
        output.as_json(result)
    else:
        output.data(f"Pulled {result['pulled']} into {result['path']}")
        output.note(f"Load it: {load.format(result['path'])}")


def _check_usage(asked: setups.Asked, lock: Path | None) -> None:
    if asked.ways + (lock is not None) != 1:
        raise click.UsageError("Name one thing: a REF or SETUP, --task, --recipe or --lock.")
    setups.check_usage(asked)
    if asked.text is not None and "(" not in asked.text and asked.base is not None:
        raise click.UsageError("--base is for set-ups; a single adapter knows its base.")


def _origin(lock: Path | None) -> str | None:
    """Return the hub that a lock came from, when it lies in the folder that was pulled."""
    if lock is None:
        return None
    folder = lock if lock.is_dir() else lock.absolute().parent
    return setups.endpoint_of(folder, setups.read_lock(folders.read_lock(lock)))


# --- one adapter ---------------------------------------------------------------------------------


def _pull_adapter(client: HubClient, ref: str, to: Path | None, *, force: bool) -> dict[str, Any]:
    reference = names.parse_reference(ref)
    target = to or Path(reference.name.partition("/")[2])
    folders.check_target(target, force=force)
    detail = client.version(reference.name, str(reference.selector))
    output.note(f"Pulling {detail.ref}, {output.size(detail.size)}")
    _warn_about_state(detail)
    files = [
        transfer.RemoteFile(folders.check_path(file.path), file.sha256, file.size)
        for file in detail.files
    ]
    with folders.replacing(target) as draft:
        transfer.download(client, detail.name, detail.revision, files, draft)
        folders.write_origin(
            draft,
            ref=detail.ref,
            content=detail.content,
            revision=detail.revision,
            endpoint=client.endpoint,
        )
    output.note(f"Checked {output.plural(len(files), 'file')} against their sha256")
    return {
        "pulled": detail.ref,
        "content": detail.content,
        "revision": detail.revision,
        "path": str(target.absolute()),
        "files": [vars(file) for file in files],
    }


def _warn_about_state(detail: VersionDetail) -> None:
    if detail.state != "live":
        instead = f"; its successor is {detail.successor}" if detail.successor else ""
        output.warn(f"{detail.ref} is {detail.state}{instead}")


# --- a set-up ------------------------------------------------------------------------------------


def _pull_setup(
    client: HubClient, asked: setups.Asked, lock: Path | None, target: Path, *, force: bool
) -> dict[str, Any]:
    folders.check_target(target, force=force)
    recipe = None if lock is not None else setups.read_recipe(client, asked)
    warnings: list[str] = []
    if recipe is None:
        document = folders.read_lock(lock or target)
    else:
        resolution = client.resolve(recipe)
        document, warnings = resolution.lock, resolution.warnings
    for warning in warnings:
        output.warn(warning)
    parsed = setups.read_lock(document)
    output.note(f"Pulling {output.plural(len(parsed.slots), 'adapter')}")
    with folders.replacing(target) as draft:
        setups.write(client, draft, document, recipe)
    return {
        "pulled": ", ".join(pinned.ref for pinned in parsed.slots.values()),
        "path": str(target.absolute()),
        "setup": setup.setup_digest(parsed),
        "slots": {slot: pinned.ref for slot, pinned in parsed.slots.items()},
        "warnings": warnings,
    }
