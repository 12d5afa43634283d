"""Reading a checkout of AdapterHub's repository of cards, and cleaning what people wrote there.

    adapters/<organisation>/<file>.yaml     a card: one configuration on one base, in variants
    tasks/<type>/<task>.yaml                what a task is called
    subtasks/<type>/<task>_<subtask>.yaml   its data set, language and metric
    architectures/<name>.yaml               what a card's `config.using` means

Nothing is guessed in silence: whatever is read otherwise than it is written is a `Cleaning`.
Every value is read as text, for YAML would take the language `no` for a falsehood.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from registry import names, vocabulary
from registry.errors import InvalidName, InvalidPackage

SOURCE = "adapterhub"
CARD_URL = "https://github.com/adapter-hub/hub/blob/master/"
LARGEST_FILE = 1 << 20
MOST_VARIANTS = 20
"""With more, the "versions" of a card are the data sets that it was trained on, one each."""

KINDS = {"text_task": "task", "text_lang": "language"}
METHODS = {
    "pfeiffer": "seq_bn",
    "pfeiffer+inv": "seq_bn_inv",
    "houlsby": "double_seq_bn",
    "houlsby+inv": "double_seq_bn_inv",
    "lohfink-rossi-leaveout": "seq_bn",
}
REQUIRED = ("type", "task", "subtask", "model_name", "config", "files")
FIELDS = frozenset(
    {
        *REQUIRED,
        *("model_type", "author", "default_version", "dependencies", "prediction_head"),
        *("model_class", "hidden_size", "citation", "email", "github", "twitter", "url"),
        "description",
    }
)

_SHA = {"sha1": re.compile(r"[0-9a-f]{40}"), "sha256": re.compile(r"[0-9a-f]{64}")}


@dataclass(frozen=True)
class Cleaning:
    """Something that was read otherwise than it is written, or not at all."""

    card: str
    """Path in the checkout."""
    kind: str
    """A few words, the same for all of the kind."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What the repository calls a version of a card."""

    name: str
    url: str | None
    digest: str | None
    score: str | None
    """As it is written."""
    description: str = ""
    dataset_config: str | None = None
    """The part of the data set, where variants are data sets."""


@dataclass(frozen=True, kw_only=True)
class CardEntry:
    """A card, cleaned."""

    path: str
    name: str
    """The second part of the adapter's name here."""
    organisation: str
    kind: str
    task: str
    subtask: str
    task_title: str
    language: str | None
    dataset: str
    metric: str | None
    higher_is_better: bool | None
    base: str
    model_type: str | None
    method: str | None
    configuration: dict[str, Any]
    variants: tuple[Variant, ...]
    default: str | None
    author: str
    description: str
    citation: str
    dependencies: tuple[Mapping[str, str], ...] = ()
    """`key` and `description`, and `adapter`: the name here of the one card that is meant."""

    @property
    def specifiers(self) -> tuple[str, ...]:
        """By what the reference library finds it, the most exact first."""
        whole = f"{self.task}/{self.subtask}"
        return (f"{whole}@{self.organisation}", whole, self.task, self.subtask)


@dataclass
class Checkout:
    """What was read, and how."""

    cards: list[CardEntry]
    cleanings: list[Cleaning]
    ambiguous: dict[str, int] = field(default_factory=dict)
    """Name of a subtask -> how many tasks have one of that name."""


def read(folder: Path) -> Checkout:
    """Read a whole checkout. Raises InvalidPackage when the folder is none."""
    if not (folder / "adapters").is_dir():
        raise InvalidPackage([f"{folder} has no folder 'adapters': it is no checkout of the cards"])
    return _Reader(folder).read()


