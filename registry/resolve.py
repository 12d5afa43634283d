"""From a recipe to a lock: the one best choice of versions, or why there is none.

1. Rules about single candidates thin out every slot.
2. Slot by slot, in an order that the recipe alone decides, the best candidate is taken with which
   the rest can still be filled; a search with forward checking tells whether it can.
3. "Best" compares (trained together, same series, equal contract, live). Among versions of one
   adapter the newest wins. Two adapters that are equal are never chosen between: that is an error
   which lists them.

Nothing here reads a clock, a database or the order of rows: the same candidates give the same lock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from registry import explain, names, rules, setup
from registry.errors import InvalidRecipe
from registry.fitting import Candidates, Choice, Index
from registry.plan import Candidate, Plan, ResolvedBase, make_plan
from registry.preference import rank, ranked
from registry.schemas import LoadOptions, Lock, LockedSlot, Need, Options, Recipe, Resolution


def resolve(recipe: Recipe, candidates: Candidates, base: ResolvedBase) -> Resolution:
    """Choose one candidate per slot, and explain every one that was not chosen.

    Raises InvalidRecipe when the recipe contradicts itself, ResolutionImpossible when no choice
    satisfies it or several are equally good.
    """
    plan = make_plan(recipe, base)
    index = Index.of(plan, candidates)
    choice = choose(plan, index)
    lock = lock_of(plan, choice)
    return Resolution(
        lock=lock.model_dump(mode="json", by_alias=True),
        digest=setup.setup_digest(lock),
        why={slot: explain.why(index, choice, slot) for slot in sorted(plan.slots)},
        warnings=explain.warnings(plan, choice),
    )


def choose(plan: Plan, index: Index) -> Choice:
    """Return the best candidate of every slot. Raises ResolutionImpossible."""
    if not index.completes({}):
        raise explain.impossible(index)
    choice: dict[str, Candidate] = {}
    for slot in plan.by_preference:
        in_order = ranked(plan, choice, slot, index.open[slot])
        best = next(each for each in in_order if _extends(index, choice, slot, each))
        best_rank = rank(plan, choice, slot, best)
        rivals = {
            each.adapter: each
            for each in reversed(in_order)
            if rank(plan, choice, slot, each) == best_rank
            and each.adapter != best.adapter
            and _extends(index, choice, slot, each)
        }
        if rivals:
            raise explain.ambiguous(slot, [best, *rivals.values()])
        choice[slot] = best
    return choice


def _extends(index: Index, choice: Choice, slot: str, candidate: Candidate) -> bool:
    return index.fits(choice, slot, candidate) and index.completes({**choice, slot: candidate})


def lock_of(plan: Plan, choice: Choice) -> Lock:
    """Return what a machine loads."""
    return Lock(
        base=plan.base.identity,
        slots={slot: _locked(plan, choice, slot) for slot in sorted(choice)},
        setup=setup.write_tree(plan.tree),
        head=_locked_head(plan, choice),
    )


def _locked(plan: Plan, choice: Choice, slot: str) -> LockedSlot:
    chosen = choice[slot]
    layers = next(iter(rules.drops(plan, choice, slot).values()), ())
    return LockedSlot(
        ref=chosen.ref,
        content=chosen.content,
        revision=chosen.revision,
        files={path: dict(chosen.files[path]) for path in sorted(chosen.files)},
        load=LoadOptions(leave_out=layers),
    )


def _locked_head(plan: Plan, choice: Choice) -> str | list[Any] | dict[str, Any] | None:
    """Return the head asked for; when none was said, that of the topmost adapter if it has one."""
    if plan.head_given:
        return setup.write_heads(plan.heads) or None
    top = plan.top
    return top if top is not None and choice[top].has_head else None


# --- swapping one part of a lock ------------------------------------------------------------------


def swap_recipe(lock: Lock, slots: Mapping[str, str | Need], options: Options) -> Recipe:
    """Return the recipe in which `slots` are open and all others are pinned as the lock has them.

    Raises InvalidRecipe when the lock has no such slot.
    """
    if unknown := sorted(set(slots) - set(lock.slots)):
        has = ", ".join(sorted(lock.slots))
        raise InvalidRecipe(f"the lock has no slot {unknown[0]!r}; it has {has}")
    kept = {slot: f"{_name(part)}@{part.revision}" for slot, part in lock.slots.items()}
    return Recipe.model_validate(
        {
            "base": lock.base,
            "slots": kept | dict(slots),
            "setup": lock.setup,
            "head": [] if lock.head is None else lock.head,
            "options": options,
        }
    )


def swap(
    lock: Lock,
    slots: Mapping[str, str | Need],
    candidates: Candidates,
    base: ResolvedBase,
    options: Options | None = None,
) -> Resolution:
    """Fill some slots of a lock anew; everything else stays as it is, byte for byte.

    What may change of a kept slot is how it is loaded, since that depends on its partners. Kept
    versions are allowed even when they were yanked meanwhile. Raises as `resolve` does.
    """
    recipe = swap_recipe(lock, slots, options or Options())
    for slot in set(lock.slots) - set(slots):
        _check_kept(slot, lock.slots[slot], candidates.get(slot, ()))
    resolution = resolve(recipe, candidates, base)
    found = Lock.model_validate(resolution.lock)
    parts = {
        slot: part if slot in slots else lock.slots[slot].model_copy(update={"load": part.load})
        for slot, part in found.slots.items()
    }
    changed = found.model_copy(update={"slots": parts, "base": lock.base})
    kept = {slot: {"because": "kept as the lock has it"} for slot in parts if slot not in slots}
    return Resolution(
        lock=changed.model_dump(mode="json", by_alias=True),
        digest=setup.setup_digest(changed),
        why={slot: why | kept.get(slot, {}) for slot, why in resolution.why.items()},
        warnings=resolution.warnings,
    )


def _name(part: LockedSlot) -> str:
    return names.parse_reference(part.ref).name


def _check_kept(slot: str, part: LockedSlot, found: Sequence[Candidate]) -> None:
    for candidate in found:
        if candidate.content != part.content:
            raise InvalidRecipe(
                f"the lock says that {part.ref} in slot {slot!r} has the content {part.content}, "
                f"but its revision {part.revision} has {candidate.content}; was the lock edited?"
            )
