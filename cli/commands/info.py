"""`hubctl info`."""

from typing import Any

import click

from cli import output
from cli.commands.scores import show_table
from cli.framework import HubCommand, connect, hub_options
from registry import names, prose
from registry.names import Latest
from registry.schemas import AdapterOut, ManifestDocument, VersionDetail


@click.command(
    "info",
    cls=HubCommand,
    examples=("hubctl info acme/copa-xlmr", "hubctl info acme/copa-xlmr@1.2.0 --json"),
)
@click.argument("ref", metavar="REF")
@click.option("--files", is_flag=True, help="List the files with size and sha256.")
@hub_options
def command(*, ref: str, files: bool, endpoint: str | None, as_json: bool) -> None:
    """Show one adapter: versions, contract, base, scores.

    REF is OWNER/NAME, or with @1.2.0, @^1, @sha256:... or @REVISION.
    """
    reference = names.parse_reference(ref)
    with connect(endpoint) as client:
        adapter = client.adapter(reference.name)
        published = adapter.latest is not None or not isinstance(reference.selector, Latest)
        detail = client.version(adapter.name, str(reference.selector)) if published else None
    if as_json:
        version = None if detail is None else detail.model_dump(mode="json")
        output.as_json({"adapter": adapter.model_dump(mode="json"), "version": version})
        return
    if detail is None:
        _show_unpublished(adapter)
        return
    _show_version(adapter, detail)
    if files:
        _heading("Files")
        rows = [[file.path, output.size(file.size), file.sha256] for file in detail.files]
        output.table(("path", "size", "sha256"), rows)
    _show_versions(adapter)
    if adapter.scores:
        _heading("Scores")
        show_table(adapter.scores)


def _show_unpublished(adapter: AdapterOut) -> None:
    if adapter.external is not None:
        _show_external(adapter, adapter.external)
        return
    output.fields([("adapter", adapter.name), ("visibility", adapter.visibility)])
    if adapter.versions:
        output.note("It has no version that can be used by its number.")
        _show_versions(adapter)
    else:
        output.note("It has no published version yet; `hubctl push` publishes one.")


def _show_external(adapter: AdapterOut, known: dict[str, Any]) -> None:
    output.data(f"{adapter.name} (external, from {known['source']})")
    output.data(" - ".join(text for text in (known["title"], known["summary"]) if text))
    output.data()
    output.fields(
        [
            *((key, known[key]) for key in ("kind", "method", "languages", "tasks", "dataset")),
            *((key, known[key]) for key in ("base", "author", "default", "url")),
            ("variants", output.plural(len(known["variants"]), "variant")),
        ]
    )
    output.note("Its weights are not on this hub, and nothing resolves to it.")
    if adapter.scores:
        _heading("Scores")
        show_table(adapter.scores)


def _show_version(adapter: AdapterOut, detail: VersionDetail) -> None:
    about = ManifestDocument.model_validate(detail.manifest)
    if detail.name != adapter.name:
        output.note(f"{adapter.name} is called {detail.name} now.")
    output.data(detail.ref + (f" ({detail.state})" if detail.state != "live" else ""))
    if about.card.title or about.card.summary:
        output.data(" - ".join(text for text in (about.card.title, about.card.summary) if text))
    output.data()
    output.fields(
        [
            ("kind", about.kind),
            ("method", about.method),
            ("languages", about.languages),
            ("tasks", about.card.tasks),
            ("datasets", [_dataset(data) for data in detail.manifest.get("datasets", [])]),
            ("base", _base(about)),
            ("licence", about.card.licence),
            ("size", f"{output.size(detail.size)} in {output.plural(len(detail.files), 'file')}"),
            ("visibility", adapter.visibility if adapter.visibility != "public" else None),
            ("downloads", adapter.downloads),
            ("published", f"{detail.published_at:%Y-%m-%d} by {detail.published_by}"),
            ("use instead", detail.successor),
            ("reason", detail.reason),
            ("content", detail.content),
            ("revision", detail.revision),
            ("page", detail.url),
        ]
    )
    contract = prose.contract(about)
    for heading, sentences in (("Offers", contract.offers), ("Requires", contract.requires)):
        _heading(heading)
        for sentence in sentences:
            output.data(f"  {sentence}")


def _heading(text: str) -> None:
    output.data(f"\n{text}")


def _dataset(data: dict[str, Any]) -> str:
    return "/".join(str(data[key]) for key in ("name", "config", "split") if data.get(key))


def _base(about: ManifestDocument) -> str | None:
    name = about.base.name or about.model_type
    if name is None:
        return None
    digest = f" (weights {output.short(about.base.body)})" if about.base.body else ""
    return f"{name}{digest}"


def _show_versions(adapter: AdapterOut) -> None:
    _heading("Versions")
    rows = [
        [
            version.number,
            version.state,
            f"{version.published_at:%Y-%m-%d}",
            version.published_by,
            output.size(version.size),
            version.successor,
            version.reason,
        ]
        for version in adapter.versions
    ]
    output.table(("number", "state", "published", "by", "size", "use instead", "reason"), rows)
