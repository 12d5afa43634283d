"""Which candidates go together, and whether a choice that was begun can be completed."""

from collections.abc import Iterator, Mapping, Sequence

from registry import rules
from registry.errors import ResolutionImpossible
from registry.plan import Candidate, Finding, Placed, Plan, by_age

Candidates = Mapping[str, Sequence[Candidate]]
Choice = Mapping[str, Candidate]
Findings = Mapping[str, Mapping[str, Sequence[Finding]]]
"""Slot -> reference -> what the rules about one candidate say."""

MOST_JUDGEMENTS = 200_000
"""How many pairs of candidates a resolution may judge: a few seconds' work."""


def judge(plan: Plan, slot: str, candidate: Candidate) -> Iterator[Finding]:
    """Yield what the rules say of a candidate by itself."""
    for rule in rules.SLOT_RULES:
        yield from rule(plan, slot, candidate)


def judge_pair(plan: Plan, one: Placed, two: Placed) -> Iterator[Finding]:
    """Yield what the rules say of two candidates together; the order of the two does not count."""
    for rule in rules.PAIR_RULES:
        yield from rule(plan, one, two)
        yield from rule(plan, two, one)


def judge_choice(plan: Plan, choice: Choice) -> Iterator[Finding]:
    """Yield what the rules say of a choice as a whole."""
    for rule in rules.SETUP_RULES:
        yield from rule(plan, choice)


class Index:
    """The candidates of every slot, those that no rule about one candidate refuses, and a cache."""

    def __init__(self, plan: Plan, every: Candidates, findings: Findings) -> None:
        self.plan = plan
        self.every = every
        self.findings = findings
        self.open = {
            slot: [
                candidate
                for candidate in every[slot]
                if not any(finding.refused for finding in findings[slot][candidate.ref])
            ]
            for slot in plan.slots
        }
        self._pairs: dict[tuple[str, str, str, str], bool] = {}

    @classmethod
    def of(cls, plan: Plan, candidates: Candidates) -> "Index":
        # Sorted once, so that neither the choice nor the explanation follows the order of rows.
        every = {slot: sorted(candidates.get(slot, ()), key=by_age) for slot in plan.slots}
        findings = {
            slot: {each.ref: list(judge(plan, slot, each)) for each in every[slot]}
            for slot in plan.slots
        }
        return cls(plan, every, findings)

    def compatible(self, one: Placed, two: Placed) -> bool:
        if two.slot < one.slot:
            one, two = two, one
        key = (one.slot, one.adapter.ref, two.slot, two.adapter.ref)
        if key not in self._pairs:
            self._count()
            found = judge_pair(self.plan, one, two)
            self._pairs[key] = not any(finding.refused for finding in found)
        return self._pairs[key]

    def _count(self) -> None:
        if len(self._pairs) >= MOST_JUDGEMENTS:
            error = ResolutionImpossible(f"gave up after {MOST_JUDGEMENTS:,} pairs of candidates")
            error.hint = "name the adapter, or its version, in more of the slots"
            raise error

    def fits(self, choice: Choice, slot: str, candidate: Candidate) -> bool:
        """Whether a candidate goes with all that was chosen."""
        own = Placed(slot, candidate)
        if not all(self.compatible(own, Placed(*other)) for other in choice.items()):
            return False
        found = judge_choice(self.plan, {**choice, slot: candidate})
        return not any(finding.refused for finding in found)

    def refusals(self, slot: str, candidate: Candidate) -> list[Finding]:
        """Return why the rules about one candidate refuse it; nothing if they do not."""
        return [finding for finding in self.findings[slot][candidate.ref] if finding.refused]

    def clashes(self, choice: Choice, slot: str, candidate: Candidate) -> list[Finding]:
        """Return why a candidate does not go with a choice; nothing if it does."""
        own = Placed(slot, candidate)
        pairs = (judge_pair(self.plan, own, Placed(*other)) for other in choice.items())
        found = [finding for pair in pairs for finding in pair]
        found += judge_choice(self.plan, {**choice, slot: candidate})
        return list(dict.fromkeys(finding for finding in found if finding.refused))

    def completes(self, choice: Choice) -> bool:
        """Whether the slots that are not chosen yet can be filled so that all fits together."""
        left = [slot for slot in self.plan.slots if slot not in choice]
        if len(left) == 1:  # the usual case by far, and one that fits is enough
            return any(self.fits(choice, left[0], each) for each in self.open[left[0]])
        domains = {
            slot: [each for each in self.open[slot] if self.fits(choice, slot, each)]
            for slot in left
        }
        return all(domains.values()) and self._fill(choice, domains)

    def _fill(self, choice: Choice, domains: Mapping[str, list[Candidate]]) -> bool:
        if not domains:
            return True
        slot = min(domains, key=lambda each: (len(domains[each]), each))  # the most constrained
        for candidate in domains[slot]:
            extended = {**choice, slot: candidate}
            left = {
                other: [each for each in domain if self.fits(extended, other, each)]
                for other, domain in domains.items()
                if other != slot
            }
            if all(left.values()) and self._fill(extended, left):
                return True
        return False
