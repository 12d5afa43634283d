"""`hubctl search`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry.schemas import SearchHit


@click.command(
    "search",
    cls=HubCommand,
    examples=(
        "hubctl search quechua",
        "hubctl search --language qu --base xlm-roberta-base --kind language",
        "hubctl search sentiment --sort downloads --limit 5 --json",
    ),
)
@click.argument("words", nargs=-1)
@click.option("--kind", help="task, language, fusion, head, embedding or setup.")
@click.option("--method", help="Such as seq_bn or lora.")
@click.option("--task", help="Such as copa or ner.")
@click.option("--language", metavar="TAG", help="A BCP-47 tag, such as qu.")
@click.option("--base", metavar="NAME", help="The base model.")
@click.option("--owner", metavar="NAME")
@click.option("--sort", metavar="ORDER", help="relevance, downloads, updated or name.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on after a page, by its `next`.")
@hub_options
def command(
    *, words: tuple[str, ...], endpoint: str | None, as_json: bool, **filters: str | int | None
) -> None:
    """Find adapters.

    Without words, lists everything that fits the options.
    """
    with connect(endpoint) as client:
        page = client.search(" ".join(words), **filters)
    if as_json:
        output.as_json(page.model_dump(mode="json"))
        return
    if not page.hits:
        output.note("Nothing fits. Try fewer words or options.")
        return
    headings = ("name", "version", "kind", "method", "language", "base", "downloads", "summary")
    output.table(headings, [_row(hit) for hit in page.hits])
    total = page.total if page.total_is_exact else f"more than {page.total}"
    if page.next:
        output.note(f"{len(page.hits)} of {total}; go on with --after {page.next}")


def _row(hit: SearchHit) -> list[object]:
    return [
        hit.name,
        hit.number or "-",
        hit.kind,
        hit.method,
        hit.languages,
        hit.base_name,
        hit.downloads,
        (hit.summary or hit.title).splitlines()[0][:60] if hit.summary or hit.title else None,
    ]
