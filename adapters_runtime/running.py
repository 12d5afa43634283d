"""How a model with adapters generates, and how it is trained with checkpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers.masking_utils import create_masks_for_generate

from adapters_runtime.composition import Child
from adapters_runtime.context import Activation, Override, current_override, swap_override
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.inject.arguments import cache_of
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.inject.checkpointing import keep_setups
from adapters_runtime.inject.entry import repeated
from adapters_runtime.inject.prompt_point import PromptPoint
from adapters_runtime.inject.routing import rows_of

if TYPE_CHECKING:
    from torch import Tensor


class RunningMethods:
    """Methods of a model with adapters that stand before those of transformers."""

    def generate(
        self,
        inputs: "Tensor | None" = None,
        *args: Any,
        adapter_names: "Sequence[Child | None] | None" = None,
        **kwargs: Any,
    ) -> Any:
        """Generate as transformers does; `adapter_names` gives each row a set-up of its own.

        Under `Parallel` the rows are repeated before the first token, so that the texts of the
        first adapter come first, then those of the second. Raises InvalidComposition for a cache
        from before.
        """
        if not hasattr(super(), "generate"):
            raise TypeError(
                f"{type(self).__name__} gives no next token; generate with a model that has a "
                "language-modeling head"
            )
        bank = bank_of(self)  # type: ignore[arg-type]
        override = bank.activations.in_force()
        if adapter_names is not None:
            override = Override(Activation(rows_of(adapter_names, bank)), override.head_setup)
        elif (copies := bank.activations.copies()) > 1:
            if cache_of(kwargs) is not None:
                raise InvalidComposition(
                    f"{override.activation.setup} repeats the batch, which a cache from before has "  # type: ignore[union-attr]
                    "not been; generate without a cache, or with one adapter at a time"
                )
            (inputs, *rest), kwargs = repeated((inputs, *args), kwargs, copies)
            args = tuple(rest)
            override = Override(override.activation, override.head_setup, copied=True)
        else:
            override = current_override()  # type: ignore[assignment]
        former = swap_override(override)
        try:
            return super().generate(inputs, *args, **kwargs)  # type: ignore[misc]
        finally:
            swap_override(former)

    def _prepare_static_cache(self, *args: Any, max_cache_len: int, **kwargs: Any) -> Any:
        """Make room for prompts too, which `generate` knows nothing of."""
        length = max_cache_len + _longest_prompt(bank_of(self))  # type: ignore[arg-type]
        return super()._prepare_static_cache(*args, max_cache_len=length, **kwargs)  # type: ignore[misc]

    def create_masks_for_generate(self, *args: Any, **kwargs: Any) -> Any:
        """Leave masks to the model where prompts will lengthen the text."""
        if _longest_prompt(bank_of(self)):  # type: ignore[arg-type]
            return kwargs.get("attention_mask")
        plain = getattr(super(), "create_masks_for_generate", create_masks_for_generate)
        return plain(*args, **kwargs)

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        super()._set_gradient_checkpointing(enable, *args, **kwargs)  # type: ignore[misc]
        keep_setups(self, bank_of(self))  # type: ignore[arg-type]
        # Reentrant checkpoints give no gradient unless what enters the first layer asks for one,
        # and the embeddings are frozen. Transformers sees to it for models that read tokens.
        if self.main_input_name != "input_ids":  # type: ignore[attr-defined]
            self._ask_for_gradients(ask=enable)

    def _ask_for_gradients(self, *, ask: bool) -> None:
        if getattr(self, "_require_grads_hooks", None):
            self.disable_input_require_grads()  # type: ignore[attr-defined]
        if ask:
            self.enable_input_require_grads()  # type: ignore[attr-defined]


def _longest_prompt(bank: AdapterBank) -> int:
    return sum(point.longest() for point in bank.of_type(PromptPoint))
