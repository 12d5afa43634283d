"""How good is it, and how sure is that: balanced accuracy, intervals, and a floor."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from settings import LABELS, PER_CLASS, SOURCE
from text import examples

RESAMPLES = 2000


def balanced_accuracy(gold: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean over classes of the share found: frequent classes count no more."""
    return float(np.mean([(predicted[gold == k] == k).mean() for k in range(len(LABELS))]))


def interval(gold: np.ndarray, runs: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return (mean over runs, lower, upper): 95 % of the bootstrap over examples, classes apart."""
    rng = np.random.default_rng(0)
    hits = np.mean([run == gold for run in runs], axis=0)
    means = np.zeros(RESAMPLES)
    for k in range(len(LABELS)):
        of_class = hits[gold == k]
        draws = rng.integers(0, len(of_class), (RESAMPLES, len(of_class)))
        means += of_class[draws].mean(axis=1) / len(LABELS)
    value = float(np.mean([balanced_accuracy(gold, run) for run in runs]))
    low, high = np.percentile(means, [2.5, 97.5])
    return value, float(low), float(high)


def paired_interval(
    gold: np.ndarray, better: Sequence[np.ndarray], worse: Sequence[np.ndarray]
) -> tuple[float, float, float]:
    """Return the difference of two conditions on the same examples, with its 95 % interval."""
    rng = np.random.default_rng(0)
    gain = np.mean([run == gold for run in better], axis=0) - np.mean(
        [run == gold for run in worse], axis=0
    )
    means, value = np.zeros(RESAMPLES), 0.0
    for k in range(len(LABELS)):
        of_class = gain[gold == k]
        draws = rng.integers(0, len(of_class), (RESAMPLES, len(of_class)))
        means += of_class[draws].mean(axis=1) / len(LABELS)
        value += float(of_class.mean()) / len(LABELS)
    low, high = np.percentile(means, [2.5, 97.5])
    return value, float(low), float(high)


def bag_of_words(texts: Sequence[str], seed: int) -> np.ndarray:
    """Classify by naive Bayes over words of English: what a shared spelling alone can tell."""
    train, labels = examples(SOURCE, "train", PER_CLASS, seed)
    counts = [Counter[str]() for _ in LABELS]
    for text, label in zip(train, labels, strict=True):
        counts[label].update(_words(text))
    vocabulary = set().union(*counts)
    totals = [sum(count.values()) + len(vocabulary) for count in counts]
    scores = [
        [
            sum(np.log((count[word] + 1) / total) for word in _words(text) if word in vocabulary)
            for count, total in zip(counts, totals, strict=True)
        ]
        for text in texts
    ]
    return np.argmax(np.array(scores), axis=1)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
