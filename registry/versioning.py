"""Version numbers: which one a change deserves, and which versions a range admits."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from registry.diff import compare, tensor_changes
from registry.errors import InvalidName, WrongVersionNumber
from registry.names import Exact, Range, parse_selector
from registry.schemas import BaseIdentity, HeadEntry, ManifestDocument, Requirement, Signature


class Number(NamedTuple):
    """A version number, in its order. There are no pre-releases."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "Number":
        """Read `1.2.0` or `v1.2.0`. Raises InvalidName."""
        try:
            selector = parse_selector(text)
        except InvalidName:
            selector = None
        if not isinstance(selector, Exact):
            raise InvalidName(f"{text!r} is no version number; write three numbers, such as 1.2.0")
        return cls(*map(int, selector.number.split(".")))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def after(self, level: "Level") -> "Number":
        """Return the least number that is a step of this level away."""
        if level is Level.MAJOR:
            return Number(self.major + 1, 0, 0)
        if level is Level.MINOR:
            return Number(self.major, self.minor + 1, 0)
        return Number(self.major, self.minor, self.patch + 1)


FIRST = Number(1, 0, 0)
STANDING = frozenset({"live", "deprecated"})
"""States of versions that new ones are compared with; of the others only the number counts."""


def admits(wanted: Range, number: Number) -> bool:
    """Whether a caret range admits a version, by Cargo's rule.

    The leftmost part that is not zero stays: `^1.2` is 1.2.0 up to 2.0.0, `^0.2` is 0.2.0 up to
    0.3.0, `^0.0.3` is that version only, `^0` is everything below 1.0.0.
    """
    given = [int(part) for part in re.findall(r"\d+", wanted.text)]
    low = Number(*[*given, 0, 0][:3])
    fixed = next((index for index, part in enumerate(given) if part), len(given) - 1)
    return number >= low and number[: fixed + 1] == low[: fixed + 1]


class Level(IntEnum):
    PATCH = 0
    MINOR = 1
    MAJOR = 2


@dataclass(frozen=True)
class Bump:
    """The least step that a change deserves, and what it is that differs."""

    level: Level
    reason: str


@dataclass(frozen=True)
class Published:
    """A version that exists. `manifest` is None once it was withdrawn: only its number counts."""

    number: Number
    manifest: ManifestDocument | None


def required_bump(before: ManifestDocument, after: ManifestDocument) -> Bump:
    """Return the step from one version to the next.

    MAJOR when partners or readers of the outputs may break: signature, requirements, base, labels.
    MINOR when the computation changes, or when something unknown became known. PATCH otherwise.
    """
    if breaking := list(_breaking(before, after)):
        return Bump(Level.MAJOR, ", ".join(breaking))
    if changing := list(_changing(before, after)):
        return Bump(Level.MINOR, ", ".join(changing))
    return Bump(Level.PATCH, compare(before, after).summary)


def next_number(published: Sequence[Published], new: ManifestDocument) -> Number:
    """Return the number for `new` after the highest version that stands."""
    taken = {version.number for version in published}
    highest = _highest(published)
    if highest is None:
        # Only withdrawn versions, if any: nothing to compare with, so nothing may be promised.
        return max(taken).after(Level.MAJOR) if taken else FIRST
    number, manifest = highest
    level = required_bump(manifest, new).level
    number = number.after(level)
    while number in taken:
        number = number.after(level)
    return number


def check_number(published: Sequence[Published], number: Number, new: ManifestDocument) -> None:
    """Compare `new` with the highest standing version below `number`.

    Raises WrongVersionNumber when the step is smaller than the change; larger ones are fine.
    """
    fault = _fault(published, number, new)
    if fault is None:
        return
    least, reason = fault
    taken = any(version.number == least for version in published)
    if taken or _fault(published, least, new) is not None:
        least = next_number(published, new)
    raise WrongVersionNumber(str(number), reason=reason, use=str(least))


