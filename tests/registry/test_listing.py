"""Lists of adapters for Hub clients, on both databases."""

import pytest

from registry import listing, revisions
from registry.listing import Query
from registry.models import SearchDocument
from registry.revisions import Add


@pytest.fixture
def shelf(session, ana, blobs):
    """Six adapters; every second has weights of PEFT, one is private."""
    for number in range(6):
        visibility = "private" if number == 4 else "public"
        adapter = revisions.create_adapter(session, ana, f"ana/a{number}", visibility)
        adapter.downloads = number % 3
        blob = blobs.store([b"%d" % number])
        revisions.record_upload(session, adapter, blob)
        add = Add("adapter_model.safetensors" if number % 2 else "x.txt", blob.sha256)
        blob_row = session.get(listing.RevisionFile.blob.property.mapper.class_, blob.sha256)
        blob_row.seen = "safetensors" if number % 2 else "text"
        session.flush()
        revisions.commit(session, adapter, "main", [add], title="-", author=ana)
    return ana


def names(page):
    return [row.adapter.name.removeprefix("ana/a") for row in page.rows]


@pytest.mark.parametrize("sort", ["updated", "created", "downloads"])
def test_pages_follow_each_other_without_gap_or_overlap(session, shelf, sort):
    whole = names(listing.list_adapters(session, Query(sort=sort), shelf))
    seen, after = [], None
    while True:
        page = listing.list_adapters(session, Query(sort=sort, limit=2, after=after), shelf)
        seen += names(page)
        if (after := page.next) is None:
            break
    assert seen == whole
    assert len(seen) == 6


def test_private_adapters_are_listed_for_their_owner_only(session, shelf):
    assert names(listing.list_adapters(session, Query(), None)) == ["5", "3", "2", "1", "0"]


def test_every_tag_must_be_there(session, shelf):
    adapter = revisions.find_adapter(session, "ana/a3", shelf)
    session.flush()
    row = session.query(SearchDocument).filter_by(adapter_id=adapter.id).one()
    row.facets = {"base": ["tiny/bert"], "language": ["qu"], "licence": ["mit"]}
    session.flush()

    def found(*tags):
        return names(listing.list_adapters(session, Query(tags=frozenset(tags)), shelf))

    assert found("peft") == ["5", "3", "1"]
    assert found("peft", "qu", "license:mit", "base_model:adapter:tiny/bert") == ["3"]
    assert found("peft", "de") == []


def test_rare_tags_make_short_pages_and_not_slow_ones(session, shelf, monkeypatch):
    monkeypatch.setattr(listing, "SCANNED", 2)
    monkeypatch.setattr(listing, "BATCH", 2)
    page = listing.list_adapters(session, Query(tags=frozenset({"nothing"})), shelf)
    assert page.rows == []
    assert page.next is not None


def test_words_and_owners_narrow_the_list(session, shelf):
    assert names(listing.list_adapters(session, Query(text="A3"), shelf)) == ["3"]
    assert names(listing.list_adapters(session, Query(text="a_"), shelf)) == []
    assert names(listing.list_adapters(session, Query(owner="an"), shelf)) == []
