"""`model-index`, the form in which cards of the Hugging Face Hub say what was measured.

A list of models, each with results; a result has a task, a data set and metrics. One entry here is
one metric of one result.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "model-index"
MOST_ENTRIES = 200
"""More in one card are not read."""


class Unreadable(ValueError):
    """A result that does not say what was measured; the text says where and what is missing."""


@dataclass(frozen=True)
class Entry:
    """One measurement of a card. `where` finds it again: `result 2, metric 1`."""

    where: str
    dataset: str
    config: str | None
    split: str
    metric: str
    value: float
    conditions: Mapping[str, Any]


def read(metadata: Mapping[str, Any]) -> Iterator[Entry | Unreadable]:
    """Yield the entries of a card's front matter, and in their places the faults of broken ones."""
    models = metadata.get(KEY)
    if models is None:
        return
    if not isinstance(models, list):
        yield Unreadable(f"{KEY} is no list of models")
        return
    found = 0
    for number, result in enumerate(_results(models), 1):
        for place, metric in enumerate(_list(result, "metrics") or [None], 1):
            found += 1
            if found > MOST_ENTRIES:
                yield Unreadable(
                    f"{KEY} has more than {MOST_ENTRIES} entries; the rest is not read"
                )
                return
            yield _entry(f"result {number}, metric {place}", result, metric)


def _results(models: Sequence[Any]) -> Iterator[Any]:
    for model in models:
        yield from _list(model, "results")


def _entry(where: str, result: Any, metric: Any) -> Entry | Unreadable:
    dataset = result.get("dataset") if isinstance(result, Mapping) else None
    name = _text(dataset, "type") or _text(dataset, "name")
    measured = _text(metric, "type") or _text(metric, "name")
    value = metric.get("value") if isinstance(metric, Mapping) else None
    if not name:
        return Unreadable(f"{where} names no dataset.type")
    if not measured:
        return Unreadable(f"{where} names no metric type")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Unreadable(f"{where}: the value of {measured} is no number but {value!r}")
    config, split = _text(dataset, "config") or None, _text(dataset, "split") or "test"
    revision = _text(dataset, "revision")
    conditions = {"dataset_revision": revision} if revision else {}
    return Entry(where, name, config, split, measured, float(value), conditions)


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found.strip() if isinstance(found, str) else ""


# --- writing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A score as a card can state it. `args` says of which set-up, and under which conditions."""

    dataset: str
    config: str | None
    split: str
    task: str
    metric: str
    value: float
    verified: bool
    args: Mapping[str, Any]


def completed(card: Any, name: str, scores: Iterable[Measured]) -> list[Any] | None:
    """Return a card's own model-index with the results that it does not state; None without any.

    What the card states is left as it is, whatever its form.
    """
    models = list(card) if isinstance(card, list) else []
    stated = {
        (entry.dataset, entry.config, entry.split, entry.metric, entry.value)
        for entry in read({KEY: models})
        if isinstance(entry, Entry)
    }
    results = [
        _result(score)
        for score in scores
        if score.args
        or (score.dataset, score.config, score.split, score.metric, score.value) not in stated
    ]
    added = [{"name": name, "results": results}] if results else []
    return [*models, *added] or None


def _result(score: Measured) -> dict[str, Any]:
    dataset = {"type": score.dataset, "name": score.dataset, "split": score.split}
    metric = {"type": score.metric, "value": score.value, "verified": score.verified}
    return {
        "task": {"type": score.task},
        "dataset": dataset | ({"config": score.config} if score.config else {}),
        "metrics": [metric | ({"args": dict(score.args)} if score.args else {})],
    }
