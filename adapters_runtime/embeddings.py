"""Methods for whole token embeddings beside the base's own, each with its tokenizer.

MAD-X 2.0 (Pfeiffer et al., https://arxiv.org/abs/2012.15562) gives a language a vocabulary of its
own this way. For a few tokens own rows are smaller: see `EmbeddingRowsConfig`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.paths import find
from adapters_runtime.inject.token_tables import OWN, TokenTables
from adapters_runtime.io import embeddings


class EmbeddingMethods:
    """`default` is how the base's own embeddings are called."""

    config: Any

    def add_embeddings(
        self,
        name: str,
        tokenizer: Any,
        reference_embedding: str | None = None,
        reference_tokenizer: Any = None,
        embedding_dim: int | None = None,
    ) -> None:
        """Add embeddings for a tokenizer's vocabulary, and activate them.

        They are random, but for tokens that `reference_tokenizer` has too: those begin with their
        vector in `reference_embedding` ("default", or the name of other ones). Raises
        EmbeddingsExist, EmbeddingsNotLoaded for the reference, and ConfigError when only one of the
        references is given or the width is not the base's.
        """
        if (reference_embedding is None) != (reference_tokenizer is None):
            raise ConfigError("reference_embedding and reference_tokenizer go together")
        tables = self._tables()
        weight = torch.empty(len(tokenizer), embedding_dim or tables.base_table.shape[1])
        nn.init.normal_(weight, std=getattr(self.config, "initializer_range", 0.02))
        if reference_embedding is not None:
            reference = tables[reference_embedding].detach().to("cpu", weight.dtype)
            ours, theirs = _in_both(tokenizer, len(weight), reference_tokenizer, len(reference))
            weight[ours] = reference[theirs]
        tables.add_table(name, weight)
        self.set_active_embeddings(name)

    def delete_embeddings(self, name: str) -> None:
        """Remove embeddings; where they are active the base's own take their place."""
        self._tables().delete_table(name)
        self._note_vocabulary()

    def set_active_embeddings(self, name: str) -> None:
        """Look tokens up in these embeddings, and project to their tokens where the two are tied.

        The configuration's `vocab_size` becomes theirs. Raises EmbeddingsNotLoaded.
        """
        bank_of(self).use_table(name)  # type: ignore[arg-type]
        self._note_vocabulary()

    @property
    def active_embeddings(self) -> str:
        return self._tables().in_use

    @property
    def loaded_embeddings(self) -> dict[str, nn.Parameter]:
        """The tables by their names, the base's own among them."""
        tables = self._tables()
        return {name: tables[name] for name in (OWN, *tables.tables)}

    def save_embeddings(self, path: str | Path, name: str, tokenizer: Any = None) -> None:
        """Write embeddings, and the tokenizer they are for, to a folder."""
        embeddings.save(self, Path(path), name, tokenizer)  # type: ignore[arg-type]

    def load_embeddings(self, path: str | Path, name: str) -> Any:
        """Read a folder that `save_embeddings` wrote, activate them, and return their tokenizer.

        None is returned when the folder has no tokenizer. A folder of AdapterHub's library is read
        too, without running what is in it. Raises FormatError and EmbeddingsExist.
        """
        found = embeddings.read(Path(path))
        self._tables().add_table(name, found.weight)
        self._tables().origins[name] = found.origin
        self.set_active_embeddings(name)
        return found.tokenizer

    def _tables(self) -> TokenTables:
        return bank_of(self).tables  # type: ignore[arg-type]

    def _note_vocabulary(self) -> None:
        tables, bank = self._tables(), bank_of(self)  # type: ignore[arg-type]
        reading = find(bank.base.module, bank.architecture.stacks[0].part)
        reading.config.get_text_config().vocab_size = len(tables[tables.in_use])  # type: ignore[operator, union-attr]


def _in_both(new: Any, rows: int, old: Any, old_rows: int) -> tuple[Tensor, ...]:
    """Return the rows that the tokens of both tokenizers have in the one's table and the other's.

    Raises ConfigError for a tokenizer of another table.
    """
    known = old.get_vocab()
    shared = [(i, known[token]) for token, i in new.get_vocab().items() if token in known]
    pair = torch.tensor(shared, dtype=torch.long).view(-1, 2).unbind(dim=1)
    for tokens, count in zip(pair, (rows, old_rows), strict=True):
        if (tokens >= count).any():
            raise ConfigError(
                f"a tokenizer has a token of number {int(tokens.max())}, and its embeddings have "
                f"only {count}"
            )
    return pair
