"""`hubctl search`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry.client import Value
from registry.schemas import SearchHit

LONGEST = 60
"""Characters of a description that a table shows."""


@click.command(
    "search",
    cls=HubCommand,
    examples=(
        "hubctl search quechua",
        "hubctl search --language qu --base xlm-roberta-base --kind language",
        "hubctl search sentiment --sort downloads --limit 5 --json",
        "hubctl search --sort score --dataset xcopa --metric accuracy",
    ),
)
@click.argument("words", nargs=-1)
@click.option("--kind", multiple=True, help="task, language, fusion, head, embedding or setup.")
@click.option("--method", multiple=True, help="Such as seq_bn or lora.")
@click.option("--task", multiple=True, help="Such as copa or ner.")
@click.option("--language", metavar="TAG", multiple=True, help="A BCP-47 tag, such as qu.")
@click.option("--base", metavar="NAME", multiple=True, help="The base model.")
@click.option("--licence", multiple=True, help="Such as apache-2.0.")
@click.option("--owner", metavar="NAME", help="A user or an organisation.")
@click.option(
    "--sort",
    type=click.Choice(["relevance", "downloads", "updated", "name", "score"]),
    help="Else by relevance to the words, or by downloads without words.",
)
@click.option("--dataset", metavar="NAME", help="With --sort score: measured on what.")
@click.option("--metric", metavar="NAME", help="With --sort score: measured by what.")
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Of one page."
)
@click.option("--after", metavar="CURSOR", help="Go on after a page, by its `next`.")
@hub_options
def command(
    *, words: tuple[str, ...], endpoint: str | None, as_json: bool, **filters: Value
) -> None:
    """Find adapters.

    Without words, lists everything that fits the options. An option that is repeated gives
    alternatives.
    """
    if filters["sort"] != "score" and (filters["dataset"] or filters["metric"]):
        raise click.UsageError("--dataset and --metric go with --sort score.")
    with connect(endpoint) as client:
        page = client.search(" ".join(words), **filters)
    if as_json:
        output.as_json(page.model_dump(mode="json"))
        return
    if not page.hits:
        output.note("Nothing fits. Try fewer words or options.")
        return
    headings = (
        "name",
        "version",
        "kind",
        "method",
        "language",
        "base",
        "score",
        "downloads",
        "about",
    )
    output.table(headings, [_row(hit) for hit in page.hits])
    total = page.total if page.total_is_exact else f"more than {page.total}"
    if page.next:
        output.note(f"{len(page.hits)} of {total}; go on with --after {page.next}")


def _row(hit: SearchHit) -> list[object]:
    return [
        hit.name,
        hit.number or ("external" if hit.external else "-"),
        hit.kind,
        hit.method,
        hit.languages,
        hit.base_name,
        hit.score,
        hit.downloads,
        _about(hit),
    ]


def _about(hit: SearchHit) -> str:
    """Return the card's first words; without a card there is nothing but the name again."""
    title = hit.title if hit.title != hit.name.partition("/")[2] else ""
    lines = (hit.summary or title).splitlines()
    return lines[0][:LONGEST] if lines else ""
