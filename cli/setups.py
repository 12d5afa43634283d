"""Set-ups on disk: from what was asked for, through the hub's lock, to a folder that loads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from cli import folders, output, transfer
from registry import names, recipes, setup, setup_text
from registry.client import HubClient
from registry.errors import InvalidRecipe
from registry.schemas import (
    Lock,
    LockedSlot,
    ManifestDocument,
    Need,
    Options,
    Recipe,
)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command line asks a hub to resolve; `recipe_options` fills it."""

    text: str | None
    task: str | None
    language: str | None
    base: str | None
    head: str | None
    recipe: Path | None
    strict: bool
    allow_base_mismatch: bool

    @property
    def ways(self) -> int:
        """How many ways of asking were used; one is right."""
        return sum(way is not None for way in (self.text, self.task, self.recipe))

    def options(self) -> Options:
        return Options(strict=self.strict, allow_base_mismatch=self.allow_base_mismatch)


def recipe_options(function: Function) -> Function:
    """Add the options from which `Asked` is made."""
    options = (
        click.option("--task", metavar="REF", help="A task adapter, with the partners it needs."),
        click.option("--language", metavar="TAG", help="With --task: the language to use it in."),
        click.option("--base", metavar="NAME", help="The base model. Else that of the adapters."),
        click.option("--head", metavar="SLOT", help="The slot whose head is used."),
        click.option(
            "--recipe", type=click.Path(path_type=Path, dir_okay=False), help="A recipe file."
        ),
        click.option("--strict", is_flag=True, help="Refuse what is only unproven."),
        click.option(
            "--allow-base-mismatch", is_flag=True, help="Accept other weights of equal shape."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def check_usage(asked: Asked) -> None:
    if (asked.task is None) != (asked.language is None):
        raise click.UsageError("--task and --language go together.")
    if asked.recipe is not None and (asked.base or asked.head or asked.strict):
        raise click.UsageError("A recipe file says all there is; --recipe stands alone.")


def read_recipe(client: HubClient, asked: Asked) -> Recipe:
    """Build the recipe from a typed set-up, a file, or a task and a language."""
    if asked.recipe is not None:
        return _recipe_of_file(asked.recipe)
    if asked.task is not None and asked.language is not None:
        recipe = _recipe_of_task(client, asked, asked.task, asked.language)
    else:
        fields = {"base": asked.base, "options": asked.options()}
        recipe = setup_text.parse_recipe(asked.text or "", **fields)
    if asked.head is not None:
        return recipe.model_copy(update={"head": asked.head})
    return recipe if recipe.head is not None else _with_head(client, recipe)


def _with_head(client: HubClient, recipe: Recipe) -> Recipe:
    """Choose the head of the last named adapter that has one, as the stream reaches it."""
    for slot in reversed(setup.leaves(setup.read_tree(recipe.setup))):
        filling = recipe.slots.get(slot)
        if isinstance(filling, str):
            reference = names.parse_reference(filling)
            detail = client.version(reference.name, str(reference.selector))
            if detail.manifest.get("head"):
                return recipe.model_copy(update={"head": slot})
    return recipe


def _recipe_of_file(path: Path) -> Recipe:
    document = folders.read_json(path)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise InvalidRecipe(f"{path} is not a recipe: {_first_problem(error)}") from error


def _recipe_of_task(client: HubClient, asked: Asked, task: str, language: str) -> Recipe:
    """Put a task adapter into the set-up it was trained in, with another language.

    The adapter itself says which partners it needs; the one that was a language adapter becomes a
    need. An adapter that was trained alone cannot be combined, and that is said.
    """
    reference = names.parse_reference(task)
    detail = client.version(reference.name, str(reference.selector))
    about = ManifestDocument.model_validate(detail.manifest)
    recipe, _ = recipes.in_language(
        str(reference),
        own=about.signature.slot or "task",
        requires=about.requires or {},
        trained_in=None if about.setup is None else setup.read_tree(about.setup),
        language=language,
    )
    return recipe.model_copy(update={"base": asked.base, "options": asked.options()})


def read_lock(document: Mapping[str, Any]) -> Lock:
    try:
        lock = Lock.model_validate(document)
    except ValidationError as error:
        raise InvalidRecipe(f"this is not a lock: {_first_problem(error)}") from error
    for slot in lock.slots:
        folders.check_slot(slot)
    return lock


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"


def write(
    client: HubClient,
    folder: Path,
    document: Mapping[str, Any],
    recipe: Recipe | None,
    *,
    skip: frozenset[str] = frozenset(),
) -> None:
    """Write a set-up into an empty folder. Slots in `skip` are there already.

    `document` is the lock as the hub sent it: its bytes are kept, also where this release would
    leave something out.
    """
    lock = read_lock(document)
    for slot, pinned in lock.slots.items():
        if slot not in skip:
            output.note(f"  {slot}: {pinned.ref}")
            _fetch(client, pinned, folder / slot)
    folders.write_canonical(folder / folders.LOCK, dict(document))
    tree, heads = setup.read_tree(lock.setup), setup.read_heads(lock.head)
    folders.write_json(folder / folders.SETUP, setup.to_adapterhub(tree, heads))
    if recipe is not None:
        shown = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
        folders.write_json(folder / folders.RECIPE, shown)


def _fetch(client: HubClient, pinned: LockedSlot, folder: Path) -> None:
    name = names.parse_reference(pinned.ref).name
    transfer.download(client, name, pinned.revision, transfer.files_of(pinned.files), folder)
    folders.write_origin(
        folder,
        ref=pinned.ref,
        content=pinned.content,
        revision=pinned.revision,
        endpoint=client.endpoint,
    )


def endpoint_of(folder: Path, lock: Lock) -> str | None:
    """Return the hub that a set-up folder was pulled from; None for a lock that lies alone."""
    origins = (folders.origin(folder / slot).get("endpoint") for slot in lock.slots)
    return next((endpoint for endpoint in origins if isinstance(endpoint, str)), None)


def refilled(folder: Path, asked: Mapping[str, str | Need]) -> Recipe | None:
    """Return the recipe of a pulled set-up with new fillings; None where it has no recipe."""
    path = folder / folders.RECIPE
    if not path.is_file():
        return None
    recipe = _recipe_of_file(path)
    return recipe.model_copy(update={"slots": {**recipe.slots, **asked}})
