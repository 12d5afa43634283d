"""What becomes of a version after it was published."""

import pytest
from sqlalchemy import select

from registry import accounts, candidates, catalogue, resolve, revisions, search, states
from registry.errors import (
    AdapterNotFound,
    InvalidName,
    InvalidState,
    ResolutionImpossible,
    RevisionNotFound,
    VersionWithheld,
)
from registry.models import AuditEntry
from registry.schemas import Recipe
from registry.search_query import SearchQuery
from tests.support import shelf

NUMBERS = ("1.0.0", "1.1.0")


@pytest.fixture
def operator(session):
    return accounts.create_user(session, "root", operator=True)


@pytest.fixture
def adapter(session, blobs):
    """Two versions, each of a revision of its own, whose cards say which they are."""
    adapter = shelf.add_adapter(session, blobs, "lab/xlmr-de", card="# Zeroth\n")
    for number in NUMBERS:
        shelf.add_revision(session, blobs, adapter, {"README.md": f"# Of {number}\n".encode()})
        shelf.add_version(session, adapter, number, **shelf.language_pack("de"))
    return adapter


@pytest.fixture
def move(session, blobs, adapter):
    """Change a version's state as the adapter's owner, or as somebody else."""

    def move(number, state, account=None, **options):
        version = states.exact_version(session, adapter, number)
        states.change(session, blobs, version, state, account or adapter.owner, **options)
        return version

    return move


def resolved(session, filling):
    recipe = Recipe(base=shelf.BASE["name"], slots={"lang": filling}, setup="lang")
    # The base is not registered, but described by its digests.
    recipe = recipe.model_copy(update={"base": None})
    found, base = candidates.candidates_for(session, recipe, None)
    return resolve.resolve(recipe, found, base)


def numbers_of(resolution):
    return [slot["ref"].partition("@")[2] for slot in resolution.lock["slots"].values()]


def test_a_deprecated_version_names_what_to_use_instead(session, adapter, move):
    version = move("1.0.0", "deprecated", successor="lab/xlmr-de@1.1.0", reason="trained too short")
    shown = catalogue.version_out(session, version)
    assert (shown.state, shown.successor, shown.reason) == (
        "deprecated",
        "lab/xlmr-de@1.1.0",
        "trained too short",
    )
    resolution = resolved(session, "lab/xlmr-de@1.0.0")
    assert numbers_of(resolution) == ["1.0.0"]
    assert any("deprecated; use lab/xlmr-de@1.1.0" in line for line in resolution.warnings)
    assert catalogue.find_version(session, adapter, "latest").number == "1.1.0"


def test_a_yanked_version_is_left_to_locks(session, adapter, move):
    newest = move("1.1.0", "yanked")
    assert search.newest_version(session, adapter.id).number == "1.0.0"
    assert numbers_of(resolved(session, "lab/xlmr-de")) == ["1.0.0"]
    with pytest.raises(ResolutionImpossible) as refusal:
        resolved(session, "lab/xlmr-de@1.1.0")
    assert "was yanked" in str(refusal.value.reasons)
    pinned = resolved(session, f"lab/xlmr-de@{newest.content}")
    assert pinned.lock["slots"]["lang"]["content"] == newest.content
    # Its files stay where locks look for them.
    assert revisions.resolve_revision(session, adapter, "1.1.0").id == newest.revision_id

    move("1.1.0", "live")
    assert numbers_of(resolved(session, "lab/xlmr-de")) == ["1.1.0"]


@pytest.mark.parametrize("state", ["quarantined", "removed"])
def test_a_withheld_version_is_nowhere(session, adapter, move, operator, state):
    version = move("1.1.0", state, operator, reason="holds somebody's letters")
    for selector in ("1.1.0", version.content, version.revision_id):
        with pytest.raises(VersionWithheld, match=f"was {state}: holds somebody's letters"):
            catalogue.find_version(session, adapter, selector)
        with pytest.raises(ResolutionImpossible, match=r"lab/xlmr-de|slot"):
            resolved(session, f"lab/xlmr-de@{selector}")
    for name in ("1.1.0", "v1.1.0", version.revision_id):
        with pytest.raises(RevisionNotFound):
            revisions.resolve_revision(session, adapter, name)
    before = states.exact_version(session, adapter, "1.0.0")
    assert revisions.resolve_revision(session, adapter, "main").id == before.revision_id
    assert search.newest_version(session, adapter.id).number == "1.0.0"


def test_a_withheld_card_is_not_found_by_its_words(session, blobs, move, operator):
    secret = shelf.add_adapter(session, blobs, "lab/letters", card="# Correspondence\n")
    version = shelf.add_version(session, secret)
    assert search.search(session, SearchQuery("correspondence"), None).total == 1
    states.change(session, blobs, version, "quarantined", operator)
    assert search.search(session, SearchQuery("correspondence"), None).total == 0
    assert revisions.resolve_revision(session, secret, "main").files == []


def test_quarantine_is_an_operators_affair(session, move, operator):
    with pytest.raises(InvalidState, match="only an operator"):
        move("1.0.0", "quarantined")
    move("1.0.0", "quarantined", operator)
    with pytest.raises(InvalidState, match="only an operator"):
        move("1.0.0", "live")
    move("1.0.0", "live", operator)


def test_what_was_removed_does_not_come_back(session, move, operator):
    move("1.0.0", "removed")
    for account in (None, operator):
        with pytest.raises(InvalidState, match="does not come back"):
            move("1.0.0", "live", account)


@pytest.mark.parametrize(
    ("successor", "error", "words"),
    [
        ("lab/nothing", AdapterNotFound, "no adapter"),
        ("lab/xlmr-de@9.0.0", RevisionNotFound, r"9\.0\.0"),
        ("lab/xlmr-de@1.0.0", InvalidState, "its own successor"),
        ("nonsense", InvalidName, "owner/adapter"),
    ],
)
def test_a_successor_has_to_exist(session, move, successor, error, words):
    with pytest.raises(error, match=words):
        move("1.0.0", "deprecated", successor=successor)
    with pytest.raises(InvalidState, match="needs no successor"):
        move("1.0.0", "live", successor="lab/xlmr-de@1.1.0")


@pytest.mark.parametrize("number", ["latest", "^1", "9.9.9", "0" * 40])
def test_a_state_is_of_one_version_by_its_number(session, adapter, number):
    with pytest.raises(RevisionNotFound):
        states.exact_version(session, adapter, number)


def test_each_move_is_in_the_audit_log(session, move, operator):
    move("1.0.0", "yanked", reason="wrong labels")
    move("1.0.0", "live")
    move("1.0.0", "quarantined", operator)
    log = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    moves = [entry for entry in log if entry.subject == "lab/xlmr-de@1.0.0"]
    assert [(entry.actor, entry.action, entry.detail["before"]) for entry in moves] == [
        ("lab", "version.yanked", "live"),
        ("lab", "version.live", "yanked"),
        ("root", "version.quarantined", "live"),
    ]
    assert moves[0].detail["reason"] == "wrong labels"
