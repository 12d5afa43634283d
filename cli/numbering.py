"""Which number a push would get, by the hub's own rules, before anything is sent."""

from dataclasses import dataclass

from cli import output
from registry import versioning
from registry.client import HubClient, HubError, HubUnreachable
from registry.errors import VersionExists
from registry.manifest import Manifest
from registry.names import AdapterName
from registry.schemas import AdapterOut, ManifestDocument, VersionDetail, VersionOut
from registry.versioning import Number, Published

GONE = frozenset({"quarantined", "removed"})
"""States of a version that nothing is compared with: only its number counts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a push would do."""

    name: AdapterName
    manifest: Manifest
    number: Number
    reason: str
    is_new: bool
    same: VersionOut | None
    """The version that holds these very files already."""


def make_plan(
    client: HubClient,
    name: AdapterName,
    manifest: Manifest,
    wanted: Number | None,
    *,
    dry_run: bool,
) -> Plan:
    adapter = _find(client, name, dry_run=dry_run)
    versions = [] if adapter is None else adapter.versions
    below = _highest(versions, below=wanted)
    detail = None if below is None else client.version(name, below.number)
    published = [_published(version, detail) for version in versions]
    same = detail if _repeats(detail, manifest, wanted) else None
    if same is not None:
        number = Number.parse(same.number)
    elif wanted is None:
        number = versioning.next_number(published, manifest.document)
    else:
        number = wanted
        if any(version.number == wanted for version in published):
            raise VersionExists(name, str(wanted))
        versioning.check_number(published, wanted, manifest.document)
    return Plan(
        name=name,
        manifest=manifest,
        number=number,
        reason=_reason(detail, manifest, first=not versions),
        is_new=adapter is None,
        same=same,
    )


def _find(client: HubClient, name: AdapterName, *, dry_run: bool) -> AdapterOut | None:
    try:
        return client.adapter(name)
    except HubUnreachable as error:
        if not dry_run:
            raise
        output.warn(f"{error}; the number is that of a first version")
        return None
    except HubError as error:
        if error.code != "adapter_not_found":
            raise
        return None


def _highest(versions: list[VersionOut], *, below: Number | None) -> VersionOut | None:
    standing = [
        version
        for version in versions
        if version.state not in GONE and (below is None or Number.parse(version.number) <= below)
    ]
    return max(standing, key=lambda version: Number.parse(version.number), default=None)


def _published(version: VersionOut, detail: VersionDetail | None) -> Published:
    """Only the version that is compared with needs its manifest, so only that one was fetched."""
    compared = detail is not None and detail.number == version.number
    manifest = ManifestDocument.model_validate(detail.manifest) if detail and compared else None
    return Published(Number.parse(version.number), manifest)


def _repeats(detail: VersionDetail | None, manifest: Manifest, wanted: Number | None) -> bool:
    """Whether the push would publish what the version in question holds already."""
    if detail is None or (wanted is not None and detail.number != str(wanted)):
        return False
    return bool(detail.manifest.get("files") == manifest.json()["files"])


def _reason(detail: VersionDetail | None, manifest: Manifest, *, first: bool) -> str:
    if detail is None:
        return "the first version" if first else "no version stands below it"
    before = ManifestDocument.model_validate(detail.manifest)
    bump = versioning.required_bump(before, manifest.document)
    return f"since {detail.number}, {bump.reason}"
