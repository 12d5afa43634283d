"""From the files of an adapter to the one document that says what it is.

The same checks run on the client before a push and on the server when it numbers a revision.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from adapters_runtime.shapes import BaseDescription
from registry import (
    adapterhub,
    frontmatter,
    fusion_folder,
    layouts,
    names,
    setup_package,
    strictjson,
)
from registry.adapterhub import CONFIG, Contents
from registry.errors import InvalidName, InvalidPackage
from registry.packages import LARGEST_CONFIGURATION, MOST_FILES, Check, Package
from registry.schemas import (
    BaseIdentity,
    CardFields,
    Dataset,
    HubAdapterFile,
    ManifestDocument,
    Requirement,
    Signature,
    TensorEntry,
)
from registry.structure import digest_tensors

HUB = "hub_adapter.json"
CARD = "README.md"
LARGEST_CARD = 1 << 20
LONGEST_METHOD = 64

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
_FROM_CONFIGURATION = ("method", "layers", "points", "invertible", "rows")
"""Fields of a signature that follow from configuration and base."""
_BASE_DIGESTS = ("structure", "body", "embeddings", "tokenizer")


@dataclass(frozen=True)
class Manifest:
    """A folder that was found to be an adapter."""

    document: ManifestDocument
    digest: str
    """Of the document's canonical form."""
    content: str
    """Of what affects outputs and contract: two cards for one adapter share it."""
    warnings: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Return the document as it is stored and sent."""
        return self.document.model_dump(mode="json", by_alias=True)


def build_manifest(
    package: Package, base: BaseDescription | None, registered: BaseIdentity | None = None
) -> Manifest:
    """Check a package whole and return its manifest.

    Tensors are compared with `base`; without it their names and shapes are taken on trust, which is
    a warning. `registered` is the identity under which the base is known; it stands in when the
    package does not identify its base by digests.

    Raises InvalidPackage with every problem, each naming the file and the tensor or field.
    """
    check = Check()
    _check_files(package, check)
    check.stop_if_any()
    about = _About(_read_hub(package, check), _read_card(package, check), registered)
    contents = _read_contents(package, base, check)
    document = None if contents is None else _document(package, contents, about, check)
    check.stop_if_any()
    assert document is not None  # without contents there are problems
    if base is None:
        check.warn(CONFIG, "tensors were not compared with a base model: none is at hand")
    return _finish(document, check)


def claimed_base(package: Package) -> BaseIdentity:
    """Return what a package says of its base: digests from us, at least a name from other clients.

    Everything is None when its files cannot be read; `build_manifest` says what is wrong with them.
    """
    check = Check()
    hub = _read_hub(package, check) if HUB in package else None
    if hub is not None and (hub.base.body or hub.base.name):
        return hub.base
    if setup_package.is_setup(package):
        return _base_of_parts(package, check)
    document: dict[str, Any] = {}
    with check.noting():
        document = layouts.description(package)
    name = document.get("base_model_name_or_path") or document.get("model_name")
    revision = document.get("revision")
    return BaseIdentity(
        name=name if isinstance(name, str) else None,
        revision=revision if isinstance(revision, str) else None,
    )


def _base_of_parts(package: Package, check: Check) -> BaseIdentity:
    """Return the base that a set-up's lock names, or its parts; all of them must name one."""
    with check.noting():
        if (lock := setup_package.read_lock(package)) is not None:
            return lock.base
    bases = [claimed_base(part) for _, part in setup_package.parts(package)]
    return next((base for base in bases if base.body), bases[0] if bases else BaseIdentity())


# --- files ---------------------------------------------------------------------------------------


def _check_files(package: Package, check: Check) -> None:
    if len(package.files) > MOST_FILES:
        check.problem("files", f"{len(package.files)}; a version may have {MOST_FILES}")
    for path in package.files:
        if PurePosixPath(path).suffix in _PICKLES:
            check.problem(
                path,
                "is a pickle, which can run code when it is loaded; save with use_safetensors=True "
                "or run 'hubctl convert' on the folder",
            )


def _read_contents(package: Package, base: BaseDescription | None, check: Check) -> Contents | None:
    with check.noting():
        read = setup_package.read if setup_package.is_setup(package) else layouts.read
        return read(package, base, check)
    return None


