"""Which task adapters of a base work in which languages, and how well that was measured.

Every cell is what the resolver itself says of "this task adapter, in that language". What is the
same for all languages of a row is judged once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import candidates, names, recipes, resolve, scores, setup
from registry.errors import RegistryError, ResolutionImpossible
from registry.fitting import Index, judge
from registry.leaderboards import transfer
from registry.models import Account, Score, SetupPart
from registry.plan import Candidate, Finding, Plan, ResolvedBase, by_age, make_plan
from registry.schemas import MatrixCell, MatrixOut, MatrixRow, MatrixScore, Need, ScoreOut


def matrix(
    session: Session,
    base: str,
    viewer: Account | None,
    *,
    languages: Sequence[str] = (),
    tasks: Sequence[str] = (),
) -> MatrixOut:
    """Return the cells of a base, rows and columns by name.

    `languages` and `tasks` (names of adapters) narrow it down.

    Raises BaseModelNotFound, InvalidName.
    """
    resolved, found = candidates.of_base(session, base, viewer)
    packs = [each for each in found if each.kind == "language"]
    wanted = [names.parse_language(tag) for tag in languages]
    columns = sorted(set(wanted) or {tag for pack in packs for tag in pack.languages})
    by_code = _by_code(packs)
    rows = [
        _Row.of(session, task, resolved, viewer).cells(columns, by_code)
        for task in newest(each for each in found if each.kind == "task")
        if not tasks or task.adapter in tasks
    ]
    measured = _measured(session, [cell for row in rows for cell in row], viewer)
    return MatrixOut(
        base=str(base),
        languages=columns,
        rows=[
            MatrixRow(ref=row[0].task.ref, cells=[cell.out(measured) for cell in row])
            for row in rows
            if row
        ],
    )


def newest(tasks: Iterable[Candidate]) -> list[Candidate]:
    """Return of each adapter the highest live version, else the highest deprecated one."""
    chosen: dict[str, Candidate] = {}
    for task in sorted(tasks, key=by_age):
        if task.state not in ("live", "deprecated"):
            continue
        if task.adapter not in chosen or (chosen[task.adapter].state, task.state) == (
            "deprecated",
            "live",
        ):
            chosen[task.adapter] = task
    return list(chosen.values())


def _by_code(packs: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    """Group language adapters by the first part of their tags, as candidates are selected."""
    found: dict[str, list[Candidate]] = {}
    for pack in sorted(packs, key=by_age):
        for code in {tag.partition("-")[0] for tag in pack.languages}:
            found.setdefault(code, []).append(pack)
    return found


@dataclass(frozen=True)
class _Cell:
    task: Candidate
    language: str
    state: Literal["resolvable", "ambiguous", "near", "missing"]
    pack: Candidate | None = None
    reasons: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    plan: Plan | None = None
    choice: Mapping[str, Candidate] | None = None

    @property
    def digest(self) -> str:
        """The digest of the set-up, under which its scores are kept."""
        assert self.plan is not None
        assert self.choice is not None
        return setup.setup_digest(resolve.lock_of(self.plan, self.choice))

    def out(self, measured: Mapping[tuple[str, str], Sequence[MatrixScore]]) -> MatrixCell:
        return MatrixCell(
            language=self.language,
            state=self.state,
            pack=None if self.pack is None else self.pack.ref,
            reasons=list(self.reasons),
            choices=list(self.choices),
            scores=list(measured.get((self.task.ref, self.language), ())),
        )


@dataclass(frozen=True)
class _Row:
    """A task adapter, with all that is the same in every language."""

    task: Candidate
    plan: Plan | None
    lang: str = ""
    fixed: Mapping[str, Sequence[Candidate]] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, Sequence[Finding]]] = field(default_factory=dict)
    fault: str = ""
    """Why there is no plan."""

    @classmethod
    def of(
        cls, session: Session, task: Candidate, base: ResolvedBase, viewer: Account | None
    ) -> "_Row":
        try:
            recipe, lang = recipes.of_candidate(task, "und")
            plan = make_plan(recipe, base)
            fixed = {
                slot: [task] if filling == task.ref else candidates.named(session, filling, viewer)
                for slot, filling in recipe.slots.items()
                if isinstance(filling, str)
            }
        except RegistryError as error:
            return cls(task, None, fault=str(error))
        findings = {
            slot: {each.ref: list(judge(plan, slot, each)) for each in found}
            for slot, found in fixed.items()
        }
        return cls(task, plan, lang, fixed, findings)

    def cells(
        self, languages: Sequence[str], packs: Mapping[str, Sequence[Candidate]]
    ) -> list[_Cell]:
        return [self._cell(tag, packs.get(tag.partition("-")[0], ())) for tag in languages]

    def _cell(self, language: str, packs: Sequence[Candidate]) -> _Cell:
        if self.plan is None:
            return _Cell(self.task, language, "missing", reasons=(self.fault,))
        plan = replace(self.plan, slots={**self.plan.slots, self.lang: Need(language=language)})
        own = {pack.ref: list(judge(plan, self.lang, pack)) for pack in packs}
        index = Index(plan, {**self.fixed, self.lang: packs}, {**self.findings, self.lang: own})
        try:
            choice = resolve.choose(plan, index)
        except ResolutionImpossible as error:
            return self._unresolved(language, index, error)
        return _Cell(self.task, language, "resolvable", choice[self.lang], plan=plan, choice=choice)

    def _unresolved(self, language: str, index: Index, error: ResolutionImpossible) -> _Cell:
        if error.choices:
            refs = tuple(ref for found in error.choices.values() for ref in found)
            return _Cell(self.task, language, "ambiguous", reasons=(str(error),), choices=refs)
        speaking = [pack for pack in index.every[self.lang] if _speaks(pack, language)]
        against = [(pack, list(self._against(index, pack))) for pack in speaking]
        # The nearest match is one against which nothing speaks but that too little is known.
        for pack, findings in against:
            if findings and all(finding.near for finding in findings):
                return _Cell(self.task, language, "near", pack, _told(findings))
        reasons = [line for _, findings in against for line in _told(findings)]
        if not speaking:
            reasons = ["no language adapter for it was published for this base"]
        return _Cell(self.task, language, "missing", reasons=tuple(dict.fromkeys(reasons)))

    def _against(self, index: Index, pack: Candidate) -> Iterator[Finding]:
        yield from index.refusals(self.lang, pack)
        whole: dict[str, Candidate] = {self.lang: pack}
        for slot, found in self.fixed.items():
            best = next(iter(index.open[slot]), found[0])
            yield from index.refusals(slot, best)
            yield from index.clashes(whole, slot, best)
            whole[slot] = best


def _speaks(pack: Candidate, language: str) -> bool:
    return any(names.language_matches(language, offered) for offered in pack.languages)


def _told(findings: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.told_of() for finding in findings))


# --- what was measured ---------------------------------------------------------------------------


def _measured(
    session: Session, cells: Sequence[_Cell], viewer: Account | None
) -> dict[tuple[str, str], list[MatrixScore]]:
    """Return the scores of the very set-ups that the cells resolve to."""
    digests = {}
    recorded = set(_recorded(session, {cell.task.content for cell in cells}))
    for cell in cells:
        if cell.choice is None:
            continue
        contents = frozenset(each.content for each in cell.choice.values())
        # A digest costs more than the cell itself, so it is made only where it can be found.
        if contents in recorded:
            digests[cell.digest] = (cell.task.ref, cell.language)
    query = select(Score).where(Score.subject.in_(digests)).order_by(Score.id)
    found: dict[tuple[str, str], list[MatrixScore]] = {}
    for score in scores.shown(session, session.scalars(query).all(), viewer):
        found.setdefault(digests[score.subject], []).append(_score(score))
    return {place: sorted(each, key=_first) for place, each in found.items()}


def _recorded(session: Session, contents: Iterable[str]) -> list[frozenset[str]]:
    """Return the contents of every recorded set-up that holds one of these."""
    holding = select(SetupPart.setup).where(SetupPart.content.in_(set(contents)))
    rows = session.execute(
        select(SetupPart.setup, SetupPart.content).where(SetupPart.setup.in_(holding))
    )
    parts: dict[str, set[str]] = {}
    for digest, content in rows:
        parts.setdefault(digest, set()).add(content)
    return [frozenset(each) for each in parts.values()]


def _score(score: ScoreOut) -> MatrixScore:
    return MatrixScore(
        id=score.id,
        dataset=score.dataset,
        config=score.config,
        split=score.split,
        language=score.language,
        metric=score.metric,
        higher_is_better=score.higher_is_better,
        unit=score.unit,
        value=score.value,
        n=score.n,
        stderr=score.stderr,
        verified=score.verified,
        transfer=transfer(score.conditions),
    )


def _first(score: MatrixScore) -> tuple[bool, str, str, str, int]:
    """Verified ones first; then in the order of what was measured."""
    return (not score.verified, score.dataset, score.config or "", score.metric, score.id)
