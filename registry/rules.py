"""What must hold in a set-up: one function per rule, in three tables.

SLOT_RULES judge a candidate by itself, PAIR_RULES one candidate beside another, SETUP_RULES a whole
choice. A rule yields what it finds and never stops the others, so that a person sees all that is
wrong at once. R1 to R15 are the numbers of DESIGN.md.
"""

from collections.abc import Callable, Iterator, Mapping

from adapters_runtime.architectures import ARCHITECTURES, PAIR
from adapters_runtime.composition import Average, blocks_of
from adapters_runtime.meaning import BLOCKS, kind_of
from registry import contract, names, setup
from registry.plan import BESIDE, Candidate, Finding, Placed, Plan, members, name_of, short
from registry.schemas import Need, Requirement
from registry.vocabulary import method_parts

Choice = Mapping[str, Candidate]
SlotRule = Callable[[Plan, str, Candidate], Iterator[Finding]]
PairRule = Callable[[Plan, Placed, Placed], Iterator[Finding]]
SetupRule = Callable[[Plan, Choice], Iterator[Finding]]

RUNTIMES = frozenset({"1"})
"""Generations of the runtime for which a recipe can be resolved."""

# --- one candidate -------------------------------------------------------------------------------


def state(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R1: not quarantined or removed; yanked only where the recipe names the very content."""
    rule = "R1 state"
    if candidate.state in ("quarantined", "removed"):
        yield Finding(rule, candidate.ref, f"this version is {candidate.state}")
    elif candidate.state == "yanked" and not plan.pinned(slot):
        pin = f"{candidate.adapter}@{candidate.content}"
        text = f"this version was yanked; to use it all the same, name {pin}"
        yield Finding(rule, candidate.ref, text)
    elif candidate.state in ("yanked", "deprecated"):
        after = f"; use {candidate.successor}" if candidate.successor else ""
        text = f"this version is {candidate.state}{after}"
        yield Finding(rule, candidate.ref, text, refused=False)


def structure(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R2: trained on a base of the same structure."""
    wanted, found = plan.base.identity.structure, candidate.base.structure
    if wanted is None or found is None:
        yield from _by_name(plan, candidate, "R2 base structure")
    elif wanted != found:
        yield Finding(
            "R2 base structure",
            candidate.ref,
            f"trained on {name_of(candidate.base)}, whose layers have other names or shapes "
            f"than those of {plan.base}",
        )


def body(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R3: trained on the same weights, or on a recorded cast of them."""
    found = candidate.base.body
    if found is None or not plan.base.bodies:
        return  # R2 has compared the names
    if found not in plan.base.bodies:
        yield Finding(
            "R3 base weights",
            candidate.ref,
            f"trained on {name_of(candidate.base)} ({short(found)}), which has other weights "
            f"than {plan.base} ({short(plan.base.identity.body)})",
            refused=not plan.options.allow_base_mismatch,
        )


def _by_name(plan: Plan, candidate: Candidate, rule: str) -> Iterator[Finding]:
    """Compare bases that were not both digested: equal names are probably equal weights."""
    wanted, found = plan.base.identity, candidate.base
    if wanted.name is None or found.name is None:
        text = f"nobody recorded on which base this was trained: {plan.base}?"
    elif wanted.name != found.name:
        text = f"trained on {name_of(found)}, not on {plan.base}"
    else:
        text = f"trained on a base called {name_of(found)}; its weights were not compared"
    same = wanted.name is not None and wanted.name == found.name
    yield Finding(rule, candidate.ref, text, refused=not same)


def vocabulary(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R4: the same token embeddings and tokenizer, unless an embedding slot brings others."""
    rule = "R4 vocabulary"
    if candidate.kind == "embedding":
        return  # it brings a vocabulary of its own
    if any(beside in (candidate.requires or {}) for beside in plan.beside):
        return  # what it was trained with stands beside the tree; `tokens` compares it
    found, wanted = candidate.base, plan.base.identity
    if found.embeddings and plan.base.embeddings and found.embeddings not in plan.base.embeddings:
        yield Finding(
            rule,
            candidate.ref,
            f"trained with the token embeddings {short(found.embeddings)}; {plan.base} has "
            f"{short(wanted.embeddings)}",
        )
    if found.tokenizer and wanted.tokenizer and found.tokenizer != wanted.tokenizer:
        yield Finding(
            rule,
            candidate.ref,
            f"trained with the tokenizer {short(found.tokenizer)}; {plan.base} has "
            f"{short(wanted.tokenizer)}",
        )


def need(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R5: what the recipe asks of this slot, the language above all."""
    wanted = plan.slots[slot]
    if not isinstance(wanted, Need):
        return
    if wanted.language and not _speaks(candidate, wanted.language):
        yield _differs("R5 language", candidate, wanted.language, ", ".join(candidate.languages))
    if wanted.kind and candidate.kind != wanted.kind:
        yield _differs("R5 kind", candidate, wanted.kind, candidate.kind)
    if wanted.task and wanted.task.lower() not in candidate.tasks:
        yield _differs("R5 task", candidate, wanted.task, ", ".join(candidate.tasks))
    if wanted.series and candidate.signature.series != wanted.series:
        yield _differs("R5 series", candidate, wanted.series, candidate.signature.series)


def _speaks(candidate: Candidate, wanted: str) -> bool:
    return any(names.language_matches(wanted, offered) for offered in candidate.languages)


def _differs(rule: str, candidate: Candidate, wanted: str, found: str | None) -> Finding:
    return Finding(rule, candidate.ref, f"wanted {wanted}, this is {found or 'unknown'}")


def invertible(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R9: an invertible part and embedding rows count only in the first block of a stack."""
    below = ", ".join(repr(each) for each in sorted(plan.below.get(slot, ())))
    kind = candidate.signature.invertible
    parts = [f"an invertible part ({kind})"] if kind else []
    parts += ["embedding rows"] if candidate.signature.rows else []
    if below and parts:
        text = f"has {' and '.join(parts)}, without effect above the first block; here it stands on"
        yield Finding("R9 first block", candidate.ref, f"{text} {below}")


def place(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R10: the kind fits the place, and the method knows the blocks around it."""
    for text in [*_misplaced(plan, slot, candidate.kind), *_unknown_blocks(plan, slot, candidate)]:
        yield Finding("R10 composition", candidate.ref, text)


def _misplaced(plan: Plan, slot: str, kind: str | None) -> Iterator[str]:
    if slot in plan.fusions and kind not in ("fusion", None):
        yield f"a fusion layer is wanted here, this is a {kind} adapter"
    if slot in plan.beside and kind not in BESIDE:
        yield (
            f"the slot stands nowhere in the set-up, and a {kind or 'nameless'} adapter has no "
            "effect there; only embedding and head adapters have"
        )
    if slot in plan.in_tree and kind in ("fusion", "setup", *BESIDE):
        yield f"a {kind} adapter cannot stand in the tree itself"


def _unknown_blocks(plan: Plan, slot: str, candidate: Candidate) -> Iterator[str]:
    around = plan.enclosing.get(slot, frozenset())
    for method in method_parts(candidate.signature.method or ""):
        # What a method we do not know can do, its runtime will tell.
        known = {block.__name__ for block in BLOCKS.get(kind_of(method) or "", ())}
        for block in sorted(around - known) if known else ():
            yield f"{method} cannot stand in {block}; it can in {', '.join(sorted(known))}"


def head(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R11: a head is present where one is asked for."""
    if slot in setup.head_slots(plan.heads) and not candidate.has_head:
        text = "its head is wanted, but it was published without one"
        yield Finding("R11 head", candidate.ref, text)


def runtime(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R14: the runtime that will load it exists, and knows a place for it in the model type."""
    rule, wanted, model_type = "R14 runtime", plan.options.runtime, plan.base.model_type
    if wanted not in RUNTIMES:
        text = f"wanted for the runtime {wanted}; known are {', '.join(sorted(RUNTIMES))}"
        yield Finding(rule, candidate.ref, text)
    elif model_type is not None and model_type not in (PAIR, *ARCHITECTURES):
        text = f"{model_type} is not among the model types that the runtime knows"
        yield Finding(rule, candidate.ref, text, refused=False)
    elif model_type in ARCHITECTURES:  # for a pair its parts decide, as publishing has seen
        for method in method_parts(candidate.signature.method or ""):
            if not ARCHITECTURES[model_type].has_place(kind_of(method)):
                yield Finding(rule, candidate.ref, f"{model_type} has no place for {method}")


def licence(plan: Plan, _slot: str, candidate: Candidate) -> Iterator[Finding]:
    """R15: the licence is one of those the recipe allows."""
    allowed = plan.options.licences
    if allowed is None:
        return
    if (candidate.licence or "").lower() not in {each.lower() for each in allowed}:
        text = f"allowed are {', '.join(allowed)}, this is {candidate.licence or 'unknown'}"
        yield Finding("R15 licence", candidate.ref, text, refused=False)


# --- two candidates ------------------------------------------------------------------------------


def requirement_on(plan: Plan, candidate: Candidate, other: Placed) -> Requirement | None:
    """Return what `candidate` asks of another adapter where that stands.

    A requirement is found by the slot's name; where the recipe has no slot of that name, by the
    role that the other adapter was trained for, since people call slots what they like.
    """
    requires = candidate.requires or {}
    if other.slot in requires:
        return requires[other.slot]
    role = other.adapter.signature.slot
    return requires.get(role) if role is not None and role not in plan.slots else None


def partner(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """R6: the second is what the first was trained with, in all that its contract names."""
    if one.slot in plan.fusions:
        return  # R12 is stricter
    wanted = requirement_on(plan, one.adapter, two)
    below = two.slot in plan.below.get(one.slot, frozenset())
    stands_on = below or one.slot in plan.beside  # a head reads what leaves the tree
    if wanted is None:
        if below:
            yield _near(plan, "R6 contract", one, two, _unproven(one.adapter, two.slot))
        return
    if not (stands_on or two.slot in plan.beside):
        text = f"was trained on top of {two.slot!r}, which is not below it here"
        yield Finding("R6 contract", one.adapter.ref, text)
    if wanted.content != two.adapter.content:  # else it is the very adapter it was trained with
        yield from _compare(plan, one, two, wanted)


def _unproven(candidate: Candidate, below: str) -> str:
    if candidate.requires is None:
        return "does not say with what it was trained"
    return f"was trained without an adapter in {below!r}"


def _compare(plan: Plan, one: Placed, two: Placed, wanted: Requirement) -> Iterator[Finding]:
    fit = contract.fit(wanted, two.adapter.signature)
    for reason in fit.reasons:
        text = f"beside {one.adapter.ref}, {reason}"
        yield Finding("R6 contract", two.adapter.ref, text)
    if fit.reasons:
        return
    for reason in fit.unknown:
        yield _near(plan, "R6 contract", two, one, f"beside {one.adapter.ref}, {reason}")
    yield from _compare_series(one.adapter, two.adapter, wanted.signature.series)


def _near(plan: Plan, rule: str, about: Placed, other: Placed, text: str) -> Finding:
    """A near match is used, with a warning, only where the recipe names both adapters."""
    unnamed = [each for each in (about, other) if not plan.named(each.slot)]
    if unnamed:
        wanted = ", ".join(sorted(f"{each.slot}={each.adapter.ref}" for each in unnamed))
        text += f"; if you know that they fit, name {wanted}"
    refused = bool(unnamed) or plan.options.strict
    return Finding(rule, about.adapter.ref, text, near=True, refused=refused)


def _compare_series(
    candidate: Candidate, other: Candidate, trained: str | None
) -> Iterator[Finding]:
    """R8: another series may transfer less well than the one it was trained with."""
    found = other.signature.series
    if trained is not None and found != trained:
        text = (
            f"{'of the series ' + found if found else 'of no series'}, and {candidate.ref} was "
            f"trained with {trained}; transfer is not proven"
        )
        yield Finding("R8 series", other.ref, text, refused=False)


def order(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """R10: in a stack a language adapter stands below a task adapter."""
    upside_down = (one.adapter.kind, two.adapter.kind) == ("language", "task")
    if upside_down and two.slot in plan.below.get(one.slot, frozenset()):
        text = f"a language adapter belongs below the task adapter in {two.slot!r}"
        yield Finding("R10 composition", one.adapter.ref, text)


def labels(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """R11: a head that is an adapter of its own predicts the labels of the adapter it stands on."""
    stands_on = one.slot in plan.beside and two.slot == plan.top
    if not stands_on or one.slot not in setup.head_slots(plan.heads):
        return
    own, other = one.adapter.labels, two.adapter.labels
    if own is not None and other is not None and own != other:
        text = f"its labels are {', '.join(own)}; those of {two.adapter.ref} are {', '.join(other)}"
        yield Finding("R11 head", one.adapter.ref, text)


def tokens(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """R4: beside embeddings of their own, language adapters are for just these, others may be."""
    rule = "R4 vocabulary"
    if two.adapter.kind != "embedding" or one.slot not in plan.in_tree:
        return
    wanted, of_language = requirement_on(plan, one.adapter, two), one.adapter.kind == "language"
    if wanted is None:
        text = f"was trained on the base's own token embeddings, not on {two.adapter.ref}"
        refused = of_language or plan.options.strict
        yield Finding(rule, one.adapter.ref, text, refused=refused)
    elif of_language and wanted.content is None:
        yield _near(plan, rule, one, two, "does not say which token embeddings it was trained on")
    elif of_language and wanted.content != two.adapter.content:
        was = wanted.ref or short(wanted.content)
        text = f"was trained on the token embeddings {was}, not on {two.adapter.ref}"
        yield Finding(rule, one.adapter.ref, text)


def fusion(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """R12: a fusion mixes exactly the members it was trained with, in their order."""
    rule, mixed = "R12 fusion", plan.fusions.get(one.slot, ())
    if two.slot not in mixed:
        return
    trained = _trained_members(one.adapter)
    if trained is None:
        yield _near(plan, rule, one, two, "does not say over which adapters it was trained")
        return
    if len(trained) != len(mixed):
        text = f"trained over {len(trained)} adapters, here it mixes {len(mixed)}"
        yield Finding(rule, one.adapter.ref, text)
        return
    member = mixed.index(two.slot)
    wanted = (one.adapter.requires or {}).get(trained[member])
    if wanted is None or wanted.content is None:
        yield _near(plan, rule, one, two, f"does not say which adapter was member {member + 1}")
    elif wanted.content != two.adapter.content:
        was = wanted.ref or short(wanted.content)
        found = f"{two.adapter.ref} ({short(two.adapter.content)})"
        text = f"member {member + 1} was {was} in training, here it is {found}"
        yield Finding(rule, one.adapter.ref, text)


def _trained_members(candidate: Candidate) -> tuple[str, ...] | None:
    if candidate.trained_in is None:
        return None
    found = next(setup.fusions(candidate.trained_in), None)
    return None if found is None else members(found)


# --- the whole choice ----------------------------------------------------------------------------


def partners_present(plan: Plan, choice: Choice) -> Iterator[Finding]:
    """R6: whatever an adapter was trained on top of is there."""
    if len(choice) < len(plan.slots):
        return
    roles = {*plan.slots, *(each.signature.slot for each in choice.values())}
    for slot, candidate in choice.items():
        # R12 looks for the members of a fusion.
        requires = () if slot in plan.fusions else candidate.requires or ()
        for wanted in sorted(set(requires) - roles):
            text = f"was trained together with {wanted!r}, which the set-up lacks"
            # Asking for one adapter alone is a question about that adapter, not a composition.
            yield Finding("R6 contract", candidate.ref, text, refused=len(plan.slots) > 1)


def layers_agree(plan: Plan, choice: Choice) -> Iterator[Finding]:
    """R6: an adapter is loaded once, so all that ask for it must drop the same layers of it."""
    for slot, candidate in choice.items():
        asked = drops(plan, choice, slot)
        if len(set(asked.values())) > 1:
            said = (f"{ref} drops {list(layers) or 'none'}" for ref, layers in asked.items())
            text = f"its partners disagree on the layers to drop: {'; '.join(said)}"
            yield Finding("R6 contract", candidate.ref, text)


def drops(plan: Plan, choice: Choice, slot: str) -> dict[str, tuple[int, ...]]:
    """Return, per partner that has requirements on `slot`, the layers it wants left out."""
    own = choice[slot].signature.layers
    asked = {}
    for other_slot, other in choice.items():
        if other_slot in (slot, *plan.fusions):
            continue
        wanted = requirement_on(plan, other, Placed(slot, choice[slot]))
        if wanted is not None:
            layers = set(wanted.drop_layers)
            asked[other.ref] = tuple(sorted(layers if own is None else layers & set(own)))
    return asked


def positions(plan: Plan, choice: Choice) -> Iterator[Finding]:
    """R13: prompts and prefixes leave room for text among the base's positions."""
    longest = plan.base.max_positions
    if longest is None:
        return
    for path in plan.paths:
        taken = [choice[slot] for slot in path if slot in choice and choice[slot].positions]
        total = sum(each.positions for each in taken)
        if taken and total >= longest:
            text = f"prompts and prefixes take {total} of the {longest} positions of {plan.base}"
            yield Finding("R13 positions", taken[-1].ref, text)


def averages(plan: Plan, choice: Choice) -> Iterator[Finding]:
    """R10: an average is one of equally many prompts or prefixes."""
    for block in blocks_of(plan.tree, Average):
        slots = setup.leaves(block)
        if not choice.keys() >= set(slots):
            continue
        paths = [[choice[slot] for slot in path] for path in setup.paths(block)]
        lengths = [sum(each.positions for each in path) for path in paths]
        prompts = [sum(each.prompts for each in path) for path in paths]
        if len({*zip(lengths, prompts, strict=True)}) > 1:
            text = (
                f"Average needs prompts and prefixes of one length, and here they are {lengths}, "
                f"of which prompts {prompts}"
            )
            yield Finding("R10 composition", choice[slots[-1]].ref, text)


SLOT_RULES: tuple[SlotRule, ...] = (
    *(state, structure, body, vocabulary, need, invertible, place, head, runtime, licence),
)
PAIR_RULES: tuple[PairRule, ...] = (partner, order, labels, tokens, fusion)
SETUP_RULES: tuple[SetupRule, ...] = (partners_present, layers_agree, averages, positions)