def _read_hub(package: Package, check: Check) -> HubAdapterFile | None:
    if HUB not in package:
        if not setup_package.is_setup(package):  # those say what there is to say
            check.warn(HUB, "is missing: kind, language and what partners must offer are unknown")
        return None
    with check.noting():
        document = package.read_json(HUB, limit=LARGEST_CONFIGURATION)
        try:
            return HubAdapterFile.model_validate(document)
        except ValidationError as error:
            for fault in error.errors():
                where = ".".join(map(str, fault["loc"]))
                check.problem(HUB, f"{where}: {fault['msg'].lower()}")
    return None


def _read_card(package: Package, check: Check) -> frontmatter.Card:
    if CARD not in package:
        return frontmatter.Card()
    card = frontmatter.Card()
    with check.noting():
        card = frontmatter.split(package.read(CARD, limit=LARGEST_CARD).decode(errors="replace"))
    if card.fault is not None:
        check.warn(CARD, card.fault)
    return card


# --- the document --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _About:
    """What is said of the adapter, beside its configuration and weights."""

    hub: HubAdapterFile | None
    card: frontmatter.Card
    registered: BaseIdentity | None


def _document(
    package: Package, contents: Contents, about: _About, check: Check
) -> ManifestDocument:
    if len(contents.method) > LONGEST_METHOD:
        check.problem(CONFIG, f"config: a union of too many methods, {contents.method}")
    hub = about.hub or HubAdapterFile(base=BaseIdentity(), signature=Signature())
    signature = _signature(hub.signature, contents.signature, check)
    if contents.kind not in (None, hub.kind) and hub.kind is not None:
        check.problem(HUB, f"kind is {hub.kind!r}, but the folder holds a {contents.kind}")
    if contents.kind == "fusion" and about.hub is not None:
        fusion_folder.check_members(contents, hub, HUB, check)
    claimed = claimed_base(package)
    _check_parts(package, claimed, check)
    if hub.kind == "language" and signature.language is None:
        check.problem(HUB, "signature.language is missing: a language adapter says which")
    datasets = tuple(Dataset(name=name) for name in about.card.words("datasets"))
    return ManifestDocument(
        layout=contents.layout,
        kind=contents.kind or hub.kind,
        method=contents.method,
        configuration=contents.configuration,
        model_type=contents.model_type,
        base=_identity(claimed, about.registered, check),
        signature=signature,
        requires=_requirements(hub, check) if about.hub or contents.kind == "setup" else None,
        setup=hub.setup,
        head=contents.head,
        languages=_languages(hub, signature, about.card, check),
        datasets=hub.datasets or datasets,
        training=hub.training,
        card=_card_fields(about.card),
        files=package.entries(),
        tensors={} if check.problems else _tensors(package, contents, check),
    )


def _check_parts(package: Package, claimed: BaseIdentity, check: Check) -> None:
    """Note the parts of a set-up that are for another base than the set-up."""
    for slot, part in setup_package.parts(package) if setup_package.is_setup(package) else ():
        own = claimed_base(part)
        if None not in (own.body, claimed.body) and own.body != claimed.body:
            text = f"base.body is {own.body}, that of the set-up {claimed.body}"
            check.problem(f"{slot}/{HUB}", text)


def _identity(claimed: BaseIdentity, registered: BaseIdentity | None, check: Check) -> BaseIdentity:
    if claimed.body is None:
        known = registered or claimed
        check.warn(CONFIG, f"the base is known by its name only, which is {known.name}")
        return BaseIdentity(name=known.name, revision=known.revision)
    if registered is None:
        return claimed
    if claimed.structure not in (None, registered.structure):
        check.problem(
            HUB,
            f"base.structure is {claimed.structure}, but the base of this body, {registered.name}, "
            f"has {registered.structure}",
        )
    return claimed.model_copy(update={"structure": registered.structure})


def _signature(said: Signature, follows: Signature, check: Check) -> Signature:
    """Return what hub_adapter.json says, completed by what follows from the configuration.

    The two must not contradict one another: others rely on the signature without the weights.
    """
    values = said.model_dump()
    for field in _FROM_CONFIGURATION:
        stated, found = getattr(said, field), getattr(follows, field)
        # Without a method nothing was said: the other fields hold their defaults.
        unsaid = said.method is None or (stated is None and field != "invertible")
        if unsaid or _as_set(stated) == _as_set(found):
            values[field] = found if found is not None or field == "invertible" else stated
        elif found is None and field != "invertible":
            values[field] = stated  # layers cannot be told without a base
        else:
            check.problem(
                HUB, f"signature.{field} is {_show(stated)}, the configuration gives {_show(found)}"
            )
    values["language"] = _language(said.language, "signature.language", check)
    return Signature.model_validate(values)


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, tuple) else value


