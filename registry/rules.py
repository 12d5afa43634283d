"""What must hold in a set-up: one function per rule, in three tables.

SLOT_RULES judge a candidate by itself, PAIR_RULES one candidate beside another, SETUP_RULES a whole
choice. A rule yields what it finds and never stops the others, so that a person sees all that is
wrong at once. R1 to R15 are the numbers of DESIGN.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry import contract, names, setup
from registry.plan import BESIDE, Candidate, Finding, Plan, members, name_of, short
from registry.schemas import Need, Requirement

Choice = Mapping[str, Candidate]
SlotRule = Callable[[Plan, str, Candidate], Iterator[Finding]]
PairRule = Callable[[Plan, str, Candidate, str, Candidate], Iterator[Finding]]
SetupRule = Callable[[Plan, Choice], Iterator[tuple[str, Finding]]]

# --- one candidate -------------------------------------------------------------------------------


def state(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R1: not quarantined or removed; yanked only where the recipe names the very content."""
    rule = "R1 state"
    if candidate.state in ("quarantined", "removed"):
        yield Finding(rule=rule, text=f"this version is {candidate.state}")
    elif candidate.state == "yanked" and not plan.pinned(slot):
        pin = f"{candidate.adapter}@{candidate.content}"
        yield Finding(
            rule=rule, text=f"this version was yanked; to use it all the same, name {pin}"
        )
    elif candidate.state in ("yanked", "deprecated"):
        after = f"; use {candidate.successor}" if candidate.successor else ""
        yield Finding(rule=rule, text=f"this version is {candidate.state}{after}", refused=False)


