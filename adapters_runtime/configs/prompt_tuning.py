"""Prompt tuning: learned embeddings before those of the text.

Lester et al. 2021, https://arxiv.org/abs/2104.08691.
"""

from typing import ClassVar, Literal

from adapters_runtime.configs.base import AdapterConfig, check_positive, configuration
from adapters_runtime.errors import ConfigError


@configuration
class PromptTuningConfig(AdapterConfig):
    """One prompt for the model."""

    architecture: ClassVar[str | None] = "prompt_tuning"

    prompt_length: int = 10
    prompt_init: Literal["random_uniform", "from_string"] = "random_uniform"
    prompt_init_text: str | None = None
    combine: Literal["prefix", "prefix_after_bos"] = "prefix"
    """Whether the prompt stands before the first token or after it."""
    init_weights_seed: int | None = None
    random_uniform_scale: float = 0.5
    """Bound of the random start. AdapterHub's library does not save it; it does read it."""

    def check(self) -> None:
        check_positive(self.prompt_length, of="prompt_length")
        check_positive(self.random_uniform_scale, of="random_uniform_scale")
        if self.prompt_init == "from_string" and not self.prompt_init_text:
            raise ConfigError('prompt_init="from_string" needs prompt_init_text')

    def places(self) -> frozenset[str]:
        return frozenset({"prompt"})

    def layers_within(self, count: int) -> tuple[int, ...]:
        return ()
