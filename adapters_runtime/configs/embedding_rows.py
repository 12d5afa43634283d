"""Own rows of the token embedding for some token ids, over the base model's.

Ours, not AdapterHub's. Together with a bottleneck in a union it makes a language pack: a language
whose words are cut into other tokens needs these tokens' embeddings more than anything else.
"""

from typing import ClassVar

from adapters_runtime.configs.base import AdapterConfig, configuration
from adapters_runtime.errors import ConfigError


@configuration
class EmbeddingRowsConfig(AdapterConfig):
    """Row i of the weight, (len(token_ids), width), replaces the base's row `token_ids[i]`."""

    architecture: ClassVar[str | None] = "embedding_rows"

    token_ids: tuple[int, ...]
    """Ascending, each once, so that equal sets of tokens make equal files."""

    def check(self) -> None:
        if not self.token_ids:
            raise ConfigError("token_ids is empty; name the tokens that get rows of their own")
        if self.token_ids[0] < 0:
            raise ConfigError(f"token ids start at 0, not at {self.token_ids[0]}")
        for before, after in zip(self.token_ids, self.token_ids[1:], strict=False):
            if before >= after:
                raise ConfigError(
                    f"token_ids must ascend, each once; {after} comes after {before}. "
                    "Sort them: sorted(set(ids))"
                )

    def places(self) -> frozenset[str]:
        return frozenset({"embedding_rows"})

    def layers_within(self, count: int) -> tuple[int, ...]:
        return ()