def _fault(
    published: Sequence[Published], number: Number, new: ManifestDocument
) -> tuple[Number, str] | None:
    """Return the least number that would do, and why, if `number` is too small a step."""
    highest = _highest(version for version in published if version.number < number)
    if highest is None:
        return None
    below, manifest = highest
    bump = required_bump(manifest, new)
    least = below.after(bump.level)
    return None if number >= least else (least, f"since {below}, {bump.reason}")


def _highest(published: Iterable[Published]) -> tuple[Number, ManifestDocument] | None:
    standing = [(each.number, each.manifest) for each in published if each.manifest is not None]
    return max(standing, key=lambda pair: pair[0], default=None)


# --- what differs --------------------------------------------------------------------------------


def _breaking(before: ManifestDocument, after: ManifestDocument) -> Iterator[str]:
    old, new = before.signature, after.signature
    for field in Signature.model_fields:
        was, now = getattr(old, field), getattr(new, field)
        # Where the method is known, an invertible part of None is none, and not unknown.
        known = was is not None or (field == "invertible" and old.method is not None)
        if was != now and known:
            yield f"the signature's {field} changed from {_show(was)} to {_show(now)}"
    yield from _breaking_requirements(before.requires, after.requires)
    yield from _breaking_base(before.base, after.base)
    if before.head is not None:
        yield from _breaking_head(before.head, after.head)


def _breaking_requirements(
    before: dict[str, Requirement] | None, after: dict[str, Requirement] | None
) -> Iterator[str]:
    if before is None:
        return
    if after is None:
        yield "what it requires of its partners is no longer said"
        return
    for slot in sorted(before.keys() | after.keys()):
        if slot not in before:
            yield f"it now requires a partner in slot {slot}"
        elif slot not in after:
            yield f"it no longer requires a partner in slot {slot}"
        elif _demand(before[slot]) != _demand(after[slot]):
            yield f"what it requires of slot {slot} changed"


def _demand(requirement: Requirement) -> tuple[Signature, frozenset[int]]:
    """Return what a requirement demands, without where its training partner is to be found."""
    return requirement.signature, frozenset(requirement.drop_layers)


def _breaking_base(before: BaseIdentity, after: BaseIdentity) -> Iterator[str]:
    digests = ("structure", "body", "embeddings", "tokenizer")
    known = [part for part in digests if getattr(before, part) and getattr(after, part)]
    for part in known:
        if getattr(before, part) != getattr(after, part):
            yield f"the base model's {part} changed"
    if not known and (before.name, before.revision) != (after.name, after.revision):
        yield f"the base model changed from {before.name} to {after.name}"


def _breaking_head(before: HeadEntry, after: HeadEntry | None) -> Iterator[str]:
    if after is None:
        yield "the prediction head is gone"
    elif before.type != after.type:
        yield f"the head changed from {before.type} to {after.type}"
    elif before.labels != after.labels:
        yield f"the labels changed from {_show(before.labels)} to {_show(after.labels)}"
    elif before.outputs != after.outputs:
        yield f"the head has {_show(after.outputs)} outputs, it had {_show(before.outputs)}"


def _changing(before: ManifestDocument, after: ManifestDocument) -> Iterator[str]:
    if before.configuration != after.configuration:
        keys = before.configuration.keys() | after.configuration.keys()
        differ = sorted(
            key for key in keys if before.configuration.get(key) != after.configuration.get(key)
        )
        yield f"the configuration changed in {', '.join(differ)}"
    if changes := list(tensor_changes(before, after)):
        first = changes[0]
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        yield f"tensor {first.name} was {first.change}{more}"
    if before.head != after.head:
        yield "the head was added" if before.head is None else "the head's configuration changed"
    if before.signature != after.signature:
        yield "the signature says what was unknown"
    if before.requires != after.requires:
        yield "its requirements say more" if before.requires is None else "its partners changed"


def _show(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))})"
    return "nothing" if value is None else str(value)
