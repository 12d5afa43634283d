# ruff: noqa: S608  (the statements are put together from constants of this file)
"""Full-text search

Revision: 0002
Follows: 0001

The index lies beside `search_documents`, in what the database offers for it: FTS5 tables that read
their text from there, or `tsvector` columns. Triggers keep it right, so that no code path can forget
to. A later migration that writes `adapters` or `search_documents` anew (SQLite: batch_alter_table)
loses the triggers on them and must create them again.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# 1000 minus the order of magnitude of the downloads with its first digit, above 40 bits for the
# adapter. The same formula is `registry.search.popularity_key`.
KEY = """(1000 - length(cast({row}.downloads as text)) * 10
    - cast(substr(cast({row}.downloads as text), 1, 1) as integer)) * 1099511627776 + {row}.id"""

TEXTS = ("name", "title", "summary", "words", "card", "facet_tokens")

ROW = """insert into search_documents
    (id, adapter_id, name, title, summary, card, words, facets, facet_tokens)
    values ({key}, new.id, new.name, '', '', '', '', '{{}}', '')"""


def upgrade() -> None:
    statements = SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
    op.get_bind().exec_driver_sql(EXISTING)


def downgrade() -> None:
    statements = SQLITE_DOWN if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_DOWN
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)


EXISTING = f"""insert into search_documents
    (id, adapter_id, name, title, summary, card, words, facets, facet_tokens)
    select {KEY.format(row="a")}, a.id, a.name, '', '', '', '', '{{}}', '' from adapters a
    where a.id not in (select adapter_id from search_documents)"""

# --- SQLite: external content, for contentless tables cannot delete before 3.43 -------------------

_COLUMNS = ", ".join(TEXTS)
_FORGET = f"""insert into search_fts (search_fts, rowid, {_COLUMNS})
    values ('delete', old.id, {", ".join(f"old.{text}" for text in TEXTS)});
    insert into search_fts_names (search_fts_names, rowid, name)
    values ('delete', old.id, old.name);"""
_LEARN = f"""insert into search_fts (rowid, {_COLUMNS})
    values (new.id, {", ".join(f"new.{text}" for text in TEXTS)});
    insert into search_fts_names (rowid, name) values (new.id, new.name);"""

SQLITE = (
    f"""create virtual table search_fts using fts5({_COLUMNS},
    content='search_documents', content_rowid='id',
    tokenize='porter unicode61 remove_diacritics 2')""",
    """create virtual table search_fts_names using fts5(name,
    content='search_documents', content_rowid='id', prefix='1 2 3',
    tokenize='unicode61 remove_diacritics 2')""",
    f"create trigger search_documents_new after insert on search_documents begin {_LEARN} end",
    f"create trigger search_documents_gone after delete on search_documents begin {_FORGET} end",
    f"""create trigger search_documents_changed after update on search_documents
    begin {_FORGET} {_LEARN} end""",
    # Rows that were there before the index.
    "insert into search_fts (search_fts) values ('rebuild')",
    "insert into search_fts_names (search_fts_names) values ('rebuild')",
    f"""create trigger search_adapters_new after insert on adapters
    begin {ROW.format(key=KEY.format(row="new"))}; end""",
    f"""create trigger search_adapters_changed after update of name, downloads on adapters
    when new.name <> old.name or {KEY.format(row="new")} <> {KEY.format(row="old")}
    begin update search_documents set id = {KEY.format(row="new")}, name = new.name
    where adapter_id = new.id; end""",
)

SQLITE_DOWN = (
    "drop trigger search_adapters_changed",
    "drop trigger search_adapters_new",
    "drop trigger search_documents_changed",
    "drop trigger search_documents_gone",
    "drop trigger search_documents_new",
    "drop table search_fts_names",
    "drop table search_fts",
)

# --- PostgreSQL -----------------------------------------------------------------------------------

_WEIGHTS = {
    "name": "A",
    "title": "B",
    "summary": "C",
    "words": "C",
    "card": "D",
    "facet_tokens": "D",
}
_VECTOR = " || ".join(
    f"setweight(to_tsvector('hub', search_fold(new.{text})), '{_WEIGHTS[text]}')" for text in TEXTS
)

POSTGRESQL = (
    # English stems, but no stop words: "the" may be somebody's adapter, and languages are many.
    "create text search dictionary hub_stem (template = snowball, language = english)",
    "create text search configuration hub (copy = simple)",
    """alter text search configuration hub alter mapping
    for asciiword, word, numword with hub_stem""",
    # Without accents, in lower case, and with punctuation as spaces: the parser would otherwise
    # read acme/ner-xlmr as a path and 1.0 as a number.
    r"""create function search_fold(value text) returns text
    language sql immutable strict parallel safe as $$
    select translate(
        regexp_replace(normalize(lower(value), NFKD), U&'[\0300-\036f]', '', 'g'),
        '/-._:@#+~=&?!|<>()[]{}"''\', repeat(' ', 40))
    $$""",
    """create table search_fts (
    id bigint primary key references search_documents on update cascade on delete cascade,
    words tsvector not null, names tsvector not null)""",
    "create index search_fts_words on search_fts using gin (words) with (fastupdate = off)",
    "create index search_fts_names on search_fts using gin (names) with (fastupdate = off)",
    f"""create function search_documents_learn() returns trigger language plpgsql as $$ begin
    insert into search_fts (id, words, names)
    values (new.id, {_VECTOR}, to_tsvector('simple', search_fold(new.name)))
    on conflict (id) do update set words = excluded.words, names = excluded.names;
    return null; end $$""",
    """create trigger search_documents_changed after insert or update on search_documents
    for each row execute function search_documents_learn()""",
    "update search_documents set name = name",
    f"""create function search_adapters_new() returns trigger language plpgsql as $$ begin
    {ROW.format(key=KEY.format(row="new"))}; return null; end $$""",
    """create trigger search_adapters_new after insert on adapters
    for each row execute function search_adapters_new()""",
    f"""create function search_adapters_changed() returns trigger language plpgsql as $$ begin
    update search_documents set id = {KEY.format(row="new")}, name = new.name
    where adapter_id = new.id; return null; end $$""",
    f"""create trigger search_adapters_changed after update of name, downloads on adapters
    for each row when (new.name <> old.name
    or {KEY.format(row="new")} <> {KEY.format(row="old")})
    execute function search_adapters_changed()""",
)

POSTGRESQL_DOWN = (
    "drop trigger search_adapters_changed on adapters",
    "drop trigger search_adapters_new on adapters",
    "drop trigger search_documents_changed on search_documents",
    "drop function search_adapters_changed()",
    "drop function search_adapters_new()",
    "drop function search_documents_learn()",
    "drop table search_fts",
    "drop function search_fold(text)",
    "drop text search configuration hub",
    "drop text search dictionary hub_stem",
)
