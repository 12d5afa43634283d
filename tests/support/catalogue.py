"""A small catalogue on a running server: an adapter for every case that a page must show."""

import json

from sqlalchemy import select

from registry import accounts, adapterhub_cards, importing, scores, setup, vocabulary
from registry.models import Account
from registry.schemas import Lock, ScoreIn
from tests.registry.manifests import head, signature
from tests.support import shelf

CONFIGURATION = {
    "mh_adapter": False,
    "reduction_factor": 16,
    "leave_out": [],
    "nested": {"architecture": "embedding_rows", "tokens": list(range(1000))},
}
NER_CARD = """---
license: apache-2.0
pipeline_tag: token-classification
---
# Named entities

Finds persons, places and organisations.

## Limits

Dates are not tagged. See [the licence](LICENSE.md).

<script>alert("from a card")</script>
"""


def fill(server):
    """Put adapters on a server that has only its first user, ana."""
    with server.session() as session:
        packs = {tag: _language(session, server.blobs, tag) for tag in ("de", "sw")}
        shelf.add_base(session, shelf.owner(session, "ana"))
        ner = _ner(session, server.blobs)
        _score(session, ner, packs["sw"])
        shelf.add_adapter(
            session, server.blobs, "ana/draft", card="# A draft\n\nNot checked yet.\n"
        )
        secret = shelf.add_adapter(
            session, server.blobs, "ana/secret", card="# Secret\n", visibility="private"
        )
        shelf.add_version(session, secret)
        for number in range(30):
            shelf.add_adapter(session, server.blobs, f"many/a{number:02}", card="# One of many\n")


def fill_matrix(server):
    """Add a large matrix, and an external adapter."""
    with server.session() as session:
        _matrix(session, server.blobs)
        _external(session)


def _matrix(session, blobs):
    """Put in rows and columns of every state, more than a small screen holds."""
    needed = signature(slot="lang", invertible="nice", language="en")
    for tag in list(vocabulary.LANGUAGES)[10:30]:
        if tag not in ("de", "sw"):
            adapter = shelf.add_adapter(session, blobs, f"packs/{tag}")
            kind = shelf.language_pack(tag)
            if tag == "bs":
                kind["signature"] |= {"invertible": "glow"}
            shelf.add_version(session, adapter, **kind)
    twin = shelf.add_adapter(session, blobs, "packs/be-again")
    shelf.add_version(session, twin, **shelf.language_pack("be"))
    for number in range(20):
        adapter = shelf.add_adapter(session, blobs, f"rows/task-{number:02}")
        fields = {"requires": {"lang": {"signature": needed}}} if number % 4 else {"requires": {}}
        shelf.add_version(session, adapter, **fields)


def _external(session):
    variant = adapterhub_cards.Variant(
        name="1", url="https://example.org/a.zip", digest="sha1:" + "a" * 40, score="91.5"
    )
    card = adapterhub_cards.CardEntry(
        path="adapters/ukp/xlmr-sentiment.yaml", name="xlmr-sentiment", organisation="ukp",
        kind="task", task="sentiment", subtask="sst-2", task_title="Sentiment analysis",
        language="en", dataset="sst2", metric="accuracy", higher_is_better=True,
        base="xlm-roberta-base", model_type="xlm-roberta", method="seq_bn",
        configuration={"using": "pfeiffer"}, variants=(variant,), default="1",
        author="A. Researcher", description="Says whether a review is kind.", citation="",
        dependencies=({"key": "en/wiki@ukp", "description": "language adapter"},),
    )  # fmt: skip
    operator = accounts.create_user(session, "root", operator=True)
    checkout = adapterhub_cards.Checkout([card], [])
    importing.import_checkout(session, checkout, operator)


def _language(session, blobs, tag):
    files = {"adapter_config.json": b"{}"}
    adapter = shelf.add_adapter(session, blobs, f"lab/xlmr-{tag}", files=files, downloads=500)
    described = shelf.fields(title=f"Language pack {tag}", licence="mit", tasks=["fill-mask"])
    return shelf.add_version(session, adapter, **shelf.language_pack(tag, card=described))


def _ner(session, blobs):
    """Return the newest of three versions of a task adapter that needs a language adapter."""
    files = {"adapter_config.json": json.dumps(CONFIGURATION).encode()}
    adapter = shelf.add_adapter(
        session, blobs, "acme/ner", card=NER_CARD, files=files, downloads=1234
    )
    fields = {
        "configuration": CONFIGURATION,
        "card": shelf.fields(licence="apache-2.0", tasks=["token-classification"]),
        "head": head(type="tagging", labels=["O", "B-PER"]),
        "requires": {
            "lang": {
                "signature": signature(slot="lang", invertible="nice", language="en"),
                "drop_layers": [3],
            }
        },
    }
    shelf.add_version(
        session, adapter, "1.0.0", state="deprecated", successor="acme/ner@2.0.0", **fields
    )
    shelf.add_revision(session, blobs, adapter, {"note.txt": b"1"})
    shelf.add_version(session, adapter, "1.1.0", state="quarantined", **fields)
    shelf.add_revision(session, blobs, adapter, {"note.txt": b"2"})
    return shelf.add_version(session, adapter, "2.0.0", **fields)


def _score(session, task, language):
    acme = session.scalars(select(Account).where(Account.name == "acme")).one()
    slots = {"lang": language, "task": task}
    lock = Lock.model_validate(
        {
            "base": shelf.BASE,
            "slots": {
                slot: {
                    "ref": f"{version.adapter.name}@{version.number}",
                    "content": version.content,
                    "revision": version.revision_id,
                    "files": {},
                    # What the task adapter asks of its language adapter, as the resolver has it.
                    "load": {"leave_out": [3] if slot == "lang" else []},
                }
                for slot, version in slots.items()
            },
            "setup": {"Stack": ["lang", "task"]},
            "head": "task",
        }
    )
    what = {"dataset": "wikiann", "config": "sw", "metric": "f1", "language": "sw"}
    body = ScoreIn(
        subject=setup.setup_digest(lock),
        lock=lock.model_dump(mode="json", by_alias=True),
        value=0.641,
        n=1000,
        stderr=0.0152,
        conditions={"zero_shot": True},
        **what,
    )
    scores.record(session, body, acme)
    own = ScoreIn(subject=task.content, dataset="wikiann", metric="perplexity", value=4.2)
    scores.record(session, own, acme)
    wrong = own.model_copy(update={"split": "validation", "value": 1.5})
    scores.retract(session, scores.record(session, wrong, acme), acme, "the training split")
