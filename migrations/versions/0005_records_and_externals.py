"""Tasks, data sets, evaluators, evidence, and what is known of adapters elsewhere

Revision: 0005
Follows: 0004

Tasks and data sets are data like metrics: anybody who may write adds others.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ALIASES = {
    "accuracy": ["acc"],
    "f1": ["f1_score", "f_1"],
    "f1_macro": ["macro_f1", "f1_m"],
    "f1_micro": ["micro_f1"],
    "f1_weighted": ["weighted_f1"],
    "exact_match": ["em"],
    "roc_auc": ["auc", "auroc"],
    "mcc": ["matthews_correlation", "matthews_corrcoef", "matthews_correlation_coefficient"],
    "pearson": ["pearsonr", "pearson_correlation"],
    "spearman": ["spearmanr", "spearman_correlation", "spearman_rank_correlation"],
    "rougel": ["rouge_l"],
    "rouge1": ["rouge_1"],
    "rouge2": ["rouge_2"],
    "bleu": ["sacrebleu"],
    "ndcg_at_10": ["ndcg@10"],
    "perplexity": ["ppl"],
    "loss": ["cross_entropy"],
}

# Name, title, usual metric.
TASKS = [
    ("text-classification", "Text classification", "accuracy"),
    ("token-classification", "Token classification", "f1"),
    ("question-answering", "Question answering", "f1"),
    ("multiple-choice", "Multiple choice", "accuracy"),
    ("fill-mask", "Masked language modelling", "mlm_loss"),
    ("text-generation", "Text generation", "perplexity"),
    ("summarization", "Summarisation", "rougel"),
    ("translation", "Translation", "bleu"),
    ("sentence-similarity", "Sentence similarity", "spearman"),
    ("automatic-speech-recognition", "Speech recognition", "wer"),
    ("image-classification", "Image classification", "accuracy"),
    ("dependency-parsing", "Dependency parsing", "las"),
    ("part-of-speech", "Part-of-speech tagging", "accuracy"),
    ("ner", "Named entity recognition", "f1"),
    ("natural-language-inference", "Natural language inference", "accuracy"),
    ("sentiment-analysis", "Sentiment analysis", "accuracy"),
    ("commonsense-reasoning", "Commonsense reasoning", "accuracy"),
    ("linguistic-acceptability", "Linguistic acceptability", "mcc"),
    ("paraphrase-detection", "Paraphrase detection", "f1"),
    ("reading-comprehension", "Reading comprehension", "accuracy"),
    ("retrieval", "Retrieval", "ndcg_at_10"),
]

# Name, title, task.
DATASETS = [
    ("glue", "GLUE", "text-classification"),
    ("super_glue", "SuperGLUE", "text-classification"),
    ("sst2", "Stanford Sentiment Treebank, binary", "sentiment-analysis"),
    ("imdb", "IMDb reviews", "sentiment-analysis"),
    ("rotten_tomatoes", "Rotten Tomatoes reviews", "sentiment-analysis"),
    ("amazon_reviews_multi", "Amazon reviews, multilingual", "sentiment-analysis"),
    ("cola", "Corpus of Linguistic Acceptability", "linguistic-acceptability"),
    ("mnli", "MultiNLI", "natural-language-inference"),
    ("snli", "Stanford NLI", "natural-language-inference"),
    ("qnli", "Question NLI", "natural-language-inference"),
    ("rte", "Recognising Textual Entailment", "natural-language-inference"),
    ("xnli", "XNLI", "natural-language-inference"),
    ("mrpc", "Microsoft Research Paraphrase Corpus", "paraphrase-detection"),
    ("qqp", "Quora Question Pairs", "paraphrase-detection"),
    ("pawsx", "PAWS-X", "paraphrase-detection"),
    ("stsb", "STS Benchmark", "sentence-similarity"),
    ("copa", "Choice of Plausible Alternatives", "commonsense-reasoning"),
    ("xcopa", "XCOPA", "commonsense-reasoning"),
    ("commonsense_qa", "CommonsenseQA", "commonsense-reasoning"),
    ("hellaswag", "HellaSwag", "commonsense-reasoning"),
    ("winogrande", "WinoGrande", "commonsense-reasoning"),
    ("social_i_qa", "Social IQa", "commonsense-reasoning"),
    ("cosmos_qa", "Cosmos QA", "reading-comprehension"),
    ("boolq", "BoolQ", "reading-comprehension"),
    ("race", "RACE", "reading-comprehension"),
    ("squad", "SQuAD 1.1", "question-answering"),
    ("squad_v2", "SQuAD 2.0", "question-answering"),
    ("xquad", "XQuAD", "question-answering"),
    ("mlqa", "MLQA", "question-answering"),
    ("tydiqa", "TyDi QA", "question-answering"),
    ("hotpot_qa", "HotpotQA", "question-answering"),
    ("drop", "DROP", "question-answering"),
    ("conll2003", "CoNLL 2003", "ner"),
    ("wikiann", "WikiANN", "ner"),
    ("masakhaner", "MasakhaNER", "ner"),
    ("wnut_17", "WNUT 2017", "ner"),
    ("universal_dependencies", "Universal Dependencies", "part-of-speech"),
    ("xsum", "XSum", "summarization"),
    ("cnn_dailymail", "CNN / Daily Mail", "summarization"),
    ("wmt16", "WMT 2016", "translation"),
    ("wmt19", "WMT 2019", "translation"),
    ("flores", "FLORES", "translation"),
    ("wikipedia", "Wikipedia", "fill-mask"),
    ("wikitext", "WikiText", "text-generation"),
    ("cc100", "CC-100", "fill-mask"),
    ("oscar", "OSCAR", "fill-mask"),
    ("librispeech_asr", "LibriSpeech", "automatic-speech-recognition"),
    ("common_voice", "Common Voice", "automatic-speech-recognition"),
    ("imagenet-1k", "ImageNet-1k", "image-classification"),
    ("cifar10", "CIFAR-10", "image-classification"),
    ("msmarco", "MS MARCO", "retrieval"),
    ("beir", "BEIR", "retrieval"),
]

IDS = sa.BigInteger().with_variant(sa.Integer, "sqlite")


# Column of `scores`, its type in SQL, and what it refers to.
REFERENCES = [
    ("retracted_by_id", "bigint", "accounts", "id"),
    ("supersedes_id", "bigint", "scores", "id"),
    ("evaluator_key", "varchar(64)", "evaluator_keys", "key"),
    ("evidence", "varchar(64)", "evidence", "sha256"),
]


def upgrade() -> None:
    _make_tables()
    # Plain ALTER TABLE: SQLite else writes a table anew, and triggers and references to it break.
    op.add_column("metrics", sa.Column("aliases", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("adapters", sa.Column("external", sa.JSON(), nullable=True))
    op.add_column("scores", sa.Column("signature", sa.String(128), nullable=True))
    for name, kind, other, key in REFERENCES:
        op.execute(
            f"alter table scores add column {name} {_type(kind)} "
            f"constraint fk_scores_{name}_{other} references {other} ({key})"
        )
    _fill()


def _type(kind: str) -> str:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    return "integer" if on_sqlite and kind == "bigint" else kind


def _make_tables() -> None:
    op.create_table(
        "tasks",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("metric", sa.String(64), nullable=True),
        sa.Column("added_by_id", IDS, nullable=True),
        _refers("tasks", "metric", "metrics", "name"),
        _refers("tasks", "added_by_id", "accounts", "id"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("task", sa.String(64), nullable=True),
        sa.Column("url", sa.String(500), nullable=True),
        sa.Column("added_by_id", IDS, nullable=True),
        _refers("datasets", "task", "tasks", "name"),
        _refers("datasets", "added_by_id", "accounts", "id"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_datasets")),
    )
    op.create_table(
        "evaluator_keys",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("account_id", IDS, nullable=False),
        sa.Column("label", sa.String(100), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by_id", IDS, nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        _refers("evaluator_keys", "account_id", "accounts", "id"),
        _refers("evaluator_keys", "approved_by_id", "accounts", "id"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_evaluator_keys")),
    )
    op.create_table(
        "evidence",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("uploaded_by_id", IDS, nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        _refers("evidence", "sha256", "blobs", "sha256"),
        _refers("evidence", "uploaded_by_id", "accounts", "id"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_evidence")),
    )
    op.create_table(
        "externals",
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("adapter_id", IDS, nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        _refers("externals", "adapter_id", "adapters", "id"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_externals")),
    )
    op.create_index(op.f("ix_externals_adapter_id"), "externals", ["adapter_id"])


def _refers(table: str, column: str, other: str, key: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.{key}"], name=name)


def _fill() -> None:
    metrics = sa.table("metrics", sa.column("name"), sa.column("aliases", sa.JSON()))
    for name, aliases in ALIASES.items():
        op.execute(metrics.update().where(metrics.c.name == name).values(aliases=aliases))
    _insert("tasks", ("name", "title", "metric"), TASKS)
    _insert("datasets", ("name", "title", "task"), DATASETS)


def _insert(name: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = sa.table(name, *map(sa.column, columns))
    op.bulk_insert(table, [dict(zip(columns, row, strict=True)) for row in rows])


def downgrade() -> None:
    for name in (*(reference[0] for reference in REFERENCES), "signature"):
        op.execute(f"alter table scores drop column {name}")
    op.execute("alter table adapters drop column external")
    op.execute("alter table metrics drop column aliases")
    for name in ("externals", "evidence", "evaluator_keys", "datasets", "tasks"):
        op.drop_table(name)
