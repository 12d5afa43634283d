"""Parts of set-ups, and the first metrics

Revision: 0003
Follows: 0002

A metric is data: an operator may add others, and a later migration may too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Name, title, whether higher is better, unit, lower and upper bound.
METRICS = [
    ("accuracy", "Accuracy", True, "fraction", 0, 1),
    ("balanced_accuracy", "Balanced accuracy", True, "fraction", 0, 1),
    ("f1", "F1", True, "fraction", 0, 1),
    ("f1_macro", "F1, macro average", True, "fraction", 0, 1),
    ("f1_micro", "F1, micro average", True, "fraction", 0, 1),
    ("f1_weighted", "F1, weighted average", True, "fraction", 0, 1),
    ("precision", "Precision", True, "fraction", 0, 1),
    ("recall", "Recall", True, "fraction", 0, 1),
    ("exact_match", "Exact match", True, "fraction", 0, 1),
    ("roc_auc", "Area under the ROC curve", True, "fraction", 0, 1),
    ("mcc", "Matthews correlation", True, "correlation", -1, 1),
    ("pearson", "Pearson correlation", True, "correlation", -1, 1),
    ("spearman", "Spearman correlation", True, "correlation", -1, 1),
    ("uas", "Unlabelled attachment score", True, "fraction", 0, 1),
    ("las", "Labelled attachment score", True, "fraction", 0, 1),
    ("mrr", "Mean reciprocal rank", True, "fraction", 0, 1),
    ("ndcg_at_10", "nDCG at 10", True, "fraction", 0, 1),
    ("bleu", "BLEU", True, "points", 0, 100),
    ("chrf", "chrF", True, "points", 0, 100),
    ("rouge1", "ROUGE-1", True, "points", 0, 100),
    ("rouge2", "ROUGE-2", True, "points", 0, 100),
    ("rougel", "ROUGE-L", True, "points", 0, 100),
    ("wer", "Word error rate", False, "fraction", 0, None),
    ("cer", "Character error rate", False, "fraction", 0, None),
    ("perplexity", "Perplexity", False, "perplexity", 1, None),
    ("loss", "Cross-entropy", False, "nats", 0, None),
    ("mlm_loss", "Masked language modelling loss", False, "nats", 0, None),
    ("bits_per_character", "Bits per character", False, "bits", 0, None),
    ("mse", "Mean squared error", False, "squared", 0, None),
    ("mae", "Mean absolute error", False, "absolute", 0, None),
]


def upgrade() -> None:
    op.create_table(
        "setup_parts",
        sa.Column("setup", sa.String(71), nullable=False),
        sa.Column("content", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(
            ["setup"], ["setups.digest"], name=op.f("fk_setup_parts_setup_setups")
        ),
        sa.PrimaryKeyConstraint("setup", "content", name=op.f("pk_setup_parts")),
    )
    op.create_index(op.f("ix_setup_parts_content"), "setup_parts", ["content"])
    columns = ("name", "title", "higher_is_better", "unit", "lower", "upper")
    metrics = sa.table("metrics", *(sa.column(name) for name in columns))
    # Those that scores refer to outlive a downgrade.
    kept = set(op.get_bind().scalars(sa.select(metrics.c.name)))
    rows = [dict(zip(columns, metric, strict=True)) for metric in METRICS if metric[0] not in kept]
    op.bulk_insert(metrics, rows)


def downgrade() -> None:
    op.execute("delete from metrics where name not in (select metric from scores)")
    op.drop_index(op.f("ix_setup_parts_content"), "setup_parts")
    op.drop_table("setup_parts")
