"""The front matter of a card: YAML between two lines of `---` at the top of README.md."""

from dataclasses import dataclass, field
from typing import Any

import yaml

LONGEST_FRONT_MATTER = 64 * 1024


@dataclass(frozen=True)
class Card:
    """A card in its two parts. `fault` says why `metadata` is empty when it could not be read."""

    metadata: dict[str, Any] = field(default_factory=dict)
    body: str = ""
    fault: str | None = None

    def words(self, key: str) -> list[str]:
        """Return the strings under a key that may hold one or several, as Hub cards have it."""
        value = self.metadata.get(key)
        values = value if isinstance(value, list) else [value]
        return [item.strip() for item in values if isinstance(item, str) and item.strip()]

    def line(self, *keys: str) -> str:
        """Return the first text under one of the keys, on one line."""
        found = (word for key in keys for word in self.words(key))
        return " ".join(next(found, "").split())


def split(text: str) -> Card:
    r"""Part a card from its front matter. What is broken is left out, never an error.

    >>> split("---\nlicense: mit\n---\n# Title\n")
    Card(metadata={'license': 'mit'}, body='# Title\n', fault=None)
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\0", "")
    if not text.startswith("---\n"):
        return Card(body=text)
    front, fence, body = text.removeprefix("---\n").partition("\n---")
    line_end, newline, body = body.partition("\n")
    if not fence or line_end.strip() or not (newline or not body):
        return Card(body=text, fault="the front matter has no closing line of ---")
    return _read(front, body)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: nested ones make a few lines expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _read(front: str, body: str) -> Card:
    if len(front) > LONGEST_FRONT_MATTER:
        fault = f"the front matter has {len(front):,} characters, more than we read"
        return Card(body=body, fault=fault)
    try:
        # A SafeLoader: it builds plain values only.
        document = yaml.load(front, Loader=_PlainLoader)  # noqa: S506
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a date of 2026-99-99
        reason = " ".join(str(error).split())[:200]
        return Card(body=body, fault=f"the front matter is not YAML: {reason}")
    if document is None:
        return Card(body=body)
    if not isinstance(document, dict):
        return Card(body=body, fault="the front matter holds no fields")
    return Card({str(key): value for key, value in document.items()}, body)
