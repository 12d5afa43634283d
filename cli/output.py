"""What people read: data on stdout, everything about the run on stderr."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any, Literal

import click

WIDE = 10_000
"""Columns of a pipe or file: nothing is cut where a program may read it."""


def data(text: str = "") -> None:
    click.echo(text)


def note(text: str) -> None:
    """Say something about the run, which is not its result."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    note(f"Warning: {text}")


def as_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns. Numbers go right; columns without any value are left out."""
    # 60 ms that only tables need.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    kept = [i for i in range(len(headings)) if any(_text(row[i]) for row in rows)]
    grid = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for i in kept:
        numeric = all(isinstance(row[i], int | float | None) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        # Folded, for a reference that is cut short cannot be copied.
        grid.add_column(headings[i].upper(), justify=justify, overflow="fold")
    for row in rows:
        grid.add_row(*(_escaped(_text(row[i])) for i in kept))
    width = None if sys.stdout.isatty() else WIDE
    console = Console(width=width, highlight=False)
    with console.capture() as printed:
        console.print(grid)
    for line in printed.get().splitlines():
        data(line.rstrip())  # rich fills the last column with blanks


def fields(pairs: Sequence[tuple[str, object]], *, indent: int = 0) -> None:
    """Print `name: value` lines, values aligned; those without a value are left out."""
    shown = [(name, _text(value)) for name, value in pairs if _text(value)]
    width = max((len(name) for name, _ in shown), default=0) + 2
    for name, value in shown:
        data(f"{'':{indent}}{name + ':':{width}}{value}")


def size(count: int) -> str:
    """Return a count of bytes for people.

    >>> size(2_400_000)
    '2.4 MB'
    """
    if count < 1000:
        return f"{count} B"
    step = min(int(math.log10(count)) // 3, 4)
    return f"{count / 1000**step:.1f} {' kMGT'[step]}B"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short(digest: str) -> str:
    """Return a digest cut to what the eye can compare."""
    return digest[:19] + "…" if digest.startswith("sha256:") else digest[:12]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")  # rich would read [..] as markup