class _TextLoader(yaml.BaseLoader):
    """YAML whose scalars are texts, without aliases, which can expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cleanings: list[Cleaning] = []
        self.tasks = self._all("tasks", ("task",))
        self.subtasks = self._all("subtasks", ("task", "subtask"))
        self.architectures = {
            path.stem: self._document(path) or {} for path in self._files("architectures")
        }

    def read(self) -> Checkout:
        paths = self._files("adapters")
        stems = Counter(_name(path.stem) for path in paths)
        cards = [card for path in paths if (card := self._card(path, stems)) is not None]
        by_specifier: dict[str, list[CardEntry]] = {}
        for card in cards:
            for specifier in dict.fromkeys(card.specifiers):
                by_specifier.setdefault(specifier, []).append(card)
        linked = [self._linked(card, by_specifier) for card in cards]
        counts = Counter(subtask for _, subtask in self.subtasks)
        ambiguous = {name: count for name, count in sorted(counts.items()) if count > 1}
        return Checkout(linked, self.cleanings, ambiguous)

    def note(self, path: Path | str, kind: str, text: str) -> None:
        shown = path if isinstance(path, str) else str(path.relative_to(self.folder))
        self.cleanings.append(Cleaning(shown, kind, text))

    # --- files -----------------------------------------------------------------------------------

    def _files(self, part: str) -> list[Path]:
        found = (self.folder / part).rglob("*.y*ml")
        # A link may lead out of the checkout.
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def _document(self, path: Path) -> dict[str, Any] | None:
        if path.stat().st_size > LARGEST_FILE:
            self.note(path, "unreadable", f"{path.stat().st_size:,} bytes")
            return None
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            document = yaml.load(text, Loader=_TextLoader)  # noqa: S506  (it builds texts only)
        except (yaml.YAMLError, RecursionError) as error:
            self.note(path, "unreadable", " ".join(str(error).split())[:200])
            return None
        if not isinstance(document, dict):
            self.note(path, "unreadable", "it holds no fields")
            return None
        return document

    def _all(self, part: str, keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
        found = {}
        for path in self._files(part):
            document = self._document(path)
            if document is not None:
                found[tuple(_text(document, key) for key in keys)] = document
        return found

    # --- cards -----------------------------------------------------------------------------------

    def _card(self, path: Path, stems: Mapping[str, int]) -> CardEntry | None:
        document = self._document(path)
        if document is None:
            return None
        if missing := [key for key in REQUIRED if not document.get(key)]:
            self.note(path, "left out", f"{', '.join(missing)} is missing")
            return None
        kind = KINDS.get(_text(document, "type"))
        if kind is None:
            self.note(path, "left out", f"type is {_text(document, 'type')!r}")
            return None
        for key in sorted(set(document) - FIELDS):
            self.note(path, "unknown field", key)
        task, subtask = _text(document, "task"), _text(document, "subtask")
        about = self.subtasks.get((task, subtask))
        if about is None:
            self.note(path, "no subtask", f"{task}/{subtask} has no file of its own")
        about = about or {}
        variants = tuple(self._variants(path, document["files"]))
        if not variants:
            self.note(path, "left out", "it has no files")
            return None
        title = self.tasks.get((task,), {})
        metric = self._metric(path, about)
        return CardEntry(
            path=str(path.relative_to(self.folder)),
            name=self._named(path, stems),
            organisation=path.parent.name.lower(),
            kind=kind,
            task=task,
            subtask=subtask,
            task_title=_text(title, "displayname") or task,
            language=self._language(path, kind, task, about),
            dataset=_text(about, "hf_datasets_id") or subtask,
            metric=metric,
            higher_is_better=_direction(about),
            base=_text(document, "model_name"),
            model_type=_text(document, "model_type") or None,
            variants=variants,
            default=self._default(path, document, variants),
            author=_text(document, "author"),
            description=_text(document, "description") or _text(about, "description"),
            citation=_text(document, "citation"),
            dependencies=tuple(_dependencies(document)),
            **self._configuration(path, document["config"]),
        )

    def _named(self, path: Path, stems: Mapping[str, int]) -> str:
        stem = _name(path.stem)
        name = f"{_name(path.parent.name)}-{stem}" if stems[stem] > 1 else stem
        # With the owner's name and a slash before it.
        name = name[: names.LONGEST_NAME - len(SOURCE) - 1].rstrip("-._")
        if name != path.stem.lower():
            self.note(path, "renamed", f"{path.stem} is called {name}")
        return name

    def _configuration(self, path: Path, config: Any) -> dict[str, Any]:
        given = config if isinstance(config, dict) else {"using": str(config)}
        using = _text(given, "using")
        method = METHODS.get(using)
        if method is None:
            self.note(path, "unknown architecture", repr(using))
        base = self.architectures.get(using, {})
        return {"method": method, "configuration": {**base, **given}}

    def _language(self, path: Path, kind: str, task: str, about: Mapping[str, Any]) -> str | None:
        written = task if kind == "language" else _text(about, "language")
        if not written:
            return None
        tag = _tag(written)
        if tag is None:
            self.note(path, "unknown language", repr(written))
        elif tag != written:
            self.note(path, "language", f"{written!r} is {tag}")
        return tag

    def _metric(self, path: Path, about: Mapping[str, Any]) -> str | None:
        metric = about.get("metric")
        name = _text(metric, "name") if isinstance(metric, dict) else str(metric or "").strip()
        if not name:
            return None
        if (alias := names.metric_alias(name)) != name:
            self.note(path, "metric", f"{name!r} is {alias}")
        return alias

    def _variants(self, path: Path, files: Any) -> Iterator[Variant]:
        entries = (
            [each for each in files if isinstance(each, dict)] if isinstance(files, list) else []
        )
        are_datasets = len(entries) > MOST_VARIANTS
        if are_datasets:
            self.note(path, "variants are data sets", f"{len(entries)} of them")
        taken: Counter[str] = Counter()
        for entry in entries:
            version = _text(entry, "version") or "1"
            taken[version] += 1
            name = version if taken[version] == 1 else f"{version}-{taken[version]}"
            if name != version:
                self.note(path, "repeated version", f"{version} stands twice; this one is {name}")
            yield Variant(
                name=name,
                url=self._url(path, entry),
                digest=self._digest(path, entry),
                score=_text(entry, "score") or None,
                description=_text(entry, "description"),
                dataset_config=version if are_datasets else None,
            )

    def _url(self, path: Path, entry: Mapping[str, Any]) -> str | None:
        url = _text(entry, "url")
        if re.fullmatch(r"https?://[^\s<>\"]{1,480}", url):
            return url
        self.note(path, "no address", f"version {_text(entry, 'version')}: {url!r}")
        return None

    def _digest(self, path: Path, entry: Mapping[str, Any]) -> str | None:
        for algorithm, form in reversed(_SHA.items()):
            value = _text(entry, algorithm).lower()
            if form.fullmatch(value):
                return f"{algorithm}:{value}"
        self.note(path, "no digest", f"version {_text(entry, 'version')}")
        return None

    def _default(
        self, path: Path, document: Mapping[str, Any], variants: Sequence[Variant]
    ) -> str | None:
        wanted = _text(document, "default_version")
        if wanted in {variant.name for variant in variants}:
            return wanted
        self.note(path, "no default", f"default_version {wanted!r} is none of its versions")
        return None

    # --- dependencies ----------------------------------------------------------------------------

    def _linked(
        self, card: CardEntry, by_specifier: Mapping[str, Sequence[CardEntry]]
    ) -> CardEntry:
        """Return the card with its dependencies led to the cards they mean, where that is one."""
        if not card.dependencies:
            return card
        linked = []
        for dependency in card.dependencies:
            key = dependency["key"]
            found = [each for each in by_specifier.get(key, ()) if each.base == card.base]
            if len(found) == 1:
                linked.append({**dependency, "adapter": f"{SOURCE}/{found[0].name}"})
                continue
            said = f"{len(found)} cards for {card.base}" if found else "no card"
            self.note(card.path, "dependency", f"{key!r} leads to {said}")
            linked.append(dict(dependency))
        return replace(card, dependencies=tuple(linked))


def _dependencies(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    entries: Iterable[Any] = document.get("dependencies") or ()
    for entry in entries:
        if isinstance(entry, dict) and (key := _text(entry, "key")):
            yield {"key": key, "description": _text(entry, "description")}


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _direction(about: Mapping[str, Any]) -> bool | None:
    metric = about.get("metric")
    stated = _text(metric, "higher_is_better").lower() if isinstance(metric, dict) else ""
    return {"true": True, "yes": True, "false": False, "no": False}.get(stated)


def _name(text: str) -> str:
    """Return the nearest name that an adapter may have."""
    kept = re.sub(r"[^a-z0-9._]+", "-", text.lower())
    return re.sub(r"[-.]{2,}", "-", kept).strip("-.") or "adapter"


def _tag(text: str) -> str | None:
    """Return the tag of a language that is written as a tag or by its English name."""
    if (code := _BY_NAME.get(text.strip().lower())) is not None:
        return code
    try:
        tag = names.parse_language(text)
    except InvalidName:
        return None
    return tag if vocabulary.is_language(tag) else None


_BY_NAME = {name.lower(): code for code, name in vocabulary.LANGUAGES.items()}
