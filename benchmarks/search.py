"""Search over generated adapters on the embedded database: CPU time of whole calls, warm."""

import random
import tempfile
from pathlib import Path

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from benchmarks.measuring import calibration, cpu_seconds, percentiles
from registry import db, search_index
from registry.models import Account, Adapter, SearchDocument
from registry.search import SearchQuery, search, suggest

COUNT = 10_000
VALUES = {
    "kind": ["task", "task", "language"],
    "language": ["en", "en", "de", "fr", "sw", "qu", "zh", "ar", "fi", "tr"],
    "method": ["lora", "lora", "seq_bn", "double_seq_bn", "prefix_tuning", "ia3"],
    "task": ["ner", "sentiment", "qa", "pos", "nli", "summarisation", "copa"],
    "base": [f"lab{i}/base-{i}" for i in range(40)],
    "licence": ["apache-2.0", "mit", "cc-by-4.0"],
}
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "no", "pi", "ra", "se", "tu", "va", "wo")
QUERIES = {
    "text": SearchQuery(text="german ner"),
    "one common word": SearchQuery(text="adapter"),
    "text and two facets": SearchQuery(text="ner", facets={"language": ["de"], "method": ["lora"]}),
    "two facets": SearchQuery(facets={"language": ["de"], "method": ["lora"]}),
    "one broad facet": SearchQuery(facets={"kind": ["task"]}),
    "nothing asked": SearchQuery(),
}


def run(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = db.connect(f"sqlite:///{Path(folder) / 'hub.sqlite'}")
        db.migrate(engine)
        with Session(engine) as session:
            fill(session)
            session.commit()
            print(f"\nSearch over {COUNT:,} adapters, SQLite, CPU ms p50 / p95 of {rounds} calls")
            print(f"(calibration loop: {1000 * calibration():.0f} ms)")
            for name, query in QUERIES.items():
                times = [
                    cpu_seconds(lambda q=query: search(session, q, None)) for _ in range(rounds)
                ]
                print(f"  {name:24} {percentiles(times)}")
            times = [cpu_seconds(lambda: suggest(session, "ba", None)) for _ in range(rounds)]
            print(f"  {'suggestions':24} {percentiles(times)}")
        engine.dispose()


def fill(session: Session) -> None:
    """Insert plausible adapters; downloads follow a power law, as on real hubs."""
    rng = random.Random(0)
    account = Account(name="bench")
    session.add(account)
    session.flush()
    session.execute(
        insert(Adapter),
        [
            {
                "owner_id": account.id,
                "name": f"bench/{word(rng)}-{word(rng)}-{number}",
                "downloads": int(rng.paretovariate(0.8)),
            }
            for number in range(COUNT)
        ],
    )
    for key in session.scalars(select(SearchDocument.id)).all():
        facets = {facet: [rng.choice(values)] for facet, values in VALUES.items()}
        tokens = (search_index.token(f, v) for f, values in facets.items() for v in values)
        session.execute(
            update(SearchDocument)
            .where(SearchDocument.id == key)
            .values(
                facets=facets,
                facet_tokens=" ".join(tokens),
                title=f"A {facets['task'][0]} adapter",
                card=" ".join(word(rng) for _ in range(32)),
                words="German" if facets["language"] == ["de"] else "English",
                number="1.0.0",
            )
        )


def word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(3))
