"""The body of a card (README.md): Markdown to HTML that is safe to show, and to plain text.

A card is written by strangers and shown on our pages. Two independent walls stand between: raw HTML
is never parsed as HTML, and what the Markdown renderer made passes an allow-list.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

LONGEST_CARD = 256 * 1024
"""Characters of a card that are shown and searched; more would keep a worker busy for seconds."""

LONGEST_SUMMARY = 240
ID_PREFIX = "user-content-"
CUT_NOTE = "\n\n*The rest of this card is too long to show; see the file README.md.*\n"

_TAGS = {
    *("h2", "h3", "h4", "h5", "h6", "p", "blockquote", "hr", "br", "pre", "code"),
    *("ul", "ol", "li", "em", "strong", "s", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}} | {
    heading: {"id"} for heading in ("h2", "h3", "h4", "h5", "h6")
}
_SCHEMES = {"http", "https", "mailto"}


# --- HTML ----------------------------------------------------------------------------------------


def render(body: str, *, files: str = "", title: str = "") -> str:
    """Return a card's body as HTML that is safe inside a page.

    Headings come below the page's own; identifiers get a prefix, so that a card cannot stand in for
    a part of the page; images give way to their description, so that opening a page tells no third
    party. `files` is the address below which relative links are looked up;
    without it they lose their target. A first heading that repeats `title` is left out.
    """
    return _render(body, files, title)


@lru_cache(maxsize=128)
def _render(body: str, files: str, title: str) -> str:
    if len(body) > LONGEST_CARD:
        body = body[:LONGEST_CARD].rpartition("\n")[0] + CUT_NOTE
    tokens = _MARKDOWN.parse(_without_comments(body))
    if tokens and tokens[0].type == "heading_open" and _inline_text(tokens[1]) == title:
        del tokens[:3]  # its opening, its text, its end
    _place_headings(tokens)
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=set(),
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        url_relative=lambda url: _target(url, files),
        link_rel="nofollow noopener noreferrer",
        id_prefix=ID_PREFIX,
    )


def _target(url: str, files: str) -> str | None:
    """Return where a relative link of a card leads: into the card, to a file of the adapter."""
    if url.startswith("#"):
        return f"#{ID_PREFIX}{url[1:]}"
    path = url.removeprefix("./")
    # A leading slash or two would reach other pages of the hub, or other hosts.
    if not files or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", path) or ".." in path:
        return None
    return files + path


def _without_comments(text: str) -> str:
    """Leave out `<!-- ... -->`, with which card templates explain themselves, in one pass."""
    parts: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        end = text.find("-->", start)
        if end < 0:
            break
        parts.append(text[position:start])
        position = end + len("-->")
    return "".join([*parts, text[position:]])


def _place_headings(tokens: Sequence[Token]) -> None:
    """Begin with h3, for the page has h1 and h2, and give each an identifier of its own."""
    seen: Counter[str] = Counter()
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    highest = min((token.tag for token in headings), default="h1")
    for token in headings:
        token.tag = f"h{min(int(token.tag[1]) - int(highest[1]) + 3, 6)}"
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            slug = _slug(_inline_text(following))
            token.attrSet("id", f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1


def _slug(text: str) -> str:
    return re.sub(r"[^\w-]+", "-", text.lower()).strip("-") or "section"


class _Renderer(RendererHTML):
    def image(self, tokens: Sequence[Token], idx: int, _options: OptionsDict, _env: EnvType) -> str:
        return f"[image: {nh3.clean_text(tokens[idx].content)}]"


_MARKDOWN = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
_MARKDOWN.enable(["table", "strikethrough"])


# --- plain text ----------------------------------------------------------------------------------


def title(body: str) -> str:
    """Return the first heading of the highest level, or nothing."""
    headings = [
        (token.tag, _inline_text(following))
        for token, following in _pairs(body)
        if token.type == "heading_open"
    ]
    return min(headings, key=lambda found: found[0])[1] if headings else ""


def summary(body: str) -> str:
    """Return the first paragraph, cut at a word when it is long."""
    for token, following in _pairs(body):
        if token.type == "paragraph_open" and (text := _inline_text(following)):
            return _cut(text)
    return ""


def plain_text(body: str) -> str:
    """Return the words of a card, as they are searched."""
    tokens = _parse(body)
    return "\n".join(filter(None, (_inline_text(token) for token in tokens)))


@lru_cache(maxsize=8)
def _parse(body: str) -> tuple[Token, ...]:
    return tuple(_MARKDOWN.parse(_without_comments(body[:LONGEST_CARD])))


def _pairs(body: str) -> Iterator[tuple[Token, Token]]:
    tokens = _parse(body)
    return pairwise(tokens)


def _inline_text(token: Token) -> str:
    breaks = {"softbreak", "hardbreak"}
    parts = (" " if child.type in breaks else child.content for child in token.children or ())
    return " ".join("".join(parts).split())


def _cut(text: str) -> str:
    if len(text) <= LONGEST_SUMMARY:
        return text
    return text[:LONGEST_SUMMARY].rpartition(" ")[0].rstrip(",;:. ") + " …"
