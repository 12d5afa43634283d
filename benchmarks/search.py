"""Search over 100,000 plausible adapters on both databases: CPU and wall time of whole calls, warm.

On PostgreSQL the CPU time is that of this process and of the backend it talks to, which the kernel
tells in /proc/<pid>/schedstat.
"""

import contextlib
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine, bindparam, insert, select, text, update
from sqlalchemy.orm import Session

from benchmarks.measuring import calibration, percentiles
from registry import db, facet_counts, search, search_index, vocabulary
from registry.models import Account, Adapter, SearchDocument
from registry.search_query import SearchQuery
from registry.settings import Settings
from registry.tables import now
from tests.support.postgres import running_postgres
from web.app import create_app

COUNT = 100_000
CHUNK = 5_000
WORDS = 60_000
SIZES = {"task": 400, "base": 2_000, "licence": 20}
METHODS = tuple(vocabulary.METHODS)[:15]
LANGUAGES = tuple(vocabulary.LANGUAGES)[:180]
KINDS = ("task", "task", "task", "language", "fusion", "head")
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "no", "pi", "ra", "se", "tu", "va", "wo")


def run(rounds: int) -> None:
    rounds *= 4  # a call takes milliseconds
    print(f"\nSearch over {COUNT:,} adapters, ms, p50 / p95 of {rounds} different calls, warm")
    print(f"(calibration loop: {1000 * calibration():.0f} ms CPU)")
    for open_database in (_sqlite, _postgresql):
        with open_database() as (name, url):
            _measure(name, url, rounds)


@contextlib.contextmanager
def _sqlite() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield "SQLite", f"sqlite:///{Path(folder) / 'hub.sqlite'}"


@contextlib.contextmanager
def _postgresql() -> Iterator[tuple[str, str]]:
    with running_postgres() as server:
        yield "PostgreSQL", server.url(server.create_database())


def _measure(name: str, url: str, rounds: int) -> None:
    engine = db.connect(url)
    db.migrate(engine)
    start = time.perf_counter()
    with Session(engine) as session:
        Shelf().fill(session)
        session.commit()
    _settle(engine)
    print(f"\n{name} (filled in {time.perf_counter() - start:.0f} s)   CPU                   wall")
    with db.reading_sessions(engine)() as session:
        backend = _backend(session)
        for question, ask in _questions(session, rounds):
            _report(question, ask, backend)
    _report_api(url, rounds)
    engine.dispose()


def _settle(engine: Engine) -> None:
    """Do what autovacuum does within a minute: statistics, and marks of what all may see."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("vacuum analyze"))


def _questions(session: Session, rounds: int) -> Iterator[tuple[str, list[Callable[[], object]]]]:
    asked = Asked(random.Random(1))
    for question, make in asked.kinds.items():
        queries = [make() for _ in range(rounds + 3)]
        yield f"{question}, a page", [lambda q=q: search.hits(session, q, None) for q in queries]
    for question, make in asked.kinds.items():
        queries = [make() for _ in range(rounds + 3)]
        yield (
            f"{question}, counts of all facets",
            [lambda q=q: facet_counts.count(session, q, None) for q in queries],
        )
    starts = [asked.start() for _ in range(rounds + 3)]
    yield "autocomplete", [lambda s=s: search.suggest(session, s, None) for s in starts]


def _report(question: str, actions: list[Callable[[], object]], backend: int | None) -> None:
    cpu, wall = [], []
    for action in actions:
        before = _cpu(backend), time.perf_counter()
        action()
        cpu.append(_cpu(backend) - before[0])
        wall.append(time.perf_counter() - before[1])
    # The first ones warm up.
    print(f"  {question:38} {percentiles(cpu[3:])}   {percentiles(wall[3:])}")


def _cpu(backend: int | None) -> float:
    """Return the CPU seconds of this process, and of the server process that answers it."""
    own = time.process_time()
    if backend is None:
        return own
    nanoseconds = Path(f"/proc/{backend}/schedstat").read_text("ascii").split()[0]
    return own + int(nanoseconds) / 1e9


def _backend(session: Session) -> int | None:
    if session.get_bind().dialect.name == "sqlite":
        return None
    number: int = session.execute(text("select pg_backend_pid()")).scalar_one()
    return number


def _report_api(url: str, rounds: int) -> None:
    """Measure whole answers of the API, with the server in this process."""
    asked = Asked(random.Random(2))
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data=Path(folder), database_url=url, secret="s" * 32))
        with app.state.reading_sessions() as session:
            several = _backend(session) is not None  # backends: which one answers is not known
        with TestClient(app, base_url="http://127.0.0.1") as client:
            calls = [asked.address() for _ in range(rounds + 3)]
            actions = [lambda a=a: client.get(a).raise_for_status() for a in calls]
            _report(f"whole API answer{', without backend' if several else ''}", actions, None)


# --- what is asked -------------------------------------------------------------------------------


class Asked:
    """Questions as people ask them: mostly words that mean something, at times rare or common."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.shelf = Shelf()
        self.kinds: dict[str, Callable[[], SearchQuery]] = {
            "text": lambda: SearchQuery(text=self.text()),
            "text + 2 facets": lambda: SearchQuery(text=self.text(), facets=self.facets(2)),
            "one facet": lambda: SearchQuery(facets=self.facets(1)),
            "two facets": lambda: SearchQuery(facets=self.facets(2)),
            "nothing": SearchQuery,
        }

    def text(self) -> str:
        kind = self.rng.choices(("real", "middling", "rare", "common"), (60, 25, 10, 5))[0]
        if kind == "common":
            return "adapter"
        if kind == "real":
            facets = self.shelf.facets(self.rng)
            parts = [facets["task"][0], vocabulary.language_name(facets["language"][0])]
            parts.append(facets["method"][0].replace("_", " "))
            return " ".join(self.rng.sample(parts, self.rng.choice((2, 3))))
        at = self.rng.randrange(50, 2_000) if kind == "middling" else self.rng.randrange(WORDS)
        return self.shelf.words[at]

    def facets(self, number: int) -> dict[str, list[str]]:
        facets = self.shelf.facets(self.rng)
        names = self.rng.sample(["language", "task", "method", "base", "kind"], number)
        return {name: facets[name][:1] for name in names}

    def start(self) -> str:
        return self.rng.choice(self.shelf.words)[: self.rng.choice((1, 2, 3))]

    def address(self) -> str:
        query = self.kinds[self.rng.choice(list(self.kinds))]()
        chosen = "".join(f"&{facet}={values[0]}" for facet, values in query.facets.items())
        return f"/api/v1/search?q={query.text}{chosen}"


