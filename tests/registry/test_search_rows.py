"""What an adapter's row in the search index follows: its downloads, its name, its transaction."""

from sqlalchemy import select, text, update

from registry import revisions, search
from registry.models import Adapter, SearchDocument


def _row(session, adapter):
    return session.execute(
        select(SearchDocument.id, SearchDocument.name).where(
            SearchDocument.adapter_id == adapter.id
        )
    ).one()


def test_a_row_moves_with_the_downloads_and_stays_searchable(session, add, find):
    adapter = add("acme/x", "Word")
    for downloads in [0, 1, 9, 10, 11, 19, 20, 99, 100, 123_456, 10**12]:
        session.execute(
            text("update adapters set downloads = :n where id = :id"),
            {"n": downloads, "id": adapter.id},
        )
        assert _row(session, adapter).id == search.popularity_key(downloads, adapter.id)
        assert find("word") == ["acme/x"]
        assert len(search.suggest(session, "x", None)) == 1


def test_more_downloads_never_come_later(session):
    keys = [search.popularity_key(downloads, 1) for downloads in range(100_000)]
    assert keys == sorted(keys, reverse=True)


def test_a_counted_download_does_not_break_the_next_indexing(session, add, find):
    adapter = add("acme/x", "Word")
    session.get_one(SearchDocument, _row(session, adapter).id)
    counted = update(Adapter).where(Adapter.id == adapter.id)
    for _ in range(12):
        session.execute(counted.values(downloads=Adapter.downloads + 1))
    search.index_adapter(session, adapter)
    assert find("word") == ["acme/x"]


def test_a_renamed_adapter_is_found_by_its_new_name_only(session, add, find, ana):
    adapter = add("ana/before")
    revisions.rename(session, adapter, "ana/after", ana)
    session.flush()
    assert find("after") == ["ana/after"]
    assert find("before") == []
    assert search.suggest(session, "bef", None) == []


def test_every_new_adapter_has_a_row_even_if_nobody_indexes_it(session, ana, find):
    revisions.create_adapter(session, ana, "ana/bare")
    session.flush()
    assert find("bare") == ["ana/bare"]


def test_what_is_rolled_back_is_not_found(session, add, find):
    add("acme/kept", "Kept")
    session.commit()
    add("acme/gone", "Gone")
    session.rollback()
    assert find("kept") == ["acme/kept"]
    assert find("gone") == []
    assert session.scalar(select(Adapter).where(Adapter.name == "acme/gone")) is None
