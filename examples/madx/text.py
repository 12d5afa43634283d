"""The text: man pages as a stream for language modelling, and as labelled paragraphs."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from settings import BASE, CLS, FIRST_WORD_PIECE, LABELS, MASK, MAX_LENGTH, PAD, SEP, TEXT
from tokenizers import Tokenizer
from torch import Tensor

BLOCK = 46
"""Word pieces of a block between [CLS] and [SEP]."""
MASKED = 0.25


def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BASE / "tokenizer.json"))


def _read(name: str) -> list[dict[str, str]]:
    with gzip.open(TEXT / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def paragraphs(language: str) -> list[list[int]]:
    """Return the word pieces of every paragraph of a language's own text."""
    texts = [row["text"] for row in _read(f"mono.{language}.jsonl.gz")]
    return [encoded.ids for encoded in tokenizer().encode_batch(texts, add_special_tokens=False)]


def blocks(encoded: list[list[int]], rng: random.Random) -> np.ndarray:
    """Pack shuffled paragraphs, each ended by [SEP], into rows of (BLOCK + 2) ids."""
    order = list(range(len(encoded)))
    rng.shuffle(order)
    ids = [piece for index in order for piece in (*encoded[index], SEP)]
    rows = len(ids) // BLOCK
    body = np.array(ids[: rows * BLOCK]).reshape(rows, BLOCK)
    return np.concatenate([np.full((rows, 1), CLS), body, np.full((rows, 1), SEP)], axis=1)


def masked(
    rows: np.ndarray, vocabulary: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (input, chosen positions, original ids there): 80 % masked, 10 % random, 10 % kept."""
    ids = torch.as_tensor(rows)
    chosen = torch.rand(ids.shape, generator=generator) < MASKED
    chosen &= ids >= FIRST_WORD_PIECE
    hidden, draw = ids.clone(), torch.rand(ids.shape, generator=generator)
    hidden[chosen & (draw < 0.8)] = MASK
    random_ = chosen & (draw > 0.9)
    hidden[random_] = torch.randint(
        FIRST_WORD_PIECE, vocabulary, (int(random_.sum()),), generator=generator
    )
    return hidden, chosen, ids[chosen]


def examples(language: str, split: str, per_class: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return texts and labels (indices of LABELS), at most `per_class` of each, shuffled."""
    rng = random.Random(seed)
    rows = _read(f"task.{language}.{split}.jsonl.gz")
    chosen = []
    for index, label in enumerate(LABELS):
        texts = [row["text"] for row in rows if row["label"] == label]
        rng.shuffle(texts)
        chosen += [(text, index) for text in texts[:per_class]]
    rng.shuffle(chosen)
    return [text for text, _ in chosen], np.array([label for _, label in chosen])


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return [CLS] word pieces [SEP] of each text, cut to MAX_LENGTH."""
    found = tokenizer().encode_batch(list(texts), add_special_tokens=False)
    return [[CLS, *one.ids[: MAX_LENGTH - 2], SEP] for one in found]


def batches(
    encoded: list[list[int]], size: int, order: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Yield (ids, attention mask, indices), padded to the longest of each batch."""
    for start in range(0, len(order), size):
        indices = list(order[start : start + size])
        length = max(len(encoded[i]) for i in indices)
        ids = torch.full((len(indices), length), PAD)
        for row, i in enumerate(indices):
            ids[row, : len(encoded[i])] = torch.tensor(encoded[i])
        yield ids, (ids != PAD).long(), indices
