"""What things are called: adapters, their owners, references to versions, and languages."""

import re
from dataclasses import dataclass
from typing import NewType

import langcodes
from langcodes.tag_parser import LanguageTagError

from registry.errors import InvalidName

AdapterName = NewType("AdapterName", str)
"""A name that went through `parse_name`: `owner/adapter`, lower case."""

LONGEST_NAME = 96
LONGEST_TAG = 35
"""What RFC 5646 asks to provide for; longer tags are private inventions."""

RESERVED_OWNERS = frozenset(
    {
        *("admin", "api", "docs", "health", "login", "metrics", "oauth", "search", "static"),
        *("datasets", "leaderboards", "matrix", "models", "setups", "spaces"),
        *("account", "base-models", "hub", "logout"),
    }
)
"""First parts of paths that the server answers itself, or that Hub clients take to be special."""

# What huggingface_hub accepts as one part of a repository id, in lower case.
_PART = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_NUMBER = r"(?:0|[1-9]\d{0,8})"
_EXACT = re.compile(rf"v?({_NUMBER}\.{_NUMBER}\.{_NUMBER})")
_RANGE = re.compile(rf"\^{_NUMBER}(?:\.{_NUMBER}){{0,2}}")
_CONTENT = re.compile(r"sha256:[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")


def parse_name(text: str) -> AdapterName:
    """Return the canonical form of an adapter name: `owner/adapter` in lower case.

    The rule is that of Hub clients, so that every name can be used with them.

    Raises InvalidName, which says what is wrong.

    >>> parse_name("Lab/Sentiment-SST2")
    'lab/sentiment-sst2'
    """
    name = text.strip().lower()
    owner, slash, rest = name.partition("/")
    if not slash or not rest or "/" in rest:
        raise InvalidName(f"{text!r} is not of the form owner/adapter")
    if len(name) > LONGEST_NAME:
        raise InvalidName(f"{text!r} has {len(name)} characters; {LONGEST_NAME} are allowed")
    parse_owner(owner)
    _check_part(rest, "an adapter")
    return AdapterName(name)


def parse_owner(text: str) -> str:
    """Return the canonical form of a user's or organisation's name.

    Raises InvalidName, also for names that are paths of the server.
    """
    owner = text.strip().lower()
    _check_part(owner, "an owner")
    if owner in RESERVED_OWNERS:
        raise InvalidName(
            f"the owner name {owner!r} is reserved for the hub itself; choose another"
        )
    return owner


def _check_part(part: str, what: str) -> None:
    if not part or len(part) > LONGEST_NAME:
        raise InvalidName(
            f"{part!r} cannot name {what}: 1 to {LONGEST_NAME} characters are allowed"
        )
    if not _PART.fullmatch(part):
        raise InvalidName(
            f"{part!r} cannot name {what}: use letters, digits, '-', '_' and '.', "
            "and neither '-' nor '.' at either end"
        )
    for forbidden in ("--", ".."):
        if forbidden in part:
            raise InvalidName(f"{part!r} cannot name {what}: it holds {forbidden!r}")
    if part.endswith(".git"):
        raise InvalidName(f"{part!r} cannot name {what}: it ends in '.git'")


# --- references ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latest:
    """The highest live version."""

    def __str__(self) -> str:
        return "latest"


@dataclass(frozen=True)
class Exact:
    """One version, by its number."""

    number: str

    def __str__(self) -> str:
        return self.number


@dataclass(frozen=True)
class Range:
    """The highest live compatible version: `^1`, `^1.2`, `^0.2` (see `versioning.admits`)."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Content:
    """Whichever version has this content."""

    digest: str

    def __str__(self) -> str:
        return self.digest


@dataclass(frozen=True)
class RevisionPin:
    """One revision, whether it has a version or not."""

    id: str

    def __str__(self) -> str:
        return self.id


Selector = Latest | Exact | Range | Content | RevisionPin


@dataclass(frozen=True)
class Reference:
    """`owner/name`, `owner/name@1.2.0`, `@^1`, `@sha256:...` or `@<revision>`."""

    name: AdapterName
    selector: Selector = Latest()

    def __str__(self) -> str:
        return self.name if isinstance(self.selector, Latest) else f"{self.name}@{self.selector}"


def parse_reference(text: str) -> Reference:
    """Read a reference as people type it. Raises InvalidName.

    >>> parse_reference("lab/copa@^1")
    Reference(name='lab/copa', selector=Range(text='^1'))
    """
    name, at, selector = text.strip().partition("@")
    return Reference(parse_name(name), parse_selector(selector) if at else Latest())


def parse_selector(text: str) -> Selector:
    """Read what may stand after the `@` of a reference. Raises InvalidName."""
    selector = text.strip().lower()
    if selector == "latest":
        return Latest()
    if exact := _EXACT.fullmatch(selector):
        return Exact(exact.group(1))
    if _RANGE.fullmatch(selector):
        return Range(selector)
    if _CONTENT.fullmatch(selector):
        return Content(selector)
    if _REVISION.fullmatch(selector):
        return RevisionPin(selector)
    raise InvalidName(
        f"{text!r} selects no version; write a full number (1.2.0), a range (^1 or ^0.2), latest, "
        "sha256: with 64 hexadecimal digits, or a revision of 40"
    )


# --- languages -----------------------------------------------------------------------------------


def parse_language(tag: str) -> str:
    """Return a BCP-47 tag in its standard form (`EN_us` is `en-US`, `deu` is `de`).

    Raises InvalidName for what is not a registered tag, such as a language's name.
    """
    try:
        standard = langcodes.standardize_tag(tag.strip())
        known = len(standard) <= LONGEST_TAG and langcodes.tag_is_valid(standard)
    except LanguageTagError:
        known = False
    if not known:
        raise InvalidName(
            f"{tag!r} is no BCP-47 language tag; write en, qu or zh-Hant, for example"
        )
    return standard


def language_matches(wanted: str, offered: str) -> bool:
    """Whether text in `offered` serves a request for `wanted`.

    Language and script must be equal, an absent script being the usual one of the language: `zh` is
    `zh-Hans`, so `zh-Hant` does not serve it, and neither does `sr-Latn` serve `sr`. A region or
    variant counts only when it is asked for.
    """
    asked, given = langcodes.Language.get(wanted), langcodes.Language.get(offered)
    return (
        asked.language == given.language
        and asked.maximize().script == given.maximize().script
        and asked.territory in (None, given.territory)
        and set(asked.variants or ()) <= set(given.variants or ())
    )


def metric_alias(name: str) -> str:
    """Return the form in which names of metrics are compared.

    >>> metric_alias("Matthews Correlation"), metric_alias("F1")
    ('matthews_correlation', 'f1')
    """
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