# --- what lies there -----------------------------------------------------------------------------


class Shelf:
    """Adapters whose words and facets are as unequally frequent as on real hubs (Zipf)."""

    def __init__(self) -> None:
        rng = random.Random(0)
        self.words = sorted({word(rng) for _ in range(3 * WORDS)})[:WORDS]
        rng.shuffle(self.words)
        self.values: dict[str, list[str]] = {
            "kind": list(KINDS),
            "method": list(METHODS),
            "language": list(LANGUAGES),
            "task": [f"{word(rng)}-{number}" for number in range(SIZES["task"])],
            "base": [f"{word(rng)}/{word(rng)}-{number}" for number in range(SIZES["base"])],
            "licence": [f"licence-{number}" for number in range(SIZES["licence"])],
        }
        sizes = {len(self.words), *map(len, self.values.values())}
        self.weights = {size: _zipf(size) for size in sizes}

    def pick(self, rng: random.Random, values: list[str], number: int = 1) -> list[str]:
        return rng.choices(values, cum_weights=self.weights[len(values)], k=number)

    def facets(self, rng: random.Random) -> dict[str, list[str]]:
        found = {facet: self.pick(rng, values) for facet, values in self.values.items()}
        languages = self.pick(rng, self.values["language"], rng.choice((1, 1, 1, 2, 3)))
        return found | {"language": list(dict.fromkeys(languages))}

    def fill(self, session: Session) -> None:
        rng = random.Random(0)
        account = Account(name="bench")
        session.add(account)
        session.flush()
        for start in range(0, COUNT, CHUNK):
            numbers = range(start, start + CHUNK)
            session.execute(insert(Adapter), [self._adapter(rng, account, n) for n in numbers])
        ids = session.scalars(select(SearchDocument.id)).all()
        statement = update(SearchDocument).where(SearchDocument.id == bindparam("key"))
        for keys in _chunks(ids):
            rows = [self._document(rng) | {"key": key} for key in keys]
            session.connection().execute(statement, rows)

    def _adapter(self, rng: random.Random, account: Account, number: int) -> dict[str, Any]:
        words = rng.choices(self.words, k=2)
        return {
            "owner_id": account.id,
            "name": f"bench/{'-'.join(words)}-{number}",
            "downloads": int(rng.paretovariate(0.8)),
            "updated_at": now() - timedelta(minutes=number),
        }

    def _document(self, rng: random.Random) -> dict[str, Any]:
        facets = self.facets(rng)
        tokens = [search_index.token(facet, v) for facet, values in facets.items() for v in values]
        labels = [vocabulary.label(facet, v) for facet, values in facets.items() for v in values]
        return {
            "facets": facets,
            "facet_tokens": " ".join(tokens),
            "title": f"A {facets['task'][0]} adapter",
            "summary": " ".join(self.pick(rng, self.words, 12)),
            "card": " ".join(self.pick(rng, self.words, 32)),
            "words": " ".join(labels),
            "number": "1.0.0",
        }


def _chunks(ids: Any) -> Iterator[Any]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def _zipf(size: int) -> list[float]:
    return list(itertools.accumulate(1 / rank for rank in range(1, size + 1)))


def word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 3, 4, 5))))
