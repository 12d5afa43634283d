"""Metrics, tasks and data sets are data; who may change them depends on who relies on them."""

import pytest

from registry import records, scores
from registry.errors import InvalidScore, NotAllowed
from registry.schemas import DatasetIn, MetricIn, ScoreIn, TaskIn
from tests.support import shelf

TER = MetricIn(
    title="Translation edit rate", higher_is_better=False, lower=0, aliases=("TER score",)
)


@pytest.fixture
def subject(session, blobs):
    return shelf.add_version(session, shelf.add_adapter(session, blobs, "acme/copa")).content


def report(session, subject, account, **fields):
    return scores.record(session, ScoreIn(subject=subject, **fields), account)


def test_the_records_that_come_with_the_hub_belong_together(session):
    metrics = {row.name for row in records.metrics(session)}
    tasks = {row.name: row for row in records.tasks(session)}
    datasets = records.datasets(session)
    assert {"accuracy", "f1", "bleu"} <= metrics
    assert {row.metric for row in tasks.values()} <= metrics
    assert {row.task for row in datasets} <= set(tasks)
    assert {"xcopa", "wikiann", "squad_v2"} <= {row.name for row in datasets}


def test_an_operator_adds_a_metric_and_scores_are_read_by_it(session, subject, operator, ana):
    with pytest.raises(NotAllowed, match="by an operator"):
        records.put_metric(session, "ter", TER, ana)
    assert records.put_metric(session, "ter", TER, operator).aliases == ["ter_score"]
    score = report(session, subject, ana, dataset="wmt16", metric="TER-Score", value=0.4)
    assert score.metric == "ter"


def test_what_a_metric_means_is_fixed_once_it_has_values(session, subject, operator, ana):
    records.put_metric(session, "ter", TER, operator)
    records.put_metric(session, "ter", TER.model_copy(update={"upper": 10}), operator)
    report(session, subject, ana, dataset="wmt16", metric="ter", value=0.4)
    with pytest.raises(InvalidScore, match="are fixed"):
        records.put_metric(session, "ter", TER, operator)
    renamed = TER.model_copy(update={"upper": 10, "title": "TER"})
    assert records.put_metric(session, "ter", renamed, operator).title == "TER"


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        ("Ter", {}, "cannot name a metric"),
        ("ter", {"aliases": ("Acc",)}, "acc means the metric accuracy already"),
        ("em", {}, "em means the metric exact_match already"),
        ("ter", {"lower": 1, "upper": 1}, "leave no room"),
    ],
)
def test_a_metric_that_cannot_be_told_apart_is_refused(session, operator, name, changes, complaint):
    with pytest.raises(InvalidScore, match=complaint):
        records.put_metric(session, name, TER.model_copy(update=changes), operator)


def test_a_writer_adds_tasks_and_data_sets_and_changes_only_those(session, operator, ana, ben):
    records.put_task(session, "stance", TaskIn(title="Stance", metric="macro F1"), ana)
    row = records.put_dataset(session, "x-stance", DatasetIn(title="X", task="stance"), ana)
    assert row.task == "stance"
    for account in (ana, operator):
        records.put_dataset(session, "x-stance", DatasetIn(title="Y", task="stance"), account)
    with pytest.raises(NotAllowed, match="recorded already"):
        records.put_dataset(session, "x-stance", DatasetIn(title="Mine"), ben)
    with pytest.raises(NotAllowed):
        records.put_dataset(session, "xcopa", DatasetIn(title="Mine"), ana)
    assert {row.name: row.metric for row in records.tasks(session)}["stance"] == "f1_macro"


def test_names_of_data_sets_are_spelt_in_one_way(session, subject, ana):
    with pytest.raises(InvalidScore, match="xcopa is recorded"):
        records.put_dataset(session, "XCOPA", DatasetIn(title="x"), ana)
    with pytest.raises(InvalidScore, match="cannot name a data set"):
        records.put_dataset(session, "a b", DatasetIn(title="x"), ana)
    with pytest.raises(InvalidScore, match="no task"):
        records.put_dataset(session, "ab", DatasetIn(title="x", task="nothing"), ana)
    assert (
        report(session, subject, ana, dataset="XCOPA", metric="ACC", value=0.5).dataset == "xcopa"
    )
    own = report(session, subject, ana, dataset="Our Own", metric="acc", value=0.5)
    assert own.dataset == "Our Own"
