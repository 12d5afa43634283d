"""Recipes that follow from what an adapter says of its training."""

from collections.abc import Mapping

from registry import names
from registry.errors import InvalidRecipe
from registry.plan import Candidate
from registry.schemas import Need, Recipe, Requirement
from registry.setup import Tree, write_tree


def in_language(
    ref: str,
    *,
    own: str,
    requires: Mapping[str, Requirement],
    trained_in: Tree | None,
    language: str,
) -> tuple[Recipe, str]:
    """Put a task adapter into the set-up it was trained in, with another language.

    `own` is its slot. The partner that was a language adapter becomes a need, the others stay.
    Returns the recipe, and the slot of the language.

    Raises InvalidRecipe where no partner, or several, were language adapters, and where a partner
    is not named.
    """
    lang = language_slot(ref, requires, language)
    slots: dict[str, str | Need] = {own: ref}
    for slot, facts in requires.items():
        need = Need(language=names.parse_language(language))
        slots[slot] = need if slot == lang else _partner(ref, slot, facts)
    tree = {"Stack": [lang, own]} if trained_in is None else write_tree(trained_in)
    return Recipe(slots=slots, setup=tree), lang


def on_a_language(ref: str, *, own: str, language: str) -> tuple[Recipe, str]:
    """Stack a task adapter on a language adapter, although it was not trained so."""
    lang = "lang" if own != "lang" else "language"
    need = Need(language=names.parse_language(language))
    return Recipe(slots={lang: need, own: ref}, setup={"Stack": [lang, own]}), lang


def of_candidate(candidate: Candidate, language: str) -> tuple[Recipe, str]:
    """Return the recipe of one task adapter in one language; see `in_language`.

    One that was trained alone, or does not say, is put on top of a language adapter, which the
    resolver finds unproven.
    """
    own = candidate.signature.slot or "task"
    requires = candidate.requires or {}
    if not any(_is_language(slot, facts) for slot, facts in requires.items()):
        return on_a_language(candidate.ref, own=own, language=language)
    return in_language(
        candidate.ref,
        own=own,
        requires=requires,
        trained_in=candidate.trained_in,
        language=language,
    )


def language_slot(ref: str, requires: Mapping[str, Requirement], language: str = "TAG") -> str:
    """Return the slot of the one partner that was a language adapter. Raises InvalidRecipe."""
    found = [slot for slot, facts in requires.items() if _is_language(slot, facts)]
    if len(found) == 1:
        return found[0]
    error = InvalidRecipe(
        f"{ref} was trained with several language adapters"
        if found
        else f"{ref} does not say that it was trained on a language adapter"
    )
    error.hint = f"write the set-up out: hubctl pull 'Stack(lang:{language}, {ref})' --to FOLDER"
    raise error


def _is_language(slot: str, facts: Requirement) -> bool:
    return facts.signature.language is not None or slot == "lang"


def _partner(ref: str, slot: str, facts: Requirement) -> str:
    if facts.ref is not None:
        return facts.ref
    error = InvalidRecipe(f"{ref} needs a partner in the slot {slot!r} and does not say which")
    error.hint = "write the set-up out, as in `hubctl pull 'Stack(...)' --to FOLDER`"
    raise error
