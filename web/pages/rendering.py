"""Templates, the words they put numbers in, and the headers every page is sent with."""

from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from registry import vocabulary
from registry.adapterhub_cards import SOURCE
from registry.schemas import ScoreOut
from web import current
from web.pages import assets

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Pages show what the caller may see: no cache may give them to somebody else.
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Authorization, Cookie",
}


def page(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    html = _ENVIRONMENT.get_template(template).render(**context)
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> size(999), size(3_581_120)
    ('999 B', '3.6 MB')
    """
    if count < 1000:
        return f"{count} B"
    value, units = count / 1000, iter(("kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 999.5 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.1f} {unit}"


def number(count: int) -> str:
    """Return a count with its thousands apart.

    >>> number(12345)
    '12,345'
    """
    return f"{count:,}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "version"), plural(1200, "version")
    ('1 version', '1,200 versions')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def day(time: datetime) -> str:
    """Return a date as people write it.

    >>> day(datetime(2026, 11, 3))
    '3 Nov 2026'
    """
    return f"{time.day} {time:%b %Y}"


def decimal(value: float, unit: str) -> str:
    """Return a measured value with as many places as tell systems apart."""
    return f"{value:.3f}" if unit == "fraction" else f"{value:,.2f}"


def reference(text: str) -> str:
    """Return the page of what a reference names.

    >>> reference("acme/ner@^1"), reference("acme/ner")
    ('/acme/ner/versions/%5E1', '/acme/ner')
    """
    name, at, selector = text.partition("@")
    return f"/{name}/versions/{quote(selector, safe='')}" if at else f"/{name}"


def brief(value: float) -> str:
    """Return a measured value in as few characters as tell something in a narrow cell.

    >>> brief(0.5623), brief(1.0), brief(27.43), brief(1234.5)
    ('.562', '1.00', '27.4', '1234')
    """
    if 0 <= value < 0.9995:
        return f"{value:.3f}"[1:]
    return (
        f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
        if abs(value) < 1000
        else f"{value:.0f}"
    )


def part_of(slot: str, ref: str) -> tuple[str, str | None]:
    """Return what fills a slot of a set-up that was measured, and its page if it has one."""
    if ref.startswith("sha256:"):
        return f"{slot}: {ref[:19]}", None  # a part that the viewer may not see, by its content
    return f"{slot}: {ref}", reference(ref)


def score_subject(score: ScoreOut) -> tuple[str, str | None]:
    """Return what a score is of, when that is no set-up, and its page if it has one."""
    if score.external is not None:
        variant = f" ({score.external.variant})" if score.external.variant else ""
        here = score.external.source == SOURCE
        return (
            score.external.name + variant,
            f"/{score.external.name}" if here else score.external.url,
        )
    return (score.ref, reference(score.ref)) if score.ref else (score.subject[:19], None)


def address(path: str, **parameters: Any) -> str:
    """Return a path with the parameters that say something; a list repeats its parameter."""
    given = {key: value for key, value in parameters.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


_ENVIRONMENT = Environment(
    loader=PackageLoader("web"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "size": size,
    "number": number,
    "day": day,
    "decimal": decimal,
    "brief": brief,
    "identity": id,
    "reference": reference,
    "path": lambda text: quote(text, safe="/"),
    "language": vocabulary.language_name,
    "method": vocabulary.method_name,
    "kind": lambda kind: vocabulary.KINDS.get(kind, kind),
    "task": vocabulary.task_name,
}
_ENVIRONMENT.globals |= {
    "asset": assets.path_of,
    "address": address,
    "current": current.get,
    "plural": plural,
    "query_text": "",
}