def _show(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else repr(value)


def _requirements(hub: HubAdapterFile, check: Check) -> dict[str, Requirement]:
    requirements = {}
    for slot, requirement in hub.requires.items():
        where = f"requires.{slot}"
        if requirement.ref is not None:
            try:
                names.parse_reference(requirement.ref)
            except InvalidName as error:
                check.problem(HUB, f"{where}.ref: {error}")
        signature = requirement.signature
        tag = _language(signature.language, f"{where}.signature.language", check)
        signature = signature.model_copy(update={"language": tag})
        requirements[slot] = requirement.model_copy(update={"signature": signature})
    return requirements


def _language(tag: str | None, where: str, check: Check) -> str | None:
    if tag is None:
        return None
    try:
        return names.parse_language(tag)
    except InvalidName as error:
        check.problem(HUB, f"{where}: {error}")
        return None


def _languages(
    hub: HubAdapterFile, signature: Signature, card: frontmatter.Card, check: Check
) -> tuple[str, ...]:
    """Return the languages of the adapter, first the one it is made for."""
    tags = [_language(tag, f"languages.{i}", check) for i, tag in enumerate(hub.languages)]
    if not hub.languages:
        tags = list(_card_languages(card, check))
    return tuple(dict.fromkeys(tag for tag in (signature.language, *tags) if tag is not None))


def _card_languages(card: frontmatter.Card, check: Check) -> Iterator[str]:
    for tag in card.words("language"):
        try:
            yield names.parse_language(tag)
        except InvalidName as error:
            check.warn(CARD, f"language: {error}")


def _card_fields(card: frontmatter.Card) -> CardFields:
    tasks = (word for key in ("pipeline_tag", "task", "tasks") for word in card.words(key))
    return CardFields(
        title=card.line("title", "model_name"),
        summary=card.line("summary", "description"),
        licence=card.line("license", "licence") or None,
        tasks=tuple(dict.fromkeys(tasks)),
        tags=tuple(dict.fromkeys(card.words("tags"))),
    )


def _tensors(
    package: Package, contents: Contents, check: Check
) -> dict[str, dict[str, TensorEntry]]:
    found = {}
    for file in contents.weights:
        entries = digest_tensors(package, file, check)
        for copy, original in contents.copies.items():
            entry = entries.pop(copy, None) if original in entries else None
            if entry is not None and entry != entries[original]:
                check.problem(
                    file, f"tensor {copy!r}: is not equal to {original!r}, its first name"
                )
        starred = {adapterhub.star(name, contents.local_names): name for name in entries}
        if len(starred) < len(entries):
            check.problem(file, "two tensors differ by the local name of an adapter alone")
        found[file] = {star: entries[name] for star, name in sorted(starred.items())}
    return found


# --- digests -------------------------------------------------------------------------------------


def _finish(document: ManifestDocument, check: Check) -> Manifest:
    try:
        digest = strictjson.digest(document.model_dump(mode="json", by_alias=True))
        return Manifest(document, digest, content_digest(document), tuple(check.warnings))
    except strictjson.StrictJsonError as error:
        raise InvalidPackage([f"{CONFIG} or {HUB}: {error}"]) from error


def content_digest(manifest: ManifestDocument) -> str:
    """Digest what affects outputs and contract: no card, no file names, no local names.

    A base counts by its digests; its name only where they are unknown, since bases get mirrored.
    """
    base = manifest.base.model_dump()
    return strictjson.digest(
        {
            "schema": "hub.content/1",
            "configuration": manifest.configuration,
            "head": None if manifest.head is None else manifest.head.configuration,
            "base": {key: base[key] for key in _BASE_DIGESTS} if base["body"] else base["name"],
            "signature": manifest.signature.model_dump(mode="json"),
            "requires": manifest.requires
            and {
                slot: requirement.model_dump(mode="json", exclude={"ref"})
                for slot, requirement in manifest.requires.items()
            },
            "tensors": {
                file: {name: entry.digest for name, entry in entries.items()}
                for file, entries in manifest.tensors.items()
            },
        }
    )