def structure(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R2: trained on a base of the same structure."""
    wanted, found = plan.base.identity.structure, candidate.base.structure
    if wanted is None or found is None:
        yield from _by_name(plan, candidate, "R2 base structure")
    elif wanted != found:
        yield Finding(
            rule="R2 base structure",
            text=f"trained on {name_of(candidate.base)}, whose layers have other names or shapes "
            f"than those of {plan.base}",
        )


def body(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R3: trained on the same weights, or on a recorded cast of them."""
    found = candidate.base.body
    if found is None or not plan.base.bodies:
        return  # R2 has compared the names
    if found not in plan.base.bodies:
        yield Finding(
            rule="R3 base weights",
            text=f"trained on {name_of(candidate.base)} ({short(found)}), which has other weights "
            f"than {plan.base} ({short(plan.base.identity.body)})",
            refused=not plan.options.allow_base_mismatch,
        )


def _by_name(plan: Plan, candidate: Candidate, rule: str) -> Iterator[Finding]:
    """Compare bases that were not both digested: equal names are probably equal weights."""
    wanted, found = plan.base.identity, candidate.base
    if wanted.name is None or found.name is None:
        yield Finding(
            rule=rule, text=f"nobody recorded on which base this was trained: {plan.base}?"
        )
    elif wanted.name != found.name:
        yield Finding(rule=rule, text=f"trained on {name_of(found)}, not on {plan.base}")
    else:
        text = f"trained on a base called {name_of(found)}; its weights were not compared"
        yield Finding(rule=rule, text=text, refused=False)


def vocabulary(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R4: the same token embeddings and tokenizer, unless an embedding slot brings others."""
    rule = "R4 vocabulary"
    if any(beside in (candidate.requires or {}) for beside in plan.beside):
        return  # what it was trained with stands beside the tree; R6 compares it
    found, wanted = candidate.base, plan.base.identity
    if found.embeddings and plan.base.embeddings and found.embeddings not in plan.base.embeddings:
        yield Finding(
            rule=rule,
            text=f"trained with the token embeddings {short(found.embeddings)}; {plan.base} has "
            f"{short(wanted.embeddings)}",
        )
    if found.tokenizer and wanted.tokenizer and found.tokenizer != wanted.tokenizer:
        yield Finding(
            rule=rule,
            text=f"trained with the tokenizer {short(found.tokenizer)}; {plan.base} has "
            f"{short(wanted.tokenizer)}",
        )


def need(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R5: what the recipe asks of this slot, the language above all."""
    wanted = plan.slots[slot]
    if not isinstance(wanted, Need):
        return
    if wanted.language and not _speaks(candidate, wanted.language):
        yield _differs("R5 language", wanted.language, ", ".join(candidate.languages) or None)
    if wanted.kind and candidate.kind != wanted.kind:
        yield _differs("R5 kind", wanted.kind, candidate.kind)
    if wanted.task and wanted.task.lower() not in candidate.tasks:
        yield _differs("R5 task", wanted.task, ", ".join(candidate.tasks) or None)
    if wanted.series and candidate.signature.series != wanted.series:
        yield _differs("R5 series", wanted.series, candidate.signature.series)


def _speaks(candidate: Candidate, wanted: str) -> bool:
    return any(names.language_matches(wanted, offered) for offered in candidate.languages)


def _differs(rule: str, wanted: Any, found: Any) -> Finding:
    return Finding(
        rule=rule, text=f"wanted {wanted}, this is {'unknown' if found is None else found}"
    )


def invertible(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R9: an invertible part and embedding rows count only in the first block of a stack."""
    below = ", ".join(repr(each) for each in sorted(plan.below.get(slot, ())))
    kind = candidate.signature.invertible
    parts = [f"an invertible part ({kind})"] if kind else []
    parts += ["embedding rows"] if candidate.signature.rows else []
    if below and parts:
        yield Finding(
            rule="R9 first block",
            text=f"has {' and '.join(parts)}, without effect above the first block; here it stands "
            f"on {below}",
        )


BOTTLENECKS = re.compile(r"(.*_)?(seq_bn|par_bn)|(.*_)?compacter(\+\+)?|adapter_plus")
BOTTLENECK_BLOCKS = frozenset({"Fuse", "Split"})
FIRST_ONLY = frozenset({"prompt_tuning", "loreft", "noreft", "direft", "embedding_rows"})
"""Methods of which a model runs one at a time."""


def place(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R10: the kind fits the place, and the method knows the blocks around it."""
    rule = "R10 composition"
    if slot in plan.fusions and candidate.kind not in ("fusion", None):
        yield Finding(rule=rule, text=f"a fusion layer is wanted here, this is a {candidate.kind}")
    if slot in plan.beside and candidate.kind not in BESIDE:
        yield Finding(
            rule=rule,
            text=f"the slot stands nowhere in the set-up, and a {candidate.kind} adapter has no "
            "effect there; only embedding and head adapters have",
        )
    if slot in plan.in_tree and candidate.kind in ("fusion", *BESIDE):
        yield Finding(rule=rule, text=f"a {candidate.kind} cannot stand in the tree itself")
    yield from _method_in_blocks(plan, slot, candidate, rule)


def _method_in_blocks(plan: Plan, slot: str, candidate: Candidate, rule: str) -> Iterator[Finding]:
    blocks = plan.enclosing.get(slot, frozenset())
    # A union's method names its parts.
    for method in (candidate.signature.method or "").split("|"):
        if (
            method
            and not BOTTLENECKS.fullmatch(method)
            and (bad := sorted(blocks & BOTTLENECK_BLOCKS))
        ):
            text = f"{bad[0]} is defined for bottleneck adapters, this is {method}"
            yield Finding(rule=rule, text=text)
        elif method in FIRST_ONLY and (bad := sorted(blocks - {"Stack"})):
            yield Finding(rule=rule, text=f"{method} cannot stand in {bad[0]}")


def head(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R11: a head is present where one is asked for."""
    if slot in setup.head_slots(plan.heads) and not candidate.has_head:
        yield Finding(rule="R11 head", text="its head is wanted, but it was published without one")


def licence(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R15: the licence is one of those the recipe allows."""
    allowed = plan.options.licences
    if allowed is None:
        return
    if (candidate.licence or "").lower() not in {each.lower() for each in allowed}:
        yield Finding(
            rule="R15 licence",
            text=f"allowed are {', '.join(allowed)}, this is {candidate.licence or 'unknown'}",
            refused=False,
        )


# --- two candidates ------------------------------------------------------------------------------


def requirement_on(
    plan: Plan, candidate: Candidate, other_slot: str, other: Candidate
) -> Requirement | None:
    """Return what `candidate` asks of the adapter in `other_slot`.

    A requirement is found by the slot's name; where the recipe has no slot of that name, by the
    role that the other adapter was trained for, since people call slots what they like.
    """
    requires = candidate.requires or {}
    if other_slot in requires:
        return requires[other_slot]
    role = other.signature.slot
    return requires.get(role) if role is not None and role not in plan.slots else None


def partner(
    plan: Plan, slot: str, candidate: Candidate, other_slot: str, other: Candidate
) -> Iterator[Finding]:
    """R6: the other adapter is what this one was trained with, in all that its contract names."""
    rule = "R6 contract"
    if slot in plan.fusions:
        return  # R12 is stricter
    wanted = requirement_on(plan, candidate, other_slot, other)
    stands_on = other_slot in plan.below.get(slot, frozenset())
    if wanted is not None:
        if not (stands_on or other_slot in plan.beside):
            text = f"was trained on top of {other_slot!r}, which is not below it here"
            yield Finding(rule=rule, text=text)
        yield from _contract(plan, rule, (slot, candidate), (other_slot, other), wanted)
    elif stands_on:
        yield _near(
            plan, rule, (slot, candidate), (other_slot, other), _why_unproven(candidate, other_slot)
        )


def _contract(
    plan: Plan,
    rule: str,
    one: tuple[str, Candidate],
    two: tuple[str, Candidate],
    wanted: Requirement,
) -> Iterator[Finding]:
    (_, candidate), (_, other) = one, two
    if wanted.content == other.content:
        return  # the very adapter it was trained with
    fit = contract.fit(wanted, other.signature)
    for reason in fit.reasons:
        yield Finding(rule=rule, text=f"{other.ref} beside {candidate.ref}: {reason}")
    if fit.reasons:
        return
    for reason in fit.unknown:
        yield _near(plan, rule, one, two, f"{other.ref} beside {candidate.ref}: {reason}")
    yield from _series(candidate, other, wanted)


def _why_unproven(candidate: Candidate, other_slot: str) -> str:
    if candidate.requires is None:
        return f"{candidate.ref} does not say with what it was trained"
    return f"{candidate.ref} was trained without an adapter in {other_slot!r}"


def _near(
    plan: Plan, rule: str, one: tuple[str, Candidate], two: tuple[str, Candidate], text: str
) -> Finding:
    """A near match is used, with a warning, only where the recipe names both adapters."""
    named = plan.named(one[0]) and plan.named(two[0])
    if not named:
        open_slot = two if not plan.named(two[0]) else one
        text += f"; if you know that it fits, name it: {open_slot[0]}={open_slot[1].ref}"
    return Finding(rule=rule, text=text, near=True, refused=plan.options.strict or not named)


def _series(candidate: Candidate, other: Candidate, wanted: Requirement) -> Iterator[Finding]:
    """R8: another series may transfer less well than the one it was trained with."""
    trained, found = wanted.signature.series, other.signature.series
    if trained is not None and found != trained:
        text = (
            f"{candidate.ref} was trained with the series {trained}, {other.ref} is of "
            f"{'the series ' + found if found else 'no series'}; transfer is not proven"
        )
        yield Finding(rule="R8 series", text=text, refused=False)


def order(
    plan: Plan, slot: str, candidate: Candidate, other_slot: str, other: Candidate
) -> Iterator[Finding]:
    """R10: in a stack a language adapter stands below a task adapter."""
    if (
        candidate.kind == "language"
        and other.kind == "task"
        and other_slot in plan.below.get(slot, ())
    ):
        yield Finding(
            rule="R10 composition",
            text=f"{candidate.ref} is a language adapter and belongs below the task adapter in "
            f"{other_slot!r}",
        )


def labels(
    plan: Plan, slot: str, candidate: Candidate, other_slot: str, other: Candidate
) -> Iterator[Finding]:
    """R11: a head that is an adapter of its own predicts the labels of the adapter it stands on."""
    if slot not in plan.beside or slot not in setup.head_slots(plan.heads):
        return
    if other_slot != plan.top or candidate.labels is None or other.labels is None:
        return
    if candidate.labels != other.labels:
        yield Finding(
            rule="R11 head",
            text=f"its labels are {_labels(candidate)}; those of {other.ref} are {_labels(other)}",
        )


def fusion(
    plan: Plan, slot: str, candidate: Candidate, other_slot: str, other: Candidate
) -> Iterator[Finding]:
    """R12: a fusion mixes exactly the members it was trained with, in their order."""
    if other_slot not in plan.fusions.get(slot, ()):
        return
    rule = "R12 fusion"
    mixed = plan.fusions[slot]
    trained = _trained_members(candidate)
    if trained is None:
        text = f"{candidate.ref} does not say over which adapters it was trained"
        yield _near(plan, rule, (slot, candidate), (other_slot, other), text)
        return
    if len(trained) != len(mixed):
        text = f"trained over {len(trained)} adapters, here it mixes {len(mixed)}"
        yield Finding(rule=rule, text=text)
        return
    member = mixed.index(other_slot)
    wanted = (candidate.requires or {}).get(trained[member])
    if wanted is None or wanted.content is None:
        text = f"{candidate.ref} does not say which adapter was member {member + 1}"
        yield _near(plan, rule, (slot, candidate), (other_slot, other), text)
    elif wanted.content != other.content:
        yield Finding(
            rule=rule,
            text=f"member {member + 1} was {wanted.ref or short(wanted.content)} in training, here "
            f"it is {other.ref} ({short(other.content)})",
        )


def _trained_members(candidate: Candidate) -> tuple[str, ...] | None:
    if candidate.trained_in is None:
        return None
    found = next(setup.fusions(candidate.trained_in), None)
    return None if found is None else members(found)


# --- the whole choice ----------------------------------------------------------------------------


def partners_present(plan: Plan, choice: Choice) -> Iterator[tuple[str, Finding]]:
    """R6: whatever an adapter was trained on top of is there."""
    if len(choice) < len(plan.slots):
        return
    for slot, candidate in choice.items():
        if slot in plan.fusions:
            continue
        roles = {*plan.slots, *(other.signature.slot for other in choice.values())}
        for wanted in sorted(set(candidate.requires or {}) - roles):
            text = f"{candidate.ref} was trained together with {wanted!r}, which the set-up lacks"
            # Asking for one adapter alone is a question about that adapter, not a composition.
            yield slot, Finding(rule="R6 contract", text=text, refused=len(plan.slots) > 1)


def layers_agree(plan: Plan, choice: Choice) -> Iterator[tuple[str, Finding]]:
    """R6: an adapter is loaded once, so all that ask for it must drop the same layers of it."""
    for slot in choice:
        asked = drops(plan, choice, slot)
        if len(set(asked.values())) > 1:
            said = "; ".join(
                f"{ref} drops {list(layers) or 'none'}" for ref, layers in asked.items()
            )
            yield (
                slot,
                Finding(
                    rule="R6 contract", text=f"its partners disagree on the layers to drop: {said}"
                ),
            )


def drops(plan: Plan, choice: Choice, slot: str) -> dict[str, tuple[int, ...]]:
    """Return, per partner that has requirements on `slot`, the layers it wants left out."""
    own = choice[slot].signature.layers
    asked = {}
    for other_slot, other in choice.items():
        wanted = requirement_on(plan, other, slot, choice[slot]) if other_slot != slot else None
        if wanted is not None and other_slot not in plan.fusions:
            layers = set(wanted.drop_layers)
            asked[other.ref] = tuple(sorted(layers if own is None else layers & set(own)))
    return asked


def positions(plan: Plan, choice: Choice) -> Iterator[tuple[str, Finding]]:
    """R13: prompts and prefixes leave room for text among the base's positions."""
    longest = plan.base.max_positions
    if longest is None:
        return
    for path in plan.paths:
        taken = [slot for slot in path if slot in choice and choice[slot].positions]
        total = sum(choice[slot].positions for slot in taken)
        if taken and total >= longest:
            text = f"prompts and prefixes take {total} of the {longest} positions of {plan.base}"
            yield taken[-1], Finding(rule="R13 positions", text=text)


def _labels(candidate: Candidate) -> str:
    return ", ".join(candidate.labels or ())


SLOT_RULES: tuple[SlotRule, ...] = (
    *(state, structure, body, vocabulary, need, invertible, place, head, licence),
)
PAIR_RULES: tuple[PairRule, ...] = (partner, order, labels, fusion)
SETUP_RULES: tuple[SetupRule, ...] = (partners_present, layers_agree, positions)
