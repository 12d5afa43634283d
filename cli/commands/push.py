"""`hubctl push`."""

import secrets
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from adapters_runtime.shapes import BaseDescription
from cli import bases, folders, output, transfer
from cli.framework import HubCommand, connect, hub_options
from cli.numbering import Plan, make_plan
from registry import acceptance, names
from registry.client import HubClient, HubUnreachable
from registry.errors import InvalidPackage, UploadRefused
from registry.manifest import Manifest, build_manifest, claimed_base
from registry.names import AdapterName
from registry.packages import Package
from registry.schemas import BaseModelIn, BaseModelOut, VersionOut
from registry.versioning import Number

SAMPLE = 512
"""Bytes by which the kind of a file is told."""


@dataclass(frozen=True)
class Local:
    """What lies in the folder."""

    folder: Path
    package: Package
    base: BaseModelIn | None


@click.command(
    "push",
    cls=HubCommand,
    examples=(
        "hubctl push ./my-adapter acme/ner-xlmr",
        "hubctl push ./my-adapter acme/ner-xlmr --dry-run",
        "hubctl push ./my-adapter acme/ner-xlmr --number 2.0.0 --private",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name", metavar="[OWNER/NAME]", required=False)
@click.option("--number", metavar="1.2.0", help="Else the next number that fits what changed.")
@click.option("--private", is_flag=True, help="Make a new adapter visible to its owner only.")
@click.option("--dry-run", is_flag=True, help="Check and show, but send nothing.")
@click.option("--message", metavar="TEXT", help="What is new, for the history.")
@hub_options
def command(
    *,
    folder: Path,
    name: str | None,
    number: str | None,
    private: bool,
    dry_run: bool,
    message: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Check an adapter folder and publish it.

    The folder is checked here first, with the hub's own rules: weights in safetensors, tensors that
    follow from the configuration and the base, a number that fits what changed. A base model that
    the hub does not know is registered from hub_base.json; its weights stay here. Repeating a push
    changes nothing.
    """
    local = Local(folder, _package(folder), bases.of_folder(folder))
    wanted = None if number is None else Number.parse(number)
    with connect(endpoint) as client:
        chosen = _name(client, folder, name)
        manifest = _check(client, local)
        _check_files(local.package)
        plan = make_plan(client, chosen, manifest, wanted, dry_run=dry_run)
        _announce(plan, local, client)
        if dry_run:
            _finish(_report(plan, None), f"Would publish {plan.name}@{plan.number}", as_json)
            return
        version = plan.same or _publish(
            client, plan, local, wanted=wanted, private=private, message=message
        )
    for warning in version.warnings:
        output.warn(warning)
    done = "Published" if version.created and plan.same is None else "Was published before:"
    _finish(_report(plan, version), f"{done} {version.ref}", as_json)
    output.note(f"See {version.url}")


def _finish(report: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        output.as_json(report)
    else:
        output.data(sentence)


# --- what is pushed ------------------------------------------------------------------------------


def _package(folder: Path) -> Package:
    """Return the adapter's files, without those that only say where the folder came from."""
    files = Package.from_folder(folder).files
    kept = (path for path in files if PurePosixPath(path).name not in folders.SIDECARS)
    return Package({path: files[path] for path in kept})


def _name(client: HubClient, folder: Path, given: str | None) -> AdapterName:
    """Return the name given, that of the adapter the folder was pulled from, or a first one."""
    if given is not None and "/" in given:
        return names.parse_name(given)
    if given is None and (ref := folders.origin(folder).get("ref")):
        return names.parse_reference(str(ref)).name
    owner = client.whoami()["name"]
    return names.parse_name(f"{owner}/{given or folder.resolve().name}")


def _check(client: HubClient, local: Local) -> Manifest:
    """Check the folder against its base: that described in the folder, else the hub's."""
    if local.base is not None:
        base = _describe(local.base.config, local.base.tensors)
        return build_manifest(local.package, base, local.base.identity)
    known = _find_base(client, local.package)
    if known is None or known.config is None or known.tensors is None:
        return build_manifest(local.package, None)
    base = _describe(known.config, known.tensors)
    return build_manifest(local.package, base, known.identity)


def _check_files(package: Package) -> None:
    """Refuse names and kinds of files as the hub would, before it makes a new adapter for them."""
    problems = []
    for path, file in package.files.items():
        with file.open() as stream:
            seen = acceptance.sniff(stream.read(SAMPLE))
        try:
            acceptance.check_kind(path, seen)
        except UploadRefused as error:
            problems.append(str(error))
    if problems:
        raise InvalidPackage(problems)


def _find_base(client: HubClient, package: Package) -> BaseModelOut | None:
    wanted = claimed_base(package)
    if wanted.body is None and wanted.name is None:
        return None
    try:
        # A name counts only where nothing is known by digest.
        name = None if wanted.body else wanted.name
        known = client.base_models(name=name, body=wanted.body, full=True)
    except HubUnreachable:
        return None  # a dry run needs no hub; what follows asks it again
    return known[0] if known else None


def _describe(config: dict[str, Any], tensors: dict[str, dict[str, Any]]) -> BaseDescription:
    shapes = {name: tuple(facts["shape"]) for name, facts in tensors.items()}
    return BaseDescription(
        model_type=str(config.get("model_type", "")), config=config, tensors=shapes
    )


# --- doing it ------------------------------------------------------------------------------------


def _publish(
    client: HubClient,
    plan: Plan,
    local: Local,
    *,
    wanted: Number | None,
    private: bool,
    message: str | None,
) -> VersionOut:
    """Upload the files beside the published ones, then let the hub number them.

    Until the last request nobody sees anything: a push that is cut leaves no version behind.
    """
    if local.base is not None:
        _register(client, local.base)
    branch = f"incoming/{secrets.token_hex(8)}"
    output.note(f"Uploading {output.plural(len(local.package.files), 'file')}")
    transfer.upload(
        client,
        plan.name,
        {path: local.folder / path for path in local.package.files},
        branch=branch,
        message=message or f"Publish {plan.number}",
        private=private,
    )
    # Without a number of the user's, the hub picks: another push may have taken ours meanwhile.
    return client.publish(plan.name, branch, None if wanted is None else str(wanted))


def _register(client: HubClient, base: BaseModelIn) -> None:
    wanted = base.identity
    for known in client.base_models(body=wanted.body):
        # One body may come with several vocabularies, and each of them is a base of its own.
        same = (known.identity.embeddings, known.identity.tokenizer)
        if same == (wanted.embeddings, wanted.tokenizer):
            return
    output.note(f"Registering the base model {wanted.name}, which is new here")
    client.register_base(base)


# --- what is shown -------------------------------------------------------------------------------


def _announce(plan: Plan, local: Local, client: HubClient) -> None:
    about = plan.manifest.document
    output.note(f"{plan.name}{' (new)' if plan.is_new else ''} on {client.endpoint}")
    size = sum(file.size for file in local.package.files.values())
    rows = (
        ("kind", about.kind),
        ("method", about.method),
        ("languages", ", ".join(about.languages)),
        ("base", about.base.name or about.model_type),
        ("files", f"{len(local.package.files)}, {output.size(size)}"),
        ("number", f"{plan.number} ({plan.reason})"),
    )
    for name, value in rows:
        if value:
            output.note(f"  {name + ':':11}{value}")
    for warning in plan.manifest.warnings:
        output.warn(warning)


def _report(plan: Plan, version: VersionOut | None) -> dict[str, Any]:
    about = plan.manifest.document
    return {
        "ref": version.ref if version else f"{plan.name}@{plan.number}",
        "number": version.number if version else str(plan.number),
        "reason": plan.reason,
        "published": version is not None,
        "created": version is not None and version.created and plan.same is None,
        "revision": version.revision if version else None,
        "content": plan.manifest.content,
        "kind": about.kind,
        "method": about.method,
        "base": about.base.model_dump(mode="json"),
        "url": version.url if version else None,
        "warnings": list(version.warnings if version else plan.manifest.warnings),
    }
