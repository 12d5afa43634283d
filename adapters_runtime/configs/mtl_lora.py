"""MTL-LoRA: one LoRA for several tasks, with a small matrix for each task between A and B.

Yang et al. 2024, https://arxiv.org/abs/2410.09437.
"""

from typing import ClassVar, Literal

from adapters_runtime.configs.base import check_positive, configuration
from adapters_runtime.configs.lora import LoRAConfig


@configuration
class MTLLoRAConfig(LoRAConfig):
    """Adapters of this kind that share parameters differ in the matrix of their task only."""

    architecture: ClassVar[str | None] = "mtl_lora"

    n_up_projection: int = 1
    """How many matrices B there are, mixed by learned weights."""
    task_specific_matrix_type: Literal["singular_values", "linear"] = "singular_values"
    """Whether the task's matrix is diagonal or full."""
    weights_sharpness: float = 0.05
    """Temperature of the softmax over the weights of the matrices B."""

    def check(self) -> None:
        super().check()
        check_positive(self.n_up_projection, of="n_up_projection")
        check_positive(self.weights_sharpness, of="weights_sharpness")
